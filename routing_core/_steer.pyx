"""One pass over the PoPs estimates each, another gathers those near the fastest; then two draws among these.

Who the first pass looks at. Those on the shortlist of the client's place, as far as these say what looking at all would;
where they do not, all. The decision is the same.

The window. Near-equals are the usable PoPs with `estimate < best + window`. Two are looked at: the best, and one that is drawn with
weight `endpoints * weight * (1 - (estimate - best) / window)^3`, which fades out toward the edge, so a PoP that drifts across it moves no
traffic at once; the one with the lower `(estimate + 1 ms) * (1 + load / endpoints)` serves. So an idle service goes to the fastest,
and load spreads over its near-equals before a queue builds up. Where the PoPs of a service have different weights both are drawn.
A vague location widens the window to what its radius is worth in time by the prior, at most WIDEST times the configured one.

Capacity. `admit` sheds what a PoP is short of, from figures that are up to 100 ms old; beside it nobody is sent to a PoP that has as
much in flight as it may have now. What is passed over for lack of room knows no window: both are drawn among all others, by the room
that each has and by `(best + 1 ms)^3 / (estimate + 1 ms)^3`, both less what the work takes at the best, so that the next best PoP
alone is not overrun, wherever the others lie.
Affinity by hash stays near: by size alone, it takes those within SPILL_WINDOWS windows.

Exploration. What is not asked is not known: of the requests that may a small share goes to a PoP of which too little is known, where it
would be the better one if it were as good as it may well be. Most tables have none.

Over 400 lines: the passes and draws of one decision, in their order.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t

from routing_core._atomic cimport load_relaxed
from routing_core._available cimport is_usable, n_in_panic
from routing_core._candidates cimport SPILL_WINDOWS, is_faster, look_along, look_at_all
from routing_core._decision cimport *
from routing_core._figures cimport PACED_STEPS, SCALE, PoolGate
from routing_core._headroom cimport free_share, is_out_of_room, requests_in
from routing_core._jurisdiction cimport find_rule
from routing_core._layout cimport BY_CLIENT, BY_COOKIE, BY_HEADER, CLIENT_POP, EXPLORED_BITS, NO_AFFINITY, Pin
from routing_core._shortlists cimport Shortlist, Shortlists, find_shortlist, least_service_ms
from routing_core._random cimport mixed, next_double, next_u64
from routing_core._rendezvous cimport find_rendezvous

FAILURES = (None, "no_permitted_pop", "no_endpoint")    # index is Failure
EVIDENCE = ("prior", "path")                            # index is Evidence

cdef enum:
    WIDEST = 4
    LEAST_LISTED = 3            # candidates: fewer are looked at as soon as their shortlist is found

cdef double EXPLORE_MS = 0.15    # what a request pays for exploration, on average and at most


cdef double cost_of(const Weighed *weighed, const Candidate *candidate, bint spills) noexcept nogil:
    cdef int64_t load = requests_in(candidate.pool, weighed.crew)
    if not (spills or candidate.pool.service.has_weights):
        load = max(load - load_relaxed(&candidate.pool.gate.usual), <int64_t>0)
    return (candidate.estimate.ms + 1) * (1 + <double>load / candidate.pool.n_endpoints)


# Whether a faster one has been passed over because it lacks room.
cdef bint has_spilled(const Weighed *weighed, const Candidate *best) noexcept nogil:
    cdef const Candidate *candidate
    cdef int32_t i
    if weighed.is_ordered or best == &weighed.candidates[weighed.fastest]:
        return False
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if candidate != best and is_faster(candidate, best) and candidate.is_available and (
                load_relaxed(&candidate.pool.gate.shed) < SCALE or is_out_of_room(candidate.pool, weighed.crew)):
            return True
    return False


cdef double window_weight(const Weighed *weighed, const Candidate *best, const Candidate *candidate, bint spills) noexcept nogil:
    cdef double excess = candidate.estimate.ms - best.estimate.ms
    cdef double window_ms = weighed.window_ms * SPILL_WINDOWS if spills else weighed.window_ms
    cdef double nearness = 1
    if spills and not weighed.is_hashed:
        # Beyond what the work takes anywhere: or where that is long the farthest would be as good as the next.
        nearness = (best.estimate.ms - best.estimate.service_ms + 1) / (candidate.estimate.ms - best.estimate.service_ms + 1)
        nearness *= nearness * nearness * max(free_share(candidate.pool, weighed.crew), 1e-3)
    elif excess > 0:
        nearness = 1 - excess / window_ms if excess < window_ms else 0.0
        nearness *= nearness * nearness
    return nearness * candidate.pool.n_endpoints * candidate.pool.weight


# What affinity by header or network goes by; 0: not by these, or the request has none.
cdef uint64_t hash_key(const Route *route, const Asked *asked) noexcept nogil:
    if route.affinity == BY_HEADER:
        return asked.header_key
    return asked.client_key if route.affinity == BY_CLIENT else 0


cdef double widened(const TableData *table, const Route *route, const Asked *asked) noexcept nogil:
    cdef double window_ms = route.window_ms
    if hash_key(route, asked) != 0:
        window_ms = max(window_ms, route.within_ms)
    if route.leg != CLIENT_POP:
        return window_ms
    return max(window_ms, min(table.slope_ms_per_km * asked.client.accuracy_km, WIDEST * route.window_ms))


cdef inline bint is_to_explore(const TableData *table, uint64_t draw) noexcept nogil:
    return (draw & ((1 << EXPLORED_BITS) - 1)) < table.explored_below


# Whether a shortlist can be enough: not for who is to be found among all, or knows better than by paths.
cdef inline bint may_look_along(const TableData *table, const Rule *rule, const Asked *asked, uint64_t draw) noexcept nogil:
    return (rule != NULL and rule.n_candidates >= LEAST_LISTED and asked.n_left_out == 0 and asked.client.pin == 0
            and not (asked.may_explore and is_to_explore(table, draw)))


# A pinned client's PoPs come first, in the pin's order, while one of them can serve. In panic nobody knows which can.
cdef void apply_pin(const TableData *table, int32_t number, Weighed *out) noexcept nogil:
    cdef const Pin *pin
    cdef int32_t i, k
    out.pin = 0
    out.is_pinned = False
    if out.is_panic or not 0 < number <= table.n_pins:
        return
    pin = &table.pins[number - 1]
    for i in range(out.n):
        for k in range(pin.n_pops):
            if pin.pops[k] == out.candidates[i].pool.pop.number and out.candidates[i].is_available:
                out.pin = number
    if out.pin == 0:
        return
    out.is_pinned = True
    out.is_ordered = True
    for i in range(out.n):
        out.candidates[i].rank += UNPINNED
        for k in range(pin.n_pops):
            if pin.pops[k] == out.candidates[i].pool.pop.number:
                out.candidates[i].rank = k


cdef inline bint is_better(const Weighed *weighed, const Candidate *one, const Candidate *other) noexcept nogil:
    return one.rank < other.rank if weighed.is_ordered else is_faster(one, other)


# Better of two that both have been passed over, or in panic.
cdef inline bint is_wider(const Weighed *weighed, const Candidate *one, const Candidate *other) noexcept nogil:
    if one.is_full != other.is_full:
        return other.is_full
    if one.is_full:
        return free_share(one.pool, weighed.crew) > free_share(other.pool, weighed.crew)
    if one.admit != other.admit:
        return one.admit > other.admit
    return is_better(weighed, one, other)


cdef int32_t find_widest(const Weighed *weighed) noexcept nogil:
    cdef int32_t i, widest = -1
    for i in range(weighed.n):
        if is_usable(weighed, &weighed.candidates[i]) and (
                widest < 0 or is_wider(weighed, &weighed.candidates[i], &weighed.candidates[widest])):
            widest = i
    return widest


# The best that this request may use. Draws refuse nobody: when all were passed over, the widest.
cdef void find_best(Weighed *out) noexcept nogil:
    cdef const Candidate *candidate
    cdef int32_t i
    out.best = -1
    for i in range(out.n):
        candidate = &out.candidates[i]
        if not is_usable(out, candidate) or candidate.is_full or (candidate.is_passed and not out.is_panic):
            continue
        if out.best < 0 or is_better(out, candidate, &out.candidates[out.best]):
            out.best = i
    if out.best < 0:
        out.best = find_widest(out)


cdef int32_t find_first(const Weighed *weighed) noexcept nogil:
    cdef int32_t i, first = 0
    for i in range(weighed.n):
        if is_better(weighed, &weighed.candidates[i], &weighed.candidates[first]):
            first = i
    return first


cdef void unpin(Weighed *weighed) noexcept nogil:
    weighed.is_pinned = False
    weighed.is_ordered = weighed.is_placeless
    weighed.fastest = find_first(weighed)


cdef void settle_best(Weighed *out) noexcept nogil:
    find_best(out)
    if out.is_pinned and out.best >= 0 and out.candidates[out.best].rank >= UNPINNED:
        unpin(out)
        find_best(out)


cdef inline void add_to_window(Weighed *out, int32_t i, double weight) noexcept nogil:
    cdef int32_t k = out.n_window
    out.candidates[i].is_in_window = True
    while k > 0 and out.candidates[out.window[k - 1]].place > out.candidates[i].place:
        out.window[k] = out.window[k - 1]
        out.weights[k] = out.weights[k - 1]
        k -= 1
    out.window[k] = i
    out.weights[k] = weight
    out.total_weight += weight
    out.n_window += 1


cdef void find_window(Weighed *out) noexcept nogil:
    cdef const Candidate *best = &out.candidates[out.best]
    cdef const Candidate *candidate
    cdef bint spills = has_spilled(out, best)
    cdef double edge = best.estimate.ms + out.window_ms * (SPILL_WINDOWS if spills else 1)
    cdef double weight
    cdef int32_t i
    out.spills = spills
    if spills and not out.is_hashed:
        edge = INFINITY
        out.is_short |= not out.has_all
    for i in range(out.n_window):
        out.candidates[out.window[i]].is_in_window = False
    out.n_window = 0
    out.total_weight = 0
    if best.is_full or (not out.is_panic and (out.is_ordered or best.is_passed)):
        add_to_window(out, out.best, 1)
        return
    for i in range(out.n):
        candidate = &out.candidates[i]
        if candidate.is_full:
            continue
        if out.is_panic:
            weight = n_in_panic(out, candidate)
        elif candidate.estimate.ms <= edge and candidate.is_available and not candidate.is_passed:
            weight = window_weight(out, best, candidate, spills)
        else:
            continue
        if weight > 0:
            add_to_window(out, i, weight)


cdef bint mark_full(Weighed *weighed) noexcept nogil:
    cdef Candidate *candidate
    cdef bint found = False
    cdef int32_t i
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if is_usable(weighed, candidate) and is_out_of_room(candidate.pool, weighed.crew):
            candidate.is_full = True
            candidate.is_passed = True
            found = True
    return found


# Only those of the window are asked: an idle service pays for no other.
cdef bint has_full(const Weighed *weighed) noexcept nogil:
    cdef int32_t i
    for i in range(weighed.n_window):
        if is_out_of_room(weighed.candidates[weighed.window[i]].pool, weighed.crew):
            return True
    return False


cdef inline void begin(const TableData *table, const Route *route, const Target *target, const Asked *asked, uint64_t draw,
                       Weighed *out) noexcept nogil:
    out.crew = table.crew
    out.draw = draw
    out.window_ms = widened(table, route, asked)
    out.is_hashed = hash_key(route, asked) != 0
    out.n_window = 0
    out.rule = find_rule(target, asked.client)


# Behind the first pass.
cdef inline void settle(const TableData *table, const Asked *asked, Weighed *out) noexcept nogil:
    apply_pin(table, asked.client.pin, out)
    if out.n > 0 and (out.is_panic or out.is_ordered or out.best < 0):     # look_at_all() went by health and by estimate
        out.fastest = find_first(out)
        settle_best(out)
    out.failure = DECIDED
    if out.n == 0:
        out.failure = NO_PERMITTED_POP
    elif out.best < 0:
        out.failure = NO_ENDPOINT
    else:
        find_window(out)
        if not has_full(out):
            return
        if not out.has_all:
            out.needs_room = True
        elif mark_full(out):
            if out.pin > 0:     # who was passed over by all of the pin, and finds the others full, is the pin's again
                out.is_pinned = out.is_ordered = True
            settle_best(out)
            find_window(out)


cdef void weigh(const TableData *table, const Route *route, const Target *target, const Asked *asked, uint64_t draw, int slot,
                Weighed *out) noexcept nogil:
    begin(table, route, target, asked, draw, out)
    look_at_all(table, route, asked, slot, out)
    settle(table, asked, out)


cdef int32_t draw_one(const Weighed *weighed, Random *rng) noexcept nogil:
    cdef double left = next_double(rng) * weighed.total_weight
    cdef int32_t i
    for i in range(weighed.n_window - 1):
        left -= weighed.weights[i]
        if left < 0:
            return weighed.window[i]
    return weighed.window[weighed.n_window - 1]


cdef int32_t pick(const Weighed *weighed, Random *rng) noexcept nogil:
    cdef int32_t one, other
    if weighed.n_window == 1:
        return weighed.window[0]
    other = draw_one(weighed, rng)
    if weighed.is_panic:
        return other
    one = draw_one(weighed, rng) if weighed.spills or weighed.candidates[other].pool.service.has_weights else weighed.best
    if cost_of(weighed, &weighed.candidates[other], weighed.spills) < cost_of(weighed, &weighed.candidates[one], weighed.spills):
        return other
    return one


cdef int32_t find_kept(Weighed *weighed, const Pop *kept) noexcept nogil:
    """The PoP of the client's cookie, if it can serve now. -1."""
    cdef const Candidate *candidate
    cdef int32_t i
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if candidate.pool.pop == kept:
            if (candidate.is_available and (weighed.is_panic or not candidate.is_passed)
                    and not is_out_of_room(candidate.pool, weighed.crew)):
                return i
            return -1
    weighed.is_short |= not weighed.has_all
    return -1


