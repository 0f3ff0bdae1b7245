"""Texts and tuples of what the core decided; shares are worked out by `_shares`."""
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from routing_core._atomic cimport load_relaxed
from routing_core._available cimport n_in_panic
from routing_core._decision cimport DECIDED, MAX_LEFT_OUT, Asked, Candidate, Decision, Weighed, is_named_in
from routing_core._endpoints cimport ADMITTING_ONLY, ANSWERING_FIRST, AVAILABLE, FULL, Availability, choose_endpoint
from routing_core._figures cimport SCALE
from routing_core._headroom cimport free_share, has_limit
from routing_core._jurisdiction cimport find_rule
from routing_core._latency cimport PATH, Estimate, Start, border_ms, estimate, find_start, prior_ms
from routing_core._layout cimport MAX_POPS, Endpoint, Pool, Pop, Rule, Service, Target
from routing_core._location cimport DATABASE, unit_vector
from routing_core._random cimport Random, seed as seed_random
from routing_core._routes cimport FieldView, RequestFacts, match_route
from routing_core._shares cimport work_out_shares
from routing_core._steer cimport steer
from routing_core._text cimport Text

from typing import NamedTuple

from routing_core import _figures, _steer, _table

cdef enum:
    MAX_HEADERS = 128


class Explained(NamedTuple):
    """One decision, PoP by PoP; see the stub."""

    route: str
    service: str
    split: tuple
    rule: object
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
    shed: float
    ramp: float
    headroom: object
    distance_km: object
    estimate_ms: float
    path_ms: float
    border_ms: float
    by_paths_ms: float
    service_ms: float
    penalty_ms: float
    evidence: str
    samples: int
    spread_ms: float
    in_window: bool
    share: float
    why_not: object


cdef str text_of(Text text):
    return text.at[:text.length].decode("utf-8")


cdef const Route *route_of(Table table, int route) except NULL:
    if not 0 <= route < table.data.n_routes:
        raise IndexError(f"route {route} of {table.data.n_routes}")
    if table.data.routes[route].n_targets == 0:
        raise ValueError(f"route {route}: must lead to a service, got one that is refused")
    return &table.data.routes[route]


cdef uint16_t letters(object code, str what) except? 0:
    if type(code) is not str or len(code) != 2 or not (code.isascii() and code.isupper()):
        raise ValueError(f"{what}: must be two capitals, got {code!r}")
    return <uint16_t>((ord(code[0]) << 8) | ord(code[1]))


cdef int fill_location(Location *out, object location, object country=None, object continent=None, int32_t pin=0) except -1:
    cdef double xyz[3]
    memset(out, 0, sizeof(Location))
    out.country = 0 if country is None else letters(country, "country")
    out.continent = 0 if continent is None else letters(continent, "continent")
    out.pin = pin
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


cdef str shortage(const Candidate *candidate):
    """What keeps it from taking all requests, the least factor of its admission. Without a capacity it is a queue that sheds."""
    cdef const Pool *pool = candidate.pool
    factors = {
        "availability": load_relaxed(&pool.gate.availability), "headroom" if has_limit(pool) else "queue": load_relaxed(&pool.gate.shed),
        "ramp": load_relaxed(&pool.gate.ramp)}
    name = min(factors, key=factors.get)
    return f"{name} {factors[name] / <double>SCALE:.2f}"


cdef str why_not(const Weighed *weighed, const Candidate *candidate, double share):
    """In a few words, for those that are permitted and not drained."""
    if candidate.pool.n_endpoints == 0:
        return "no endpoint available"
    if candidate.is_full and share == 0:
        return "full: as much in flight as it may have"
    if weighed.is_panic:
        return None if n_in_panic(weighed, candidate) > 0 else "none of its endpoints answers"
    if candidate.is_left_out:
        return f"drained automatically: availability {candidate.availability / <double>SCALE:.2f}"
    if not candidate.is_available:
        return f"not available: {shortage(candidate)}"
    if candidate.is_passed and not candidate.is_in_window:
        return f"passed over: {shortage(candidate)}"
    if share > 0:
        return None
    if weighed.is_ordered:
        return "later in the pin's order" if weighed.is_pinned else "later in the configured order"
    return f"+{candidate.estimate.ms - weighed.candidates[weighed.best].estimate.ms:.1f} ms over the fastest"


