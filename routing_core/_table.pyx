"""One block: header, PoPs, services, pools, routes, targets, rules, lists of pools, pins, texts. Measured first, then filled.

Where nothing but some pools is otherwise than in the last table, it is a copy of that one's block with those pools filled anew.
The endpoints of each pool are a block of their own, which the next table shares when they are the same: of 10,000 a change moves a few.
What comes in was made by control from a file and from Kubernetes: everything is checked here, nothing is checked later.

Over 400 lines: measured and filled in the same order.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from routing_core._address cimport MAX_WEIGHT
from routing_core._checks cimport name_bytes, number, whole
from routing_core._copy cimport copy_block
from routing_core._figures cimport Figures
from routing_core._layout cimport *
from routing_core._location cimport unit_vector
from routing_core._memory cimport TABLE, give, take
from routing_core._paths cimport fill_borders, fill_landmarks, is_same_prior
from routing_core._routes cimport build_matcher, free_matcher, share_matcher
from routing_core._splice cimport MAX_ENDPOINTS, Members

from routing_core.spec import TableSpec

cdef enum:
    MAX_POOL_WEIGHT = 1000
    MAX_RULES = 1000            # of one route
    MAX_TARGETS = 64

globals()["MAX_POPS"] = MAX_POPS    # an enum of the .pxd is not seen from Python
LEGS = ("client-pop", "gateway-pop")    # index is Leg
AFFINITIES = (None, "cookie", "header", "client")   # index is AffinityKind
CONTINENTS = ("AF", "AN", "AS", "EU", "NA", "OC", "SA")
REDIRECTS = (0, 307, 308)

cdef struct Arena:              # the next free place of each part of the block
    Service *service
    Pool *pool
    Route *route
    Target *target
    Rule *rule
    const Pool **list
    Pin *pin
    int32_t *pin_pop
    char *text


cdef Text keep_text(char **end, bytes text):
    """`end`: of the texts so far; moved on."""
    cdef Text out
    out.at = end[0]
    out.length = len(text)
    memcpy(end[0], <const char *>text, out.length)
    end[0] += out.length
    return out


cdef uint64_t salt_of(bytes name):
    # FNV-1a, then spread: the salt of a PoP must not change with its place in the configuration.
    cdef uint64_t value = 14695981039346656037u
    cdef unsigned char byte
    for byte in name:
        value = (value ^ byte) * 1099511628211u
    return value ^ (value >> 29)


cdef uint16_t country_code(object code, str what) except? 0:
    if type(code) is not str or len(code) != 2 or not code.isascii() or country_bit((ord(code[0]) << 8) | ord(code[1])) < 0:
        raise ValueError(f"{what}: a country must be two capitals, got {code!r}")
    return <uint16_t>((ord(code[0]) << 8) | ord(code[1]))


cdef int32_t watermark(object spec, str what) except -1:
    return <int32_t>whole(spec.high, 0, 1 << 30, what + " high")


cdef int fill_pop(Arena *arena, TableData *data, Pop *pop, object spec, int32_t position, bytes name, Figures figures) except -1:
    cdef double xyz[3]
    cdef str what = f"pops[{position}] ({spec.name})"
    unit_vector(number(spec.lat, -90, 90, what + " lat"), number(spec.lon, -180, 180, what + " lon"), xyz)
    pop.name = keep_text(&arena.text, name)
    pop.x, pop.y, pop.z = xyz[0], xyz[1], xyz[2]
    pop.salt = salt_of(name)
    pop.country = 0 if spec.country is None else country_code(spec.country, what)
    pop.subregion = subregion_of(data, pop.country)
    pop.number = position
    pop.is_drained = spec.is_drained
    pop.high = watermark(spec, what)
    if spec.row is not None:
        pop.columns = figures.pop_columns(spec.row)
    elif pop.high:
        raise ValueError(f"{what} high: must be 0 without a row to count in, got {pop.high}")
    pop.cookie = keep_text(&arena.text, spec.cookie.encode())
    pop.public_url = keep_text(&arena.text, spec.public_url.encode())
    return 0


cdef int fill_pool(Pool *out, object spec, Members members, const Pop *pop, const Service *service, Figures figures, str what) except -1:
    out.pop = pop
    out.service = service
    out.row = spec.row
    out.n_endpoints = members.count
    out.total = <int32_t>whole(spec.total, 0, MAX_ENDPOINTS, what + " total")
    out.max_in_flight = <int32_t>whole(spec.max_in_flight, 0, 1 << 30, what + " max_in_flight")
    out.high = watermark(spec, what)
    out.weight = <int32_t>whole(spec.weight, 1, MAX_POOL_WEIGHT, what + " weight")
    out.n_preferred = <int32_t>whole(spec.n_preferred, 0, out.n_endpoints, what + " n_preferred")
    out.endpoints = members.endpoints
    out.gate = figures.pool_gate(out.row)
    out.columns = figures.pool_columns(out.row)
    return 0


cdef int fill_service(Arena *arena, TableData *data, object spec, int32_t position, dict names, list members, set rows,
                      Figures figures) except -1:
    cdef Service *service = arena.service
    cdef str what = f"services[{position}] ({spec.name})"
    cdef set seen = set()
    cdef int32_t pop
    service.name = keep_text(&arena.text, names["services"][position])
    service.number = position
    service.n_pools = <int32_t>whole(len(spec.pools), 0, MAX_POPS, what + " pools")
    service.row = spec.row
    service.is_long_lived = spec.is_long_lived
    service.has_weights = len({pool.weight for pool in spec.pools}) > 1
    service.pools = arena.pool
    service.columns = figures.service_columns(service.row)
    service.debt = figures.service_debt(service.row)
    for row in (spec.row, *(pool.row for pool in spec.pools)):
        if row in rows:
            raise ValueError(f"{what}: row must belong to one service or pool, got {row} twice")
        rows.add(row)
    for pool in spec.pools:
        pop = <int32_t>whole(pool.pop, 0, data.n_pops - 1, what + " pool's pop")
        if pop in seen:
            raise ValueError(f"{what}: must have at most one pool in a PoP, got two in {pop}")
        seen.add(pop)
        if data.pops[pop].gate == NULL:
            (<Pop *>data.pops)[pop].gate = figures.pool_gate(pool.row)
        fill_pool(arena.pool, pool, members[arena.pool - data.pools], data.pops + pop, service, figures, what)
        arena.pool += 1
    arena.service += 1
    return 0


cdef int32_t list_pools(Arena *arena, const Service *service, object permitted, bint is_permitted) except -1:
    """In the configured order, which decides when the client's place is unknown."""
    cdef const Pool *by_pop[MAX_POPS]
    cdef int32_t i, n = 0
    memset(by_pop, 0, sizeof(by_pop))
    for i in range(service.n_pools):
        by_pop[service.pools[i].pop.number] = &service.pools[i]
    for i in range(MAX_POPS):
        if by_pop[i] != NULL and (permitted is None or i in permitted) == is_permitted:
            arena.list[n] = by_pop[i]
            n += 1
    arena.list += n
    return n


