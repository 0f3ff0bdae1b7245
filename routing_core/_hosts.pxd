"""Hosts: one spelling for the addresses among them, however a request or a configuration writes them.

`[0:0:0:0:0:0:0:1]`, `[::1]` and `[0::1]` are one host, and so are `[::FFFF:192.0.2.1]` and `[::ffff:c000:201]` (RFC 5952). Names are not
touched, and neither are IPv4 addresses: four numbers are how everybody writes those.
"""
from libc.stdint cimport uint32_t

cdef enum:
    MAX_HOST = 255              # bytes: longer ones are no DNS name, and are no one's
    MAX_LABELS = 128
    MAX_LITERAL = 48            # INET6_ADDRSTRLEN, brackets for the NUL

# Of a host that begins with a bracket. How long the spelling in out is, brackets and all; 0: it is no IPv6 address, or has a zone, which
# means nothing on another machine.
cdef uint32_t spell_literal(const char *at, uint32_t length, char *out) noexcept nogil
# How a configured host is kept: lower case, a wildcard as its suffix. ValueError: it is none; `what` says whose it is.
cdef bytes host_key(object host, str what)