cdef object explain_candidate(Table table, const Start *start, const Candidate *candidate, bint is_permitted, double share, str why):
    cdef const Pool *pool = candidate.pool
    cdef const Estimate *estimated = &candidate.estimate
    cdef bint is_measured = estimated.evidence == PATH
    return CandidateExplained(
        pop=text_of(pool.pop.name),
        permitted=is_permitted,
        drained=pool.pop.is_drained,
        available=candidate.is_available,
        availability=load_relaxed(&pool.gate.availability) / <double>SCALE if pool.n_endpoints > 0 else 0.0,
        admit=candidate.admit,
        shed=load_relaxed(&pool.gate.shed) / <double>SCALE,
        ramp=load_relaxed(&pool.gate.ramp) / <double>SCALE,
        headroom=min(max(free_share(pool, table.data.crew), 0.0), 1.0) if has_limit(pool) else None,
        distance_km=estimated.distance_km if estimated.distance_km >= 0 else None,
        estimate_ms=estimated.ms,
        path_ms=estimated.path_ms,
        border_ms=0.0 if is_measured else border_ms(start, pool.pop),
        by_paths_ms=0.0 if is_measured else estimated.path_ms - prior_ms(table.data, start, pool.pop, estimated.distance_km),
        service_ms=estimated.service_ms,
        penalty_ms=estimated.penalty_ms,
        evidence=_steer.EVIDENCE[estimated.evidence],
        samples=load_relaxed(&pool.gate.samples),
        spread_ms=load_relaxed(&pool.gate.spread_us) * 0.001,
        in_window=candidate.is_in_window,
        share=share,
        why_not=why,
    )


cdef object explain_excluded(Table table, const Route *route, const Pool *pool, const Location *client, str why):
    cdef Candidate candidate
    cdef Start start
    cdef int slot = <int>((load_relaxed(&table.data.pace.phase) >> 10) & 7)
    memset(&candidate, 0, sizeof(Candidate))
    candidate.pool = pool
    find_start(table.data, route.leg, client, slot, &start)
    estimate(table.data, &start, pool, slot, &candidate.estimate)
    candidate.admit = load_relaxed(&pool.gate.admit) / <double>SCALE
    candidate.is_available = pool.n_endpoints > 0 and candidate.admit > 0
    return explain_candidate(table, &start, &candidate, pool.pop.is_drained, 0.0, why)


cdef tuple explain_candidates(Table table, const Route *route, const Target *target, const Asked *asked, Weighed *weighed):
    cdef double shares[MAX_POPS]
    cdef const Rule *rule
    cdef const Service *service = target.service
    cdef Start start
    cdef int32_t i
    find_start(table.data, route.leg, asked.client, 0, &start)
    work_out_shares(table.data, route, target, asked, weighed, shares)
    rule = weighed.rule
    out = []
    for i in range(weighed.n):
        why = why_not(weighed, &weighed.candidates[i], shares[i])
        out.append((weighed.candidates[i].rank, explain_candidate(table, &start, &weighed.candidates[i], True, shares[i], why)))
    out.sort(key=lambda ranked: ranked[0] if weighed.is_ordered else ranked[1].estimate_ms)
    out = [candidate for _, candidate in out]
    if rule == NULL:
        for i in range(service.n_pools):
            out.append(explain_excluded(table, route, &service.pools[i], asked.client, "outside the jurisdiction: no rule for this client"))
        return tuple([candidate._replace(permitted=False) for candidate in out])
    for i in range(rule.n_candidates):
        if rule.candidates[i].pop.is_drained:
            out.append(explain_excluded(table, route, rule.candidates[i], asked.client, "drained by the operator"))
        elif is_named_in(asked, rule.candidates[i]):
            out.append(explain_excluded(table, route, rule.candidates[i], asked.client, "left out: nobody there could be asked"))
    for i in range(rule.n_denied):
        out.append(explain_excluded(table, route, rule.denied[i], asked.client, "outside the jurisdiction")._replace(permitted=False))
    return tuple(out)


cdef str endpoint_name(Table table, const Decision *decision, Random *rng):
    cdef const Endpoint *endpoint = NULL
    cdef Availability availability = choose_endpoint(
        decision.pool, 0, table.data.crew, INT64_MAX, 0, rng, NULL, 0,
        ANSWERING_FIRST if decision.is_panic else ADMITTING_ONLY, &endpoint)
    return text_of(endpoint.name) if availability == AVAILABLE or availability == FULL else None