cdef bint is_ramping(const Candidate *candidate) noexcept nogil:
    """Whether it is that above all which keeps it from taking all of its requests."""
    cdef const PoolGate *gate = candidate.pool.gate
    cdef int64_t others = min(load_relaxed(&gate.availability), load_relaxed(&gate.shed))
    return not candidate.is_full and load_relaxed(&gate.ramp) < others


cdef Reason reason_of(const Weighed *weighed) noexcept nogil:
    cdef const Candidate *fastest = &weighed.candidates[weighed.fastest]
    if weighed.is_panic:
        return PANIC
    if weighed.is_ordered:
        return ORDER
    if not fastest.is_available:
        return FAILOVER
    if fastest.is_passed and weighed.fastest != weighed.best:
        return RAMP if is_ramping(fastest) else SPILL
    return WINDOW if weighed.n_window > 1 else FASTEST


# Whether one is a better fallback than other: not passed over, then the better one.
cdef inline bint is_before(const Weighed *weighed, const Candidate *one, const Candidate *other) noexcept nogil:
    if one.is_full != other.is_full:
        return other.is_full
    if one.is_passed != other.is_passed and not weighed.is_panic:
        return other.is_passed
    return is_better(weighed, one, other)


cdef void list_fallbacks(const Weighed *weighed, int32_t chosen, Decision *out) noexcept nogil:
    cdef const Candidate *best[MAX_FALLBACKS]
    cdef const Candidate *candidate
    cdef double limit = INFINITY     # of estimates that can still be among them
    cdef int32_t i, k
    out.n_fallbacks = 0
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if candidate.estimate.ms > limit or i == chosen or not is_usable(weighed, candidate):
            continue
        k = out.n_fallbacks
        if k == MAX_FALLBACKS:
            if not is_before(weighed, candidate, best[MAX_FALLBACKS - 1]):
                continue
            k -= 1
        else:
            out.n_fallbacks += 1
        while k > 0 and is_before(weighed, candidate, best[k - 1]):
            best[k] = best[k - 1]
            k -= 1
        best[k] = candidate
        if out.n_fallbacks == MAX_FALLBACKS and not (weighed.is_ordered or weighed.is_panic or best[MAX_FALLBACKS - 1].is_passed):
            limit = best[MAX_FALLBACKS - 1].estimate.ms
    for k in range(out.n_fallbacks):
        out.fallbacks[k] = best[k].pool


