"""How shares are worked out: over all outcomes of the admission draws, without trying the 2^n of them.

Best first, PoP k is the best of a request with probability admit(k) * product of (1 - admit) of those before it. Then the others of
its window are there with probability admit, independently, and a pair (i, j) of those there is drawn with w_i * w_j / W^2, where
W is the sum of the weights that are there. With 1/W^2 = integral of s * exp(-s W) ds over s > 0 the mean over all outcomes
becomes one integral of a product, one factor a PoP. In x = log s the trapezoid rule converges like exp(-pi^2 / STEP): to the last digit.
"""
from libc.math cimport exp, log
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from routing_core._atomic cimport load_relaxed
from routing_core._endpoints cimport AVAILABLE, FULL, Availability, choose_endpoint
from routing_core._figures cimport SCALE
from routing_core._latency cimport Estimate, estimate
from routing_core._location cimport DATABASE, unit_vector
from routing_core._random cimport Random, next_u64, seed as seed_random
from routing_core._routes cimport FieldView, RequestFacts, match_route
from routing_core._steer cimport (DECIDED, Candidate, Decision, choose, cost_of, find_widest, is_usable, steer, weigh,
                                  window_weight)
from routing_core._table cimport MAX_POPS, Endpoint, Pool
from routing_core._text cimport Text

from typing import NamedTuple

from routing_core import _steer, _table

cdef enum:
    MAX_HEADERS = 128

cdef double STEP = 0.25
cdef double NEVER = 1e-15       # a probability that can be left out

cdef struct Member:             # of a window
    int32_t candidate
    double weight               # 1 for the best
    double admit                # 1 for the best
    double cost
    double there                # at one s: probability that it is there, weighted by exp(-s * weight)


class Explained(NamedTuple):
    """One decision, PoP by PoP; see the stub."""

    route: str
    service: str
    leg: str
    error: object
    pop: object
    endpoint: object
    reason: str
    fallbacks: tuple
    window_ms: float
    candidates: tuple


class CandidateExplained(NamedTuple):
    """One PoP in a decision; see the stub."""

    pop: str
    permitted: bool
    drained: bool
    available: bool
    availability: float
    admit: float
    distance_km: object
    estimate_ms: float
    path_ms: float
    service_ms: float
    evidence: str
    samples: int
    in_window: bool
    share: float
    why_not: object


# Adds `scale` times the shares of the members, member 0 being the best and there for certain.
cdef void share_window(Member *members, int32_t n, double scale, double *shares) noexcept nogil:
    cdef double total = 0, s, product, pairs, factor
    cdef double x
    cdef int32_t i, j
    if n == 1:
        shares[members[0].candidate] += scale
        return
    for i in range(n):
        total += members[i].weight
    x = log(1e-9 / total)
    while x < 4:                # exp(-exp(4)) is nothing: the best alone makes it so
        s = exp(x)
        product = 1
        for i in range(n):
            factor = members[i].admit * exp(-s * members[i].weight)
            product *= 1 - members[i].admit + factor
            # Where all of it is certain the quotient is 1, also when exp() has run out of digits.
            members[i].there = 1 if members[i].admit == 1 else factor / (1 - members[i].admit + factor)
        for i in range(n):
            pairs = members[i].weight       # itself, twice
            for j in range(n):
                if i != j and members[i].cost <= members[j].cost:
                    pairs += members[j].weight * members[j].there * (2 if members[i].cost < members[j].cost else 1)
            shares[members[i].candidate] += scale * STEP * s * s * product * members[i].weight * members[i].there * pairs
        x += STEP


# Usable candidates, best first: by estimate, or in the configured order, in which they stand.
cdef int32_t sort_usable(const Weighed *weighed, int32_t *order) noexcept nogil:
    cdef int32_t i, k, n = 0
    for i in range(weighed.n):
        if not is_usable(weighed, &weighed.candidates[i]):
            continue
        k = n
        n += 1
        while k > 0 and not weighed.is_ordered and weighed.candidates[order[k - 1]].estimate.ms > weighed.candidates[i].estimate.ms:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i
    return n


cdef int32_t gather_window(const Weighed *weighed, const int32_t *order, int32_t n, Member *members) noexcept nogil:
    cdef const Candidate *best = &weighed.candidates[order[0]]
    cdef const Candidate *candidate
    cdef double weight
    cdef int32_t k, n_members = 0
    for k in range(1 if weighed.is_ordered else n):
        candidate = &weighed.candidates[order[k]]
        weight = window_weight(candidate, best.estimate.ms, weighed.window_ms)
        if weight <= 0:
            break
        members[n_members].candidate = order[k]
        members[n_members].weight = weight / best.pool.n_endpoints
        members[n_members].admit = 1 if k == 0 else candidate.admit
        members[n_members].cost = cost_of(candidate, weighed.n_workers)
        n_members += 1
    return n_members


