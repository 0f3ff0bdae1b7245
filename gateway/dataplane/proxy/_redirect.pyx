"""Whether to redirect is a matter of hosts: those that the request came by, against those of the table's PoPs.

A loop is worse than a detour, so what is in doubt is passed on: a request without a host; one whose host a proxy in front has replaced,
by the host that the proxy says it had; one whose host is a PoP's but for a port that a proxy may have stripped. Upgrades are passed on
too: browsers follow no redirect of a WebSocket.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._client cimport Span, first_element, parse_address, take_parameter
from gateway.dataplane.http1._octets cimport Octets, find_host, has_prefix, number, token_octets
from gateway.dataplane.http1._words cimport FIELD_FORWARDED, FIELD_X_FORWARDED_HOST, METHOD_GET, METHOD_HEAD
from gateway.dataplane.proxy._answer cimport append_own_fields, room_for_own_fields
from gateway.dataplane.proxy._attempts cimport begin_reply, drive
from gateway.dataplane.proxy._forward cimport append, append_number, append_persistence, append_target, end_head
from gateway.dataplane.proxy._reply cimport append_date
from routing_core._layout cimport TableData, Text

cdef struct Authority:
    Octets host
    size_t length           # of the host, brackets and all; 0: it is none
    int64_t port            # 0: not said


cdef void read_authority(const char *at, size_t length, Authority *out) noexcept nogil:
    cdef Octets end = <Octets>at + length
    out.host = <Octets>at
    out.length = find_host(out.host, end)
    out.port = 0
    if out.length > 0 and out.length + 1 < length:
        out.port = number(out.host + out.length + 1, length - out.length - 1)
    if out.length > 1 and out.host[out.length - 1] == c'.':     # the root's dot
        out.length -= 1


cdef void read_url(const Text *url, Authority *out) noexcept nogil:
    """Of a PoP, which ends behind its authority."""
    cdef Octets at = <Octets>url.at
    out.length = 0
    if has_prefix(at, url.length, "https://", 8):
        read_authority(url.at + 8, url.length - 8, out)
        out.port = out.port if out.port else 443
    elif has_prefix(at, url.length, "http://", 7):
        read_authority(url.at + 7, url.length - 7, out)
        out.port = out.port if out.port else 80


cdef bint is_same_host(const Authority *one, const Authority *other) noexcept nogil:
    cdef uint8_t addresses[32]
    cdef size_t i = 0
    if one.host[0] == c'[' and other.host[0] == c'[':   # browsers write an address in their own way
        return (parse_address(<const char *>one.host, one.length, addresses)
                and parse_address(<const char *>other.host, other.length, addresses + 16)
                and memcmp(addresses, <uint8_t *>addresses + 16, 16) == 0)
    if one.length != other.length:
        return False
    while i < one.length and token_octets[one.host[i]] == token_octets[other.host[i]]:
        i += 1
    return i == one.length


cdef bint is_any_pops(const TableData *table, const char *at, size_t length) noexcept nogil:
    """Whether a host, with its port if it was said, is the public one of a PoP."""
    cdef Authority came
    cdef Authority public
    cdef int32_t i
    read_authority(at, length, &came)
    if came.length == 0:
        return False
    for i in range(table.n_pops):
        read_url(&table.pops[i].public_url, &public)
        if public.length > 0 and (came.port == 0 or came.port == public.port) and is_same_host(&came, &public):
            return True
    return False


cdef bint came_by_a_pop(const TableData *table, const char *text, const RequestHead *head) noexcept nogil:
    cdef Span named
    if is_any_pops(table, text + head.authority_at, head.authority_length):
        return True
    # In front of the first proxy. Anyone may say so: whoever lies is served all the same.
    if first_element(text, head, FIELD_X_FORWARDED_HOST, &named) and is_any_pops(table, named.at, named.length):
        return True
    return (first_element(text, head, FIELD_FORWARDED, &named) and take_parameter(&named, "host=", 5)
            and is_any_pops(table, named.at, named.length))


cdef bint may_redirect(const Exchange *exchange, const char *text, const RequestHead *head) noexcept nogil:
    cdef const Route *route = exchange.route
    cdef Authority public
    if route.redirect_status == 0 or not (route.redirects_all or head.method == METHOD_GET or head.method == METHOD_HEAD):
        return False
    if head.is_upgrade or head.is_asterisk or head.host_length == 0:
        return False
    read_url(&exchange.pool.pop.public_url, &public)
    return public.length > 0 and not came_by_a_pop(exchange.snapshot.table, text, head)


cdef void compose_redirect(Buffer *out, const Exchange *exchange, const char *text, const RequestHead *head) noexcept nogil:
    cdef const Text *url = &exchange.pool.pop.public_url
    cdef bint close = exchange.downstream.must_close
    append(out, "HTTP/1.1 ", 9)
    append_number(out, exchange.status)
    if exchange.status == 308:
        append(out, " Permanent Redirect\r\nlocation: ", 31)
    else:
        append(out, " Temporary Redirect\r\nlocation: ", 31)
    append(out, url.at, url.length)
    append_target(out, text, head)
    # The next request may be better off elsewhere; a cache would answer it, and others', with this PoP.
    append(out, "\r\ncache-control: no-store\r\ncontent-length: 0\r\n", 46)
    append_date(out)
    append_persistence(out, close, exchange.minor == 0 and not close)
    append_own_fields(out, exchange)
    end_head(out)


cdef bint redirect(Core *core, Exchange *exchange, const char *text, const RequestHead *head) noexcept nogil:
    cdef uint32_t room
    if not may_redirect(exchange, text, head):
        return False
    room = exchange.pool.pop.public_url.length + head.target_length + room_for_own_fields(exchange)
    if room > <uint32_t>LARGE_BYTES:
        return False
    if begin_reply(core, exchange, exchange.route.redirect_status, False, room):
        compose_redirect(&exchange.down.head, exchange, text, head)
        drive(core, exchange)
    return True
