"""Holders lie in chains of a hash table, and in a ring for each rank: who holds most is in the highest ring that is not empty.

A rank is a count up to 64 and a sixteenth of an octave above: a connection more or less moves a holder by one rank at most, so that the
highest ring is found by a step, however many clients there are.
"""
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._client cimport is_trusted, is_v4
from gateway.dataplane.shared._settings cimport Settings
from gateway.dataplane.shared._tally cimport TALLIED_CONNECTIONS, Tallied, give_place, take_place
from routing_core._atomic cimport store_relaxed
from routing_core._memory cimport HOLDER, give, take
from routing_core._random cimport mixed, next_u64


cdef bint open_holders(Core *core) noexcept nogil:
    core.holders = <Holders *>take(HOLDER, sizeof(Holders))
    if core.holders == NULL:
        return False
    core.holders.secret = next_u64(&core.rng)
    return True


cdef void free_holders(Core *core) noexcept nogil:
    cdef Holder *holder
    if core.holders == NULL:
        return
    while core.holders.spare != NULL:
        holder = core.holders.spare
        core.holders.spare = holder.next
        give(HOLDER, holder)
    give(HOLDER, core.holders)
    core.holders = NULL


# --- Who is meant ---

cdef void cut(uint8_t *address, int bits) noexcept nogil:
    cdef int whole = bits // 8
    if whole < 16:
        address[whole] &= <uint8_t>(0xff00 >> bits % 8)
        memset(address + whole + 1, 0, 15 - whole)


cdef bint client_prefix(const Core *core, const uint8_t *address, uint8_t *prefix) noexcept nogil:
    """The 16 bytes that an address stands for. False: it is one that is not held to limits."""
    cdef const Settings *settings = core.snapshot.settings
    memcpy(prefix, address, 16)
    if is_v4(address):
        cut(prefix, 96 + settings.v4_bits)
        return address[12] != 127 and not is_trusted(settings, address)
    cut(prefix, settings.v6_bits)
    return memcmp(address, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16) != 0 and not is_trusted(settings, address)


cdef bint may_have_more(Core *core, const uint8_t *address, Tallied what, uint64_t *place) noexcept nogil:
    cdef const Settings *settings = core.snapshot.settings
    cdef int64_t cap = settings.client_connections if what == TALLIED_CONNECTIONS else settings.client_exchanges
    cdef uint8_t prefix[16]
    place[0] = 0
    if cap == 0 or not client_prefix(core, address, prefix):
        return True
    place[0] = take_place(core.tally, core.number, core.crew, prefix, what, cap)
    return place[0] != 0


cdef Holder **slot_of(Holders *holders, const uint8_t *prefix, int32_t listener) noexcept nogil:
    cdef uint64_t halves[2]
    memcpy(halves, prefix, 16)
    # Keyed: nobody can choose addresses that share a chain.
    return &holders.slots[mixed(mixed(halves[0] ^ holders.secret) ^ halves[1] ^ <uint64_t>listener) % <uint32_t>N_HOLDER_SLOTS]


cdef Holder *find_holder(Holders *holders, const uint8_t *prefix, int32_t listener) noexcept nogil:
    cdef Holder *holder = slot_of(holders, prefix, listener)[0]
    while holder != NULL and not (holder.listener == listener and memcmp(holder.prefix, prefix, 16) == 0):
        holder = holder.next
    return holder


# --- Ranks ---

