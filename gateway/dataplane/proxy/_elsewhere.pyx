"""A decision knows the PoPs as of the last beat, and names three: who finds them all dead, closed or full meanwhile is decided anew. And it
knows its table: who is attempted behind a newer one is decided by that, as if it came now, and stays where it is while a new request might
go there: a roll may have put other endpoints in their place, a rule may have shut its client out, a route may lead elsewhere.

Each decision leaves out more than the one before, or is by a newer table, or heeds less: so it ends.
"""
from libc.stdint cimport int32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.exchange._account cimport note_pool_failure
from gateway.dataplane.exchange._tried cimport CAME_BY, forget, has_rows_left, note_tried
from gateway.dataplane.proxy._bearings cimport Bearings, give_back_bearings, keep_bearings, note_bearings, turn_to_newest
from gateway.dataplane.shared._snapshot cimport Snapshot, has_closed, pool_in
from routing_core._atomic cimport load_relaxed
from routing_core._decision cimport DECIDED, FAILOVER, MAX_FALLBACKS, MAX_LEFT_OUT, NO_PERMITTED_POP, PANIC, Asked, Candidate, Decision
from routing_core._endpoints cimport ADMITTING_ONLY, ANSWERING_FIRST, ANSWERING_ONLY
from routing_core._figures cimport is_admitting
from routing_core._layout cimport Pool, Route, Target
from routing_core._steer cimport draw_target, steer_again


cdef void enter_pool(Exchange *exchange, const Pool *pool) noexcept nogil:
    exchange.pool = pool
    exchange.n_refused_before = exchange.n_refused
    exchange.is_its_turn = False
    exchange.queued_us = 0


cdef bint next_fallback(Core *core, Exchange *exchange) noexcept nogil:
    cdef const Pool *pool = NULL
    while pool == NULL or has_closed(core.snapshot, exchange.snapshot, pool.pop):
        if exchange.next_fallback >= exchange.decision.n_fallbacks:
            return False
        pool = exchange.decision.fallbacks[exchange.next_fallback]
        exchange.next_fallback += 1
    enter_pool(exchange, pool)
    exchange.decision.reason = FAILOVER
    return True


# Its pool, and so many of its fallbacks. False: so many can't be left out.
cdef bint leave_out(Asked *asked, const Decision *found, int32_t n_fallbacks) noexcept nogil:
    cdef int32_t i
    if asked.n_left_out + 1 + n_fallbacks > <int32_t>MAX_LEFT_OUT:
        return False
    asked.left_out[asked.n_left_out] = found.pool
    for i in range(n_fallbacks):
        asked.left_out[asked.n_left_out + 1 + i] = found.fallbacks[i]
    asked.n_left_out += 1 + n_fallbacks
    return True


# Or a fallback has: what has nothing is passed by, for its gates are shut.
cdef bint has_available(const Decision *found) noexcept nogil:
    cdef int32_t i
    if load_relaxed(&found.pool.gate.availability) > 0:
        return True
    for i in range(found.n_fallbacks):
        if load_relaxed(&found.fallbacks[i].gate.availability) > 0:
            return True
    return False


cdef bint decide(Core *core, Exchange *exchange, Decision *found) noexcept nogil:
    steer_again(exchange.snapshot.table, exchange.route, &exchange.asked, &core.rng, &core.weighed, found)
    return found.failure == DECIDED


cdef void take_decision(Core *core, Exchange *exchange, const Bearings *before, const Decision *found, bint is_its_turn) noexcept nogil:
    """`is_its_turn`: its own pool is gone, or is asked again, so it waits on as it did, if it did."""
    exchange.decision = found[0]
    keep_bearings(core, exchange, before)
    exchange.next_fallback = 0
    enter_pool(exchange, found.pool)
    exchange.is_its_turn = is_its_turn and exchange.state == QUEUED and exchange.queued_ms > 0


