"""Of the shortlists whose keys have the same hash two are kept: with one, two places that met would work theirs out anew in turn."""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

from routing_core._atomic cimport load_acquire, load_relaxed
from routing_core._figures cimport service_in
from routing_core._latency cimport Estimate, Start, find_start, path_ms
from routing_core._layout cimport GATEWAY_POP, Pool
from routing_core._location cimport UNKNOWN
from routing_core._memory cimport WORKER, give, take
from routing_core._random cimport mixed


cdef void free_shortlists(Shortlists *shortlists) noexcept nogil:
    cdef int i
    for i in range(N_PAIRS):
        give(WORKER, shortlists.kept[i][0])
        give(WORKER, shortlists.kept[i][1])
        shortlists.kept[i][0] = shortlists.kept[i][1] = NULL


cdef void fill_key(ShortlistKey *out, const TableData *table, Leg leg, const Rule *rule, const Location *client, int slot) noexcept nogil:
    out.places = table.places
    out.of = <uint64_t>(rule - table.rules) << 32 | <uint64_t>leg << 31
    if leg == GATEWAY_POP:
        out.x = out.y = out.z = 0
    else:
        out.x, out.y, out.z = client.x, client.y, client.z
        out.of |= <uint64_t>client.country << 8 | <uint64_t>(client.source != UNKNOWN) << 30
    out.paths = -1
    if leg == GATEWAY_POP or table.gateway_pop >= 0:
        out.of |= <uint64_t>slot
        out.paths = load_acquire(&table.pace.paths)


cdef inline uint64_t bits_of(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, sizeof(bits))
    return bits


cdef inline Shortlist **pair_of(Shortlists *shortlists, const ShortlistKey *key) noexcept nogil:
    cdef uint64_t place = bits_of(key.x) ^ bits_of(key.y) << 1 ^ key.of * <uint64_t>0x9E3779B97F4A7C15u
    return shortlists.kept[mixed(place) >> 32 & (<uint64_t>N_PAIRS - 1)]


cdef inline bint is_same(const ShortlistKey *one, const ShortlistKey *other) noexcept nogil:
    return (one.x == other.x and one.y == other.y and one.z == other.z and one.of == other.of and one.places == other.places
            and one.paths == other.paths)


# The shortest path first; of some that are alike the first of the rule.
cdef void insert(Shortlist *shortlist, const Estimate *found, int32_t at) noexcept nogil:
    cdef int32_t k = shortlist.n
    if k < <int32_t>N_KEPT:
        shortlist.n += 1
    else:
        shortlist.is_whole = False
        k -= 1
        if found.path_ms >= shortlist.nearest[k].path_ms:
            return
    while k > 0 and found.path_ms < shortlist.nearest[k - 1].path_ms:
        shortlist.nearest[k] = shortlist.nearest[k - 1]
        k -= 1
    shortlist.nearest[k] = Near(path_ms=found.path_ms, distance_km=<float>found.distance_km, at=<uint16_t>at,
                                evidence=<unsigned char>found.evidence)


cdef void work_out(Shortlist *out, const TableData *table, Leg leg, const Rule *rule, const Location *client, int slot) noexcept nogil:
    cdef Start start
    cdef Estimate found
    cdef int32_t at
    find_start(table, leg, client, slot, &start)
    out.n = 0
    out.is_whole = True
    out.is_known = start.is_known
    for at in range(rule.n_candidates):
        path_ms(table, &start, rule.candidates[at], load_relaxed(&rule.candidates[at].gate.versions[slot]), &found)
        insert(out, &found, at)


cdef const Shortlist *find_shortlist(Shortlists *shortlists, const TableData *table, Leg leg, const Rule *rule, const Location *client,
                                     int slot) noexcept nogil:
    cdef ShortlistKey key
    cdef Shortlist **pair
    cdef Shortlist *shortlist
    fill_key(&key, table, leg, rule, client, slot)
    pair = pair_of(shortlists, &key)
    if pair[0] != NULL and is_same(&pair[0].key, &key):
        return pair[0]
    shortlist = pair[1]
    if shortlist == NULL:
        shortlist = <Shortlist *>take(WORKER, sizeof(Shortlist))
        if shortlist == NULL:
            return NULL
    pair[1] = pair[0]
    pair[0] = shortlist
    if not is_same(&shortlist.key, &key):
        shortlist.key = key
        work_out(shortlist, table, leg, rule, client, slot)
    return shortlist


cdef void find_leasts(Least *out, const Service *service) noexcept nogil:
    cdef const Pool *pool
    cdef int32_t i
    cdef int slot
    for slot in range(N_VERSIONS):
        out.ms[slot] = INFINITY
    for i in range(service.n_pools):
        pool = &service.pools[i]
        for slot in range(N_VERSIONS):
            out.ms[slot] = min(out.ms[slot], service_in(load_relaxed(&pool.gate.versions[slot])) * 0.001)


cdef double least_service_ms(Shortlists *shortlists, const TableData *table, const Service *service, int slot) noexcept nogil:
    cdef Least *least = &shortlists.leasts[service.number & (<int>N_LEASTS - 1)]
    cdef int64_t times = load_acquire(&table.pace.times)
    if least.times != times or least.service != service.number or least.places != table.places:
        least.places, least.service, least.times = table.places, service.number, times
        find_leasts(least, service)
    return least.ms[slot]
