"""One pointer, a look a turn, a hold an exchange; why stands in docs/adr/0001."""
cimport cython
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcmp

from gateway.dataplane.shared._settings cimport CompiledSettings
from geoip._locator cimport Locator
from routing_core._atomic cimport add_own, load_acquire, load_in_order, store_in_order, store_relaxed, store_release
from routing_core._figures cimport MAX_WORKERS, SCALE
from routing_core._layout cimport Pool, Pop, Service
from routing_core._memory cimport SNAPSHOT, give, take
from routing_core._table cimport Table

PHASES = ("serving", "lameduck", "closing", "aborting")
DUTIES = ("leave", "empty", "last", "accept")

cdef enum:
    NOBODY = 0              # "seen" of a worker that is not there

cdef struct Board:
    int64_t current             # Snapshot *, atomic
    int64_t padding[7]
    Orders orders
    int64_t padding_too[5]
    Cell seen[MAX_WORKERS]      # Snapshot *, that this worker uses


cdef const Snapshot *look(Board *board, int worker) noexcept nogil:
    cdef int64_t *seen = &board.seen[worker].value
    cdef int64_t newest = load_in_order(&board.current)
    # A hazard pointer: what is declared and is still the newest behind that can't have been freed, however long this worker stood still in
    # between, and nothing of it is touched before. In order, here and where it is published: one of both sees the other. All earlier use of
    # other snapshots is over when control sees this.
    while seen[0] != newest:
        store_in_order(seen, newest)
        newest = load_in_order(&board.current)
    return <const Snapshot *><size_t>newest


cdef const Orders *orders_of(Board *board) noexcept nogil:
    return &board.orders


cdef Duty duty_at(Board *board, int listener) noexcept nogil:
    return <Duty>load_acquire(&board.orders.listeners[listener].duty)


cdef void leave(Board *board, int worker) noexcept nogil:
    store_release(&board.seen[worker].value, NOBODY)


cdef void hold(const Snapshot *snapshot, int worker) noexcept nogil:
    add_own(&(<Snapshot *>snapshot).holds[worker].value, 1)


cdef void let_go(const Snapshot *snapshot, int worker) noexcept nogil:
    cdef int64_t *held = &(<Snapshot *>snapshot).holds[worker].value
    # Release: the exchange's last read of the snapshot comes before.
    store_release(held, held[0] - 1)


cdef const Pool *pool_in(const Snapshot *newest, const Pool *pool) noexcept nogil:
    cdef const Service *service
    cdef int32_t i, k
    for i in range(newest.table.n_services):
        service = &newest.table.services[i]
        # Rows are nobody else's while a snapshot is held that has them.
        if service.row == pool.service.row:
            for k in range(service.n_pools):
                if service.pools[k].row == pool.row:
                    return &service.pools[k]
    return NULL


cdef bint has_closed(const Snapshot *newest, const Snapshot *older, const Pop *pop) noexcept nogil:
    cdef const Pop *other
    cdef int32_t i
    if newest == older:
        return False
    for i in range(newest.table.n_pops):
        other = &newest.table.pops[i]
        if other.name.length == pop.name.length and memcmp(other.name.at, pop.name.at, pop.name.length) == 0:
            return other.is_drained or other.country != pop.country or other.x != pop.x or other.y != pop.y or other.z != pop.z
    return True


cdef bint is_let_go(const Board *board, const Snapshot *snapshot) noexcept nogil:
    """Of one that is not the newest any more."""
    cdef int worker
    for worker in range(MAX_WORKERS):
        # In this order: after a look at another snapshot the holds only fall.
        if load_in_order(&board.seen[worker].value) == <int64_t><size_t>snapshot:
            return False
        if load_acquire(&snapshot.holds[worker].value) != 0:
            return False
    return True


