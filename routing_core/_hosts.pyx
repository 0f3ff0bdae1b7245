"""The C library reads and writes addresses: its way is the one spelling, also where another one is as good."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, strlen

from routing_core._inet cimport AF_INET6, inet_ntop, inet_pton


cdef uint32_t spell_literal(const char *at, uint32_t length, char *out) noexcept nogil:
    cdef char text[MAX_LITERAL]
    cdef uint8_t address[16]
    if length < 4 or length > MAX_LITERAL or at[length - 1] != c']':
        return 0
    memcpy(text, at + 1, length - 2)
    text[length - 2] = 0
    if inet_pton(AF_INET6, text, address) != 1 or inet_ntop(AF_INET6, address, out + 1, MAX_LITERAL - 2) == NULL:
        return 0
    length = <uint32_t>strlen(out + 1)
    out[0], out[length + 1] = c'[', c']'
    return length + 2


cdef bytes host_key(object host, str what):
    cdef char spelling[MAX_LITERAL]
    cdef bytes text = host.lower().removesuffix(".").encode() if isinstance(host, str) else b""
    cdef bytes name = text[2:] if text.startswith(b"*.") else text
    cdef uint32_t length
    if not name or len(text) > MAX_HOST or name.startswith(b".") or any(code in b"*/ \0" for code in name):
        raise ValueError(f"{what} hosts: must be host.example.com or *.example.com, got {host!r}")
    if text.count(b".") > MAX_LABELS:
        raise ValueError(f"{what} hosts: must have at most {MAX_LABELS} labels, got {host!r}")
    if text.startswith(b"["):
        length = spell_literal(text, <uint32_t>len(text), spelling)
        if length == 0:
            raise ValueError(f"{what} hosts: must have an IPv6 address without a zone in brackets, got {host!r}")
        return spelling[:length]
    return text[1:] if text.startswith(b"*.") else text