cdef int rank_of(int32_t n) noexcept nogil:
    cdef int octave = 0
    if n < 64:
        return n
    while n >> octave >= 128:
        octave += 1
    return min(64 + 16 * octave + ((n >> octave) - 64) // 4, <int>N_RANKS - 1)


cdef void rank_in(Holders *holders, Holder *holder) noexcept nogil:
    cdef int rank = rank_of(holder.n)
    cdef Ranking *ranking = &holders.rankings[holder.listener]
    holder.lower = NULL
    holder.upper = ranking.first[rank]
    if holder.upper != NULL:
        holder.upper.lower = holder
    ranking.first[rank] = holder
    ranking.top = max(ranking.top, rank)


cdef void rank_out(Holders *holders, Holder *holder) noexcept nogil:
    cdef Ranking *ranking = &holders.rankings[holder.listener]
    if holder.upper != NULL:
        holder.upper.lower = holder.lower
    if holder.lower != NULL:
        holder.lower.upper = holder.upper
    else:
        ranking.first[rank_of(holder.n)] = holder.upper


cdef void recount(Core *core, Holder *holder, int by) noexcept nogil:
    cdef Holders *holders = core.holders
    cdef Ranking *ranking = &holders.rankings[holder.listener]
    rank_out(holders, holder)
    holder.n += by
    if holder.n > 0:
        rank_in(holders, holder)
    while ranking.top > 0 and ranking.first[ranking.top] == NULL:
        ranking.top -= 1
    store_relaxed(&core.column.most[holder.listener], ranking.first[ranking.top].n if ranking.top > 0 else 0)


# --- Connections ---

cdef void append(Line *line, Connection *downstream) noexcept nogil:
    downstream.held_before = line.last
    downstream.held_after = NULL
    if line.last != NULL:
        line.last.held_after = downstream
    else:
        line.first = downstream
    line.last = downstream


cdef void remove(Line *line, Connection *downstream) noexcept nogil:
    if downstream.held_before != NULL:
        downstream.held_before.held_after = downstream.held_after
    else:
        line.first = downstream.held_after
    if downstream.held_after != NULL:
        downstream.held_after.held_before = downstream.held_before
    else:
        line.last = downstream.held_before


cdef Holder *make_holder(Holders *holders, const uint8_t *prefix, int32_t listener) noexcept nogil:
    cdef Holder *holder = holders.spare
    cdef Holder **slot = slot_of(holders, prefix, listener)
    if holder != NULL:
        holders.spare = holder.next
        memset(holder, 0, sizeof(Holder))
    else:
        holder = <Holder *>take(HOLDER, sizeof(Holder))
        if holder == NULL:
            return NULL
    memcpy(holder.prefix, prefix, 16)
    holder.listener = listener
    holder.next = slot[0]
    slot[0] = holder
    return holder


cdef void enter_holder(Core *core, Connection *downstream) noexcept nogil:
    cdef uint8_t prefix[16]
    cdef Holder *holder
    if not client_prefix(core, downstream.peer, prefix):
        return
    holder = find_holder(core.holders, prefix, downstream.listener)
    if holder == NULL:
        holder = make_holder(core.holders, prefix, downstream.listener)
        if holder == NULL:
            return
        holder.n = 1
        rank_in(core.holders, holder)
    else:
        recount(core, holder, 1)
    downstream.holder = holder
    downstream.line = CALM
    append(&holder.lines[<int>CALM], downstream)


cdef void leave_holder(Core *core, Connection *downstream) noexcept nogil:
    cdef Holder *holder = downstream.holder
    cdef Holder **link
    if holder == NULL:
        return
    downstream.holder = NULL
    remove(&holder.lines[<int>downstream.line], downstream)
    recount(core, holder, -1)
    if holder.n == 0:
        link = slot_of(core.holders, holder.prefix, holder.listener)
        while link[0] != holder:
            link = &link[0].next
        link[0] = holder.next
        holder.next = core.holders.spare
        core.holders.spare = holder


cdef void refile(Core *core, Connection *downstream) noexcept nogil:
    cdef uint8_t prefix[16]
    cdef bint is_held = client_prefix(core, downstream.peer, prefix)
    if is_held != (downstream.holder != NULL) or (is_held and memcmp(downstream.holder.prefix, prefix, 16) != 0):
        leave_holder(core, downstream)
        enter_holder(core, downstream)
    give_place(core.tally, core.number, downstream.place)
    if not may_have_more(core, downstream.peer, TALLIED_CONNECTIONS, &downstream.place):
        downstream.own.must_close = True
        downstream.place = take_place(core.tally, core.number, core.crew, prefix, TALLIED_CONNECTIONS, INT64_MAX)


cdef void change_line(Connection *downstream, HeldLine line) noexcept nogil:
    if downstream.holder != NULL and downstream.line != line:
        remove(&downstream.holder.lines[<int>downstream.line], downstream)
        append(&downstream.holder.lines[<int>line], downstream)
        downstream.line = line


cdef void mark_begun(Connection *downstream) noexcept nogil:
    change_line(downstream, BEGUN)


cdef void mark_busy(Connection *downstream) noexcept nogil:
    change_line(downstream, BUSY)


cdef void mark_calm(Connection *downstream) noexcept nogil:
    change_line(downstream, CALM)


cdef int32_t held_by(const Core *core, int listener, const uint8_t *address) noexcept nogil:
    cdef uint8_t prefix[16]
    cdef Holder *holder
    client_prefix(core, address, prefix)
    holder = find_holder(core.holders, prefix, listener)
    return holder.n if holder != NULL else 0


cdef Connection *most_held(Core *core, int listener, const uint8_t *newcomer) noexcept nogil:
    cdef Holder *most = core.holders.rankings[listener].first[core.holders.rankings[listener].top]
    cdef int line
    if most == NULL or most.n < 2:
        return NULL
    for line in range(<int>CALM, <int>BUSY):
        if most.lines[line].first != NULL:
            return most.lines[line].first
    # To cut what runs must make it fairer: with one more the new client still has less than the other is left with, or as much.
    return most.lines[<int>BUSY].first if newcomer != NULL and held_by(core, listener, newcomer) + 2 <= most.n else NULL