# Who is full comes behind, and only those that would be tried are asked.
cdef void find_fallbacks(Weighed *weighed, int32_t chosen, Decision *out) noexcept nogil:
    cdef int32_t k
    list_fallbacks(weighed, chosen, out)
    for k in range(out.n_fallbacks):
        if is_out_of_room(out.fallbacks[k], weighed.crew):
            weighed.needs_room = not weighed.has_all
            if weighed.has_all:
                mark_full(weighed)
                list_fallbacks(weighed, chosen, out)
            return


cdef void choose(Weighed *weighed, const Route *route, const Asked *asked, Random *rng, Decision *out) noexcept nogil:
    cdef int32_t chosen = -1
    cdef uint64_t key = hash_key(route, asked)
    out.failure = weighed.failure
    out.reason = NONE
    out.is_panic = weighed.is_panic
    out.pool = NULL
    out.n_fallbacks = 0
    if weighed.failure != DECIDED:
        return
    out.reason = reason_of(weighed)
    if not weighed.is_pinned:
        if route.affinity == BY_COOKIE and asked.kept != NULL:
            chosen = find_kept(weighed, asked.kept)
        elif key != 0 and weighed.n_window > 1 and not weighed.is_panic:
            chosen = find_rendezvous(weighed, key)
    if chosen >= 0:
        out.reason = AFFINITY
    else:
        chosen = pick(weighed, rng)
    out.pool = weighed.candidates[chosen].pool
    out.estimate = weighed.candidates[chosen].estimate
    find_fallbacks(weighed, chosen, out)


