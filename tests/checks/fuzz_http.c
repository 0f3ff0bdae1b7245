/* Fuzz target for heads of requests and responses: what is found lies inside the text and in order, a prefix of a head is not a head,
   and an end is seen however often one looks. The generated C is included, so its static functions are in reach and are instrumented;
   Python is linked (module set-up refers to it) and never started: a nogil function does not touch it. -DALONE: see fuzz_alone.h. */
#include "_head.c"
#define HEAD_NAME(name) __pyx_f_7gateway_9dataplane_5http1_5_head_##name
#define TRAP(wrong) do { if (wrong) __builtin_trap(); } while (0)

static void check_fields(const struct __pyx_t_7gateway_9dataplane_5http1_6_words_Field *field, int n, uint32_t at, size_t size) {
    TRAP(n < 0 || n > 128);
    for (int i = 0; i < n; i++, field++) {
        TRAP(field->name_at != at || field->name_at + field->name_length >= field->value_at);
        TRAP(field->value_at + field->value_length + 2 > field->line_end_at || field->line_end_at > size);
        at = field->line_end_at;
    }
}

typedef struct __pyx_t_7gateway_9dataplane_5http1_6_words_Manners Manners;

static void check_request(const char *text, size_t size, size_t limit, int underscores, int takes_non_ascii) {
    Manners manners = {.underscores = underscores, .takes_non_ascii = takes_non_ascii};
    static struct __pyx_t_7gateway_9dataplane_5http1_5_head_RequestHead head, again;
    int verdict = (int)HEAD_NAME(parse_request)(text, size, limit, manners, &head);
    check_fields(head.fields, head.n_fields, head.fields_at, size);
    TRAP((verdict == -1) != (head.cause != 0) || (verdict == -1) != (head.status != 0) || (verdict == 0 && size >= limit));
    if (verdict != 1) return;
    TRAP(head.length > size || head.length > limit || head.target_at + head.target_length > head.length);
    TRAP(head.path_at + head.path_length > head.target_at + head.target_length || head.path_at < head.target_at);
    TRAP(head.query_at + head.query_length != head.target_at + head.target_length || head.query_at < head.path_at + head.path_length);
    TRAP(head.host_at + head.host_length > head.length || head.host_length > head.authority_length || head.host_at != head.authority_at);
    TRAP(head.is_chunked && head.content_length >= 0);
    TRAP((int)HEAD_NAME(parse_request)(text, head.length, limit, manners, &again) != 1 || again.length != head.length);
    TRAP((int)HEAD_NAME(parse_request)(text, head.length - 1, limit, manners, &again) != 0);
}

static void check_response(const char *text, size_t size, size_t limit) {
    static struct __pyx_t_7gateway_9dataplane_5http1_5_head_ResponseHead head, again;
    int verdict = (int)HEAD_NAME(parse_response)(text, size, limit, &head);
    check_fields(head.fields, head.n_fields, head.fields_at, size);
    TRAP((verdict == -1) != (head.cause != 0) || (verdict == 0 && size >= limit));
    if (verdict != 1) return;
    TRAP(head.length > size || head.length > limit || head.reason_at + head.reason_length > head.length);
    TRAP(head.status < 100 || head.status > 999 || (head.is_chunked && head.content_length >= 0));
    TRAP((int)HEAD_NAME(parse_response)(text, head.length - 1, limit, &again) != 0);
}

/* An end that is seen in one look is seen in many, and where a head is whole there is an end. */
static void check_end(const char *text, size_t size) {
    size_t scanned = 0, slowly = 0;
    int found = HEAD_NAME(has_end)(text, size, &scanned), found_slowly = 0;
    for (size_t length = 0; length <= size && !found_slowly; length++) found_slowly = HEAD_NAME(has_end)(text, length, &slowly);
    TRAP(found != found_slowly || scanned > size || slowly > size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *exact = malloc(size ? size : 1);      /* so that one byte too far is a report */
    memcpy(exact, data, size);
    for (int underscores = 0; underscores < 3; underscores++) check_request(exact, size, 65536, underscores, underscores == 1);
    check_request(exact, size, size / 2, 1, 0);
    check_response(exact, size, 65536);
    check_response(exact, size, size / 2);
    check_end(exact, size);
    free(exact);
    return 0;
}

#ifdef ALONE
#include "fuzz_alone.h"
#endif