cdef int set_bits(Rule *rule, object spec, str what) except -1:
    """Which clients the rule is for. Any of the lists may name their place."""
    cdef int bit
    rule.is_for_all = spec.countries is None and spec.continents is None
    for code in spec.countries or ():
        bit = country_bit(country_code(code, what))
        rule.countries[bit >> 6] |= <uint64_t>1 << (bit & 63)
    for code in spec.continents or ():
        if code not in CONTINENTS:
            raise ValueError(f"{what}: a continent must be one of {', '.join(CONTINENTS)}, got {code!r}")
        rule.continents |= <uint32_t>1 << continent_bit((ord(code[0]) << 8) | ord(code[1]))
    return 0


cdef int fill_rules(Arena *arena, TableData *data, Target *target, tuple rules, str what, dict known) except -1:
    """Targets of one service with the same rules share them."""
    cdef tuple key = ("rules", target.service.number, rules)
    cdef Rule *rule
    target.n_rules = <int32_t>whole(len(rules), 0, MAX_RULES, what + " rules")
    if key in known:
        target.rules = data.rules + <int32_t>known[key]
        return 0
    known[key] = <int32_t>(arena.rule - data.rules)
    target.rules = arena.rule
    for spec in rules:
        rule = arena.rule
        arena.rule += 1
        set_bits(rule, spec, what)
        for pop in spec.permitted_pops or ():
            whole(pop, 0, data.n_pops - 1, what + " permitted_pops")
        permitted = None if spec.permitted_pops is None else frozenset(spec.permitted_pops)
        rule.candidates = arena.list
        rule.n_candidates = list_pools(arena, target.service, permitted, True)
        rule.denied = arena.list
        rule.n_denied = list_pools(arena, target.service, permitted, False)
    return 0