cdef tuple split_of(const Route *route):
    """(service, share) of each service of the split."""
    cdef int32_t i, before = 0
    out = []
    for i in range(route.n_split):
        out.append((text_of(route.targets[i].service.name), (route.targets[i].until - before) / <double>route.total_weight))
        before = route.targets[i].until
    return tuple(out)


cdef const Pop *pop_named(Table table, object name) except? NULL:
    cdef int32_t i
    for i in range(table.data.n_pops):
        if text_of(table.data.pops[i].name) == name:
            return &table.data.pops[i]
    raise ValueError(f"kept and left_out: must be PoPs of the table, got {name!r}")


cdef int leave_pop_out(Asked *out, Table table, const Pop *pop) except -1:
    """Its pools, of all services."""
    cdef const Service *service
    cdef int32_t i, k
    for i in range(table.data.n_services):
        service = &table.data.services[i]
        for k in range(service.n_pools):
            if service.pools[k].pop == pop:
                if out.n_left_out == MAX_LEFT_OUT:
                    raise ValueError(f"left_out: must be at most {MAX_LEFT_OUT} pools")
                out.left_out[out.n_left_out] = &service.pools[k]
                out.n_left_out += 1
    return 0


cdef int fill_asked(Asked *out, Location *client, Table table, location, dict facts) except -1:
    unknown = facts.keys() - {"country", "continent", "pin", "client_key", "header_key", "kept", "left_out", "may_explore"}
    if unknown:
        raise TypeError(f"unknown facts: {', '.join(sorted(unknown))}")
    fill_location(client, location, facts.get("country"), facts.get("continent"), facts.get("pin", 0))
    out.client = client
    out.client_key = <uint64_t>facts.get("client_key", 0)
    out.header_key = <uint64_t>facts.get("header_key", 0)
    kept = facts.get("kept")
    out.kept = NULL
    if kept is not None:
        out.kept = pop_named(table, kept)
    out.may_explore = bool(facts.get("may_explore", False))
    out.n_left_out = 0
    for name in facts.get("left_out", ()):
        leave_pop_out(out, table, pop_named(table, name))
    return 0


def explain(Table table not None, int route, location, int64_t seed=1, **facts) -> Explained:
    """One decision, as traffic makes it, and the shares of all like it; see the stub."""
    cdef const Route *asked_route = route_of(table, route)
    cdef Weighed weighed
    cdef Decision decision
    cdef Location client
    cdef Asked asked
    cdef Random rng
    cdef const Rule *rule
    fill_asked(&asked, &client, table, location, facts)
    seed_random(&rng, <uint64_t>seed)
    steer(table.data, asked_route, &asked, &rng, NULL, &weighed, &decision)
    is_decided = decision.failure == DECIDED
    endpoint = endpoint_name(table, &decision, &rng) if is_decided else None
    candidates = explain_candidates(table, asked_route, decision.target, &asked, &weighed)
    rule = find_rule(decision.target, &client)
    return Explained(
        route=text_of(asked_route.name),
        service=text_of(decision.target.service.name),
        split=split_of(asked_route),
        rule=None if rule == NULL else <int>(rule - decision.target.rules),
        leg=_table.LEGS[asked_route.leg],
        error=_steer.FAILURES[decision.failure],
        pop=text_of(decision.pool.pop.name) if is_decided else None,
        endpoint=endpoint,
        reason=_figures.REASONS[decision.reason],
        fallbacks=tuple([text_of(decision.fallbacks[i].pop.name) for i in range(decision.n_fallbacks)]),
        window_ms=weighed.window_ms,
        candidates=candidates,
    )


def draw(Table table not None, int route, location, int64_t n, int64_t seed=1, **facts) -> dict[str, int]:
    """n decisions as traffic makes them: picks by PoP. "" counts the failures."""
    cdef const Route *asked_route = route_of(table, route)
    cdef int64_t counts[MAX_POPS + 1]
    cdef Weighed weighed
    cdef Decision decision
    cdef Location client
    cdef Asked asked
    cdef Random rng
    cdef int64_t _k
    cdef int32_t i
    for i in range(MAX_POPS + 1):
        counts[i] = 0
    fill_asked(&asked, &client, table, location, facts)
    seed_random(&rng, <uint64_t>seed)
    with nogil:
        for _k in range(n):
            steer(table.data, asked_route, &asked, &rng, NULL, &weighed, &decision)
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
