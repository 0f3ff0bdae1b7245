"""Affinity: what keeps a client where it was: keys of its network and of a header, the PoP that its cookie names, and that cookie.

It reads a request's head and adds to an answer's. Must not know how a PoP is chosen, nor sockets.
Keys are the same in each gateway and after each start: no secret is in them, and what all clients of a key could do to one PoP is
bounded where the choice is made. Nor is a cookie's value anyone's secret: it names a PoP, the same for all who are sent there.
"""
from libc.stdint cimport uint32_t

from gateway.dataplane._core cimport Buffer, Exchange
from gateway.dataplane.http1._head cimport RequestHead
from routing_core._decision cimport Asked
from routing_core._layout cimport TableData

# Of a request whose route, client and location are known: what the route needs for the choice, the rest zero.
# The Asked points into the exchange, which learns how the client came.
cdef void ask(const TableData *table, Exchange *exchange, const char *text, const RequestHead *head, Asked *out) noexcept nogil
# At most how many bytes the Set-Cookie line has that the answer of exchange.pool gets; 0: none, since the client has that cookie or none is
# to be given.
cdef uint32_t cookie_bytes(const Exchange *exchange) noexcept nogil
cdef void append_cookie(Buffer *out, const Exchange *exchange) noexcept nogil