cdef bint decide_anew(Core *core, Exchange *exchange) noexcept nogil:
    """Without those that it has been to. Where its route is gone the table is an old one, which may name who has been drained since: who
    attempts it looks at that."""
    cdef Decision found = exchange.decision
    cdef Bearings before
    note_bearings(exchange, &before)
    if not leave_out(&exchange.asked, &found, exchange.next_fallback):
        return False
    while decide(core, exchange, &found):
        # That too little is left without those is no panic: what is known of the others still holds. But who has a little is asked.
        if not found.is_panic or exchange.heed != ADMITTING_ONLY or has_available(&found):
            if exchange.asked.n_left_out:
                found.reason = FAILOVER
            take_decision(core, exchange, &before, &found, exchange.asked.n_left_out == 0)
            return True
        if not leave_out(&exchange.asked, &found, found.n_fallbacks):
            break
    give_back_bearings(exchange, &before)
    return False


# --- The newest table ---

cdef const Target *same_target(const Route *route, const Target *target) noexcept nogil:
    """Of its split, while it has a share; NULL."""
    cdef int64_t until = 0
    cdef int32_t i
    for i in range(route.n_split):
        if route.targets[i].service.row == target.service.row and route.targets[i].until > until:
            return &route.targets[i]
        until = route.targets[i].until
    return NULL


cdef const Candidate *find_weighed(const Core *core, const Pool *pool) noexcept nogil:
    cdef int32_t i
    for i in range(core.weighed.n):
        if core.weighed.candidates[i].pool == pool:
            return &core.weighed.candidates[i]
    return NULL


cdef void stay_at(const Candidate *here, Decision *found) noexcept nogil:
    """It has waited, or been refused, there; whom else it was decided for comes next."""
    cdef const Pool *others[1 + <int>MAX_FALLBACKS]
    cdef int32_t i, n = 0
    if found.pool == here.pool:
        return
    if found.failure == DECIDED:
        others[0] = found.pool
        n = 1
    for i in range(found.n_fallbacks):
        if found.fallbacks[i] != here.pool:
            others[n] = found.fallbacks[i]
            n += 1
    found.failure = DECIDED
    found.pool = here.pool
    found.estimate = here.estimate
    found.n_fallbacks = min(n, <int32_t>MAX_FALLBACKS)
    for i in range(found.n_fallbacks):
        found.fallbacks[i] = others[i]


cdef const Pool *same_pool(Core *core, const Snapshot *older, const Pool *pool) noexcept nogil:
    if has_closed(core.snapshot, older, pool.pop):
        return NULL
    return pool_in(core.snapshot, pool)


cdef void leave_out_same(Core *core, const Snapshot *older, Exchange *exchange, const Pool *pool) noexcept nogil:
    cdef const Pool *found = same_pool(core, older, pool)
    if pool != exchange.pool and found != NULL and exchange.asked.n_left_out < <int32_t>MAX_LEFT_OUT:
        exchange.asked.left_out[exchange.asked.n_left_out] = found
        exchange.asked.n_left_out += 1


cdef void leave_out_before(Core *core, Exchange *exchange, const Bearings *before) noexcept nogil:
    """Whom it has been to: its decision's, and those that earlier ones left out."""
    cdef int32_t i
    for i in range(before.asked.n_left_out):
        leave_out_same(core, before.snapshot, exchange, before.asked.left_out[i])
    leave_out_same(core, before.snapshot, exchange, exchange.decision.pool)
    for i in range(exchange.next_fallback):
        leave_out_same(core, before.snapshot, exchange, exchange.decision.fallbacks[i])


cdef Followed see_newest(Core *core, Exchange *exchange, const Bearings *before, Decision *found) noexcept nogil:
    """FOLLOWED_NOT: its bearings are what they were before."""
    cdef const Target *target
    cdef const Pool *pool
    cdef const Candidate *here = NULL
    if exchange.snapshot == core.snapshot or not turn_to_newest(core, exchange):
        return FOLLOWED_NOT
    if exchange.route.n_targets == 0:
        return FOLLOWED_TO_REFUSAL
    target = same_target(exchange.route, exchange.decision.target)
    found.target = draw_target(exchange.route, &exchange.asked, &core.rng) if target == NULL else target
    leave_out_before(core, exchange, before)
    decide(core, exchange, found)
    pool = same_pool(core, before.snapshot, exchange.pool)
    if pool != NULL:
        here = find_weighed(core, pool)
    if here != NULL:
        stay_at(here, found)
        found.is_panic = exchange.decision.is_panic
        found.reason = exchange.decision.reason
        return FOLLOWED_STAYS
    # That nobody, or too little, is left without those is no word on all.
    if exchange.asked.n_left_out and (found.failure == NO_PERMITTED_POP or found.is_panic):
        exchange.asked.n_left_out = 0
        decide(core, exchange, found)
    if found.failure == NO_PERMITTED_POP:
        return FOLLOWED_TO_NOBODY
    if found.pool == NULL:      # nobody takes it now, and that is found by whoever asks them
        found.pool = core.weighed.candidates[0].pool
        found.estimate = core.weighed.candidates[0].estimate
    return FOLLOWED_AWAY


