"""Hashed three times: host -> site, path -> group of its site, and what is left (method, fields, query) is looked at one by one.

A site is all that was configured for one host; number 0 is for routes without hosts. A group is all matches of a site with
the same path; matches in a group stand in the order in which they win. A host is hashed from its end, so that one pass
gives the hash of every suffix; a path from its start, so that one pass gives the hash of every prefix. How many of them are
looked up is bounded by what is configured, not by what a client sends.

Over 400 lines: hashes are looked up here as they are built here.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from routing_core._hosts cimport MAX_HOST, MAX_LABELS, MAX_LITERAL, host_key, spell_literal
from routing_core._memory cimport TABLE, give, take

cdef enum:
    MAX_DEPTH = 64              # elements of a path prefix
    MAX_PATH = 8192             # bytes of a configured path
    MAX_FIELDS = 64             # headers, or query parameters, of one match

cdef struct Pair:
    Text name                   # of a header: lower case
    Text value

cdef struct Match:
    int32_t route               # its number: tables of the same routes share their matches
    Text method                 # length 0: any
    const Pair *headers
    const Pair *query
    int32_t n_headers
    int32_t n_query

cdef struct Group:
    const char *path            # without a final "/" when a prefix
    uint32_t length
    int32_t site
    int32_t n_matches
    bint is_exact
    const Match *matches

cdef struct Site:
    const char *host            # lower case; ".example.com" for a wildcard
    uint32_t length
    int32_t number
    int32_t depth               # most elements of a path prefix
    uint32_t longest_exact      # bytes of the longest exact path; 0: there is none
    int32_t n_matches           # those for any path, so that the plain host costs no second look-up
    const Match *matches

cdef struct Slot:               # small, so that the slots of 10,000 hosts stay in the cache
    uint32_t tag                # high half of the hash
    int32_t index               # of a site or of a group; 0: the slot is free

cdef struct Matcher:
    uint64_t site_mask
    uint64_t group_mask
    const Slot *site_slots      # [site_mask + 1], as
    const Slot *group_slots     # [group_mask + 1]
    const Site *sites           # [0] has no host
    const Group *groups         # [0] is none
    int32_t wildcard_labels     # most dots of a wildcard
    int32_t n_tables            # that have it; control's

cdef struct Suffix:
    uint64_t hash
    uint32_t start

cdef unsigned char lower[256]


cdef void fill_constants() noexcept:
    """Once, at import: what workers read."""
    cdef int code
    for code in range(256):
        lower[code] = code + 32 if 65 <= code <= 90 else code


fill_constants()


# FNV-1a, a byte at a time: both ends of a text can be the start.
cdef inline uint64_t add_byte(uint64_t value, unsigned char byte) noexcept nogil:
    return (value ^ byte) * 1099511628211u


cdef inline uint64_t spread(uint64_t value) noexcept nogil:
    return value ^ (value >> 32)


cdef inline uint64_t start_of_site(int32_t number) noexcept nogil:
    return 14695981039346656037u ^ (<uint64_t>number * 0x9E3779B97F4A7C15u)


cdef inline bint is_same(const char *one, uint32_t one_length, const char *other, uint32_t length) noexcept nogil:
    return one_length == length and memcmp(one, other, length) == 0


cdef const Site *find_site(const Matcher *matcher, uint64_t value, const char *host, uint32_t length) noexcept nogil:
    # Ends, as find_group() does: the builder leaves at least half of the slots free.
    cdef uint64_t hashed = spread(value)
    cdef uint64_t i = hashed & matcher.site_mask
    cdef const Slot *slot = &matcher.site_slots[i]
    cdef const Site *site
    while slot.index != 0:
        if slot.tag == <uint32_t>(hashed >> 32):
            site = &matcher.sites[slot.index]
            if is_same(site.host, site.length, host, length):
                return site
        i = (i + 1) & matcher.site_mask
        slot = &matcher.site_slots[i]
    return NULL


cdef const Group *find_group(const Matcher *matcher, uint64_t value, const Site *site, bint is_exact, const char *path,
                             uint32_t length) noexcept nogil:
    cdef uint64_t hashed = spread(value)
    cdef uint64_t i = hashed & matcher.group_mask
    cdef const Slot *slot = &matcher.group_slots[i]
    cdef const Group *group
    while slot.index != 0:
        if slot.tag == <uint32_t>(hashed >> 32):
            group = &matcher.groups[slot.index]
            if group.site == site.number and group.is_exact == is_exact and is_same(group.path, group.length, path, length):
                return group
        i = (i + 1) & matcher.group_mask
        slot = &matcher.group_slots[i]
    return NULL


cdef bint has_header(const RequestFacts *facts, const Pair *wanted) noexcept nogil:
    cdef const FieldView *field
    cdef uint32_t k
    cdef int i
    for i in range(facts.n_fields):
        field = &facts.fields[i]
        if field.name_length != wanted.name.length or not is_same(
                field.value, field.value_length, wanted.value.at, wanted.value.length):
            continue
        k = 0
        while k < field.name_length and lower[<unsigned char>field.name[k]] == <unsigned char>wanted.name.at[k]:
            k += 1
        if k == field.name_length:
            return True
    return False


cdef inline int nibble(unsigned char code) noexcept nogil:
    if c'0' <= code <= c'9':
        return code - c'0'
    code = lower[code]
    return code - c'a' + 10 if c'a' <= code <= c'f' else -1


# Whether the part of a query, with %XX and + undone, is the wanted text.
cdef bint decodes_to(const char *part, uint32_t length, const Text *wanted) noexcept nogil:
    cdef uint32_t i = 0, k = 0
    cdef unsigned char code
    cdef int high, low
    while i < length:
        code = <unsigned char>part[i]
        if code == c'+':
            code = c' '
        elif code == c'%' and i + 2 < length:
            high = nibble(<unsigned char>part[i + 1])
            low = nibble(<unsigned char>part[i + 2])
            if high >= 0 and low >= 0:
                code = <unsigned char>(high * 16 + low)
                i += 2
        if k == wanted.length or <unsigned char>wanted.at[k] != code:
            return False
        i += 1
        k += 1
    return k == wanted.length


# The first parameter of that name has that value: what the application behind is most likely to read.
cdef bint has_parameter(const Text *query, const Pair *wanted) noexcept nogil:
    cdef uint32_t start = 0, end, equals
    while start < query.length:
        end = start
        equals = query.length
        while end < query.length and query.at[end] != c'&':
            if query.at[end] == c'=' and equals == query.length:
                equals = end
            end += 1
        if equals > end:
            equals = end
        if decodes_to(query.at + start, equals - start, &wanted.name):
            if equals < end:
                equals += 1
            return decodes_to(query.at + equals, end - equals, &wanted.value)
        start = end + 1
    return False


cdef bint is_met(const Match *match, const RequestFacts *facts) noexcept nogil:
    cdef int32_t i
    if match.method.length != 0 and not is_same(match.method.at, match.method.length, facts.method.at, facts.method.length):
        return False
    for i in range(match.n_headers):
        if not has_header(facts, &match.headers[i]):
            return False
    for i in range(match.n_query):
        if not has_parameter(&facts.query, &match.query[i]):
            return False
    return True


cdef const Match *first_met(const Match *matches, int32_t n, const RequestFacts *facts) noexcept nogil:
    cdef int32_t i
    for i in range(n):
        if is_met(&matches[i], facts):
            return &matches[i]
    return NULL


cdef const Match *match_exact(const Matcher *matcher, const Site *site, const RequestFacts *facts) noexcept nogil:
    cdef uint64_t value = start_of_site(site.number)
    cdef uint32_t i
    cdef const Group *group
    for i in range(facts.path.length):
        value = add_byte(value, <unsigned char>facts.path.at[i])
    group = find_group(matcher, value, site, True, facts.path.at, facts.path.length)
    if group == NULL:
        return NULL
    return first_met(group.matches, group.n_matches, facts)


# The longest prefix first; an element ends before a "/" and at the end of the path.
cdef const Match *match_prefix(const Matcher *matcher, const Site *site, const RequestFacts *facts) noexcept nogil:
    cdef uint64_t hashes[MAX_DEPTH]
    cdef uint32_t lengths[MAX_DEPTH]
    cdef uint64_t value = start_of_site(site.number)
    cdef uint32_t i = 0
    cdef int32_t n = 0
    cdef const Group *group
    cdef const Match *match
    while n < site.depth and i < facts.path.length:
        value = add_byte(value, <unsigned char>facts.path.at[i])
        i += 1
        if i == facts.path.length or facts.path.at[i] == c'/':
            hashes[n] = value
            lengths[n] = i
            n += 1
    while n > 0:
        n -= 1
        group = find_group(matcher, hashes[n], site, False, facts.path.at, lengths[n])
        if group != NULL:
            match = first_met(group.matches, group.n_matches, facts)
            if match != NULL:
                return match
    return NULL


cdef const Match *match_site(const Matcher *matcher, const Site *site, const RequestFacts *facts) noexcept nogil:
    cdef const Match *match = NULL
    if 0 < facts.path.length <= site.longest_exact:
        match = match_exact(matcher, site, facts)
    if match == NULL and site.depth > 0:
        match = match_prefix(matcher, site, facts)
    if match == NULL:
        match = first_met(site.matches, site.n_matches, facts)
    return match


# The exact host, then its suffixes, the longest first.
cdef const Match *match_host(const Matcher *matcher, const RequestFacts *facts) noexcept nogil:
    cdef char host[MAX_HOST]
    cdef char literal[MAX_LITERAL]
    cdef Suffix suffixes[MAX_LABELS]
    cdef const char *at = facts.host.at
    cdef uint32_t length = facts.host.length
    cdef uint64_t value = start_of_site(0)
    cdef int32_t n = 0
    cdef uint32_t i
    cdef const Site *site
    cdef const Match *match = NULL
    if length > 0 and at[length - 1] == c'.':
        length -= 1
    if length > 0 and at[0] == c'[':
        length = spell_literal(at, length, literal)
        at = literal
    if length == 0 or length > MAX_HOST or at[0] == c'.':     # ".example.com" is how a wildcard is kept
        return NULL
    i = length
    while i > 0:
        i -= 1
        host[i] = <char>lower[<unsigned char>at[i]]
        value = add_byte(value, <unsigned char>host[i])
        if host[i] == c'.' and n < matcher.wildcard_labels:
            suffixes[n].hash = value
            suffixes[n].start = i
            n += 1
    site = find_site(matcher, value, host, length)
    if site != NULL:
        match = match_site(matcher, site, facts)
    while match == NULL and n > 0:
        n -= 1
        site = find_site(matcher, suffixes[n].hash, host + suffixes[n].start, length - suffixes[n].start)
        if site != NULL:
            match = match_site(matcher, site, facts)
    return match


cdef const Route *match_route(const TableData *table, const RequestFacts *facts) noexcept nogil:
    cdef const Matcher *matcher = <const Matcher *>table.matcher
    cdef const Match *match = match_host(matcher, facts)
    if match == NULL:
        match = match_site(matcher, &matcher.sites[0], facts)
    return &table.routes[match.route] if match != NULL else <const Route *>NULL


# --- Control's side ---

cdef tuple path_key(object route, str what):
    """(is exact, path), a prefix without its final "/"."""
    if route.path_exact is not None and route.path_prefix is not None:
        raise ValueError(f"{what}: must have path_exact or path_prefix, got both")
    path = route.path_prefix or "/" if route.path_exact is None else route.path_exact
    cdef bytes text = path.encode()
    if not text.startswith(b"/") or len(text) > MAX_PATH or b"?" in text or b"#" in text:
        raise ValueError(f"{what}: path must begin with / and have no query and at most {MAX_PATH} bytes, got {path!r}")
    if route.path_exact is not None:
        return True, text
    text = text.removesuffix(b"/")
    if text.count(b"/") > MAX_DEPTH:
        raise ValueError(f"{what}: path_prefix must have at most {MAX_DEPTH} elements, got {path!r}")
    return False, text


cdef tuple pairs_of(object pairs, bint is_header, str what):
    """As bytes; of doubled names the first one counts (Gateway API)."""
    cdef dict out = {}
    for name, value in pairs:
        if not name:
            raise ValueError(f"{what}: name of a header or query parameter must not be empty")
        out.setdefault((name.lower() if is_header else name).encode(), value.encode())
    if len(out) > MAX_FIELDS:
        raise ValueError(f"{what}: must have at most {MAX_FIELDS} headers and query parameters, got {len(out)}")
    return tuple(out.items())


cdef dict sort_matches(object spec):
    """{site key: {path key: [(route number, method, headers, query), ...]}}, matches in the order in which they win."""
    cdef dict sites = {b"": {}}
    for number, route in enumerate(spec.routes):
        what = f"routes[{number}] ({route.name})"
        if route.method is not None and not route.method:
            raise ValueError(f"{what} method: must not be empty")
        match = (number, (route.method or "").encode(), pairs_of(route.headers, True, what), pairs_of(route.query, False, what))
        path = path_key(route, what)
        for key in dict.fromkeys([host_key(host, what) for host in route.hosts] or [b""]):
            sites.setdefault(key, {}).setdefault(path, []).append(match)
    for paths in sites.values():
        for matches in paths.values():
            matches.sort(key=lambda match: (not match[1], -len(match[2]), -len(match[3]), match[0]))
    return sites


cdef size_t slots_for(size_t n):
    cdef size_t slots = 2
    while slots < 2 * n:
        slots *= 2
    return slots


cdef struct Filling:            # the next free place of each part of the block
    Group *group
    Match *match
    Pair *pair
    char *text


cdef Text keep(Filling *at, bytes text):
    cdef Text out
    out.at = at.text
    out.length = len(text)
    memcpy(at.text, <const char *>text, out.length)
    at.text += out.length
    return out


cdef const Pair *keep_pairs(Filling *at, tuple pairs):
    cdef const Pair *first = at.pair
    for name, value in pairs:
        at.pair.name = keep(at, name)
        at.pair.value = keep(at, value)
        at.pair += 1
    return first


cdef const Match *keep_matches(Filling *at, list matches):
    cdef const Match *first = at.match
    for number, method, headers, query in matches:
        at.match.route = number
        at.match.method = keep(at, method)
        at.match.headers = keep_pairs(at, headers)
        at.match.query = keep_pairs(at, query)
        at.match.n_headers = len(headers)
        at.match.n_query = len(query)
        at.match += 1
    return first


cdef void keep_slot(const Slot *slots, uint64_t mask, uint64_t value, int32_t index):
    cdef uint64_t hashed = spread(value)
    cdef uint64_t i = hashed & mask
    while slots[i].index != 0:
        i = (i + 1) & mask
    (<Slot *>slots)[i] = Slot(tag=<uint32_t>(hashed >> 32), index=index)


cdef void keep_group(Filling *at, const Matcher *matcher, const Site *site, bint is_exact, Text path, const Match *matches, int32_t n):
    cdef uint64_t value = start_of_site(site.number)
    cdef uint32_t k
    for k in range(path.length):
        value = add_byte(value, <unsigned char>path.at[k])
    at.group[0] = Group(path=path.at, length=path.length, site=site.number, n_matches=n, is_exact=is_exact, matches=matches)
    keep_slot(matcher.group_slots, matcher.group_mask, value, <int32_t>(at.group - matcher.groups))
    at.group += 1


cdef void keep_host(const Matcher *matcher, const Site *site):
    cdef uint64_t value = start_of_site(0)
    cdef uint32_t k = site.length
    while k > 0:
        k -= 1
        value = add_byte(value, <unsigned char>site.host[k])
    keep_slot(matcher.site_slots, matcher.site_mask, value, site.number)


cdef void keep_site(Filling *at, const Matcher *matcher, Site *site, bytes host, dict paths):
    cdef Text name = keep(at, host)
    cdef Text kept
    site.host = name.at
    site.length = name.length
    for (is_exact, path), matches in paths.items():
        kept = keep(at, path)
        if path:
            keep_group(at, matcher, site, is_exact, kept, keep_matches(at, matches), len(matches))
        else:
            site.matches = keep_matches(at, matches)
            site.n_matches = len(matches)
        if is_exact:
            site.longest_exact = max(site.longest_exact, kept.length)
        else:
            site.depth = max(site.depth, <int32_t>path.count(b"/"))


cdef const void *build_matcher(object spec) except NULL:
    cdef dict sites = sort_matches(spec)
    cdef list groups = [(key, matches) for paths in sites.values() for key, matches in paths.items()]
    cdef list matches = [match for _, group in groups for match in group]
    cdef list pairs = [pair for match in matches for pair in (*match[2], *match[3])]
    cdef size_t n_sites = len(sites), n_groups = len(groups) + 1, n_matches = len(matches), n_pairs = len(pairs)
    cdef size_t n_site_slots = slots_for(n_sites), n_group_slots = slots_for(n_groups)
    cdef size_t n_text = (
        sum(map(len, sites)) + sum(len(key[1]) for key, _ in groups) + sum(len(match[1]) for match in matches)
        + sum(len(name) + len(value) for name, value in pairs))
    cdef Matcher *matcher = <Matcher *>take(
        TABLE, sizeof(Matcher) + n_sites * sizeof(Site) + n_groups * sizeof(Group) + n_matches * sizeof(Match)
        + n_pairs * sizeof(Pair) + (n_site_slots + n_group_slots) * sizeof(Slot) + n_text)
    if matcher == NULL:
        raise MemoryError
    cdef Filling at
    cdef Site *site = <Site *>(matcher + 1)
    matcher.n_tables = 1
    matcher.sites = site
    matcher.site_mask = n_site_slots - 1
    matcher.group_mask = n_group_slots - 1
    matcher.groups = <Group *>(site + n_sites)
    at.group = <Group *>matcher.groups + 1
    at.match = <Match *>(matcher.groups + n_groups)
    at.pair = <Pair *>(at.match + n_matches)
    matcher.site_slots = <Slot *>(at.pair + n_pairs)
    matcher.group_slots = matcher.site_slots + n_site_slots
    at.text = <char *>(matcher.group_slots + n_group_slots)
    cdef int32_t number = 0
    for host, paths in sites.items():       # the site without a host comes first
        site.number = number
        keep_site(&at, matcher, site, host, paths)
        if number > 0:
            keep_host(matcher, site)
        if host.startswith(b"."):
            matcher.wildcard_labels = max(matcher.wildcard_labels, <int32_t>host.count(b"."))
        site += 1
        number += 1
    return matcher


cdef const void *share_matcher(const void *matcher) noexcept nogil:
    (<Matcher *>matcher).n_tables += 1
    return matcher


cdef void free_matcher(const void *matcher) noexcept nogil:
    (<Matcher *>matcher).n_tables -= 1
    if (<Matcher *>matcher).n_tables == 0:
        give(TABLE, <void *>matcher)
