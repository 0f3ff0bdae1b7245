"""One octet, one transition; data is passed over in one piece, so the cost is that of the bytes, however small the chunks.

What RFC 9112 7.1 lets a recipient tolerate is refused: spaces around the size or in extensions, a bare LF, a bare CR. Whoever is
upstream of us may read these otherwise, and the bytes go there as they came. Trailers that would mean something if someone merged
them into the head are refused too; from an answer they are dropped (RFC 9110 6.5.1), for there nobody is to be warned by its loss.
"""
from libc.string cimport memchr, memcpy, memmove, memset, strlen, strncmp

from gateway.dataplane.http1._octets cimport Octets, barred_trailers, find_field, hex_octets, name_octets, token_octets
from gateway.dataplane.http1._words cimport is_hops_word

cdef enum:
    MAX_DIGITS = 15         # 60 bits: no sum of a size and a count overflows

cdef enum State:
    SIZE
    EXTENSION               # behind ";"
    EXTENSION_NAME
    EXTENSION_VALUE         # behind "="
    EXTENSION_TOKEN
    EXTENSION_QUOTED
    EXTENSION_ESCAPED       # behind a backslash in quotes
    EXTENSION_UNQUOTED      # behind the closing quote
    SIZE_LF
    DATA
    DATA_CR
    DATA_LF
    TRAILER                 # a line begins
    TRAILER_NAME
    TRAILER_VALUE
    TRAILER_LF
    LAST_LF
    OVER
    BROKEN


cdef void begin_chunks(Chunks *chunks) noexcept nogil:
    memset(chunks, 0, sizeof(Chunks))


cdef inline bint go(Chunks *chunks, State state) noexcept nogil:
    chunks.state = state
    return True


cdef inline bint is_within(Chunks *chunks, bint is_so) noexcept nogil:
    """Of a limit that is ours alone: the grammar knows none."""
    chunks.is_over_limit = not is_so
    return is_so


cdef bint end_size(Chunks *chunks) noexcept nogil:
    # Extensions are nobody's data: a sender may not keep us busy with them (CVE-2026-22815), but one that signs each of its large
    # chunks may go on for ever.
    chunks.excess += chunks.extension_bytes
    chunks.excess = max(chunks.excess - chunks.left, <int64_t>0)
    chunks.extension_bytes = 0
    chunks.digits = 0
    return is_within(chunks, chunks.excess <= MAX_EXCESS_BYTES) and go(chunks, DATA if chunks.left else TRAILER)


cdef bint take_size(Chunks *chunks, unsigned char octet) noexcept nogil:
    if hex_octets[octet]:
        if not is_within(chunks, chunks.digits < MAX_DIGITS):
            return False
        chunks.digits += 1
        chunks.left = chunks.left * 16 + (hex_octets[octet] - 1)
        return True
    if chunks.digits == 0:
        return False
    if octet == c'\r':
        return go(chunks, SIZE_LF)
    return octet == c';' and go(chunks, EXTENSION)


cdef inline bint end_extension(Chunks *chunks, unsigned char octet) noexcept nogil:
    if octet == c'\r':
        return go(chunks, SIZE_LF)
    return octet == c';' and go(chunks, EXTENSION)


cdef bint take_extension(Chunks *chunks, unsigned char octet) noexcept nogil:
    if octet != c'\r':
        chunks.extension_bytes += 1
        if not is_within(chunks, chunks.extension_bytes < MAX_EXTENSION_BYTES):     # the ";" before it was not counted
            return False
    if chunks.state == EXTENSION:
        return token_octets[octet] and go(chunks, EXTENSION_NAME)
    if chunks.state == EXTENSION_NAME:
        if octet == c'=':
            return go(chunks, EXTENSION_VALUE)
        return token_octets[octet] or end_extension(chunks, octet)
    if chunks.state == EXTENSION_VALUE:
        if octet == c'"':
            return go(chunks, EXTENSION_QUOTED)
        return token_octets[octet] and go(chunks, EXTENSION_TOKEN)
    if chunks.state == EXTENSION_TOKEN:
        return token_octets[octet] or end_extension(chunks, octet)
    if chunks.state == EXTENSION_QUOTED:
        if octet == c'"':
            return go(chunks, EXTENSION_UNQUOTED)
        if octet == c'\\':
            return go(chunks, EXTENSION_ESCAPED)
        return octet == c'\t' or (octet >= 0x20 and octet != 0x7f)
    if chunks.state == EXTENSION_ESCAPED:
        return (octet == c'\t' or (octet >= 0x20 and octet != 0x7f)) and go(chunks, EXTENSION_QUOTED)
    return end_extension(chunks, octet)


