"""The decision, naively: every version of the estimates, every outcome of the draws, one by one. Must not know routing_core. Times: ms."""

import itertools
import math
from dataclasses import dataclass, field, replace

INTERCEPT, SLOPE, ABROAD = 5.41, 0.0177, 4.96  # of the prior
BORDERS = {("DE", "FR"): 12, ("DE", "US"): 12, ("FR", "US"): 3}  # beside ABROAD; of others nothing is known
NEAR, NEAR_MS, NEXT_MS = 5, 20, 40  # landmarks
EXPLORE_MS = 0.15
RADIUS_KM, STEPS = 6371.0088, 7  # of the earth; versions' times that requests are spread over


@dataclass
class Answer:
    service: int
    error: str | None = None
    shares: dict[int, float] = field(default_factory=dict)  # by PoP
    outcomes: set[tuple[int, str]] = field(default_factory=set)  # (PoP, reason) that a single request may see

    def add(self, chance, shares, reasons):
        for site, share in shares.items():
            self.shares[site.pop] = self.shares.get(site.pop, 0.0) + chance * share
            self.outcomes |= {(site.pop, reason) for reason in reasons}


def kilometres(one, other):
    lat1, lon1, lat2, lon2 = map(math.radians, (*one, *other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def estimate(world, site, client, age):
    path, service = site.time(age)
    here = world.gateway if world.is_gateway_leg else client.place and client.place[:2]
    if here is None:
        prior = INTERCEPT + SLOPE * math.pi * RADIUS_KM
    elif world.is_gateway_leg:
        prior = INTERCEPT + SLOPE * kilometres(here, world.places[site.pop].at)
    else:
        prior = by_landmarks(world, client, site.pop, near(world, client, age), path)
    return (path if world.is_gateway_leg and path >= 0 else prior) + service + site.penalty


def from_client(world, client, pop):
    there = world.places[pop]
    border = 0 if client.country in (None, there.country) else ABROAD + cost(client.country, there.country)
    return INTERCEPT + SLOPE * kilometres(client.place[:2], there.at) + border


def between(world, one, other):
    one, other = world.places[one], world.places[other]
    is_home = one.country is not None and one.country == other.country
    return INTERCEPT + SLOPE * kilometres(one.at, other.at) + (0 if is_home else ABROAD + cost(one.country, other.country))


def cost(one, other):
    return BORDERS.get(tuple(sorted((one or "", other or ""))), 0)


def known(world, one, other, measured):
    """None: nobody knows."""
    if one == other:
        return None
    if one == world.gateway_pop and measured >= 0:
        return measured
    said = {(b, a): ms for a, b, ms in world.paths} | {(a, b): ms for a, b, ms in world.paths}
    return said.get((one, other))


def near(world, client, age):
    """[(landmark, prior)], and the one that is next to the client with the path to it."""
    landmarks = {pop for a, b, _ in world.paths for pop in (a, b)} | {world.gateway_pop} - {None}
    found = sorted((from_client(world, client, pop), pop) for pop in landmarks)[:NEAR]
    homes = {pop: next((site for sites in world.services for site in sites if site.pop == pop), None) for _, pop in found}
    paths = [
        (by_landmarks(world, client, pop, (found, None), -1 if homes[pop] is None else homes[pop].time(age)[0]), pop) for _, pop in found
    ]
    return found, min(paths, key=lambda one: one[0], default=None)


def by_landmarks(world, client, pop, of_client, measured):
    found, next_to = of_client
    ms, least = from_client(world, client, pop), max(2, 0.0105 * kilometres(client.place[:2], world.places[pop].at))
    terms = [(math.exp(-far / NEAR_MS), known(world, one, pop, measured) / between(world, one, pop)) for far, one in found
             if known(world, one, pop, measured) is not None]  # fmt: skip
    if found:
        ms = max(least, ms * (1 + sum(weight * ratio for weight, ratio in terms)) / (1 + sum(weight for weight, _ in terms)))
    if next_to is not None and ms > next_to[0] and known(world, next_to[1], pop, measured) is not None:
        part = math.exp(-next_to[0] / NEXT_MS)
        ms = max(least, (1 - part) * ms + part * (next_to[0] + known(world, next_to[1], pop, measured)))
    return ms


def is_available(site):
    return site.endpoints > 0 and site.admit > 0


def room(world, site):
    """The share of its capacity, or its PoP's, that is free."""
    both = (site, site.spared), (world.places[site.pop], site.spared_in_pop)
    return min(1 - (one.in_flight - spared) / one.high if one.high else 1.0 for one, spared in both)


def rule_of(world, client):
    for number, rule in enumerate(world.rules):
        is_there = client.country in (rule.countries or ()) or client.continent in (rule.continents or ())
        if is_there or (rule.countries is None and rule.continents is None):
            return number
    return None


def permitted(world, service, client):
    number = rule_of(world, client)
    pops = frozenset() if number is None else world.rules[number].pops
    return [s for s in world.services[service] if (pops is None or s.pop in pops) and not world.places[s.pop].is_drained]


def usable(world, service, client):
    """The permitted, those of which less than a quarter is ready as if they were dead: the poorest, of some that are alike the last ones.
    Of all at most half are out, and none is when the others could not do without it."""
    sites = permitted(world, service, client)
    alive = [s for s in sites if is_available(s)]
    poor = sorted((s for s in reversed(alive) if s.availability < 358 / 1024), key=lambda s: s.availability)
    out = poor[: max(0, len(sites) // 2 - (len(sites) - len(alive)))]
    if sum(s.availability for s in alive if s not in out) < 0.5:
        return sites
    return [replace(s, availability=0.0) if s in out else s for s in sites]


def by_two(weights, firsts, cost):
    """Two are looked at, the second one drawn by weight. The lower cost serves, the first one at a tie."""
    shares = dict.fromkeys(weights, 0.0)
    for one, other in itertools.product(firsts, weights):
        chance = firsts[one] / sum(firsts.values()) * weights[other] / sum(weights.values())
        shares[other if cost[other] < cost[one] else one] += chance
    return shares


def by_hash(weights, bound):
    """In proportion, without who has more than so many times its share of what is in flight, and two an endpoint."""
    total, load = sum(weights.values()), 1 + sum(site.in_flight for site in weights)
    taking = {site: w for site, w in weights.items() if site.in_flight + 1 <= bound * load * w / total + 2 * site.endpoints}
    return {site: w / sum(taking.values()) for site, w in taking.items()}


def spills(world, site):
    """How it may be called that a better one is passed over: by what keeps it from taking all; when it is let in, by its want of room."""
    is_ramping = site.ramp < min(site.availability, site.shed)
    return ({"ramp"} if is_ramping else {"spill"}) | ({"spill"} if room(world, site) <= 0 else set())


def near_equals(world, client, service, age, ms, here, bound):
    """(shares, reasons) of a request that may use `here`: it has the best of them and its near-equals."""
    best = min(here, key=ms.get)
    better = [s for s in ms if ms[s] < ms[best]]
    as_fast = better + [s for s in ms if ms[s] == ms[best] and s.pop < best.pop]
    is_spilled = any(is_available(s) and (s.shed < 1 or room(world, s) <= 0) for s in as_fast)
    vague = min(SLOPE * client.place[2], 4 * world.window) if client.place and not world.is_gateway_leg else 0
    window = max(world.window, world.within if bound else 0, vague) * (3 if is_spilled else 1)
    weights = {}
    for s in here:
        nearness = max(0.0, 1 - (ms[s] - ms[best]) / window if ms[s] > ms[best] and window else float(ms[s] == ms[best])) ** 3
        if is_spilled and not bound:  # no window
            work = best.time(age)[1]
            nearness = ((ms[best] - work + 1) / (ms[s] - work + 1)) ** 3 * max(room(world, s), 1e-3)
        weights[s] = nearness * s.endpoints * s.weight
    weights = {s: w for s, w in weights.items() if w > 0}
    if bound and len(weights) > 1:
        return by_hash({s: s.endpoints * s.weight for s in weights}, bound), {"affinity"}
    # Of those as fast one may be named, or not.
    reasons = set().union(*(spills(world, s) if is_available(s) else {"failover"} for s in as_fast))
    reasons |= set() if better else {"window" if len(weights) > 1 else "fastest"}
    draws_both = is_spilled or len({s.weight for s in world.services[service]}) > 1
    load = {s: s.in_flight if draws_both else max(0, s.in_flight - s.usual) for s in weights}
    cost = {s: (ms[s] + 1) * (1 + load[s] / s.endpoints) for s in weights}
    return by_two(weights, weights if draws_both else {best: 1}, cost), reasons


def explored(world, age, ms, here, shares):
    """Of the requests that may go where little is known. A PoP is worth it that would be better if it were as good as it may well be; the
    next such one is asked, so seldom that it costs EXPLORE_MS on average at most."""
    found = dict.fromkeys([*shares, *here], 0.0)
    for site, share in shares.items():
        hopeful = [s for s in here if s.pop != site.pop and s.hope >= 0 and ms[s] - s.time(age)[1] + s.hope < ms[site]]
        asked = min(hopeful, key=lambda s: (ms[s], s.pop), default=site)
        beyond = ms[asked] - ms[site]
        part = min(world.exploration, EXPLORE_MS / beyond if beyond > 0 else 1) if hopeful else 0
        found[site] += share * (1 - part)
        found[asked] += share * part
    return {site: share for site, share in found.items() if share}


def decided(world, client, service, sites, age, let_in, bound, explores):
    """(shares, reasons) of a request that the draws let into these. Draws refuse nobody, and nobody overfills a PoP while one has room."""
    ms = {s: estimate(world, s, client, age) for s in sites}
    roomy = [s for s in sites if is_available(s) and room(world, s) > 0]
    here = [s for s in roomy if s in let_in]
    has_path = any(s.time(age)[0] >= 0 for s in sites)
    is_unknown = not (world.gateway or has_path) if world.is_gateway_leg else not client.place
    pins = world.pin if client.is_pinned else ()
    rank = (lambda s: s.pop) if is_unknown else ms.get
    widest = sorted(roomy, key=lambda s: (-s.admit, (*pins, s.pop).index(s.pop), rank(s)))
    emptiest = sorted(filter(is_available, sites), key=lambda s: -room(world, s))
    taken = here or widest[:1] or emptiest[:1]
    if pinned := [s for pop in pins for s in taken if s.pop == pop]:
        return {pinned[0]: 1.0}, {"order"}
    if world.affinity == "cookie" and (kept := [s for s in here if s.pop == client.kept]):
        return {kept[0]: 1.0}, {"affinity"}
    if is_unknown:
        return {min(taken, key=rank): 1.0}, {"order"}
    shares, reasons = near_equals(world, client, service, age, ms, taken, bound)
    return (explored(world, age, ms, here, shares), {*reasons, "explore"}) if explores and not world.affinity else (shares, reasons)


def panic(world, client, sites):
    """Health is ignored, and with it the pin's order: by number of endpoints. Capacity is not."""
    served = [s for s in sites if s.endpoints]
    roomy = [s for s in served if room(world, s) > 0] or [max(served, key=lambda s: room(world, s))]
    if world.affinity == "cookie" and (kept := [s for s in roomy if s.pop == client.kept and is_available(s) and room(world, s) > 0]):
        return {kept[0]: 1.0}, {"affinity"}
    return {s: s.endpoints / sum(s.endpoints for s in roomy) for s in roomy}, {"panic"}


def decide(world, client, service, *, bound=0.0, explores=False):
    """What becomes of requests that the split led to this service. bound above 0: they are kept by a hash, under this bound on loads.
    explores: they may be sent where little is known."""
    chain = [service, *world.on_unavailable]
    able = [one for one in chain if any(map(is_available, permitted(world, one, client)))]
    answer = Answer((able or chain)[0])
    sites = usable(world, answer.service, client)
    if not any(s.endpoints for s in sites):
        answer.error = "no_endpoint" if sites else "no_permitted_pop"
    elif sum(s.availability for s in sites if is_available(s)) < 0.5:
        answer.add(1.0, *panic(world, client, sites))
    else:
        maybe = [s for s in sites if s.endpoints and 0 < s.admit < 1]
        for age, draws in itertools.product(range(STEPS + 1), itertools.product((True, False), repeat=len(maybe))):
            part = world.begun / 1024 if age == 0 else 1 - world.begun / 1024 if age == STEPS else 1
            chance = part / STEPS * math.prod(s.admit if is_in else 1 - s.admit for s, is_in in zip(maybe, draws, strict=True))
            out = {s for s, is_in in zip(maybe, draws, strict=True) if not is_in}
            if chance:
                answer.add(chance, *decided(world, client, answer.service, sites, age, set(sites) - out, bound, explores))
    if answer.service != service:
        answer.outcomes = {(pop, "panic" if reason == "panic" else "failover") for pop, reason in answer.outcomes}
    return answer
