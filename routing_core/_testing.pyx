"""For tests and benchmarks only: what C code calls of the core, callable from Python; loops run without the GIL.

Not imported by the package. Must not hold logic of its own.
"""
cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint32_t, uint64_t

from routing_core._atomic cimport add_own, add_shared, clear_bits, set_bits
from routing_core._budget cimport FORGIVEN_S, BudgetTerms, enter, leave, spend
from routing_core._decision cimport Asked, Decision, Weighed
from routing_core._endpoints cimport (ADMITTING_ONLY, ANSWERING_FIRST, AVAILABLE, MAX_TRIED, Availability, choose_endpoint,
                                      observe_latency)
from routing_core._explain cimport fill_asked, route_of
from routing_core._figures cimport (GROUPS, EndpointColumn, Figures, PoolColumn, add_served, add_to_group, bucket_of_us, group_of,
                                    slot_of_code)
from routing_core._layout cimport Endpoint, Pool, Route
from routing_core._location cimport Location
from routing_core._shortlists cimport Shortlists, free_shortlists
from routing_core._pages cimport give_pages, take_pages
from routing_core._random cimport Random, seed as seed_random
from routing_core._routes cimport RequestFacts, match_route
from routing_core._steer cimport steer
from routing_core._table cimport Table

from routing_core import _figures

cdef enum:
    MAX_CLIENTS = 64

AVAILABILITIES = ("available", "full", "no_endpoint_admits")    # index is Availability


def take_block(size_t size) -> int:
    """Its address."""
    return <size_t>take_pages(size)


def give_block(size_t address) -> None:
    give_pages(<void *>address)


def label_of_code(int code) -> str:
    return _figures.CODE_LABELS[slot_of_code(code)]


def bucket(int64_t us) -> int:
    return bucket_of_us(us)


def group(bytes client not None) -> int:
    assert len(client) == 16
    return group_of(client)


def add_to_endpoint(Figures figures not None, int row, int worker, *, int64_t in_flight=0, int64_t connections=0,
                    int64_t connect_failures=0, int64_t answers=0, int64_t errors=0, int64_t first_bytes=0,
                    int64_t first_byte_us=0, int64_t attempts=0, int64_t tunnels=0, bytes bad_by=b"", bytes good_by=b"",
                    bytes slow_by=b"", int64_t n_open=0, int64_t awaiting=0) -> None:
    """As a worker counts in its own column, n_open in what is all workers'. By: whose, an address of 16 bytes."""
    cdef EndpointColumn *own = &figures.endpoint_columns(row)[worker]
    add_own(&own.in_flight, in_flight)
    add_own(&own.connections, connections)
    add_shared(<int64_t *>&figures.endpoint_gate(row).share.n_open, n_open)
    add_own(&own.attempts, attempts)
    add_own(&own.tunnels, tunnels)
    add_own(&own.awaiting, awaiting)
    add_own(&own.connect_failures, connect_failures)
    add_own(&own.answers, answers)
    add_own(&own.errors, errors)
    add_own(&own.first_bytes, first_bytes)
    add_own(&own.first_byte_us, first_byte_us)
    if bad_by:
        add_to_group(own.bad_by, group(bad_by))
    if good_by:
        add_to_group(own.good_by, group(good_by))
    if slow_by:
        add_to_group(own.slow_by, group(slow_by))


def add_to_pool(Figures figures not None, int row, int worker, *, int64_t in_flight=0, int code=0, int reason=0, int64_t attempts=0,
                int64_t failures=0, int64_t first_bytes=0, int64_t first_byte_us=0, int64_t waiting=0,
                int64_t lay_us=0, bytes answered_by=b"", bytes limited_by=b"", bytes bad_by=b"", int held=0, int held_by=0,
                int64_t served_us=-1, int served_by=-1,
                int64_t served_n=1) -> None:
    """As a worker counts in its own column; code 0: none; held_by: of that group. served_us: what the first
    byte of served_n answers took each, -1: there are none; served_by: their group, -1: all in turn. By: whose, an address of 16 bytes."""
    cdef PoolColumn *own = &figures.pool_columns(row)[worker]
    cdef int64_t k
    add_own(&own.in_flight, in_flight)
    add_own(&own.attempts, attempts)
    add_own(&own.failures, failures)
    add_own(&own.first_bytes, first_bytes)
    add_own(&own.first_byte_us, first_byte_us)
    add_own(&own.waiting, waiting)
    add_own(&own.lay_us, lay_us)
    add_own(&own.held[held_by], held)
    for k in range(served_n if served_us >= 0 else 0):
        add_served(own, figures.pool_gate(row), served_by if served_by >= 0 else <int>(k % GROUPS), served_us)
    if code:
        add_own(&own.codes[slot_of_code(code)], 1)
        add_own(&own.reasons[reason], 1)
    if answered_by:
        add_to_group(own.answered_by, group(answered_by))
    if limited_by:
        add_to_group(own.limited_by, group(limited_by))
    if bad_by:
        add_to_group(own.bad_by, group(bad_by))