cdef tuple targets_of(object spec):
    """(service, weight) of each target: those of the split, then the others, which are drawn never. A route that is refused has none."""
    if spec.service is None:
        return ()
    return (*(tuple(spec.split) or ((spec.service, 1),)), *((service, 0) for service in spec.fallback_services))


cdef int fill_targets(Arena *arena, TableData *data, Route *route, object spec, str what, dict known) except -1:
    """Routes that lead to the same services by the same rules share their targets: there may be 10,000 of them."""
    cdef tuple targets = targets_of(spec)
    cdef tuple rules = tuple(spec.rules)
    cdef tuple key = ("targets", targets, rules)
    cdef int64_t until = 0
    cdef Target *target
    route.targets = arena.target
    if not targets:
        return 0
    for service, weight in targets:
        whole(service, 0, data.n_services - 1, what + " service")
        until += whole(weight, 0, MAX_WEIGHT, what + " weight")
    if until == 0:
        raise ValueError(f"{what} split: must have weights above 0, got {spec.split!r}")
    route.n_targets = <int32_t>whole(len(targets), 1, MAX_TARGETS, what + " services")
    route.n_split = <int32_t>len(spec.split) or 1
    route.total_weight = <int32_t>until
    if key in known:
        route.targets = data.targets + <int32_t>known[key]
        return 0
    known[key] = <int32_t>(arena.target - data.targets)
    until = 0
    for service, weight in targets:
        target = arena.target
        arena.target += 1
        until += weight
        target.service = data.services + <int32_t>service
        target.until = <int32_t>until
        fill_rules(arena, data, target, rules, what, known)
    return 0


cdef int fill_affinity(Arena *arena, Route *route, object spec, str what) except -1:
    if spec is None:
        return 0
    if spec.by not in AFFINITIES[1:]:
        raise ValueError(f"{what} affinity: must be by {', '.join(AFFINITIES[1:])}, got {spec.by!r}")
    if (spec.by == "client") != (not spec.name):
        raise ValueError(f"{what} affinity: must have a name when by cookie or header, and only then, got {spec.name!r}")
    route.affinity = <AffinityKind><int>AFFINITIES.index(spec.by)
    route.affinity_name = keep_text(&arena.text, spec.name.encode())
    route.cookie_attributes = keep_text(&arena.text, spec.attributes.encode())
    route.is_secure_over_tls = spec.is_secure_over_tls
    route.within_ms = number(spec.within_ms, 0, 60000, what + " within_ms")
    return 0


