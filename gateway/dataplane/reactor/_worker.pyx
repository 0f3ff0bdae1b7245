"""The reactor's turn, and the class that Python sees."""
cimport cython

import resource

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close, read, write

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._accept cimport (
    accept_more, follow_listeners, has_descriptors, limits_of, on_knock, start_accepting, try_doors, welcome)
from gateway.dataplane.downstream._client cimport parse_address
from gateway.dataplane.downstream._doors cimport forget_doors
from gateway.dataplane.downstream._holders cimport open_holders
from gateway.dataplane.downstream._room cimport make_room_for_others, shrink
from gateway.dataplane.downstream._shortage cimport go_on_giving, tend_shortage
from gateway.dataplane.exchange._account cimport Record, as_dict
from gateway.dataplane.proxy._leaving cimport leave_silent
from gateway.dataplane.reactor._drain cimport close_all, close_idle, cut_all, follow_orders
from gateway.dataplane.reactor._events cimport on_due, on_event, resume_all, resume_postponed
from gateway.dataplane.shared._calls cimport is_called, judge_others, say_that_it_turns, take_rows
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport *
from gateway.dataplane.shared._ring cimport close_ring, oldest, open_ring, release
from gateway.dataplane.shared._snapshot cimport ABORTING, CLOSING, Snapshots, leave, look
from gateway.dataplane.transport._buffers cimport trim_spares
from gateway.dataplane.transport._connection cimport heard_of, open_connection, sweep_graveyard, watch
from gateway.dataplane.transport._linux cimport *
from gateway.dataplane.transport._plain cimport PLAIN
from gateway.dataplane.transport._timers cimport advance, start
from gateway.dataplane.upstream._pools cimport adopt, pool_of, put_back, tend_called, tend_pools
from geoip._cache cimport close_cache, open_cache
from routing_core._atomic cimport add_own, add_shared, load_acquire, store_pointer, store_relaxed, store_release
from routing_core._figures cimport Figures
from routing_core._layout cimport Endpoint
from routing_core._memory cimport WORKER, give, take
from routing_core._shortlists cimport free_shortlists
from routing_core._random cimport seed as seed_random


cdef enum:
    WAKE = MAX_LISTENERS         # what epoll tells of the wake, as it does a listener's number
    MOST_US = 150000             # from turn to turn: a sleep of WAIT_MS, and what a turn may take; who took longer was held up
    LATE_US = 10000              # what such a turn counts for: above 0, so that time goes on where all turns are late


# --- The turn ---

cdef void tick(Core *core) noexcept nogil:
    """Housekeeping, every 100 ms."""
    core.ticked_ms = core.now_ms
    judge_others(core)
    tend_pools(core)
    make_room_for_others(core)      # what a lost call asked for
    tend_shortage(core)
    shrink(core)
    trim_spares(core)
    if core.phase == <int64_t>CLOSING:
        close_idle(core)
    elif core.phase == <int64_t>ABORTING:
        cut_all(core)               # who was accepted before the listeners were left
    if not core.is_accepting and has_descriptors(core):
        start_accepting(core)
    elif core.is_accepting:
        try_doors(core)


cdef int hear(Core *core, int wait_ms) noexcept nogil:
    """What epoll tells is in hand for some turns: with all of it known, a pooled connection is lent without a look at its socket."""
    cdef int n = epoll_wait(core.epoll, core.events, EVENTS, wait_ms)
    core.told += 1
    core.n_events = max(n, 0)
    core.n_handled = 0
    core.is_crowded = n == EVENTS
    return n


cdef void on_number(Core *core, uint64_t told) noexcept nogil:
    cdef uint64_t ignored = 0
    if told < <uint64_t>WAKE:
        on_knock(core, &core.listeners[told])
    else:
        read(core.wake, &ignored, sizeof(ignored))


cdef void handle_events(Core *core) noexcept nogil:
    cdef Connection *connection
    cdef uint64_t told
    cdef int i, end = min(core.n_handled + BATCH, core.n_events)
    if core.n_handled > 0:      # who is waiting to be accepted gets as much of a worker that has many events in hand
        accept_more(core)
    for i in range(core.n_handled, end):
        told = core.events[i].data.u64
        if told <= <uint64_t>WAKE:
            on_number(core, told)
            continue
        connection = heard_of(told)
        if connection != NULL:
            on_event(core, connection, core.events[i].events)
    core.n_handled = end


