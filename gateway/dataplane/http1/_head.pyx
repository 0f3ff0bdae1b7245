"""A head is walked once, octet by octet through tables, and judged line by line, so that what is wrong is refused as soon as it is seen.

Strict throughout (RFC 9112): two parsers that read one head differently are how requests are smuggled, so what could be read in two
ways is refused, not repaired. The path is the one thing passed on as it came: no decoding, no removal of dots or of double slashes,
and routes match that same raw form. `%2f`, `%5c` and `..` therefore reach the upstream as the client wrote them; a backslash, `%00`,
`%0a` and `%0d` in the path are refused. In the query they are data.

Over 400 lines: one walk, and what is judged on it.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memset

from gateway.dataplane.http1._octets cimport (
    Octets, find_field, find_host, find_method, has_prefix, hash_name, hex_octets, is_same, is_same_name, is_token, is_word, name_octets,
    next_element, number, target_octets, token_octets)
from gateway.dataplane.http1._walk cimport Walk, begin_walk, refuse, take_line_end, take_name, take_text, take_value, take_version
from gateway.dataplane.http1._words cimport *

cdef enum:
    MAX_METHOD = 24                 # the longest registered one has 17
    MAX_CONNECTION_OPTIONS = 64     # nobody needs as many

# A host with its port, in the text.
cdef struct Host:
    uint32_t at
    uint32_t length
    uint32_t authority_length

# What the fields of either kind of head say.
cdef struct Fields:
    Field *list             # of the head
    int32_t n
    Octets names            # the table of octets that a name may have
    bint is_request
    int minor
    bint has_host
    Host host
    int64_t content_length
    bint has_coding
    int n_options           # of Connection, all lines together
    bint has_other_options  # than close, keep-alive, upgrade
    bint close
    bint keep_alive
    bint upgrade_asked
    bint has_upgrade
    bint has_h2c
    bint has_expect
    int n_underscored


cdef uint16_t status_of(RejectCause cause) noexcept nogil:
    if cause == CAUSE_VERSION:
        return 505
    if cause == CAUSE_METHOD_UNKNOWN or cause == CAUSE_CODING_UNKNOWN:
        return 501
    if cause == CAUSE_METHOD_REFUSED:
        return 405
    if cause == CAUSE_EXPECT:
        return 417
    if cause == CAUSE_TARGET_TOO_LONG:
        return 414
    if cause == CAUSE_HEAD_TOO_LARGE or cause == CAUSE_TOO_MANY_FIELDS:
        return 431
    return 400


cdef bint is_idempotent(Method method) noexcept nogil:
    return method == METHOD_GET or method == METHOD_HEAD or method == METHOD_PUT or method == METHOD_DELETE \
        or method == METHOD_OPTIONS or method == METHOD_TRACE


# Up to the space behind the target. Where the query begins is noted on the way, and what its path must not hold is refused.
cdef Verdict take_target(Walk *walk, RequestHead *head) noexcept nogil:
    cdef Octets at = walk.at
    cdef Octets end = walk.end
    cdef Octets query = NULL
    cdef unsigned char value
    while True:
        while at < end and target_octets[at[0]] == 1:
            at += 1
        if at == end:
            return NEED_DATA
        if target_octets[at[0]] == 0 and not (at[0] >= 0x80 and walk.takes_non_ascii):
            break
        if query == NULL:
            if at[0] == c'?':
                query = at
            elif at[0] >= 0x80:
                pass
            elif at[0] == c'\\':
                return refuse(walk, CAUSE_PATH)
            else:
                if end - at < 3:
                    return NEED_DATA
                if hex_octets[at[1]] and hex_octets[at[2]]:
                    value = <unsigned char>((hex_octets[at[1]] - 1) * 16 + hex_octets[at[2]] - 1)
                    if value == 0 or value == c'\n' or value == c'\r':
                        return refuse(walk, CAUSE_PATH)
        at += 1
    if at[0] != c' ':       # a line that ends here is HTTP/0.9
        return refuse(walk, CAUSE_START_LINE if at[0] == c'\r' or at[0] == c'\n' else CAUSE_TARGET)
    if at == walk.at:
        return refuse(walk, CAUSE_START_LINE)
    head.target_at = <uint32_t>(walk.at - walk.text)
    head.target_length = <uint32_t>(at - walk.at)
    head.path_at = head.target_at
    head.path_length = head.target_length if query == NULL else <uint32_t>(query - walk.at)
    head.query_at = head.target_at + head.path_length + (query != NULL)
    head.query_length = head.target_at + head.target_length - head.query_at
    walk.at = at + 1
    return WHOLE


cdef bint take_authority(Walk *walk, Octets start, Octets end, Host *host) noexcept nogil:
    host.at = <uint32_t>(start - walk.text)
    host.length = <uint32_t>find_host(start, end)
    host.authority_length = <uint32_t>(end - start)
    return host.length > 0


# The authority of the absolute form, cut off the path.
cdef bint take_absolute(Walk *walk, RequestHead *head, size_t scheme_length, Host *host) noexcept nogil:
    cdef Octets start = walk.text + head.target_at + scheme_length
    cdef Octets end = walk.text + head.path_at + head.path_length
    cdef Octets slash = start
    while slash < end and slash[0] != c'/':
        slash += 1
    head.is_absolute = True
    head.path_at = <uint32_t>(slash - walk.text)
    head.path_length = <uint32_t>(end - slash)
    return take_authority(walk, start, slash, host)


cdef RejectCause judge_target(Walk *walk, RequestHead *head, Host *host) noexcept nogil:
    cdef Octets target = walk.text + head.target_at
    cdef size_t scheme_length = 0
    if target[0] == c'/':
        return CAUSE_NONE
    if target[0] == c'*' and head.target_length == 1 and head.method == METHOD_OPTIONS:
        head.is_asterisk = True
        return CAUSE_NONE
    if has_prefix(target, head.path_length, "http://", 7):
        scheme_length = 7
    elif has_prefix(target, head.path_length, "https://", 8):
        scheme_length = 8
    else:
        return CAUSE_TARGET
    if not take_absolute(walk, head, scheme_length, host):
        return CAUSE_HOST
    # RFC 9112 3.2.4: the last proxy makes it "*".
    head.is_asterisk = head.method == METHOD_OPTIONS and head.path_length == 0 and head.query_length == 0
    return CAUSE_NONE


cdef Verdict take_method(Walk *walk, RequestHead *head) noexcept nogil:
    cdef Octets at = walk.at
    while at < walk.end and token_octets[at[0]]:
        at += 1
    head.method_at = <uint32_t>(walk.at - walk.text)
    head.method_length = <uint32_t>(at - walk.at)
    if head.method_length > MAX_METHOD:
        return refuse(walk, CAUSE_METHOD_UNKNOWN)
    if at == walk.end:
        return NEED_DATA
    if at[0] != c' ' or at == walk.at:
        return refuse(walk, CAUSE_START_LINE)
    walk.at = at + 1
    return WHOLE


cdef Verdict take_request_line(Walk *walk, RequestHead *head, Host *host) noexcept nogil:
    cdef Verdict verdict
    cdef unsigned int method
    if walk.at < walk.end and (walk.at[0] == c'\r' or walk.at[0] == c'\n'):
        verdict = take_line_end(walk, CAUSE_LINE_END)       # RFC 9112 2.2: one empty line may come first
        if verdict != WHOLE:
            return verdict
        if walk.at < walk.end and (walk.at[0] == c'\r' or walk.at[0] == c'\n'):
            return refuse(walk, CAUSE_LINE_END)
    verdict = take_method(walk, head)
    if verdict == WHOLE:
        verdict = take_target(walk, head)
    if verdict == WHOLE:
        verdict = take_version(walk, &head.minor)
    if verdict == WHOLE:
        verdict = take_line_end(walk, CAUSE_START_LINE)
    if verdict != WHOLE:
        return verdict
    method = find_method(<const char *>walk.text + head.method_at, head.method_length)
    if method == 0:
        return refuse(walk, CAUSE_METHOD_UNKNOWN)
    head.method = <Method>method if method <= <unsigned int>METHOD_CONNECT else METHOD_OTHER
    if head.method == METHOD_CONNECT or head.method == METHOD_TRACE:
        return refuse(walk, CAUSE_METHOD_REFUSED)
    walk.cause = judge_target(walk, head, host)
    return WHOLE if walk.cause == CAUSE_NONE else BAD


cdef inline void begin_fields(Fields *fields, Field *list, bint is_request, int minor) noexcept nogil:
    memset(fields, 0, sizeof(Fields))
    fields.list = list
    fields.names = name_octets
    if not is_request:
        fields.names = token_octets
    fields.is_request = is_request
    fields.minor = minor
    fields.content_length = -1


# chunked alone is known. RFC 9112 6.1 and 6.3: unknown codings are 501, but what does not end in chunked has no length: 400.
cdef RejectCause judge_coding(Octets at, Octets end) noexcept nogil:
    cdef Octets element = NULL
    cdef size_t length = 0
    cdef int n = 0
    cdef bint has_chunked = False
    while next_element(&at, end, &element, &length):
        if has_chunked or not is_token(element, length):
            return CAUSE_TRANSFER_ENCODING
        has_chunked = is_word(element, length, "chunked")
        n += 1
    if not has_chunked:
        return CAUSE_TRANSFER_ENCODING
    return CAUSE_NONE if n == 1 else CAUSE_CODING_UNKNOWN


cdef RejectCause take_connection(Octets at, Octets end, Fields *fields) noexcept nogil:
    cdef Octets element = NULL
    cdef size_t length = 0
    cdef unsigned int id
    while next_element(&at, end, &element, &length):
        fields.n_options += 1
        if fields.n_options > MAX_CONNECTION_OPTIONS:
            return CAUSE_CONNECTION
        if length == 0:         # RFC 9110 5.6.1.2: empty elements of a list are passed over
            continue
        if not is_token(element, length):
            return CAUSE_CONNECTION
        if is_word(element, length, "close"):
            fields.close = True
        elif is_word(element, length, "keep-alive"):
            fields.keep_alive = True
        elif is_word(element, length, "upgrade"):
            fields.upgrade_asked = True
        else:
            # Who has these stripped moves the end of the body or the place a request goes to, or waits for a word that nobody owes.
            id = find_field(element, length)
            if (id == FIELD_HOST or id == FIELD_CONTENT_LENGTH or id == FIELD_TRANSFER_ENCODING
                    or (id == FIELD_EXPECT and fields.is_request)):
                return CAUSE_CONNECTION
            fields.has_other_options = True
    return CAUSE_NONE


cdef void take_upgrade(Octets at, Octets end, Fields *fields) noexcept nogil:
    cdef Octets element = NULL
    cdef size_t length = 0
    fields.has_upgrade = True
    while next_element(&at, end, &element, &length):
        if length >= 3 and is_same(element, "h2c", 3):
            fields.has_h2c = True


# The fields that decide where a message ends, where it goes and what becomes of the connection.
cdef RejectCause judge_field(Walk *walk, Fields *fields, const Field *field) noexcept nogil:
    cdef Octets value = walk.text + field.value_at
    cdef size_t length = field.value_length
    if field.id == FIELD_HOST and fields.is_request:
        if fields.has_host:
            return CAUSE_HOST_REPEATED
        fields.has_host = True
        if not take_authority(walk, value, value + length, &fields.host):
            return CAUSE_HOST
    elif field.id == FIELD_CONTENT_LENGTH:
        if fields.has_coding:
            return CAUSE_BOTH_LENGTHS
        if fields.content_length >= 0:
            return CAUSE_CONTENT_LENGTH
        fields.content_length = number(value, length)
        if fields.content_length < 0:
            return CAUSE_CONTENT_LENGTH
    elif field.id == FIELD_TRANSFER_ENCODING:
        if fields.content_length >= 0:
            return CAUSE_BOTH_LENGTHS
        if fields.has_coding or fields.minor == 0:
            return CAUSE_TRANSFER_ENCODING
        fields.has_coding = True
        return judge_coding(value, value + length)
    elif field.id == FIELD_CONNECTION:
        return take_connection(value, value + length, fields)
    elif field.id == FIELD_UPGRADE:
        take_upgrade(value, value + length, fields)
    elif field.id == FIELD_EXPECT and fields.is_request:
        if fields.has_expect or not is_word(value, length, "100-continue"):
            return CAUSE_EXPECT
        fields.has_expect = True
    elif field.id == FIELD_UNDERSCORED:
        fields.n_underscored += 1
    return CAUSE_NONE


# Names are compared where their hashes agree, and then they are the same: each octet is looked at twice, however many options and fields
# share a long beginning. Two names of one hash are made by someone who wants to be compared. False: so it is.
cdef bint mark_named(Walk *walk, Fields *fields, const Field *connection, const uint64_t *hashes) noexcept nogil:
    cdef Octets at = walk.text + connection.value_at
    cdef Octets end = at + connection.value_length
    cdef Octets element = NULL
    cdef size_t length = 0
    cdef uint64_t hash
    cdef int32_t i
    cdef Field *field
    while next_element(&at, end, &element, &length):
        hash = hash_name(element, length)
        for i in range(fields.n):
            field = fields.list + i
            if hashes[i] != hash or field.is_named_by_connection or field.id == FIELD_UPGRADE or field.id == FIELD_KEEP_ALIVE:
                continue
            if field.name_length != length or not is_same_name(element, walk.text + field.name_at, length):
                return False
            field.is_named_by_connection = True
    return True


cdef RejectCause mark_all_named(Walk *walk, Fields *fields) noexcept nogil:
    cdef uint64_t hashes[MAX_FIELDS]
    cdef int32_t i
    for i in range(fields.n):
        hashes[i] = hash_name(walk.text + fields.list[i].name_at, fields.list[i].name_length)
    for i in range(fields.n):
        if fields.list[i].id == FIELD_CONNECTION and not mark_named(walk, fields, fields.list + i, hashes):
            return CAUSE_CONNECTION
    return CAUSE_NONE


cdef Verdict take_fields(Walk *walk, Fields *fields) noexcept nogil:
    cdef Verdict verdict
    cdef Field *field
    while True:
        if walk.at == walk.end:
            return NEED_DATA
        if walk.at[0] == c'\r' or walk.at[0] == c'\n':
            break
        if walk.at[0] == c' ' or walk.at[0] == c'\t':
            return refuse(walk, CAUSE_FOLD)
        if fields.n == MAX_FIELDS:
            return refuse(walk, CAUSE_TOO_MANY_FIELDS)
        field = fields.list + fields.n
        verdict = take_name(walk, fields.names, field)
        if verdict != WHOLE:
            return verdict
        verdict = take_value(walk, field)
        if verdict != WHOLE:
            return verdict
        fields.n += 1
        if field.id != FIELD_OTHER:
            walk.cause = judge_field(walk, fields, field)
            if walk.cause != CAUSE_NONE:
                return BAD
    verdict = take_line_end(walk, CAUSE_LINE_END)
    if verdict == WHOLE and fields.has_other_options:
        walk.cause = mark_all_named(walk, fields)
        if walk.cause != CAUSE_NONE:
            return BAD
    return verdict


cdef Verdict take_request(Walk *walk, RequestHead *head) noexcept nogil:
    cdef Fields fields
    cdef Host host = Host(at=0, length=0, authority_length=0)
    cdef Verdict verdict = take_request_line(walk, head, &host)
    if verdict != WHOLE:
        return verdict
    head.fields_at = <uint32_t>(walk.at - walk.text)
    begin_fields(&fields, head.fields, True, head.minor)
    verdict = take_fields(walk, &fields)
    head.n_fields = fields.n
    head.n_underscored = fields.n_underscored
    if verdict != WHOLE:
        return verdict
    if not fields.has_host and head.minor > 0:
        return refuse(walk, CAUSE_HOST_ABSENT)
    head.length = <uint32_t>(walk.at - walk.text)
    if not head.is_absolute:        # RFC 9112 3.2.2: else Host is not looked at
        host = fields.host
    head.host_at = head.authority_at = host.at
    head.host_length = host.length
    head.authority_length = host.authority_length
    head.content_length = fields.content_length
    head.is_chunked = fields.has_coding
    head.close = fields.close or (head.minor == 0 and not fields.keep_alive)
    head.keep_alive_asked = fields.keep_alive
    # RFC 9110 7.8: Upgrade means nothing on 1.0, nor where Connection does not name it.
    head.is_upgrade = fields.has_upgrade and fields.upgrade_asked and head.minor > 0 and not fields.has_h2c
    head.expects_continue = fields.has_expect and head.minor > 0
    return WHOLE


cdef Verdict parse_request(const char *text, size_t length, size_t limit, Manners manners, RequestHead *head) noexcept nogil:
    cdef Walk walk
    cdef Verdict verdict
    memset(head, 0, sizeof(RequestHead) - sizeof(head.fields))
    head.content_length = -1
    begin_walk(&walk, text, length, limit)
    walk.underscores = manners.underscores
    walk.takes_non_ascii = manners.takes_non_ascii
    verdict = take_request(&walk, head)
    if verdict == NEED_DATA and walk.is_full:
        verdict = refuse(&walk, CAUSE_HEAD_TOO_LARGE if head.fields_at else CAUSE_TARGET_TOO_LONG)
    if verdict == BAD:
        head.cause = walk.cause
        head.status = status_of(head.cause)
    return verdict


# RFC 9112 4: the space before an absent reason is due, but is left out so often that no one insists.
cdef Verdict take_status_line(Walk *walk, ResponseHead *head) noexcept nogil:
    cdef Verdict verdict = take_version(walk, &head.minor)
    cdef int i
    if verdict != WHOLE:
        return verdict
    for i in range(4):
        if walk.end - walk.at <= i:
            return NEED_DATA
        if (walk.at[i] != c' ') if i == 0 else (not c'0' <= walk.at[i] <= c'9'):
            return refuse(walk, CAUSE_START_LINE)
    if walk.at[1] == c'0':
        return refuse(walk, CAUSE_START_LINE)
    head.status = <uint16_t>((walk.at[1] - c'0') * 100 + (walk.at[2] - c'0') * 10 + walk.at[3] - c'0')
    walk.at += 4
    if walk.at < walk.end and walk.at[0] == c' ':
        walk.at += 1
        head.reason_at = <uint32_t>(walk.at - walk.text)
        take_text(walk)
        head.reason_length = <uint32_t>(walk.at - walk.text) - head.reason_at
    return take_line_end(walk, CAUSE_START_LINE)


cdef Verdict take_response(Walk *walk, ResponseHead *head) noexcept nogil:
    cdef Fields fields
    cdef Verdict verdict = take_status_line(walk, head)
    if verdict != WHOLE:
        return verdict
    head.fields_at = <uint32_t>(walk.at - walk.text)
    begin_fields(&fields, head.fields, False, head.minor)
    verdict = take_fields(walk, &fields)
    head.n_fields = fields.n
    if verdict != WHOLE:
        return verdict
    head.length = <uint32_t>(walk.at - walk.text)
    head.content_length = fields.content_length
    head.is_chunked = fields.has_coding
    head.close = fields.close or (head.minor == 0 and not fields.keep_alive)
    head.is_upgrade = (head.status == 101 or head.status == 426) and fields.has_upgrade
    return WHOLE


cdef Verdict parse_response(const char *text, size_t length, size_t limit, ResponseHead *head) noexcept nogil:
    cdef Walk walk
    cdef Verdict verdict
    memset(head, 0, sizeof(ResponseHead) - sizeof(head.fields))
    head.content_length = -1
    begin_walk(&walk, text, length, limit)
    verdict = take_response(&walk, head)
    if verdict == NEED_DATA and walk.is_full:
        verdict = refuse(&walk, CAUSE_HEAD_TOO_LARGE)
    if verdict == BAD:
        head.cause = walk.cause
    return verdict


cdef bint has_end(const char *text, size_t length, size_t *scanned) noexcept nogil:
    cdef const char *end = text + length
    cdef const char *at = text + min(scanned[0], length)
    while True:
        at = <const char *>memchr(at, c'\n', end - at)
        if at == NULL:
            scanned[0] = length
            return False
        scanned[0] = at - text
        if end - at > 1 and at[1] == c'\n':
            return True
        if end - at < 3 and (end - at == 1 or at[1] == c'\r'):
            return False        # may be the first of two ends
        if at[1] == c'\r' and at[2] == c'\n':
            return True
        at += 1