cdef int fill_route(Arena *arena, TableData *data, object spec, int32_t position, bytes name, dict known) except -1:
    cdef Route *route = arena.route
    cdef str what = f"routes[{position}] ({spec.name})"
    route.name = keep_text(&arena.text, name)
    route.number = position
    if spec.leg not in LEGS:
        raise ValueError(f"{what} leg: must be one of {', '.join(LEGS)}, got {spec.leg!r}")
    route.leg = GATEWAY_POP if spec.leg == "gateway-pop" else CLIENT_POP
    route.window_ms = number(spec.window_ms, 0, 60000, what + " window_ms")
    route.is_split_sticky = spec.is_split_sticky
    if spec.redirect_status not in REDIRECTS:
        raise ValueError(f"{what} redirect_status: must be one of {', '.join(map(str, REDIRECTS))}, got {spec.redirect_status!r}")
    route.redirect_status = spec.redirect_status
    route.redirects_all = spec.redirects_all
    fill_affinity(arena, route, spec.affinity, what)
    fill_targets(arena, data, route, spec, what, known)
    arena.route += 1
    return 0


cdef int fill_pin(Arena *arena, TableData *data, object pops, int32_t position) except -1:
    arena.pin.pops = arena.pin_pop
    arena.pin.n_pops = <int32_t>len(pops)
    if len(set(pops)) < len(pops):
        raise ValueError(f"pins[{position}]: must name each PoP once, got {pops!r}")
    for pop in pops:
        arena.pin_pop[0] = <int32_t>whole(pop, 0, data.n_pops - 1, f"pins[{position}]")
        arena.pin_pop += 1
    arena.pin += 1
    return 0


cdef list members_of(object spec, Figures figures, Table before):
    """The endpoints of each pool. Those that a table has compiled before as they are, or others of the same pool, are not compiled anew."""
    cdef dict found = {}, by_row = {}
    cdef Members one
    cdef list out = []
    if before is not None and before.figures is figures:
        found = {id(one.spec): one for one in before.members}
        by_row = {pool.row: id(pool.endpoints) for service in before.spec.services for pool in service.pools}
    for number, service in enumerate(spec.services):
        for pool in service.pools:
            key = id(pool.endpoints)
            if key not in found:
                found[key] = Members(pool.endpoints, figures, f"services[{number}] ({service.name})", found.get(by_row.get(pool.row)))
            out.append(found[key])
    return out


cdef dict encode_names(object spec):
    """Every text of the table but those of endpoints as bytes, {"pops", "services", "routes": lists}, and their length."""
    cdef set seen = set()
    out = {"pops": [name_bytes(pop.name, "pops", seen) for pop in spec.pops]}
    seen = set()
    out["services"] = [name_bytes(service.name, "services", seen) for service in spec.services]
    # Matches of one configured route share its name.
    out["routes"] = [name_bytes(route.name, "routes", set()) for route in spec.routes]
    cdef Py_ssize_t total = sum(map(len, out["pops"])) + sum(map(len, out["services"])) + sum(map(len, out["routes"]))
    total += sum(len(pop.cookie.encode()) + len(pop.public_url.encode()) for pop in spec.pops)
    total += sum(
        len(route.affinity.name.encode()) + len(route.affinity.attributes.encode()) for route in spec.routes if route.affinity is not None)
    return {**out, "total": total}


cdef tuple steering_places(object spec):
    """Numbers of targets, rules and places in lists of pools that are needed: what routes share is there once."""
    targets = {(targets_of(route), tuple(route.rules)) for route in spec.routes}
    rules = {(service, of_route) for lead_to, of_route in targets for service, _ in lead_to}
    n_lists = sum(len(spec.services[service].pools) * len(of_route) for service, of_route in rules)
    return sum(len(lead_to) for lead_to, _ in targets), sum(len(of_route) for _, of_route in rules), n_lists


