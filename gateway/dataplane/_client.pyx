"""Lists are read twice, from the left: once to count, once to find; so quoted commas (RFC 7239) need no second grammar."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, memset, strlen
from posix.strings cimport strncasecmp

from gateway.dataplane._head cimport FIELD_FORWARDED, FIELD_X_FORWARDED_FOR, RequestHead
from gateway.dataplane._linux cimport AF_INET, AF_INET6, AF_UNIX, getsockname, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage
from gateway.dataplane._settings cimport Prefix, Settings

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address) noexcept
    const char *inet_ntop(int family, const void *address, char *text, uint32_t size) noexcept

cdef enum:
    TEXT_BYTES = 46         # INET6_ADDRSTRLEN
    NOT_FOUND = -1


cdef void set_v4(uint8_t *address, const void *four) noexcept nogil:
    memset(address, 0, 10)
    address[10] = address[11] = 0xff
    memcpy(address + 12, four, 4)


cdef bint is_within(const Prefix *prefix, const uint8_t *address) noexcept nogil:
    cdef int whole = prefix.bits // 8
    cdef int rest = prefix.bits % 8
    if memcmp(prefix.address, address, whole) != 0:
        return False
    return rest == 0 or (prefix.address[whole] ^ address[whole]) >> (8 - rest) == 0


cdef bint is_trusted(const Settings *settings, const uint8_t *address) noexcept nogil:
    cdef int32_t i
    for i in range(settings.n_trusted):
        if is_within(&settings.trusted[i], address):
            return True
    return False


cdef void read_peer(const sockaddr_storage *peer, uint8_t *address) noexcept nogil:
    cdef const uint8_t *loopback = <const uint8_t *>"\x7f\x00\x00\x01"
    if peer.ss_family == AF_INET:
        set_v4(address, &(<const sockaddr_in *>peer).sin_addr)
    elif peer.ss_family == AF_INET6:
        memcpy(address, &(<const sockaddr_in6 *>peer).sin6_addr, 16)
    else:
        set_v4(address, loopback)


cdef int write_address(const uint8_t *address, char *text) noexcept nogil:
    if is_v4(address):
        inet_ntop(AF_INET, address + 12, text, TEXT_BYTES)
    else:
        inet_ntop(AF_INET6, address, text, TEXT_BYTES)
    return <int>strlen(text)


cdef int write_local(int fd, char *text) noexcept nogil:
    cdef sockaddr_storage local
    cdef uint32_t size = sizeof(local)
    cdef uint8_t address[16]
    cdef char host[TEXT_BYTES]
    local.ss_family = AF_UNIX
    getsockname(fd, <sockaddr *>&local, &size)
    if local.ss_family == AF_UNIX:
        return snprintf(text, LOCAL_BYTES, "localhost")
    read_peer(&local, address)
    write_address(address, host)
    # The port lies at the same place in both families.
    return snprintf(text, LOCAL_BYTES, "%s:%u" if is_v4(address) else "[%s]:%u", <char *>host,
                    <unsigned int>ntohs((<sockaddr_in *>&local).sin_port))


cdef bint parse_literal(const char *text, size_t length, uint8_t *address) noexcept nogil:
    cdef char terminated[TEXT_BYTES]
    cdef uint8_t four[4]
    if not 0 < length < TEXT_BYTES:
        return False
    memcpy(terminated, text, length)
    terminated[length] = 0
    if inet_pton(AF_INET, terminated, four) == 1:
        set_v4(address, four)
        return True
    return inet_pton(AF_INET6, terminated, address) == 1


cdef bint parse_address(const char *text, size_t length, uint8_t *address) noexcept nogil:
    cdef const char *colon
    cdef const char *bracket
    if length > 1 and text[0] == c'[':
        bracket = <const char *>memchr(text, c']', length)
        return bracket != NULL and parse_literal(text + 1, bracket - text - 1, address)
    colon = <const char *>memchr(text, c':', length)
    # One colon: IPv4 with a port. Several: IPv6.
    if colon != NULL and memchr(colon + 1, c':', text + length - colon - 1) == NULL:
        length = colon - text
    return parse_literal(text, length, address)


cdef void trim(Span *span) noexcept nogil:
    while span.length > 0 and (span.at[0] == c' ' or span.at[0] == c'\t'):
        span.at += 1
        span.length -= 1
    while span.length > 0 and (span.at[span.length - 1] == c' ' or span.at[span.length - 1] == c'\t'):
        span.length -= 1


cdef size_t element_length(const char *text, size_t length, char separator) noexcept nogil:
    """Up to the separator outside quotes, or to the end."""
    cdef bint is_quoted = False
    cdef size_t i = 0
    while i < length:
        if text[i] == c'"':
            is_quoted = not is_quoted
        elif text[i] == c'\\' and is_quoted:
            i += 1
        elif text[i] == separator and not is_quoted:
            return i
        i += 1
    return length


cdef int find_element(const char *text, const RequestHead *head, uint32_t field_id, int wanted, Span *found) noexcept nogil:
    """Counts the elements of all fields of that name; sets *found to the wanted one."""
    cdef int n = 0
    cdef int32_t i
    cdef Span rest
    cdef size_t length
    for i in range(head.n_fields):
        if head.fields[i].id != field_id or head.fields[i].is_named_by_connection:     # stripped first (RFC 9110 7.6.1)
            continue
        rest.at = text + head.fields[i].value_at
        rest.length = head.fields[i].value_length
        while True:
            length = element_length(rest.at, rest.length, c',')
            if n == wanted:
                found.at = rest.at
                found.length = length
                trim(found)
            n += 1
            if length == rest.length:
                break
            rest.at += length + 1
            rest.length -= length + 1
    return n


cdef bint take_parameter(Span *element, const char *name, size_t name_length) noexcept nogil:
    cdef Span part
    cdef size_t length
    while element.length > 0:
        length = element_length(element.at, element.length, c';')
        part.at = element.at
        part.length = length
        trim(&part)
        if part.length > name_length and strncasecmp(part.at, name, name_length) == 0:
            element.at = part.at + name_length
            element.length = part.length - name_length
            if element.length >= 2 and element.at[0] == c'"' and element.at[element.length - 1] == c'"':
                element.at += 1
                element.length -= 2
            return True
        if length == element.length:
            return False
        element.at += length + 1
        element.length -= length + 1
    return False


cdef bint read_forwarded(const Settings *settings, const char *text, const RequestHead *head, uint8_t *address) noexcept nogil:
    cdef uint32_t field_id = FIELD_FORWARDED if settings.reads_forwarded else FIELD_X_FORWARDED_FOR
    cdef Span found
    cdef int n = find_element(text, head, field_id, NOT_FOUND, &found)
    if settings.forwarded_hops < 1 or n < settings.forwarded_hops:
        return False
    found.length = 0
    find_element(text, head, field_id, n - settings.forwarded_hops, &found)
    if settings.reads_forwarded and not take_parameter(&found, "for=", 4):
        return False
    return parse_address(found.at, found.length, address)