def add_to_pop(Figures figures not None, int row, int worker, int64_t in_flight) -> None:
    """As a worker counts in its own column."""
    add_own(&figures.pop_columns(row)[worker].in_flight, in_flight)


def add_to_service(Figures figures not None, int row, int worker, int outcome) -> None:
    add_own(&figures.service_columns(row)[worker].retries[outcome], 1)


def hang(Figures figures not None, int worker, bint hangs=True) -> None:
    """As workers say it of one another."""
    if hangs:
        set_bits(&figures.crew.hung, <int64_t>1 << worker)
    else:
        clear_bits(&figures.crew.hung, <int64_t>1 << worker)


def observe(Figures figures not None, int row, int worker, int64_t us, int64_t now_ms) -> int:
    """Feeds one time to first byte; returns the average after it, in us."""
    observe_latency(&figures.endpoint_columns(row)[worker], us, now_ms)
    return figures.endpoint_columns(row)[worker].latency_us


def enter_service(Figures figures not None, int row, int64_t share_milli, int worker=0) -> None:
    """A request begins."""
    cdef BudgetTerms terms = BudgetTerms(share_milli=share_milli, floor_milli=0)
    enter(figures.service_debt(row), &figures.service_columns(row)[worker], &terms)


def leave_service(Figures figures not None, int row, int worker=0) -> None:
    leave(&figures.service_columns(row)[worker])


def spend_retry(Figures figures not None, int row, int64_t now_ms, int64_t floor_per_s) -> bool:
    cdef BudgetTerms terms = BudgetTerms(share_milli=0, floor_milli=1000 * floor_per_s * FORGIVEN_S)
    return spend(figures.service_debt(row), figures.service_columns(row), figures.crew, &terms, now_ms)


def choose(Table table not None, int service, int pool, int64_t n=1, *, int worker=0, int64_t now_ms=0, tried=(), bint ignore_gates=False,
           int64_t seed=1, int64_t max_open=INT64_MAX) -> dict:
    """n choices in one pool: counts by (availability, endpoint's row; -1: none)."""
    cdef const Pool *asked = &table.data.services[service].pools[pool]
    cdef const Endpoint *chosen = NULL
    cdef int32_t rows[MAX_TRIED]
    cdef int n_tried = len(tried)
    cdef Availability availability = AVAILABLE
    cdef Random rng
    cdef int64_t k, _k
    assert n_tried <= MAX_TRIED
    for k in range(n_tried):
        rows[k] = tried[k]
    seed_random(&rng, <uint64_t>seed)
    counts = {}
    for _k in range(n):
        with nogil:
            availability = choose_endpoint(asked, worker, table.data.crew, max_open, now_ms, &rng, rows, n_tried,
                                           ANSWERING_FIRST if ignore_gates else ADMITTING_ONLY, &chosen)
        key = AVAILABILITIES[availability], -1 if chosen == NULL else chosen.row
        counts[key] = counts.get(key, 0) + 1
    return counts


def choose_many(Table table not None, int service, int pool, int64_t n) -> None:
    """n choices in one pool, for benchmarks."""
    cdef const Pool *asked = &table.data.services[service].pools[pool]
    cdef const Endpoint *chosen = NULL
    cdef Random rng
    cdef int64_t _k
    seed_random(&rng, 1)
    with nogil:
        for _k in range(n):
            choose_endpoint(asked, 0, table.data.crew, INT64_MAX, _k, &rng, NULL, 0, ADMITTING_ONLY, &chosen)


@cython.final
cdef class KeptShortlists:
    """As a worker has them."""

    cdef Shortlists data

    def __dealloc__(self):
        free_shortlists(&self.data)


