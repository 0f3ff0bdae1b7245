"""How shares are worked out: over all outcomes of the admission draws, without trying the 2^n of them.

Best first, PoP k is the best of a request with probability admit(k) * product of (1 - admit) of those before it. Then the others of
its window are there with probability admit, independently, and one of those there is drawn with w_i / W, where W is the sum of the weights
that are there; or a pair with w_i * w_j / W^2. With 1/W = integral of exp(-s W) ds over s > 0, and 1/W^2 the same with a factor s, the mean
over all outcomes becomes one integral of a product, one factor a PoP. In x = log s the trapezoid rule converges like exp(-pi^2 / STEP).
Where an estimate is changing, requests are decided by different versions of it: shares are then worked out for each, and weighed by how
many requests it decides. Bounded loads of affinity are left out: they depend on who comes.
"""
from libc.math cimport exp, log
from libc.stdint cimport int32_t, int64_t, uint64_t

from routing_core._atomic cimport load_relaxed
from routing_core._available cimport is_usable
from routing_core._decision cimport DECIDED, UNPINNED, Candidate
from routing_core._figures cimport N_VERSIONS, PACED_STEPS, SCALE
from routing_core._layout cimport MAX_POPS, Pool
from routing_core._steer cimport cost_of, find_widest, has_spilled, mark_full, unpin, weigh, window_weight

cdef double STEP = 0.25
cdef double NEVER = 1e-15       # a probability that can be left out

cdef struct Member:             # of a window
    int32_t candidate
    double weight               # 1 for the best
    double admit                # 1 for the best
    double cost
    double there                # at one s: probability that it is there, weighted by exp(-s * weight)


# How one of the window is found: drawn by weight, or the better of two, of which the other is drawn.
cdef enum Way:
    HASHED
    BEST_AND_DRAWN
    BOTH_DRAWN


# Adds `scale` times the shares of the members, member 0 being the best and there for certain.
cdef void share_window(Member *members, int32_t n, Way way, double scale, double *shares) noexcept nogil:
    cdef double total = 0, s, product, pairs, factor, part
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
            part = scale * STEP * s * product * members[i].weight * members[i].there
            if way == HASHED:
                shares[members[i].candidate] += part
            elif way == BEST_AND_DRAWN:
                shares[members[i if members[i].cost < members[0].cost else 0].candidate] += part
            else:
                pairs = members[i].weight       # itself, twice
                for j in range(n):
                    if i != j and members[i].cost <= members[j].cost:
                        pairs += members[j].weight * members[j].there * (2 if members[i].cost < members[j].cost else 1)
                shares[members[i].candidate] += part * s * pairs
        x += STEP


# Usable candidates that have room, best first: by estimate, or in the order that holds. Those of a pin, or those not of it.
cdef int32_t sort_usable(const Weighed *weighed, int32_t *order) noexcept nogil:
    cdef const Candidate *candidate
    cdef const Candidate *before
    cdef int32_t i, k, n = 0
    for i in range(weighed.n):
        candidate = &weighed.candidates[i]
        if not is_usable(weighed, candidate) or candidate.is_full:
            continue
        if weighed.pin and (candidate.rank < UNPINNED) != weighed.is_pinned:
            continue
        k = n
        n += 1
        while k > 0:
            before = &weighed.candidates[order[k - 1]]
            if before.rank < candidate.rank if weighed.is_ordered else before.estimate.ms <= candidate.estimate.ms:
                break
            order[k] = order[k - 1]
            k -= 1
        order[k] = i
    return n


cdef int32_t gather_window(const Weighed *weighed, const int32_t *order, int32_t n, bint spills, Member *members) noexcept nogil:
    cdef const Candidate *best = &weighed.candidates[order[0]]
    cdef const Candidate *candidate
    cdef double weight, whole = window_weight(weighed, best, best, spills)
    cdef int32_t k, n_members = 0
    for k in range(1 if weighed.is_ordered else n):
        candidate = &weighed.candidates[order[k]]
        weight = window_weight(weighed, best, candidate, spills)
        if weight <= 0:
            break
        members[n_members].candidate = order[k]
        members[n_members].weight = weight / whole
        if weighed.is_hashed:   # by size alone, see _rendezvous
            members[n_members].weight = <double>candidate.pool.n_endpoints * candidate.pool.weight
        members[n_members].admit = 1 if k == 0 else candidate.admit
        members[n_members].cost = cost_of(weighed, candidate, spills)
        n_members += 1
    return n_members


