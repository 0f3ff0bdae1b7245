"""Parsers, callable from Python: for tests and benches only. Texts are copied to blocks of their exact size, so that one octet too far
is a report under AddressSanitizer.
"""
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cimport cython

from gateway.dataplane.http1._chunks cimport Chunks, begin_chunks, drop_trailers, feed_chunks
from gateway.dataplane.http1._head cimport (
    RequestHead, ResponseHead, has_end as has_end_c, is_idempotent as is_idempotent_c, parse_request, parse_response)
from gateway.dataplane.http1._octets cimport known_field, known_fields, known_prefixes
from gateway.dataplane.http1._words cimport (
    FIELD_ADDRESS, FIELD_OF_HOP, Field, Manners, Method, N_CAUSES, N_FIELD_IDS, NEED_DATA, UNDERSCORES_DROPPED, Underscores, Verdict)

CAUSES = (
    "none", "start_line", "version", "method_unknown", "method_refused", "target", "path", "line_end", "field_name", "field_value", "fold",
    "host_absent", "host_repeated", "host", "content_length", "transfer_encoding", "coding_unknown", "both_lengths", "connection", "expect",
    "target_too_long", "head_too_large", "too_many_fields")
FIELDS = (
    "other", "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade",
    "expect", "max-forwards", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "address", "of-hop", "x-request-id",
    "traceparent", "tracestate", "via", "x-isochrone-", "proxy-authenticate", "proxy-authorization", "retry-after", "date", "server",
    "cookie", "early-data", "cache-control", "underscored")