def decide_one(Table table not None, int route, location, int64_t seed, KeptShortlists shortlists=None, **facts) -> tuple:
    """(PoP or None, reason, fallbacks, the estimate and its parts, how many PoPs were looked at)."""
    cdef Weighed weighed
    cdef Decision decision
    cdef Location client
    cdef Asked asked
    cdef Random rng
    fill_asked(&asked, &client, table, location, facts)
    seed_random(&rng, <uint64_t>seed)
    steer(table.data, route_of(table, route), &asked, &rng, NULL if shortlists is None else &shortlists.data, &weighed, &decision)
    if decision.pool == NULL:
        return None, _figures.REASONS[decision.reason], (), (), weighed.n
    return (decision.pool.pop.number, _figures.REASONS[decision.reason],
            tuple([decision.fallbacks[k].pop.number for k in range(decision.n_fallbacks)]),
            (decision.estimate.ms, decision.estimate.path_ms, decision.estimate.service_ms, decision.estimate.penalty_ms,
             decision.estimate.evidence, <float>decision.estimate.distance_km), weighed.n)


def decide_many(Table table not None, int route, locations, int64_t n, KeptShortlists shortlists=None, **facts) -> None:
    """n decisions, the clients in turn, for benchmarks."""
    cdef const Route *asked_route = route_of(table, route)
    cdef Location clients[MAX_CLIENTS]
    cdef Asked asked[MAX_CLIENTS]
    cdef int n_clients = len(locations)
    cdef Shortlists *kept = NULL if shortlists is None else &shortlists.data
    cdef Weighed weighed
    cdef Decision decision
    cdef Random rng
    cdef int64_t k
    assert 0 < n_clients <= MAX_CLIENTS
    for k in range(n_clients):
        fill_asked(&asked[k], &clients[k], table, locations[k], facts)
    seed_random(&rng, 1)
    with nogil:
        for k in range(n):
            steer(table.data, asked_route, &asked[k % n_clients], &rng, kept, &weighed, &decision)


def match_many(Table table not None, list hosts not None, bytes path not None, int64_t n) -> int:
    """n matches, the hosts in turn, for benchmarks; returns how many found a route."""
    cdef RequestFacts facts[MAX_CLIENTS * MAX_CLIENTS]
    cdef int n_hosts = len(hosts)
    cdef int64_t k, found = 0
    cdef bytes host
    assert 0 < n_hosts <= MAX_CLIENTS * MAX_CLIENTS
    for k in range(n_hosts):
        host = hosts[k]
        facts[k].host.at = host
        facts[k].host.length = <uint32_t>len(host)
        facts[k].path.at = path
        facts[k].path.length = <uint32_t>len(path)
        facts[k].query.length = 0
        facts[k].method.at = "GET"
        facts[k].method.length = 3
        facts[k].n_fields = 0
    with nogil:
        for k in range(n):
            found += match_route(table.data, &facts[k % n_hosts]) != NULL
    return found


def address_of(Table table not None, int service, int pool, int endpoint) -> bytes:
    """The sockaddr that connect() would take."""
    cdef const Endpoint *asked = &table.data.services[service].pools[pool].endpoints[endpoint]
    return (<const char *>asked.address.bytes)[:asked.address.length]


def endpoints_of(Table table not None, int service, int pool) -> list:
    """All that is compiled of each: name, sockaddr, row, weight, and where its figures are."""
    cdef const Pool *asked = &table.data.services[service].pools[pool]
    cdef const Endpoint *one
    cdef int k
    found = []
    for k in range(asked.n_endpoints):
        one = &asked.endpoints[k]
        found.append((one.name.at[:one.name.length], address_of(table, service, pool, k), one.row, one.weight,
                      <size_t>one.gate, <size_t>one.columns))
    return found


def block_of(Table table not None) -> tuple:
    """A table's block: its words, and the bytes behind the last. What points into the block is how far from its beginning; what is in it
    by chance and looks like that is the same in a copy."""
    cdef const char *block = <const char *>table.data
    cdef size_t at = <size_t>block, size = table.data.n_bytes, i
    cdef const uint64_t *words = <const uint64_t *>block
    found = []
    for i in range(size // 8):
        found.append(("here", words[i] - at) if at <= words[i] <= at + size else ("", words[i]))
    return found, block[size - size % 8:size]
