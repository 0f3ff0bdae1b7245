"""A status line, what the client should know of the connection, and the reason once more as text for a person."""
from libc.stdint cimport uint32_t
from libc.string cimport strlen

from gateway.dataplane._core cimport Buffer
from gateway.dataplane._date cimport DATE_BYTES, wall_s, write_date
from gateway.dataplane._forward cimport append, append_number, append_persistence


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


cdef void compose_reply(Buffer *out, int status, bint is_head, bint close, bint keep_alive) noexcept nogil:
    cdef const char *phrase = reason_phrase(status)
    cdef uint32_t length = <uint32_t>strlen(phrase)
    append(out, "HTTP/1.1 ", 9)
    append_number(out, status)
    append(out, " ", 1)
    append(out, phrase, length)
    append(out, "\r\n", 2)
    append_date(out)
    append(out, "content-type: text/plain\r\ncontent-length: ", 42)
    append_number(out, length + 1)
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
        append(out, "\n", 1)
