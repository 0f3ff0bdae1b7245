"""A status line, what the client should know of the connection, and the reason as text for a person. What was wrong with a request is
said in words of ours: nothing that came is put into them."""
from libc.stdint cimport uint32_t
from libc.string cimport strlen

from gateway.dataplane._core cimport Buffer
from gateway.dataplane.http1._date cimport DATE_BYTES, wall_s, write_date
from gateway.dataplane.http1._head cimport *
from gateway.dataplane.http1._words cimport *
from gateway.dataplane.proxy._forward cimport append, append_number, append_persistence
from gateway.dataplane.shared._counters cimport CAUSE_BAD_BODY

cdef const char *WHY[<int>N_CAUSES]
WHY[<int>CAUSE_NONE] = NULL
WHY[<int>CAUSE_START_LINE] = "the first line is not method, target and version, each with one space between"
WHY[<int>CAUSE_VERSION] = "this is served as HTTP/1.0 and HTTP/1.1"
WHY[<int>CAUSE_METHOD_UNKNOWN] = "no registered method"
WHY[<int>CAUSE_METHOD_REFUSED] = "neither CONNECT nor TRACE is served"
WHY[<int>CAUSE_TARGET] = "the target has no known form, or an octet that must be written as %XX"
WHY[<int>CAUSE_PATH] = "the path has a backslash, %00, %0A or %0D"
WHY[<int>CAUSE_LINE_END] = "a line does not end in CR LF, or empty lines come first"
WHY[<int>CAUSE_FIELD_NAME] = "a field without a name and a colon, or a character in its name that may not be there"
WHY[<int>CAUSE_FIELD_VALUE] = "a control character in a field"
WHY[<int>CAUSE_FOLD] = "a field goes on in a second line"
WHY[<int>CAUSE_HOST_ABSENT] = "no Host"
WHY[<int>CAUSE_HOST_REPEATED] = "more than one Host"
WHY[<int>CAUSE_HOST] = "Host is no host and port"
WHY[<int>CAUSE_CONTENT_LENGTH] = "Content-Length is not one whole number"
WHY[<int>CAUSE_TRANSFER_ENCODING] = "Transfer-Encoding is not chunked alone, or not legal in HTTP/1.0"
WHY[<int>CAUSE_CODING_UNKNOWN] = "no transfer coding but chunked is known"
WHY[<int>CAUSE_BOTH_LENGTHS] = "Content-Length beside Transfer-Encoding"
WHY[<int>CAUSE_CONNECTION] = "Connection is no list of options, or names what may not be dropped"
WHY[<int>CAUSE_EXPECT] = "no expectation but 100-continue is known"
WHY[<int>CAUSE_TARGET_TOO_LONG] = "the first line is too long"
WHY[<int>CAUSE_HEAD_TOO_LARGE] = "the fields are too long, all together"
WHY[<int>CAUSE_TOO_MANY_FIELDS] = "too many fields"
cdef const char *WHY_BODY = "the body is not in chunks"


cdef const char *why(int cause) noexcept nogil:
    """NULL: the status says it."""
    if 0 <= cause < <int>N_CAUSES:
        return WHY[cause]
    return WHY_BODY if cause == <int>N_CAUSES + <int>CAUSE_BAD_BODY else NULL


cdef const char *reason_phrase(int status) noexcept nogil:
    if status == 200:
        return "OK"
    if status == 400:
        return "Bad Request"
    if status == 404:
        return "Not Found"
    if status == 405:
        return "Method Not Allowed"
    if status == 408:
        return "Request Timeout"
    if status == 413:
        return "Content Too Large"
    if status == 414:
        return "URI Too Long"
    if status == 417:
        return "Expectation Failed"
    if status == 429:
        return "Too Many Requests"
    if status == 431:
        return "Request Header Fields Too Large"
    if status == 500:
        return "Internal Server Error"
    if status == 501:
        return "Not Implemented"
    if status == 502:
        return "Bad Gateway"
    if status == 503:
        return "Service Unavailable"
    if status == 504:
        return "Gateway Timeout"
    if status == 508:
        return "Loop Detected"      # RFC 5842 7.2
    return "HTTP Version Not Supported"     # 505: what is left


cdef void append_date(Buffer *out) noexcept nogil:
    cdef char date[DATE_BYTES]
    write_date(wall_s(), date)
    append(out, "date: ", 6)
    append(out, date, DATE_BYTES)
    append(out, "\r\n", 2)


cdef void compose_reply(Buffer *out, int status, int cause, bint is_head, bint close, bint keep_alive) noexcept nogil:
    cdef const char *phrase = reason_phrase(status)
    cdef const char *reason = why(cause)
    cdef uint32_t length = <uint32_t>strlen(phrase)
    cdef uint32_t reason_length = 0 if reason == NULL else <uint32_t>strlen(reason) + 2
    append(out, "HTTP/1.1 ", 9)
    append_number(out, status)
    append(out, " ", 1)
    append(out, phrase, length)
    append(out, "\r\n", 2)
    append_date(out)
    append(out, "content-type: text/plain\r\ncontent-length: ", 42)
    append_number(out, length + reason_length + 1)
    append(out, "\r\n", 2)
    if status == 503 or status == 429:
        append(out, "retry-after: 1\r\n", 16)
    # RFC 9110 15.5.6, 9.3.7: a 405 says what is allowed, and so does the answer to OPTIONS.
    if status == 405 or status == 200:
        append(out, "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", 53)
    append_persistence(out, close, keep_alive)
    append(out, "\r\n", 2)
    if not is_head:
        append(out, phrase, length)
        if reason != NULL:
            append(out, ": ", 2)
            append(out, reason, reason_length - 2)
        append(out, "\n", 1)