@cython.final
cdef class Snapshots:
    """Publishes snapshots to workers. For one control thread."""

    def __cinit__(self, Table table not None, Locator locator not None, CompiledSettings settings not None):
        self.kept = {}
        self.board = <Board *>take(SNAPSHOT, sizeof(Board))
        if self.board == NULL:
            raise MemoryError
        for worker in range(MAX_WORKERS):
            leave(self.board, worker)
        self.publish(table, locator, settings)

    def __dealloc__(self):
        # Workers keep this object alive, so none is left to look.
        cdef Snapshot *snapshot
        if self.spare != NULL:
            give(SNAPSHOT, self.spare)
        if self.board != NULL:
            while self.board.current:
                snapshot = <Snapshot *><size_t>self.board.current
                self.board.current = <int64_t><size_t>snapshot.older
                give(SNAPSHOT, snapshot)
            give(SNAPSHOT, self.board)

    def reserve(self) -> None:
        """Memory for the next publish, which can't lack it then: MemoryError comes here, before anything has changed."""
        if self.spare == NULL:
            self.spare = <Snapshot *>take(SNAPSHOT, sizeof(Snapshot))
            if self.spare == NULL:
                raise MemoryError

    def publish(self, Table table not None, Locator locator not None, CompiledSettings settings not None) -> int:
        """Swap in; returns how many older snapshots are still held."""
        self.reserve()
        cdef Snapshot *snapshot = self.spare
        self.spare = NULL
        self.generation += 1
        self.kept[self.generation] = (table, locator, settings)
        snapshot.generation = self.generation
        snapshot.table = table.data
        snapshot.locator = locator.data
        snapshot.settings = &settings.settings
        snapshot.older = <Snapshot *><size_t>self.board.current
        store_in_order(&self.board.current, <int64_t><size_t>snapshot)
        return self.reclaim()

    def reclaim(self) -> int:
        """Free what all workers have let go of; returns how many older snapshots are still held."""
        return self.free_older(&(<Snapshot *><size_t>self.board.current).older, True)

    def oldest(self) -> int:
        """Generation of the oldest snapshot not yet freed."""
        return min(self.kept)

    def generations(self) -> list:
        """Of the snapshots not yet freed, the oldest first: rows absent from all of them may be released."""
        return list(self.kept)

    def order(self, str phase not None, double close_share=0.0) -> None:
        """phase: serving, lameduck, closing, aborting. close_share: answers that announce the end, 0 to 1."""
        if phase not in PHASES:
            raise ValueError(f"phase: must be one of {', '.join(PHASES)}, got {phase!r}")
        store_release(&self.board.orders.close_share, <int64_t>(min(max(close_share, 0.0), 1.0) * SCALE))
        store_release(&self.board.orders.phase, PHASES.index(phase))

    def order_listener(self, int number, str duty not None, int fd=-1) -> int:
        """What workers do at a listener: leave, empty, last, accept; `fd`: that of a listening, non-blocking socket, where they accept. It
        stays open for as long as a worker may know it: until each that turns has acted on an order to leave or empty, by the version that
        is returned, and `versions` of the counters."""
        cdef ListenerOrder *order
        cdef Orders *orders = &self.board.orders
        if not 0 <= number < MAX_LISTENERS:
            raise ValueError(f"listener: must be from 0 to {MAX_LISTENERS - 1}, got {number}")
        if duty not in DUTIES:
            raise ValueError(f"duty: must be one of {', '.join(DUTIES)}, got {duty!r}")
        if (fd < 0) != (DUTIES.index(duty) < <int>LAST):
            raise ValueError(f"fd: must be there where workers accept, and only there, got {fd} to {duty}")
        order = &orders.listeners[number]
        if fd >= 0 and order.duty >= <int64_t>LAST and order.fd != fd:
            raise ValueError(f"fd: workers accept from {order.fd} there, and have to leave it first, got {fd}")
        if fd >= 0:
            store_relaxed(&order.fd, fd)
        store_release(&order.duty, DUTIES.index(duty))
        store_release(&orders.version, orders.version + 1)
        return orders.version

    cdef int free_older(self, Snapshot **link, bint only_let_go) except -1:
        cdef Snapshot *snapshot
        cdef int kept = 0
        while link[0] != NULL:
            snapshot = link[0]
            if only_let_go and not is_let_go(self.board, snapshot):
                link = &snapshot.older
                kept += 1
            else:
                link[0] = snapshot.older
                del self.kept[snapshot.generation]
                give(SNAPSHOT, snapshot)
        return kept