cdef bint is_barred(const char *name, size_t length) noexcept nogil:
    cdef const char *const *barred = barred_trailers
    cdef size_t known
    while barred[0] != NULL:
        known = strlen(barred[0])
        if barred[0][known - 1] == c'*':
            if length >= known - 1 and strncmp(name, barred[0], known - 1) == 0:
                return True
        elif length == known and strncmp(name, barred[0], known) == 0:
            return True
        barred += 1
    return is_hops_word(<uint8_t>find_field(<Octets>name, length))


cdef bint may_go_down(const char *name, size_t length) noexcept nogil:
    cdef char spelled[MAX_TRAILER_NAME]     # longer than any that is barred
    cdef size_t known = min(length, <size_t>MAX_TRAILER_NAME)
    cdef size_t i
    for i in range(known):
        spelled[i] = <char>token_octets[<unsigned char>name[i]]
    return memchr(name, c'_', length) == NULL and not is_barred(spelled, known)


cdef size_t drop_trailers(char *text, size_t length) noexcept nogil:
    cdef size_t kept = 0
    cdef size_t at = 0
    cdef size_t line, name
    while text[at] != c'\r':
        name = <char *>memchr(text + at, c':', length - at) - (text + at)
        line = <char *>memchr(text + at, c'\n', length - at) + 1 - (text + at)
        if may_go_down(text + at, name):
            memmove(text + kept, text + at, line)
            kept += line
        at += line
    memcpy(text + kept, "\r\n", 2)
    return kept + 2


# What begins a line, and what ends it.
cdef bint take_trailer_edge(Chunks *chunks, unsigned char octet) noexcept nogil:
    if chunks.state == TRAILER_LF:
        return octet == c'\n' and go(chunks, TRAILER)
    if chunks.state == LAST_LF:
        return octet == c'\n' and go(chunks, OVER)
    if octet == c'\r':
        return go(chunks, LAST_LF)
    if not chunks.is_of_answer:
        chunks.n_trailers += 1
        chunks.name_length = 0
    return chunks.n_trailers <= MAX_TRAILERS and octet != c':' and go(chunks, TRAILER_NAME) and take_trailer(chunks, octet)


cdef bint take_trailer(Chunks *chunks, unsigned char octet) noexcept nogil:
    if chunks.state == TRAILER_VALUE:
        if octet == c'\r':
            return go(chunks, TRAILER_LF)
        return octet == c'\t' or (octet >= 0x20 and octet != 0x7f)
    if chunks.is_of_answer:
        return token_octets[octet] or (octet == c':' and go(chunks, TRAILER_VALUE))
    if octet == c':':
        return not is_barred(chunks.name, chunks.name_length) and go(chunks, TRAILER_VALUE)
    if not name_octets[octet] or chunks.name_length == MAX_TRAILER_NAME:
        return False
    chunks.name[chunks.name_length] = <char>name_octets[octet]
    chunks.name_length += 1
    return True


# False: the octet may not stand here.
cdef bint take_octet(Chunks *chunks, unsigned char octet) noexcept nogil:
    if chunks.state == SIZE:
        return take_size(chunks, octet)
    if chunks.state == SIZE_LF:
        return octet == c'\n' and end_size(chunks)
    if chunks.state == DATA_CR:
        return octet == c'\r' and go(chunks, DATA_LF)
    if chunks.state == DATA_LF:
        return octet == c'\n' and go(chunks, SIZE)
    if chunks.state < SIZE_LF:
        return take_extension(chunks, octet)
    if not is_within(chunks, chunks.trailer_bytes < MAX_TRAILER_BYTES):
        return False
    if not (take_trailer(chunks, octet) if chunks.state == TRAILER_NAME or chunks.state == TRAILER_VALUE
            else take_trailer_edge(chunks, octet)):
        return False
    chunks.trailer_bytes += 1
    return True


cdef Step feed_chunks(Chunks *chunks, const char *text, size_t length, size_t *taken, size_t *data_at,
                      size_t *data_length) noexcept nogil:
    cdef size_t at = 0
    data_at[0] = 0
    data_length[0] = 0
    while chunks.state < OVER and at < length:
        if chunks.state == DATA:
            data_at[0] = at
            data_length[0] = <size_t>min(chunks.left, <int64_t>(length - at))
            chunks.left -= <int64_t>data_length[0]
            if chunks.left == 0:
                chunks.state = DATA_CR
            taken[0] = at + data_length[0]
            return CHUNK_DATA
        if not take_octet(chunks, <unsigned char>text[at]):
            chunks.state = BROKEN
        else:
            at += 1
    taken[0] = at
    if chunks.state == OVER:
        return CHUNK_END
    return CHUNK_BAD if chunks.state == BROKEN else CHUNK_NEED