cdef const Target *draw_target(const Route *route, const Asked *asked, Random *rng) noexcept nogil:
    cdef const Target *target = route.targets
    cdef uint64_t drawn
    if route.n_split == 1:
        return target
    drawn = mixed(asked.client_key) if route.is_split_sticky and asked.client_key != 0 else next_u64(rng)
    drawn = ((drawn >> 32) * <uint64_t>route.total_weight) >> 32
    while <int64_t>drawn >= target.until:
        target += 1
    return target


# The version that was the newest `age` of the last PACED_STEPS versions' times ago; age from 0 to 1, by the request's draw.
cdef inline int draw_slot(const TableData *table, uint64_t draw) noexcept nogil:
    cdef uint64_t age = ((mixed(draw) >> 40) * (PACED_STEPS * SCALE)) >> 24
    return <int>(((<uint64_t>load_relaxed(&table.pace.phase) + 8 * SCALE - 1 - age) >> 10) & 7)


# Along the shortlist of the client's place; who is full is asked only where it matters. False: nothing was decided, or drawn.
cdef bint decide_along(const TableData *table, const Route *route, const Asked *asked, int slot, Random *rng, Shortlists *shortlists,
                       Weighed *scratch, Decision *out) noexcept nogil:
    cdef const Shortlist *shortlist = find_shortlist(shortlists, table, route.leg, scratch.rule, asked.client, slot)
    cdef double least_ms = least_service_ms(shortlists, table, out.target.service, slot)
    cdef Random before = rng[0]
    cdef bint asks_room = False
    while shortlist != NULL and look_along(shortlist, least_ms, asks_room, slot, scratch):
        settle(table, asked, scratch)
        choose(scratch, route, asked, rng, out)
        if not (scratch.is_short or scratch.needs_room):
            return True
        rng[0] = before
        if scratch.is_short or asks_room:
            return False
        asks_room = True
    return False


