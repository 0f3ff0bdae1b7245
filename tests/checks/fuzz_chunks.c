/* Fuzz target for the chunked coding: in one piece and in small ones, the same verdict at the same byte, and the same data.
   The generated C is included; Python is linked and never started. -DALONE: see fuzz_alone.h. */
#include "_chunks.c"
#define CHUNKS_NAME(name) __pyx_f_7gateway_9dataplane_5http1_7_chunks_##name
#define TRAP(wrong) do { if (wrong) __builtin_trap(); } while (0)

/* What is left of an answer's trailers is sound, and loses nothing more. */
static uint64_t drop_trailers(const char *text, size_t size) {
    char *trailers = malloc(size);
    uint64_t sum = 0;
    memcpy(trailers, text, size);
    size_t kept = CHUNKS_NAME(drop_trailers)(trailers, size);
    TRAP(kept < 2 || kept > size || memcmp(trailers + kept - 2, "\r\n", 2) != 0);
    for (size_t i = 0; i < kept; i++) sum = sum * 31 + (unsigned char)trailers[i];
    TRAP(CHUNKS_NAME(drop_trailers)(trailers, kept) != kept);
    free(trailers);
    return sum;
}

/* In one piece and in pieces of `piece` bytes: the same verdict at the same byte, and the same data. */
static uint64_t run_chunks(const char *text, size_t size, size_t piece, int is_of_answer, int *step) {
    struct __pyx_t_7gateway_9dataplane_5http1_7_chunks_Chunks chunks;
    size_t at = 0, taken, data_at, data_length, length;
    uint64_t sum = 0;
    CHUNKS_NAME(begin_chunks)(&chunks);
    chunks.is_of_answer = is_of_answer;
    for (;;) {
        length = size - at < piece ? size - at : piece;
        *step = (int)CHUNKS_NAME(feed_chunks)(&chunks, text + at, length, &taken, &data_at, &data_length);
        TRAP(taken > length || data_at + data_length > taken || chunks.left < 0 || chunks.excess < 0);
        for (size_t i = 0; i < data_length; i++) sum = sum * 31 + (unsigned char)text[at + data_at + i];
        at += taken;
        if (*step == 2 && is_of_answer) sum += drop_trailers(text + at - chunks.trailer_bytes, chunks.trailer_bytes);
        if (*step == -1 || *step == 2 || (*step == 0 && at == size)) return sum * 1000003 + at;
        TRAP(*step == 0 && taken != length);
    }
}

static void check_chunks(const char *text, size_t size) {
    int whole, pieces;
    for (int is_of_answer = 0; is_of_answer < 2; is_of_answer++) {
        uint64_t sum = run_chunks(text, size, size + 1, is_of_answer, &whole);
        TRAP(run_chunks(text, size, 1, is_of_answer, &pieces) != sum || pieces != whole);
        TRAP(run_chunks(text, size, 3, is_of_answer, &pieces) != sum || pieces != whole);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *exact = malloc(size ? size : 1);      /* so that one byte too far is a report */
    memcpy(exact, data, size);
    check_chunks(exact, size);
    free(exact);
    return 0;
}

#ifdef ALONE
#include "fuzz_alone.h"
#endif