cdef TableData *build(object spec, Figures figures, list members) except NULL:
    cdef int32_t n_pops = <int32_t>whole(len(spec.pops), 0, MAX_POPS, "pops")
    cdef dict names = encode_names(spec)
    for number, route in enumerate(spec.routes):
        for service, _ in targets_of(route):
            whole(service, 0, len(spec.services) - 1, f"routes[{number}] ({route.name}) service")
    cdef size_t n_pools = sum(len(service.pools) for service in spec.services)
    cdef size_t n_services = len(spec.services), n_routes = len(spec.routes)
    cdef size_t n_targets, n_rules, n_lists
    n_targets, n_rules, n_lists = steering_places(spec)
    cdef size_t n_text = names["total"]
    cdef size_t n_pins = len(spec.pins), n_pin_pops = sum(map(len, spec.pins))
    cdef size_t n_bytes = (
        sizeof(TableData) + n_pops * sizeof(Pop) + n_services * sizeof(Service) + n_pools * sizeof(Pool)
        + n_routes * sizeof(Route) + n_targets * sizeof(Target) + n_rules * sizeof(Rule)
        + n_lists * sizeof(Pool *) + n_pins * sizeof(Pin) + n_pin_pops * sizeof(int32_t) + n_text)
    cdef TableData *data = <TableData *>take(TABLE, n_bytes)
    if data == NULL:
        raise MemoryError
    cdef Arena arena
    data.n_pops = n_pops
    data.n_services = <int32_t>n_services
    data.n_routes = <int32_t>n_routes
    data.n_pools = <int32_t>n_pools
    data.n_targets, data.n_rules, data.n_lists, data.n_bytes = n_targets, n_rules, n_lists, n_bytes
    data.pops = <Pop *>(data + 1)
    arena.service = <Service *>(data.pops + n_pops)
    arena.pool = <Pool *>(arena.service + n_services)
    arena.route = <Route *>(arena.pool + n_pools)
    arena.target = <Target *>(arena.route + n_routes)
    arena.rule = <Rule *>(arena.target + n_targets)
    arena.list = <const Pool **>(arena.rule + n_rules)
    arena.pin = <Pin *>(arena.list + n_lists)
    arena.pin_pop = <int32_t *>(arena.pin + n_pins)
    arena.text = <char *>(arena.pin_pop + n_pin_pops)
    data.services = arena.service
    data.pools = arena.pool
    data.routes = arena.route
    data.targets = arena.target
    data.rules = arena.rule
    data.lists = arena.list
    data.n_pins = <int32_t>n_pins
    data.pins = arena.pin
    data.pace = figures.pace
    data.crew = figures.crew
    try:
        fill(data, &arena, spec, names, members, figures)
    except (IndexError, OverflowError) as error:      # a row that is none
        give(TABLE, data)
        raise ValueError(str(error)) from error
    except BaseException:
        give(TABLE, data)
        raise
    return data


cdef int64_t n_places = 0       # given out


cdef int64_t next_places():
    global n_places
    n_places += 1
    return n_places


cdef int fill_head(TableData *data, object spec) except -1:
    cdef double xyz[3]
    data.generation = whole(spec.generation, 0, 1 << 62, "generation")
    data.intercept_ms = number(spec.intercept_ms, 0, 1000, "intercept_ms")
    data.slope_ms_per_km = number(spec.slope_ms_per_km, 0, 1, "slope_ms_per_km")
    data.abroad_ms = number(spec.abroad_ms, 0, 1000, "abroad_ms")
    data.explored_below = round(number(spec.exploration, 0, 1, "exploration") * (1 << EXPLORED_BITS))
    data.has_gateway = spec.gateway is not None
    if data.has_gateway:
        lat, lon = spec.gateway
        unit_vector(number(lat, -90, 90, "gateway lat"), number(lon, -180, 180, "gateway lon"), xyz)
        data.gateway_x, data.gateway_y, data.gateway_z = xyz[0], xyz[1], xyz[2]
    return 0


