"""Octets: what an octet may be, and the smallest questions about runs of them. Shared by the parsers of heads and of chunks.

Inline, all of it: these are called per octet or per word. Tables and the reason for C stand in _octets.h.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen, strncmp

cdef extern from "_octets.h" nogil:
    const unsigned char token_octets[256]
    const unsigned char name_octets[256]
    const unsigned char host_octets[256]
    const unsigned char hex_octets[256]
    const unsigned char target_octets[256]
    ctypedef struct known_field "struct known_field":
        unsigned char length
        unsigned char id
        char name[28]
    const known_field known_fields[]
    const known_field known_prefixes[]
    const unsigned char field_slots[256]
    const char *const registered_methods[]
    const char *const barred_trailers[]

cdef extern from * nogil:
    int trailing_zeros "__builtin_ctzll"(uint64_t value) noexcept       # not in C11; value must not be 0

cdef extern from "<endian.h>" nogil:
    uint64_t le64toh(uint64_t word) noexcept
    uint64_t htobe64(uint64_t word) noexcept

ctypedef const unsigned char *Octets

# name is in lower case; octet is a token of as many octets.
cdef inline bint is_same(Octets octet, const char *name, size_t length) noexcept nogil:
    cdef size_t i
    for i in range(length):
        if token_octets[octet[i]] != <unsigned char>name[i]:
            return False
    return True

cdef inline bint is_word(Octets octet, size_t length, const char *word) noexcept nogil:
    return length == strlen(word) and is_same(octet, word, length)

# The first octet from at on that no value may have, or HTAB; end when there is none. Eight at a time: a byte below 0x20 borrows into
# its top bit, and so does 0x7f after the exclusive or. Above the first hit a borrow may mark others; the first is exact.
cdef inline Octets find_control(Octets at, Octets end) noexcept nogil:
    cdef uint64_t ones = 0x0101010101010101u
    cdef uint64_t tops = 0x8080808080808080u
    cdef uint64_t word = 0
    cdef uint64_t deleted, found
    while end - at >= 8:
        memcpy(&word, at, 8)
        word = le64toh(word)
        deleted = word ^ (ones * 0x7f)
        found = (((word - ones * 0x20) & ~word) | ((deleted - ones) & ~deleted)) & tops
        if found:
            return at + (trailing_zeros(found) >> 3)
        at += 8
    while at < end and at[0] >= 0x20 and at[0] != 0x7f:
        at += 1
    return at

# The next element of a comma list, without the spaces around it; *at goes behind its comma. False after the last one.
cdef inline bint next_element(Octets *at, Octets end, Octets *element, size_t *length) noexcept nogil:
    if at[0] > end:
        return False
    cdef Octets start = at[0]
    cdef Octets stop = start
    while stop < end and stop[0] != c',':
        stop += 1
    at[0] = stop + 1
    while start < stop and (start[0] == c' ' or start[0] == c'\t'):
        start += 1
    while start < stop and (stop[-1] == c' ' or stop[-1] == c'\t'):
        stop -= 1
    element[0] = start
    length[0] = stop - start
    return True

cdef inline bint is_token(Octets octet, size_t length) noexcept nogil:
    cdef size_t i
    for i in range(length):
        if not token_octets[octet[i]]:
            return False
    return length > 0

# FNV-1a, without letter case.
cdef inline uint64_t hash_name(Octets name, size_t length) noexcept nogil:
    cdef uint64_t hash = 0xcbf29ce484222325u
    cdef size_t i
    for i in range(length):
        hash = (hash ^ token_octets[name[i]]) * 0x100000001b3u
    return hash

cdef inline bint is_same_name(Octets one, Octets other, size_t length) noexcept nogil:
    cdef size_t i
    for i in range(length):
        if token_octets[one[i]] != token_octets[other[i]]:
            return False
    return True

# One decimal number below 10**18; -1 for anything else: signs, lists, spaces, 0x.
cdef inline int64_t number(Octets octet, size_t length) noexcept nogil:
    cdef int64_t value = 0
    cdef size_t i
    if length == 0 or length > 18:
        return -1
    for i in range(length):
        if not c'0' <= octet[i] <= c'9':
            return -1
        value = value * 10 + (octet[i] - c'0')
    return value

# Its number in enum FieldId; 0 when unknown. name is a token, not empty.
cdef inline unsigned int find_field(Octets name, size_t length) noexcept nogil:
    cdef unsigned int slot = (60 * <unsigned int>length + 31 * token_octets[name[length - 1]] + 100 * token_octets[name[0]]
                              + 15 * token_octets[name[length // 2]])
    cdef const known_field *known = known_fields + field_slots[slot & 255]
    if known.length == length and is_same(name, known.name, length):
        return known.id
    if length > 2 and is_same(name, "x-", 2):
        known = known_prefixes
        while known.length > 0:
            if length - 2 > known.length and is_same(name + 2, known.name, known.length):
                return known.id
            known += 1
    return 0

# Whether CGI and its heirs, which read `_` as `-`, take it for a field that is known.
cdef inline bint reads_as_known(Octets name, size_t length) noexcept nogil:
    cdef unsigned char spelled[64]      # longer than any that is known: beyond it only the beginning counts
    cdef size_t i
    length = min(length, <size_t>64)
    for i in range(length):
        spelled[i] = c'-' if name[i] == c'_' else name[i]
    return find_field(spelled, length) != 0

# Its number in registered_methods, which begin as enum Method does; 0 when it is not there. By case (RFC 9110 9.1).
cdef inline unsigned int find_method(const char *name, size_t length) noexcept nogil:
    cdef unsigned int i = 1
    while registered_methods[i] != NULL:
        if strncmp(registered_methods[i], name, length) == 0 and registered_methods[i][length] == 0:
            return i
        i += 1
    return 0

cdef inline bint is_port(Octets at, Octets end) noexcept nogil:
    cdef int port = 0
    if end - at > 5:
        return False
    while at < end:
        if not c'0' <= at[0] <= c'9':
            return False
        port = port * 10 + (at[0] - c'0')
        at += 1
    return port <= 65535

# How many octets of host [":" port] are the host, brackets and all; 0 when it is no such thing: userinfo, paths and lists have an octet
# that no host has. The port may be empty (RFC 3986 3.2.3).
cdef inline size_t find_host(Octets start, Octets end) noexcept nogil:
    cdef Octets at = start
    cdef int colons = 0
    if at < end and at[0] == c'[':
        at += 1
        while at < end and (hex_octets[at[0]] or at[0] == c':' or at[0] == c'.'):
            colons += at[0] == c':'
            at += 1
        if at == end or at[0] != c']' or colons < 2 or colons > 8 or at - start > 46:
            return 0
        at += 1
    else:
        while at < end and host_octets[at[0]]:
            at += 1
        if at - start > 255:
            return 0
    if at < end and not (at[0] == c':' and is_port(at + 1, end)):
        return 0
    return at - start

# prefix is in lower case, and found in any; token_octets has no letter case but knows neither ":" nor "/".
cdef inline bint has_prefix(Octets at, size_t length, const char *prefix, size_t prefix_length) noexcept nogil:
    cdef size_t i
    if length < prefix_length:
        return False
    for i in range(prefix_length):
        if at[i] != <unsigned char>prefix[i] and token_octets[at[i]] != <unsigned char>prefix[i]:
            return False
    return True