METHODS = ("other", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")
if len(CAUSES) != N_CAUSES or len(FIELDS) != N_FIELD_IDS:
    raise ImportError("names and enums differ")


def hop_names() -> list:
    """The names and the beginnings of names that only a hop may say, those with a number of their own apart; a beginning with "any"."""
    cdef const known_field *known = known_fields + 1
    cdef list names = []
    while known.length > 0:
        if known.id == FIELD_ADDRESS or known.id == FIELD_OF_HOP:
            names.append(known.name[:known.length].decode())
        known += 1
    known = known_prefixes
    while known.length > 0:
        if known.id == FIELD_OF_HOP:
            names.append(f"x-{known.name[:known.length].decode()}any")
        known += 1
    return names


cdef char *exact(bytes text) except NULL:
    cdef char *block = <char *>malloc(max(len(text), 1))
    if block == NULL:
        raise MemoryError
    memcpy(block, <const char *>text, len(text))
    return block


cdef list fields_of(bytes text, const Field *field, int n):
    return [
        (text[field[i].name_at:field[i].name_at + field[i].name_length], text[field[i].value_at:field[i].value_at + field[i].value_length],
         FIELDS[field[i].id], bool(field[i].is_named_by_connection), text[field[i].name_at:field[i].line_end_at])
        for i in range(n)]


UNDERSCORES = ("refuse", "drop", "pass")


def request(bytes text not None, size_t limit=65536, str underscores="drop", bint takes_non_ascii=False) -> tuple:
    """What parse_request says of `text`: verdict (-1, 0, 1) and, by name, what it found; offsets as the bytes they stand for."""
    cdef RequestHead head
    cdef Manners manners
    cdef char *block = exact(text)
    cdef Verdict verdict
    manners.underscores = <Underscores><int>UNDERSCORES.index(underscores)
    manners.takes_non_ascii = takes_non_ascii
    verdict = parse_request(block, len(text), limit, manners, &head)
    free(block)
    if verdict <= NEED_DATA:
        return int(verdict), {"status": head.status, "cause": CAUSES[head.cause], "fields": fields_of(text, head.fields, head.n_fields)}
    return int(verdict), {
        "length": head.length, "method": text[head.method_at:head.method_at + head.method_length], "method_id": METHODS[head.method],
        "target": text[head.target_at:head.target_at + head.target_length], "path": text[head.path_at:head.path_at + head.path_length],
        "query": text[head.query_at:head.query_at + head.query_length], "host": text[head.host_at:head.host_at + head.host_length],
        "authority": text[head.authority_at:head.authority_at + head.authority_length], "fields_at": head.fields_at, "minor": head.minor,
        "content_length": head.content_length, "is_absolute": bool(head.is_absolute), "is_asterisk": bool(head.is_asterisk),
        "is_chunked": bool(head.is_chunked), "close": bool(head.close), "keep_alive_asked": bool(head.keep_alive_asked),
        "is_upgrade": bool(head.is_upgrade), "expects_continue": bool(head.expects_continue), "status": head.status,
        "cause": CAUSES[head.cause], "fields": fields_of(text, head.fields, head.n_fields)}


def response(bytes text not None, size_t limit=65536) -> tuple:
    """The same for parse_response."""
    cdef ResponseHead head
    cdef char *block = exact(text)
    cdef Verdict verdict = parse_response(block, len(text), limit, &head)
    free(block)
    if verdict <= NEED_DATA:
        return int(verdict), {"cause": CAUSES[head.cause], "fields": fields_of(text, head.fields, head.n_fields)}
    return int(verdict), {
        "length": head.length, "minor": head.minor, "status": head.status,
        "reason": text[head.reason_at:head.reason_at + head.reason_length], "fields_at": head.fields_at,
        "content_length": head.content_length, "is_chunked": bool(head.is_chunked), "close": bool(head.close),
        "is_upgrade": bool(head.is_upgrade), "cause": CAUSES[head.cause], "fields": fields_of(text, head.fields, head.n_fields)}


def fields_written(bytes text not None, bint is_response=False) -> int:
    """To how many of a head's places for fields a parse of `text` writes."""
    cdef RequestHead request_head
    cdef ResponseHead response_head
    cdef Manners manners = Manners(underscores=UNDERSCORES_DROPPED, takes_non_ascii=False)
    cdef const char *at = <const char *>(&response_head.fields[0] if is_response else &request_head.fields[0])
    cdef int n = sizeof(response_head.fields) // sizeof(Field)
    cdef int i, written = 0
    memset(&request_head, 0xA5, sizeof(request_head))
    memset(&response_head, 0xA5, sizeof(response_head))
    if is_response:
        parse_response(text, len(text), 65536, &response_head)
    else:
        parse_request(text, len(text), 65536, manners, &request_head)
    for i in range(n):
        written += at[i * sizeof(Field):(i + 1) * sizeof(Field)] != b"\xa5" * sizeof(Field)
    return written


def has_end(bytes text not None, size_t scanned=0) -> tuple:
    """Whether the head's end is in sight, and where to go on from if not."""
    cdef char *block = exact(text)
    cdef bint found = has_end_c(block, len(text), &scanned)
    free(block)
    return bool(found), scanned


def is_idempotent(str method not None) -> bool:
    """Of a name in METHODS."""
    return bool(is_idempotent_c(<Method><int>METHODS.index(method)))


def parse_many(bytes text not None, int times, bint is_response=False) -> int:
    """Parses `text` that often without Python between; the last verdict. For benches."""
    cdef RequestHead request_head
    cdef ResponseHead response_head
    cdef Verdict verdict = NEED_DATA
    cdef Manners manners = Manners(underscores=UNDERSCORES_DROPPED, takes_non_ascii=False)
    cdef const char *at = text
    cdef size_t length = len(text)
    cdef int _
    with nogil:
        for _ in range(times):
            if is_response:
                verdict = parse_response(at, length, 65536, &response_head)
            else:
                verdict = parse_request(at, length, 65536, manners, &request_head)
    return int(verdict)


@cython.final
cdef class Machine:
    """A body in the chunked coding."""
    cdef Chunks chunks

    def __cinit__(self, bint is_of_answer=False):
        begin_chunks(&self.chunks)
        self.chunks.is_of_answer = is_of_answer

    def feed(self, bytes text not None) -> tuple:
        """One call of feed_chunks: step (-1, 0, 1, 2), bytes taken, the data found."""
        cdef size_t taken = 0
        cdef size_t at = 0
        cdef size_t length = 0
        cdef char *block = exact(text)
        cdef int step = feed_chunks(&self.chunks, block, len(text), &taken, &at, &length)
        free(block)
        return step, taken, text[at:at + length]

    def kept(self, bytes text not None) -> bytes:
        """What of the trailers goes down, of which the last of `text` are: all there is of them, in an answer that is over."""
        cdef bytes trailers = text[len(text) - self.chunks.trailer_bytes:]
        cdef char *block = exact(trailers)
        cdef bytes kept = block[:drop_trailers(block, len(trailers))]
        free(block)
        return kept