# Best first, each takes what it admits of what is left. Returns what all of them passed over.
cdef double pass_through(const Weighed *weighed, double left, double *shares) noexcept nogil:
    cdef Member members[MAX_POPS]
    cdef int32_t order[MAX_POPS]
    cdef int32_t i, n_members, n = sort_usable(weighed, order)
    cdef double admit
    cdef bint spills
    cdef Way way = HASHED
    for i in range(n):
        if left > NEVER:
            admit = weighed.candidates[order[i]].admit
            spills = has_spilled(weighed, &weighed.candidates[order[i]])
            if not weighed.is_hashed:
                way = BOTH_DRAWN if spills or weighed.candidates[order[i]].pool.service.has_weights else BEST_AND_DRAWN
            n_members = gather_window(weighed, order + i, n - i, spills, members)
            share_window(members, n_members, way, left * admit, shares)
            left *= 1 - admit
    return left


cdef void add_shares(Weighed *weighed, double scale, double *shares) noexcept nogil:
    cdef int32_t i, widest = -1
    cdef double left = scale
    if weighed.failure != DECIDED:
        return
    if weighed.is_panic:
        for i in range(weighed.n_window):
            shares[weighed.window[i]] += scale * weighed.weights[i] / weighed.total_weight
        return
    if weighed.pin > 0:
        weighed.is_pinned = weighed.is_ordered = True
        left = pass_through(weighed, left, shares)
        widest = find_widest(weighed)
        if weighed.candidates[widest].rank >= UNPINNED:
            widest = -1
        unpin(weighed)
    left = pass_through(weighed, left, shares)
    if widest < 0:
        widest = find_widest(weighed)
    shares[widest] += left


# How many of the requests a version decides: of SCALE * PACED_STEPS.
cdef int32_t part_of(int64_t phase, int slot) noexcept nogil:
    cdef int age = <int>(((phase >> 10) - slot) & 7)    # 0: the newest
    cdef int32_t begun = <int32_t>(phase & (SCALE - 1))
    if age == 0:
        return begun
    return SCALE if age < PACED_STEPS else SCALE - begun


cdef bint is_settled(const Weighed *weighed) noexcept nogil:
    cdef const Pool *pool
    cdef int32_t i
    cdef int slot
    for i in range(weighed.n):
        pool = weighed.candidates[i].pool
        for slot in range(1, N_VERSIONS):
            if load_relaxed(&pool.gate.versions[slot]) != load_relaxed(&pool.gate.versions[0]):
                return False
    return True


cdef void work_out_shares(const TableData *table, const Route *route, const Target *target, const Asked *asked, Weighed *weighed,
                          double *shares) noexcept nogil:
    cdef int64_t phase = load_relaxed(&table.pace.phase)
    cdef int newest = <int>((phase >> 10) & 7)
    cdef uint64_t draw = weighed.draw
    cdef bint settled
    cdef double part
    cdef int32_t i
    cdef int slot
    for i in range(MAX_POPS):
        shares[i] = 0
    weigh(table, route, target, asked, draw, newest, weighed)
    settled = is_settled(weighed)
    for slot in range(N_VERSIONS):
        if settled:
            part = 1 if slot == newest else 0
        else:
            part = part_of(phase, slot) / <double>(SCALE * PACED_STEPS)
        if part > 0:
            weigh(table, route, target, asked, draw, slot, weighed)
            mark_full(weighed)
            add_shares(weighed, part, shares)
    weigh(table, route, target, asked, draw, newest, weighed)
    mark_full(weighed)
