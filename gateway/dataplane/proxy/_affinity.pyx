"""Hashes, and the cookies of a request (RFC 6265 5.4): `name=value` pairs between semicolons, names by case, values as they were given.

Of several cookies of one name the first counts, as user agents put the one of the longest path first; when it is stale or forged the
request has none. A value in quotes is another value.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._client cimport Span, find_forwarded, first_element, is_v4, take_parameter
from gateway.dataplane.http1._octets cimport is_word, token_octets
from gateway.dataplane.http1._words cimport (FIELD_COOKIE, FIELD_X_FORWARDED_PROTO, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, Field,
                                             says_nothing)
from gateway.dataplane.proxy._forward cimport append
from gateway.dataplane.shared._settings cimport Settings
from routing_core._layout cimport BY_COOKIE, BY_HEADER, NO_AFFINITY, Pop, Text

ctypedef const unsigned char *Octets

cdef enum:
    COOKIE_PUNCTUATION = 23     # of "set-cookie: ", "=", "; Secure" and CRLF


# SplitMix64's finaliser (Stafford's thirteenth variant): one to one, so 0 comes of 0 alone.
cdef inline uint64_t mixed(uint64_t value) noexcept nogil:
    value = (value ^ (value >> 30)) * <uint64_t>0xBF58476D1CE4E5B9u
    value = (value ^ (value >> 27)) * <uint64_t>0x94D049BB133111EBu
    return value ^ (value >> 31)


# Of its /24 or /48: whoever has one address has the others of it too, and phones change theirs within it.
cdef uint64_t key_of_client(const uint8_t *address) noexcept nogil:
    cdef bint is_short = is_v4(address)
    cdef uint64_t network = 1 if is_short else 2
    cdef int i
    for i in range(3 if is_short else 6):
        network = (network << 8) | address[12 + i if is_short else i]
    return mixed(network)


# Eight bytes a step: a value may be as long as a head. 0 for an empty one, which says nothing of anyone.
cdef uint64_t key_of_value(const char *value, size_t length) noexcept nogil:
    cdef uint64_t key = length
    cdef uint64_t word = 0
    cdef bint is_empty = length == 0
    while length >= 8:
        memcpy(&word, value, 8)
        key = mixed(key ^ word)
        value += 8
        length -= 8
    word = 0
    memcpy(&word, value, length)
    key = mixed(key ^ word)
    return key if key or is_empty else 1    # 0 is the key of nothing


cdef bint is_named(const char *text, const Field *field, const Text *name) noexcept nogil:
    cdef Octets one = <Octets>text + field.name_at
    cdef Octets other = <Octets>name.at
    cdef uint32_t i = 0
    if field.name_length != name.length:
        return False
    while i < name.length and token_octets[one[i]] == token_octets[other[i]]:
        i += 1
    return i == name.length


cdef uint64_t find_header_key(const char *text, const RequestHead *head, const Text *name, bint is_trusted) noexcept nogil:
    """Of the first field of that name that may say anything."""
    cdef int32_t i
    for i in range(head.n_fields):
        if not says_nothing(head.fields[i].id, is_trusted) and is_named(text, &head.fields[i], name):
            return key_of_value(text + head.fields[i].value_at, head.fields[i].value_length)
    return 0


cdef bint find_in_field(const char *at, const char *end, const Text *name, Text *value) noexcept nogil:
    cdef const char *stop
    cdef const char *following
    while True:
        while at < end and (at[0] == c' ' or at[0] == c'\t' or at[0] == c';'):     # a head may be full of nothing else
            at += 1
        if at == end:
            return False
        stop = <const char *>memchr(at, c';', end - at)
        if stop == NULL:
            stop = end
        following = stop
        while stop[-1] == c' ' or stop[-1] == c'\t':
            stop -= 1
        if stop - at > <int32_t>name.length and at[name.length] == c'=' and memcmp(at, name.at, name.length) == 0:
            value.at = at + name.length + 1
            value.length = <uint32_t>(stop - value.at)
            return True
        at = following


cdef bint find_cookie(const char *text, const RequestHead *head, const Text *name, Text *value) noexcept nogil:
    cdef const char *at
    cdef int32_t i
    for i in range(head.n_fields):
        if head.fields[i].id == FIELD_COOKIE:
            at = text + head.fields[i].value_at
            if find_in_field(at, at + head.fields[i].value_length, name, value):
                return True
    return False


cdef const Pop *find_named_pop(const TableData *table, const Text *value) noexcept nogil:
    cdef const Text *cookie
    cdef int32_t i
    for i in range(table.n_pops):
        cookie = &table.pops[i].cookie
        if cookie.length > 0 and cookie.length == value.length and memcmp(cookie.at, value.at, value.length) == 0:
            return &table.pops[i]
    return NULL


cdef bint is_over_tls(const Exchange *exchange, const char *text, const RequestHead *head) noexcept nogil:
    """As a trusted hop says. Of a list the first word is the client's own scheme; who forges it spoils a cookie of his own."""
    cdef const Settings *settings = exchange.snapshot.settings
    cdef Span said
    if not exchange.downstream.connection.is_trusted:
        return False
    if settings.reads_forwarded:
        if not (find_forwarded(settings, text, head, &said) and take_parameter(&said, "proto=", 6)):
            return False
    elif not first_element(text, head, FIELD_X_FORWARDED_PROTO, &said):
        return False
    return is_word(<Octets>said.at, said.length, "https")