cdef void decide(const TableData *table, const Route *route, const Target *target, const Asked *asked, uint64_t draw, Random *rng,
                 Shortlists *shortlists, Weighed *scratch, Decision *out) noexcept nogil:
    cdef int slot = draw_slot(table, draw)
    out.target = target
    begin(table, route, target, asked, draw, scratch)
    if shortlists != NULL and may_look_along(table, scratch.rule, asked, draw):
        if decide_along(table, route, asked, slot, rng, shortlists, scratch, out):
            return
    look_at_all(table, route, asked, slot, scratch)
    settle(table, asked, scratch)
    choose(scratch, route, asked, rng, out)


# Who is to be asked although another was chosen: one of which too little is known, and which would be the better one if it were as good as
# it may well be. Where that is far the chance falls, so that on the whole a request pays no more than EXPLORE_MS for what is learned.
cdef int32_t find_unknown(const Weighed *weighed, const Decision *decided, double chance, Random *rng) noexcept nogil:
    cdef const Candidate *candidate
    cdef int64_t hope_us
    cdef double excess, least = INFINITY
    cdef int32_t i, found = -1
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        hope_us = load_relaxed(&candidate.pool.gate.hope_us)
        if hope_us < 0 or candidate.pool == decided.pool or candidate.is_passed or not is_usable(weighed, candidate):
            continue
        if candidate.estimate.path_ms + candidate.estimate.penalty_ms + hope_us * 0.001 >= decided.estimate.ms:
            continue
        excess = candidate.estimate.ms - decided.estimate.ms
        if excess < least and not is_out_of_room(candidate.pool, weighed.crew):
            least = excess
            found = i
    return found if found >= 0 and (least <= 0 or next_double(rng) * chance * least < EXPLORE_MS) else -1