cdef Followed foresee_newest(Core *core, Exchange *exchange, Decision *found) noexcept nogil:
    cdef Bearings before
    cdef Followed followed
    note_bearings(exchange, &before)
    followed = see_newest(core, exchange, &before, found)
    give_back_bearings(exchange, &before)
    return followed


cdef Followed follow_newest(Core *core, Exchange *exchange, bint may_leave) noexcept nogil:
    cdef Decision found
    cdef Bearings before
    cdef Followed followed
    if exchange.snapshot == core.snapshot:
        return FOLLOWED_NOT
    note_bearings(exchange, &before)
    followed = see_newest(core, exchange, &before, &found)
    if followed == FOLLOWED_STAYS:
        exchange.decision = found
        exchange.next_fallback = 0
        exchange.pool = found.pool
        keep_bearings(core, exchange, &before)
    elif followed == FOLLOWED_AWAY and may_leave:
        if exchange.n_refused > exchange.n_refused_before:
            note_pool_failure(core, exchange, exchange.pool)
        exchange.heed = ANSWERING_ONLY if found.is_panic else ADMITTING_ONLY
        if exchange.asked.n_left_out:
            found.reason = FAILOVER
        take_decision(core, exchange, &before, &found, True)
    else:
        give_back_bearings(exchange, &before)
    return followed


# --- Passed by for want of a port ---

cdef bint passes_by(Exchange *exchange, const UpstreamPool *pool) noexcept nogil:
    if exchange.waits_for_port or not has_rows_left(exchange):
        return False
    exchange.has_lacked = True
    note_tried(exchange, pool.row, CAME_BY)
    return True


cdef bint return_for_port(Exchange *exchange) noexcept nogil:
    """Once, where it has passed somebody by."""
    cdef int32_t i
    if exchange.passed_by == 0:
        return False
    for i in range(exchange.n_tried - 1, -1, -1):
        if exchange.passed_by >> i & 1:
            forget(exchange, i)
    exchange.waits_for_port = True
    exchange.asked.n_left_out = 0
    exchange.next_fallback = 0
    enter_pool(exchange, exchange.decision.pool)
    return True


cdef bint next_pool(Core *core, Exchange *exchange) noexcept nogil:
    return next_fallback(core, exchange) or decide_anew(core, exchange) or return_for_port(exchange)


cdef bint has_admitting(const Core *core) noexcept nogil:
    """Of those that were weighed last, as their gates are now: what they have available is known as of the last beat."""
    cdef const Pool *pool
    cdef int32_t i, k
    for i in range(core.weighed.n):
        pool = core.weighed.candidates[i].pool
        for k in range(pool.n_endpoints):
            if is_admitting(pool.endpoints[k].gate, pool.endpoints[k].columns, core.n_workers):
                return True
    return False


cdef bint heed_less(Core *core, Exchange *exchange) noexcept nogil:
    cdef Decision found = exchange.decision
    cdef Bearings before
    if exchange.heed == ANSWERING_FIRST:
        return False
    note_bearings(exchange, &before)
    exchange.asked.n_left_out = 0
    if not decide(core, exchange, &found) or (exchange.heed == ADMITTING_ONLY and not found.is_panic and has_admitting(core)):
        give_back_bearings(exchange, &before)
        return False
    exchange.heed = ANSWERING_ONLY if exchange.heed == ADMITTING_ONLY else ANSWERING_FIRST
    found.is_panic = True
    found.reason = PANIC
    take_decision(core, exchange, &before, &found, True)
    return True