cdef int fill(TableData *data, Arena *arena, object spec, dict names, list members, Figures figures) except -1:
    cdef dict known = {}
    cdef set rows = set()
    cdef int32_t position
    data.places = next_places()
    fill_head(data, spec)
    fill_borders(data, spec.borders)
    pop_rows = [pop.row for pop in spec.pops if pop.row is not None]
    if len(set(pop_rows)) < len(pop_rows):
        raise ValueError(f"pops: must have rows of their own, got {pop_rows!r}")
    for position, pop in enumerate(spec.pops):
        fill_pop(arena, data, <Pop *>data.pops + <int>position, pop, position, names["pops"][position], figures)
    for position, service in enumerate(spec.services):
        fill_service(arena, data, service, position, names, members, rows, figures)
    for position, route in enumerate(spec.routes):
        fill_route(arena, data, route, position, names["routes"][position], known)
    for position, pops in enumerate(spec.pins):
        fill_pin(arena, data, pops, position)
    return 0


cdef tuple frame_of(object service):
    """Of a service all that stands in a table but what is in its pools."""
    return service.name, service.row, service.is_long_lived, [(pool.pop, pool.row, pool.weight) for pool in service.pools]


cdef bint is_renewal(object spec, Figures figures, Table before):
    """Whether what is in pools is all that is otherwise than in `before`."""
    if (before is None or before.figures is not figures or before.spec.pops is not spec.pops or before.spec.routes is not spec.routes
            or before.spec.pins is not spec.pins or not is_same_prior(spec, before.spec)
            or len(before.spec.services) != len(spec.services)):
        return False
    for service, was in zip(spec.services, before.spec.services):
        if service is not was and frame_of(service) != frame_of(was):
            return False
    return True


cdef int renew_pools(TableData *data, object spec, Figures figures, Table before, list members) except -1:
    """`members`: those of before; becomes those of now."""
    cdef Pool *pool = <Pool *>data.pools
    cdef Members one
    cdef int32_t place = 0
    for number, (service, was) in enumerate(zip(spec.services, before.spec.services)):
        if service is was:
            place += <int32_t>len(service.pools)
            continue
        what = f"services[{number}] ({service.name})"
        for built in service.pools:
            one = members[place]
            if built.endpoints is not one.spec:
                one = members[place] = Members(built.endpoints, figures, what, one)
            fill_pool(pool + place, built, one, pool[place].pop, pool[place].service, figures, what)
            place += 1
    return 0


cdef TableData *build_again(object spec, Figures figures, Table before, list members) except NULL:
    cdef TableData *data = copy_block(before.data)
    if data == NULL:
        raise MemoryError
    try:
        fill_head(data, spec)
        if spec.gateway != before.spec.gateway:
            data.places = next_places()
        renew_pools(data, spec, figures, before, members)
    except BaseException:
        give(TABLE, data)
        raise
    return data


@cython.final
cdef class Table:
    """Immutable. ValueError names what is wrong in the spec (index out of range, doubled name, bad address, too many PoPs).

    `before`: a table of the same figures. A tuple of endpoints that it has too (the same object) is not compiled again.
    """

    def __cinit__(self, object spec not None, Figures figures not None, Table before=None):
        if not isinstance(spec, TableSpec):
            raise TypeError(f"spec: must be a TableSpec, got {type(spec).__name__}")
        self.spec = spec
        self.figures = figures
        if is_renewal(spec, figures, before):
            self.members = before.members.copy()
            self.data = build_again(spec, figures, before, self.members)
        else:
            self.members = members_of(spec, figures, before)
            self.data = build(spec, figures, self.members)
        self.landmarks = fill_landmarks(self.data, spec, None if before is None else before.landmarks)
        if before is not None and before.spec.routes is spec.routes:
            self.data.matcher = share_matcher(before.data.matcher)
        else:
            self.data.matcher = build_matcher(spec)

    def __dealloc__(self):
        if self.data != NULL:
            if self.data.matcher != NULL:
                free_matcher(self.data.matcher)
            give(TABLE, self.data)