cdef void turn(Core *core, int64_t now_us) noexcept nogil:
    core.n_turns += 1
    core.n_sent = core.n_given = 0
    core.now_us = now_us
    core.now_ms = now_us // 1000
    core.snapshot = look(core.board, core.number)
    add_own(&core.column.figures[<int>TURNS], 1)
    store_relaxed(&core.column.beat_ms, clock_us(core) // 1000)
    say_that_it_turns(core)
    store_relaxed(&core.column.generation, core.snapshot.generation)
    resume_postponed(core)
    handle_events(core)
    if is_called(core):
        make_room_for_others(core)
        tend_called(core, take_rows(core))
    resume_all(core)
    advance(&core.wheel, core.now_ms, on_due, core)
    if core.now_ms - core.ticked_ms >= <int64_t>WAIT_MS:
        tick(core)
    if core.silent != NULL:
        leave_silent(core)
    if core.gives_back:
        go_on_giving(core)
    follow_orders(core)
    if core.n_handled == core.n_events:
        sweep_graveyard(core)


cdef int64_t read_clock_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef int64_t own_time(Core *core, int64_t before_us, int64_t now_us) noexcept nogil:
    """What the clock says, less what the worker was held up for: stopped, moved with its machine, or given no CPU. A late turn is worth
    next to nothing: what has come meanwhile lies in the sockets, and is read before any deadline is due."""
    if now_us - before_us > MOST_US:
        core.held_up_us += now_us - before_us - LATE_US
        core.resumed_us = now_us - core.held_up_us
    return now_us - core.held_up_us


cdef bint has_more(const Core *core) noexcept nogil:
    """To do, whatever epoll tells."""
    return core.resumed.first != NULL or core.postponed.first != NULL or core.silent != NULL or core.gives_back


cdef int run(Core *core, const char *name) noexcept nogil:
    """Until stopped: 0; or the errno that ended it."""
    cdef int64_t before_us = read_clock_us()
    cdef int64_t heard_us = before_us, looked_us = before_us, now_us
    cdef bint is_news
    prctl(PR_SET_NAME, name)
    while not load_acquire(&core.stopping):
        is_news = core.n_handled == core.n_events
        if is_news and hear(core, 0 if has_more(core) else WAIT_MS) < 0:
            if errno != EINTR:
                return errno
            continue    # stopped and continued: what has come meanwhile is told at once
        now_us = read_clock_us()
        if is_news:
            heard_us = now_us
        core.apart_us = now_us - looked_us
        turn(core, own_time(core, before_us, now_us))
        before_us = now_us
        if core.n_handled == core.n_events and not core.is_crowded:     # all that had come by then is known
            looked_us = heard_us
    return 0


@cython.final
cdef class Worker:
    """One worker. Drive it by turn() in a test, by run() in a thread of its own."""

    def __cinit__(self, int number, Snapshots snapshots not None, Figures figures not None, Counters counters not None,
                  int64_t now_us=0, uint64_t seed=1, int64_t log_bytes=1048576):
        cdef int listener, error
        cdef Column *column = counters.column(number)
        if figures.n_workers != counters.n_workers:
            raise ValueError(f"figures are of {figures.n_workers} workers, counters of {counters.n_workers}")
        if log_bytes < 4096 or log_bytes & (log_bytes - 1):
            raise ValueError(f"log_bytes: must be a power of two from 4096, got {log_bytes}")
        self.snapshots = snapshots
        self.figures = figures
        self.counters = counters
        self.name = f"worker-{number}"
        cdef Core *core = <Core *>take(WORKER, sizeof(Core))
        self.core = core
        if core == NULL:
            raise MemoryError
        core.epoll = core.wake = -1
        core.board = snapshots.board
        core.number = number
        core.n_workers = counters.n_workers
        core.now_us = now_us
        core.now_ms = core.ticked_ms = now_us // 1000
        core.column = column
        store_relaxed(&column.beat_ms, core.now_ms)     # as good as a turn: it is about to run
        core.crew = figures.crew
        core.tally = counters.tally
        core.doors = counters.doors
        core.stock = counters.stock
        core.snapshot = look(core.board, number)
        core.accept_limit, core.upstream_limit = limits_of(resource.getrlimit(resource.RLIMIT_NOFILE)[0], core.n_workers)
        seed_random(&core.rng, seed + <uint64_t>number * 7919)
        start(&core.wheel, core.now_ms)
        for listener in range(MAX_LISTENERS):
            core.listeners[listener].fd = -1
            core.listeners[listener].number = listener
            core.idle[listener].older = core.idle[listener].newer = &core.idle[listener]
            core.lingering[listener].older = core.lingering[listener].newer = &core.lingering[listener]
        core.geo = open_cache()
        core.log = open_ring(log_bytes)
        if core.geo == NULL or core.log == NULL or not open_holders(core):
            raise MemoryError
        core.epoll = epoll_create1(EPOLL_CLOEXEC)
        core.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if core.epoll < 0 or core.wake < 0 or not watch(core, core.wake, WAKE, EPOLLIN | <uint32_t>EPOLLET):
            raise OSError(errno, "worker: epoll or eventfd")
        store_pointer(&core.doors.desks[number].core, core)
        start_accepting(core)
        error = follow_listeners(core)
        if error:
            raise OSError(error, "worker: listener")

    def __dealloc__(self):
        if self.counters is not None and self.counters.n_running == 0:      # else it stays: the process ends, with one that hangs
            self.close()

    def close(self) -> None:
        """Close every connection and give all memory back. Twice does no harm; during run(), of any worker, it is an error: others hold
        its core."""
        cdef Core *core = self.core
        if core == NULL:
            return
        self.still_core()
        if self.counters.n_running:
            raise RuntimeError("workers are running")
        if core.doors != NULL:
            forget_doors(core)
            store_pointer(&core.doors.desks[core.number].core, NULL)
        close_all(core)
        leave(core.board, core.number)
        close_cache(core.geo)
        close_ring(core.log)
        free_shortlists(&core.shortlists)
        if core.wake >= 0:
            close(core.wake)
        if core.epoll >= 0:
            close(core.epoll)
        give(WORKER, core)
        self.core = NULL
        self.snapshots = None
        self.figures = None
        self.counters = None

    cdef Core *still_core(self) except NULL:
        """For what touches the state that a running thread owns."""
        if self.core == NULL:
            raise ValueError("worker is closed")
        if self.is_running:
            raise RuntimeError("worker is running")
        return self.core

    def turn(self, int64_t now_us, int64_t before_us=-1) -> int:
        """Serve what is ready at now_us, without waiting. Returns the number of events. before_us: when the turn before was, by the clock,
        as run() has it; without it the worker was not held up, whatever the time."""
        cdef Core *core = self.still_core()
        now_us = own_time(core, now_us if before_us < 0 else before_us, now_us)
        hear(core, 0)
        turn(core, now_us)
        while core.n_handled < core.n_events:
            turn(core, now_us)
        return core.n_events

    def run(self) -> None:
        """Serve until stop(). Holds no GIL while it does."""
        cdef Core *core = self.still_core()
        cdef bytes name = self.name.encode()
        cdef const char *text = name
        cdef int error
        self.is_running = True
        self.counters.n_running += 1
        with nogil:
            error = run(core, text)
        self.counters.n_running -= 1
        self.is_running = False
        if error:
            raise OSError(error, "worker: epoll_wait")

    def stop(self) -> None:
        """Ask run() to return, also one that has not begun. From any thread."""
        if self.core != NULL:
            store_release(&self.core.stopping, 1)
            self.wake()

    def wake(self) -> None:
        """Have a sleeping worker look at snapshot and orders now. From any thread."""
        cdef uint64_t one = 1
        if self.core != NULL:
            write(self.core.wake, &one, sizeof(one))

    def adopt_downstream(self, int fd, str address="127.0.0.1", int listener=0) -> None:
        """Serve a connected, non-blocking socket; owns fd from here on."""
        cdef uint8_t peer[16]
        cdef bytes text = address.encode()
        cdef Core *core = self.still_core()
        if not 0 <= listener < MAX_LISTENERS:
            raise ValueError(f"listener: must be from 0 to {MAX_LISTENERS - 1}, got {listener}")
        if not parse_address(text, len(text), peer):
            raise ValueError(f"address: must be an IP address, got {address!r}")
        if welcome(core, fd, listener, peer) == NULL:
            raise OSError(errno, "worker: adopt")

    def adopt_upstream(self, int fd, int row) -> None:
        """Put a connected, non-blocking socket into the pool of an endpoint's row; owns fd from here on."""
        cdef Endpoint endpoint
        cdef Core *core = self.still_core()
        endpoint.row = row
        endpoint.gate = self.figures.endpoint_gate(row)
        endpoint.columns = self.figures.endpoint_columns(row)
        cdef UpstreamPool *pool = pool_of(core, &endpoint)
        if pool == NULL:
            close(fd)
            raise MemoryError
        cdef Connection *connection = open_connection(core, fd, SERVING_UPSTREAM, &PLAIN)
        if connection == NULL:
            raise OSError(errno, "worker: adopt")
        adopt(core, pool, connection)
        add_shared(&pool.share.n_open, 1)
        connection.own.is_writable = True
        put_back(core, &connection.own)

    def read_log(self) -> list:
        """Access log records since the last call, oldest first."""
        cdef int64_t length = 0
        cdef const char *bytes_at
        records = []
        if self.core == NULL:
            return records
        while True:
            bytes_at = oldest(self.core.log, &length)
            if bytes_at == NULL:
                return records
            records.append(as_dict(<const Record *>bytes_at))
            release(self.core.log, length)