cdef void explore(const TableData *table, Weighed *weighed, Random *rng, Decision *out) noexcept nogil:
    cdef int32_t found = find_unknown(weighed, out, table.explored_below * (1.0 / (1 << EXPLORED_BITS)), rng)
    if found >= 0:
        out.reason = EXPLORE
        out.pool = weighed.candidates[found].pool
        out.estimate = weighed.candidates[found].estimate
        find_fallbacks(weighed, found, out)


cdef void steer(const TableData *table, const Route *route, const Asked *asked, Random *rng, Shortlists *shortlists, Weighed *scratch,
                Decision *out) noexcept nogil:
    out.target = draw_target(route, asked, rng)
    decide_any(table, route, asked, rng, shortlists, scratch, out)
    if not (asked.may_explore and is_to_explore(table, scratch.draw)) or out.failure != DECIDED:
        return
    # Who is redirected is answered elsewhere, and nothing is learned of it here.
    if route.affinity == NO_AFFINITY and route.redirect_status == 0 and not (
            scratch.is_panic or scratch.is_ordered or out.target.service.is_long_lived):
        explore(table, scratch, rng, out)


cdef void steer_again(const TableData *table, const Route *route, const Asked *asked, Random *rng, Weighed *scratch,
                      Decision *out) noexcept nogil:
    decide_any(table, route, asked, rng, NULL, scratch, out)


# For the target that `out` has, or those after it.
cdef void decide_any(const TableData *table, const Route *route, const Asked *asked, Random *rng, Shortlists *shortlists, Weighed *scratch,
                     Decision *out) noexcept nogil:
    cdef const Target *target = out.target
    cdef uint64_t key = asked.header_key if route.affinity == BY_HEADER else asked.client_key
    # Under affinity the same clients are shed first, and each of them moves once.
    cdef uint64_t draw = mixed(key) if route.affinity != NO_AFFINITY and key != 0 else next_u64(rng)
    cdef int32_t k
    decide(table, route, target, asked, draw, rng, shortlists, scratch, out)
    if scratch.has_available or route.n_targets == route.n_split:
        return
    for k in range(route.n_split, route.n_targets):
        decide(table, route, &route.targets[k], asked, draw, rng, shortlists, scratch, out)
        if scratch.has_available:
            if out.reason != PANIC:
                out.reason = FAILOVER
            return
    decide(table, route, target, asked, draw, rng, shortlists, scratch, out)   # nobody can: the failure, or the panic, of the first