cdef void work_out_shares(const Weighed *weighed, double *shares) noexcept nogil:
    cdef Member members[MAX_POPS]
    cdef int32_t order[MAX_POPS]
    cdef int32_t i, n
    cdef double left = 1        # probability that all better ones were passed over
    cdef double admit
    for i in range(weighed.n):
        shares[i] = 0
    if weighed.failure != DECIDED:
        return
    if weighed.is_panic:
        for i in range(weighed.n_window):
            shares[weighed.window[i]] = weighed.weights[i] / weighed.total_weight
        return
    n = sort_usable(weighed, order)
    for i in range(n):
        if left > NEVER:
            admit = weighed.candidates[order[i]].admit
            share_window(members, gather_window(weighed, order + i, n - i, members), left * admit, shares)
            left *= 1 - admit
    shares[find_widest(weighed)] += left


cdef str text_of(Text text):
    return text.at[:text.length].decode("utf-8")


cdef const Route *route_of(Table table, int route) except NULL:
    if not 0 <= route < table.data.n_routes:
        raise IndexError(f"route {route} of {table.data.n_routes}")
    return &table.data.routes[route]


cdef int fill_location(Location *out, object location) except -1:
    cdef double xyz[3]
    memset(out, 0, sizeof(Location))
    if location is None:
        return 0
    lat, lon, accuracy_km = location
    if not (-90 <= lat <= 90 and -180 <= lon <= 180 and 0 <= accuracy_km <= 40000):
        raise ValueError(f"location: must be latitude, longitude in degrees and a radius in km, got {location!r}")
    unit_vector(lat, lon, xyz)
    out.x, out.y, out.z = xyz[0], xyz[1], xyz[2]
    out.lat, out.lon, out.accuracy_km = lat, lon, accuracy_km
    out.source = DATABASE
    return 0


cdef str why_not(const Weighed *weighed, const Candidate *candidate, double share):
    """In a few words, for those that are permitted and not drained."""
    cdef double availability = load_relaxed(&candidate.pool.gate.availability) / <double>SCALE
    if candidate.pool.n_endpoints == 0:
        return "no endpoint available"
    if weighed.is_panic:
        return None
    if not candidate.is_available:
        return f"not available: availability {availability:.2f}"
    if candidate.is_passed and not candidate.is_in_window:
        return f"passed over: availability {availability:.2f}"
    if share > 0:
        return None
    if weighed.is_ordered:
        return "later in the configured order"
    return f"+{candidate.estimate.ms - weighed.candidates[weighed.best].estimate.ms:.1f} ms over the fastest"


cdef object explain_candidate(const Candidate *candidate, bint is_permitted, double share, str why):
    cdef const Pool *pool = candidate.pool
    cdef const Estimate *estimated = &candidate.estimate
    return CandidateExplained(
        pop=text_of(pool.pop.name),
        permitted=is_permitted,
        drained=pool.pop.is_drained,
        available=candidate.is_available,
        availability=load_relaxed(&pool.gate.availability) / <double>SCALE if pool.n_endpoints > 0 else 0.0,
        admit=candidate.admit,
        distance_km=estimated.distance_km if estimated.distance_km >= 0 else None,
        estimate_ms=estimated.ms,
        path_ms=estimated.path_ms,
        service_ms=estimated.service_ms,
        evidence=_steer.EVIDENCE[estimated.evidence],
        samples=load_relaxed(&pool.gate.samples),
        in_window=candidate.is_in_window,
        share=share,
        why_not=why,
    )


cdef object explain_excluded(Table table, const Route *route, const Pool *pool, const Location *client, bint is_permitted):
    cdef Candidate candidate
    candidate.pool = pool
    estimate(table.data, route.leg, pool, client, &candidate.estimate)
    candidate.admit = load_relaxed(&pool.gate.admit) / <double>SCALE
    candidate.is_available = pool.n_endpoints > 0 and candidate.admit > 0
    candidate.is_passed = False
    candidate.is_in_window = False
    return explain_candidate(&candidate, is_permitted, 0.0, "drained by the operator" if is_permitted else "outside the jurisdiction")


