"""Who is counted from the right is read from the right: what a client wrote ahead of its hop is never looked at, whatever quotes it has."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, memset, strlen
from posix.strings cimport strncasecmp

from gateway.dataplane.http1._head cimport RequestHead
from gateway.dataplane.http1._words cimport Field, FIELD_FORWARDED, FIELD_X_FORWARDED_FOR
from gateway.dataplane.shared._settings cimport Prefix, Settings
from gateway.dataplane.transport._linux cimport (
    AF_INET, AF_INET6, AF_UNIX, ntohs, sockaddr_in, sockaddr_in6, sockaddr_storage)

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address) noexcept
    const char *inet_ntop(int family, const void *address, char *text, uint32_t size) noexcept

cdef enum:
    TEXT_BYTES = 46         # INET6_ADDRSTRLEN
    V4_BITS = 96            # before an IPv4 address


cdef void set_v4(uint8_t *address, const void *four) noexcept nogil:
    memset(address, 0, 10)
    address[10] = address[11] = 0xff
    memcpy(address + 12, four, 4)


cdef bint is_within(const Prefix *prefix, const uint8_t *address) noexcept nogil:
    cdef int whole = prefix.bits // 8
    cdef int rest = prefix.bits % 8
    if prefix.bits < V4_BITS and is_v4(address):    # a short prefix of IPv6 holds ::ffff:0:0/96, and is of IPv6 clients all the same
        return False
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


cdef int write_local(const sockaddr_storage *local, char *text) noexcept nogil:
    cdef uint8_t address[16]
    cdef char host[TEXT_BYTES]
    if local.ss_family == AF_UNIX:
        return snprintf(text, LOCAL_BYTES, "localhost")
    read_peer(local, address)
    write_address(address, host)
    # The port lies at the same place in both families.
    return snprintf(text, LOCAL_BYTES, "%s:%u" if is_v4(address) else "[%s]:%u", <char *>host,
                    <unsigned int>ntohs((<const sockaddr_in *>local).sin_port))


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


cdef bint is_port(const char *text, size_t length) noexcept nogil:
    """":" and one to five digits, to the end."""
    cdef size_t i
    if not 2 <= length <= 6 or text[0] != c':':
        return False
    for i in range(1, length):
        if not c'0' <= text[i] <= c'9':
            return False
    return True


cdef bint parse_address(const char *text, size_t length, uint8_t *address) noexcept nogil:
    cdef const char *end
    cdef size_t rest
    if length > 1 and text[0] == c'[':
        end = <const char *>memchr(text, c']', length)
        if end == NULL or memchr(text, c':', end - text) == NULL:       # brackets are for IPv6
            return False
        rest = text + length - end - 1
        return (rest == 0 or is_port(end + 1, rest)) and parse_literal(text + 1, end - text - 1, address)
    end = <const char *>memchr(text, c':', length)
    rest = 0 if end == NULL else text + length - end
    # One colon: IPv4 with a port. Several: IPv6.
    if end == NULL or memchr(end + 1, c':', rest - 1) != NULL:
        return parse_literal(text, length, address)
    return is_port(end, rest) and parse_literal(text, end - text, address)


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


cdef bint is_said(const Field *field, uint32_t field_id) noexcept nogil:
    return field.id == field_id and not field.is_named_by_connection      # what Connection names is stripped first (RFC 9110 7.6.1)


cdef bint first_element(const char *text, const RequestHead *head, uint32_t field_id, Span *found) noexcept nogil:
    cdef int32_t i
    for i in range(head.n_fields):
        if is_said(&head.fields[i], field_id):
            found.at = text + head.fields[i].value_at
            found.length = element_length(found.at, head.fields[i].value_length, c',')
            trim(found)
            return True
    return False


cdef size_t last_comma(const char *text, size_t length, bint has_quotes) noexcept nogil:
    """How many octets stand behind the last comma outside quotes; more than there are: a quote without its other half.

    From the right a quoted string ends at a quote with no backslash ahead of it, and begins behind "=" (RFC 7239 4).
    """
    cdef bint is_quoted = False
    cdef size_t i = length
    while i > 0:
        i -= 1
        if text[i] == c'"' and has_quotes:
            if not is_quoted:
                is_quoted = True
            elif i == 0 or text[i - 1] != c'\\':
                if i == 0 or text[i - 1] != c'=':
                    return length + 1
                is_quoted = False
        elif text[i] == c',' and not is_quoted:
            return length - i - 1
    return length + 1 if is_quoted else length


cdef bint nth_from_right(const char *text, const RequestHead *head, uint32_t field_id, int wanted, Span *found) noexcept nogil:
    """wanted: 1 for the last element of the last field of that name. False: fewer than that, or one on the way is malformed."""
    cdef int32_t i = head.n_fields
    cdef size_t rest, length
    while i > 0:
        i -= 1
        if not is_said(&head.fields[i], field_id):
            continue
        rest = head.fields[i].value_length
        while True:
            found.at = text + head.fields[i].value_at
            length = last_comma(found.at, rest, field_id == FIELD_FORWARDED)
            if length > rest:
                return False
            wanted -= 1
            if wanted == 0:
                found.at += rest - length
                found.length = length
                trim(found)
                return True
            if length == rest:
                break
            rest -= length + 1
    return False


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


cdef bint find_forwarded(const Settings *settings, const char *text, const RequestHead *head, Span *found) noexcept nogil:
    cdef uint32_t field_id = FIELD_FORWARDED if settings.reads_forwarded else FIELD_X_FORWARDED_FOR
    return settings.forwarded_hops >= 1 and nth_from_right(text, head, field_id, settings.forwarded_hops, found)


cdef bint read_forwarded(const Settings *settings, const char *text, const RequestHead *head, uint8_t *address) noexcept nogil:
    cdef Span found
    if not find_forwarded(settings, text, head, &found):
        return False
    if settings.reads_forwarded and not take_parameter(&found, "for=", 4):
        return False
    return parse_address(found.at, found.length, address)