cdef void ask(const TableData *table, Exchange *exchange, const char *text, const RequestHead *head, Asked *out) noexcept nogil:
    cdef const Route *route = exchange.route
    cdef Text value
    out.client = &exchange.location
    out.client_key = 0
    out.header_key = 0
    out.kept = NULL
    out.n_left_out = 0
    # Safe methods (RFC 9110 9.2.1) alone, and nothing that goes on for as long as its client likes.
    out.may_explore = not exchange.is_upgrade and (
        exchange.method == METHOD_GET or exchange.method == METHOD_HEAD or exchange.method == METHOD_OPTIONS)
    if route.affinity != NO_AFFINITY or route.is_split_sticky:
        out.client_key = key_of_client(exchange.client)
    if route.affinity == BY_HEADER:
        out.header_key = find_header_key(text, head, &route.affinity_name, exchange.downstream.connection.is_trusted)
    elif route.affinity == BY_COOKIE:
        exchange.is_over_tls = route.is_secure_over_tls and is_over_tls(exchange, text, head)
        if find_cookie(text, head, &route.affinity_name, &value):
            out.kept = find_named_pop(table, &value)


# By what the client has: a PoP may be of a newer table than that by which it was named.
cdef inline bint has_cookie_of(const Pop *kept, const Pop *pop) noexcept nogil:
    return kept == pop or (kept != NULL and kept.cookie.length == pop.cookie.length
                           and memcmp(kept.cookie.at, pop.cookie.at, pop.cookie.length) == 0)


cdef uint32_t cookie_bytes(const Exchange *exchange) noexcept nogil:
    cdef const Route *route = exchange.route
    cdef const Pop *pop = exchange.pool.pop
    if route.affinity != BY_COOKIE or pop.cookie.length == 0 or has_cookie_of(exchange.asked.kept, pop):
        return 0
    return route.affinity_name.length + pop.cookie.length + route.cookie_attributes.length + <uint32_t>COOKIE_PUNCTUATION


cdef void append_cookie(Buffer *out, const Exchange *exchange) noexcept nogil:
    cdef const Route *route = exchange.route
    if cookie_bytes(exchange) == 0:
        return
    append(out, "set-cookie: ", 12)
    append(out, route.affinity_name.at, route.affinity_name.length)
    append(out, "=", 1)
    append(out, exchange.pool.pop.cookie.at, exchange.pool.pop.cookie.length)
    append(out, route.cookie_attributes.at, route.cookie_attributes.length)
    append(out, "; Secure\r\n" if exchange.is_over_tls else "\r\n", 10 if exchange.is_over_tls else 2)


def client_key(bytes address not None) -> int:
    """Of 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    cdef const uint8_t *octets = address
    if len(address) != 16:
        raise ValueError(f"address: must have 16 bytes, got {len(address)}")
    return key_of_client(octets)


def header_key(bytes value not None) -> int:
    """Of a header's value; 0 when it is empty."""
    return key_of_value(value, len(value))