cdef tuple explain_candidates(Table table, const Route *route, const Location *client, const Weighed *weighed):
    cdef double shares[MAX_POPS]
    cdef int32_t i
    work_out_shares(weighed, shares)
    out = []
    for i in range(weighed.n):
        why = why_not(weighed, &weighed.candidates[i], shares[i])
        out.append(explain_candidate(&weighed.candidates[i], True, shares[i], why))
    if not weighed.is_ordered:
        out.sort(key=lambda candidate: candidate.estimate_ms)
    for i in range(route.n_candidates):
        if route.candidates[i].pop.is_drained:
            out.append(explain_excluded(table, route, route.candidates[i], client, True))
    for i in range(route.n_denied):
        out.append(explain_excluded(table, route, route.denied[i], client, False))
    return tuple(out)


cdef str endpoint_name(Table table, const Weighed *weighed, const Decision *decision, Random *rng):
    cdef const Endpoint *endpoint = NULL
    cdef Availability availability = choose_endpoint(
        decision.pool, 0, table.data.n_workers, 0, rng, NULL, 0, weighed.is_panic, &endpoint)
    return text_of(endpoint.name) if availability == AVAILABLE or availability == FULL else None


def explain(Table table not None, int route, location, int64_t seed=1) -> Explained:
    """location: lat, lon (degrees), accuracy_km; None when unknown. The code path of traffic: weigh() and choose()."""
    cdef const Route *asked = route_of(table, route)
    cdef Weighed weighed
    cdef Decision decision
    cdef Location client
    cdef Random rng
    fill_location(&client, location)
    seed_random(&rng, <uint64_t>seed)
    weigh(table.data, asked, &client, next_u64(&rng), &weighed)
    choose(&weighed, &rng, &decision)
    is_decided = decision.failure == DECIDED
    return Explained(
        route=text_of(asked.name),
        service=text_of(asked.service.name),
        leg=_table.LEGS[asked.leg],
        error=_steer.FAILURES[decision.failure],
        pop=text_of(decision.pool.pop.name) if is_decided else None,
        endpoint=endpoint_name(table, &weighed, &decision, &rng) if is_decided else None,
        reason=_steer.REASONS[decision.reason],
        fallbacks=tuple([text_of(decision.fallbacks[i].pop.name) for i in range(decision.n_fallbacks)]),
        window_ms=weighed.window_ms,
        candidates=explain_candidates(table, asked, &client, &weighed),
    )


def draw(Table table not None, int route, location, int64_t n, int64_t seed=1) -> dict[str, int]:
    """n decisions as traffic makes them: picks by PoP. "" counts the failures."""
    cdef const Route *asked = route_of(table, route)
    cdef int64_t counts[MAX_POPS + 1]
    cdef Weighed weighed
    cdef Decision decision
    cdef Location client
    cdef Random rng
    cdef int64_t _k
    cdef int32_t i
    for i in range(MAX_POPS + 1):
        counts[i] = 0
    fill_location(&client, location)
    seed_random(&rng, <uint64_t>seed)
    with nogil:
        for _k in range(n):
            steer(table.data, asked, &client, &rng, &weighed, &decision)
            counts[MAX_POPS if decision.pool == NULL else decision.pool.pop.number] += 1
    out = {text_of(table.data.pops[i].name): counts[i] for i in range(table.data.n_pops) if counts[i]}
    return {**out, "": counts[MAX_POPS]} if counts[MAX_POPS] else out


cdef Text view(bytes text):
    return Text(at=<const char *>text, length=<uint32_t>len(text))


def match(Table table not None, str host not None, str path not None, str method not None="GET", headers=()) -> object:
    """Index into spec.routes; path may carry a query. None: no route. ValueError: more than 128 headers."""
    cdef FieldView fields[MAX_HEADERS]
    cdef RequestFacts facts
    cdef const Route *route
    cdef bytes name, value
    cdef list kept = [(key.encode(), text.encode()) for key, text in headers]     # what fields point into
    cdef bytes path_bytes, query_bytes, host_bytes = host.encode(), method_bytes = method.encode()
    if len(kept) > MAX_HEADERS:
        raise ValueError(f"headers: must be at most {MAX_HEADERS}, got {len(kept)}")
    for i, (name, value) in enumerate(kept):
        fields[<int>i] = FieldView(
            name=<const char *>name, value=<const char *>value, name_length=<uint32_t>len(name), value_length=<uint32_t>len(value))
    path_bytes, _, query_bytes = path.encode().partition(b"?")
    facts.host = view(host_bytes)
    facts.path = view(path_bytes)
    facts.query = view(query_bytes)
    facts.method = view(method_bytes)
    facts.fields = fields
    facts.n_fields = <int>len(kept)
    route = match_route(table.data, &facts)
    return None if route == NULL else route.number
