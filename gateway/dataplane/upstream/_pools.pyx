"""Pools lie in blocks by endpoint row, made on demand; a row outlives the tables that name it."""
from libc.errno cimport EADDRNOTAVAIL, EAGAIN, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport INT64_MAX, int32_t, int64_t
from posix.unistd cimport close

from gateway.dataplane._core cimport *
from gateway.dataplane.exchange._account cimport begin_queueing, end_queueing
from gateway.dataplane.shared._calls cimport N_ROW_BITS, call_for_pool, is_turning
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport UPSTREAM_OPENED, UPSTREAM_REUSED, count
from gateway.dataplane.shared._places cimport free_place, has_place, is_overfull, is_place_taken, is_wait_taken
from gateway.dataplane.transport._connection cimport bury, open_connection
from gateway.dataplane.transport._linux cimport *
from gateway.dataplane.transport._plain cimport PLAIN
from gateway.dataplane.transport._stream cimport resume_later, set_deadline
from gateway.dataplane.transport._transport cimport end_with_reset, peek, unsent
from gateway.dataplane.upstream._choice cimport LOOKS_A_TICK
from routing_core._atomic cimport add_own, add_shared, load_in_order, load_relaxed, store_in_order, store_relaxed
from routing_core._figures cimport EndpointColumn, EndpointShare, is_answering, is_silent
from routing_core._memory cimport POOLS, give, take


cdef UpstreamPool *pool_of(Core *core, const Endpoint *endpoint) noexcept nogil:
    cdef int32_t row = endpoint.row
    cdef UpstreamPool *block
    if not 0 <= row < N_BLOCKS * BLOCK_POOLS:
        return NULL
    block = core.pools[row // BLOCK_POOLS]
    if block == NULL:
        block = <UpstreamPool *>take(POOLS, BLOCK_POOLS * sizeof(UpstreamPool))
        if block == NULL:
            return NULL
        core.pools[row // BLOCK_POOLS] = block
    block += row % BLOCK_POOLS
    block.row = row
    block.gate = endpoint.gate
    block.share = <EndpointShare *>&endpoint.gate.share
    block.columns = endpoint.columns
    return block


cdef inline void count_idle(Core *core, UpstreamPool *pool, int by) noexcept nogil:
    pool.n_idle += by
    add_own(&pool.columns[core.number].idle, by)


cdef void take_out(Core *core, Connection *upstream) noexcept nogil:
    """From anywhere among the idle: a pool that dies ends in any order."""
    cdef UpstreamPool *pool = upstream.own.pool
    if upstream.previous != NULL:
        upstream.previous.next = upstream.next
    else:
        pool.idle = upstream.next
    if upstream.next != NULL:
        upstream.next.previous = upstream.previous
    upstream.next = upstream.previous = NULL
    count_idle(core, pool, -1)


cdef void begin_use(Stream *upstream) noexcept nogil:
    """At the ring's end: who has been told longest ago is the first."""
    cdef Stream *first = upstream.pool.used
    upstream.pool.n_used += 1
    if first == NULL:
        upstream.pool.used = upstream.older = upstream.newer = upstream
        return
    upstream.newer = first
    upstream.older = first.older
    first.older.newer = upstream
    first.older = upstream


cdef void end_use(Stream *upstream) noexcept nogil:
    if upstream.newer == NULL:
        return
    if upstream.pool.used == upstream:
        upstream.pool.used = upstream.newer if upstream.newer != upstream else NULL
    upstream.pool.n_used -= 1
    upstream.older.newer = upstream.newer
    upstream.newer.older = upstream.older
    upstream.older = upstream.newer = NULL


cdef Stream *borrow(Core *core, UpstreamPool *pool, bint careful) noexcept nogil:
    cdef Connection *connection
    cdef Stream *upstream
    cdef bint looks
    while pool.idle != NULL:
        connection = pool.idle
        upstream = &connection.own
        # A peer that closes, or speaks unasked, just now is seen by its socket before epoll tells. One that came back ahead of its event
        # would have that taken for the next answer.
        looks = careful or core.is_crowded or connection.lent_in == core.told
        if looks and peek(upstream):
            drop_upstream(core, upstream)
            continue
        take_out(core, connection)
        begin_use(upstream)
        upstream.state = SERVING_UPSTREAM
        upstream.is_reused = True
        connection.lent_in = 0 if looks else core.told
        count(core.column, UPSTREAM_REUSED)
        return upstream
    return NULL


cdef Stream *reach(Core *core, UpstreamPool *pool, const Endpoint *endpoint, Lack *lack) noexcept nogil:
    cdef const sockaddr *address = <const sockaddr *>endpoint.address.bytes
    cdef int one = 1
    cdef bint is_there
    cdef Connection *connection
    cdef Stream *upstream
    cdef int fd = socket(address.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        if errno == EMFILE or errno == ENFILE:
            lack[0] = LACKS_DESCRIPTOR
        elif errno == ENOBUFS or errno == ENOMEM:
            lack[0] = LACKS_OWN
        return NULL
    if fd >= core.upstream_limit:       # the rest is for those who look after the gateway
        lack[0] = LACKS_DESCRIPTOR
        close(fd)
        return NULL
    if address.sa_family != AF_UNIX:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    is_there = connect(fd, address, endpoint.address.length) == 0
    if not is_there and errno != EINPROGRESS:
        if errno == EADDRNOTAVAIL:      # to other addresses there may be some left
            lack[0] = LACKS_PORT
            pool.lacks_port = True
        elif errno == EAGAIN:
            lack[0] = LACKS_ROOM
        close(fd)
        return NULL
    connection = open_connection(core, fd, SERVING_UPSTREAM if is_there else CONNECTING, &PLAIN)
    if connection == NULL:
        lack[0] = LACKS_OWN
        return NULL
    pool.lacks_port = False
    upstream = &connection.own
    upstream.is_writable = is_there
    upstream.opened_us = core.now_us
    adopt(core, pool, connection)
    begin_use(upstream)
    count(core.column, UPSTREAM_OPENED)
    return upstream


cdef void adopt(Core *core, UpstreamPool *pool, Connection *upstream) noexcept nogil:
    upstream.own.pool = pool
    pool.n_open += 1
    core.n_upstream += 1
    add_own(&pool.columns[core.number].connections, 1)


cdef void put_back(Core *core, Stream *upstream) noexcept nogil:
    cdef Connection *connection = upstream.connection
    cdef UpstreamPool *pool = upstream.pool
    upstream.exchange = NULL
    # Full reads leave the flag set: only the socket knows.
    if upstream.is_readable and not upstream.is_ending:
        upstream.is_readable = peek(upstream)
    # Also where probes or outliers have shut the gate: a panic goes on asking who answers, and has no port for each request.
    if (upstream.is_ending or upstream.is_readable or not is_answering(pool.gate, pool.columns, core.n_workers)
            or is_owed(core, pool) or is_overfull(core, pool)):     # who it goes to makes one of its own
        drop_idle(core, connection)
        return
    end_use(upstream)
    connection.lent_in = 0 if connection.heard_in == core.told else core.told
    upstream.state = POOLED
    connection.next = pool.idle
    if pool.idle != NULL:
        pool.idle.previous = connection
    pool.idle = connection
    count_idle(core, pool, 1)
    set_deadline(core, upstream, core.snapshot.settings.upstream_idle_ms)
    pass_on(core, pool)


cdef void drop_upstream(Core *core, Stream *upstream) noexcept nogil:
    cdef UpstreamPool *pool = upstream.pool
    if upstream.state == POOLED:
        take_out(core, upstream.connection)
    end_use(upstream)
    if not upstream.is_apart:
        pool.n_open -= 1
        free_place(pool)
    core.n_upstream -= 1
    add_own(&pool.columns[core.number].connections, -1)
    bury(core, upstream.connection)
    pass_on(core, pool)


cdef void drop_idle(Core *core, Connection *upstream) noexcept nogil:
    """One that is between two exchanges. By a reset, or a port of ours waits for a minute behind each: under a limit these are many. Not
    where an endpoint that answered early has not got all of the request yet: a reset takes back what is on its way."""
    if unsent(&upstream.own) == 0:
        end_with_reset(&upstream.own)
    drop_upstream(core, &upstream.own)


cdef void set_apart(Core *core, Stream *upstream) noexcept nogil:
    end_use(upstream)
    upstream.is_apart = True
    upstream.pool.n_open -= 1
    free_place(upstream.pool)
    pass_on(core, upstream.pool)


cdef void wake_first(Core *core, UpstreamPool *pool) noexcept nogil:
    if pool.first_waiting != NULL:
        resume_later(core, pool.first_waiting.downstream)


# --- Who is next ---

cdef bint take_place(Core *core, UpstreamPool *pool) noexcept nogil:
    if is_place_taken(core, pool):
        return True
    if pool.idle == NULL:
        return False
    drop_idle(core, pool.idle)      # a fresh connection is wanted where only pooled ones are left: one of them goes
    return is_place_taken(core, pool)


cdef bint is_full(const Core *core, const UpstreamPool *pool) noexcept nogil:
    return pool.idle == NULL and not has_place(core, pool)


cdef inline int64_t ahead_ms(const Core *core) noexcept nogil:
    """This worker's own come first by a part of the longest wait, for another has to make a connection: so that all have their turn in
    good time, and connections move seldom."""
    return core.snapshot.settings.queue_ms // (4 * core.n_workers)


cdef int next_in_line(const Core *core, const UpstreamPool *pool, int64_t ahead) noexcept nogil:
    """The worker at which someone has waited longest for the endpoint, this one's own by so much longer; -1: none."""
    cdef int64_t own = load_relaxed(&pool.columns[core.number].waits_since_ms)
    cdef int64_t least = own - ahead if own else INT64_MAX
    cdef int64_t since
    cdef int worker, found = core.number if own else -1
    for worker in range(core.n_workers):
        since = load_in_order(&pool.columns[worker].waits_since_ms)
        if worker != core.number and 0 < since < least and is_turning(core, worker):
            least = since
            found = worker
    return found


cdef int other_in_line(const Core *core, const UpstreamPool *pool, int64_t ahead) noexcept nogil:
    """The worker that comes before this one; -1: none. A moment later it may be another, or none: ask once."""
    cdef int worker
    if load_in_order(&pool.share.n_waiting) <= pool.n_waiting:
        return -1
    worker = next_in_line(core, pool, ahead)
    return worker if worker != core.number else -1


cdef bint others_are_first(const Core *core, const UpstreamPool *pool) noexcept nogil:
    return other_in_line(core, pool, ahead_ms(core)) >= 0


cdef bint is_first_at(const Core *core, const UpstreamPool *pool, const Exchange *exchange) noexcept nogil:
    cdef int64_t since, ahead = ahead_ms(core)
    cdef int worker
    for worker in range(core.n_workers):
        since = load_in_order(&pool.columns[worker].waits_since_ms)
        if 0 < since < exchange.queued_ms - (0 if worker == core.number else ahead) and is_turning(core, worker):
            return False
    return True


cdef bint is_owed(const Core *core, const UpstreamPool *pool) noexcept nogil:
    """Whether a connection without exchange goes, for one that another worker is to make."""
    return others_are_first(core, pool) and not has_place(core, pool)


cdef void pass_on(Core *core, UpstreamPool *pool) noexcept nogil:
    cdef int worker
    if load_in_order(&pool.share.n_waiting) == 0:
        return
    worker = other_in_line(core, pool, ahead_ms(core))
    if worker >= 0 and has_place(core, pool):
        call_for_pool(core, worker, pool.row)
    else:
        wake_first(core, pool)


cdef void ask_for_idle(Core *core, UpstreamPool *pool) noexcept nogil:
    """Connections that another worker does not use count as well: it is to give one."""
    cdef const EndpointColumn *column
    cdef int64_t n_idle, most = 0
    cdef int worker, found = -1
    if has_place(core, pool):
        return
    for worker in range(core.n_workers):
        column = &pool.columns[worker]
        n_idle = load_relaxed(&column.idle)
        if worker != core.number and n_idle > most and is_turning(core, worker):
            most = n_idle
            found = worker
    if found >= 0:
        call_for_pool(core, found, pool.row)


cdef void look_again(Core *core, UpstreamPool *pool) noexcept nogil:
    cdef int worker
    if not has_place(core, pool):
        ask_for_idle(core, pool)
        return
    worker = other_in_line(core, pool, -1)      # who has just come passes nobody, not even of the same millisecond
    if worker >= 0:
        call_for_pool(core, worker, pool.row)
    else:
        wake_first(core, pool)


# --- Who waits ---

cdef void publish_first(Core *core, UpstreamPool *pool) noexcept nogil:
    cdef EndpointColumn *own = &pool.columns[core.number]
    store_relaxed(&own.n_waiting, pool.n_waiting)
    # In order: who gives a place away sees it, or look_again() sees that place.
    store_in_order(&own.waits_since_ms, pool.first_waiting.queued_ms if pool.first_waiting != NULL else 0)


cdef Exchange *before_in_line(UpstreamPool *pool, const Exchange *exchange) noexcept nogil:
    """Behind whom it stands; NULL: it is the first. Who has waited, here or for another one, is before those who came later."""
    cdef Exchange *before = NULL
    cdef Exchange *at = pool.first_waiting
    if not exchange.is_its_turn or at == NULL or pool.last_waiting.queued_ms < exchange.queued_ms:
        return pool.last_waiting
    while at.queued_ms < exchange.queued_ms:
        before = at
        at = at.next
    return before


cdef bint enqueue(Core *core, UpstreamPool *pool, Exchange *exchange, bint is_busy) noexcept nogil:
    cdef Exchange *before
    if exchange.is_its_turn:
        add_shared(&pool.share.n_waiting, 1)
    elif is_wait_taken(core, pool, is_busy):
        exchange.queued_ms = clock_us(core) // 1000
    else:
        return False
    exchange.queue = pool
    exchange.queued_row = pool.row
    before = before_in_line(pool, exchange)
    exchange.next = before.next if before != NULL else pool.first_waiting
    if before != NULL:
        before.next = exchange
    else:
        pool.first_waiting = exchange
    if before == pool.last_waiting:
        pool.last_waiting = exchange
    pool.n_waiting += 1
    core.n_queued += 1
    begin_queueing(core, exchange)
    publish_first(core, pool)
    return True


cdef void dequeue(Core *core, Exchange *exchange) noexcept nogil:
    cdef UpstreamPool *pool = exchange.queue
    cdef Exchange *before = NULL
    cdef Exchange *at
    if pool == NULL:
        return
    at = pool.first_waiting
    while at != exchange:
        before = at
        at = at.next
    if before == NULL:
        pool.first_waiting = exchange.next
    else:
        before.next = exchange.next
    if pool.last_waiting == exchange:
        pool.last_waiting = before
    pool.n_waiting -= 1
    core.n_queued -= 1
    end_queueing(core, exchange)
    add_shared(&pool.share.n_waiting, -1)
    publish_first(core, pool)
    exchange.queue = NULL
    exchange.next = NULL


cdef void leave_line(Core *core, Exchange *exchange) noexcept nogil:
    cdef UpstreamPool *pool = exchange.queue
    dequeue(core, exchange)
    if pool != NULL and not is_full(core, pool):
        pass_on(core, pool)


cdef void tend_pool(Core *core, UpstreamPool *pool) noexcept nogil:
    if pool.idle != NULL and not is_answering(pool.gate, pool.columns, core.n_workers):
        while pool.idle != NULL:
            drop_idle(core, pool.idle)
    if pool.idle != NULL and is_owed(core, pool):
        drop_idle(core, pool.idle)
    while pool.idle != NULL and is_overfull(core, pool):
        drop_idle(core, pool.idle)
    wake_first(core, pool)
    if pool.used != NULL and pool.n_in_vain == 0 and is_silent(pool.gate):
        pool.n_in_vain = pool.n_used
        pool.next_silent = core.silent
        core.silent = pool


cdef Stream *next_in_vain(Core *core) noexcept nogil:
    cdef UpstreamPool *pool
    cdef Stream *upstream
    while core.silent != NULL:
        pool = core.silent
        if pool.n_in_vain > 0 and pool.used != NULL and is_silent(pool.gate):
            pool.n_in_vain -= 1
            if pool.n_in_vain == 0:     # off the list at once: tend_pool() puts it there again, and must not find it there
                core.silent = pool.next_silent
            upstream = pool.used
            pool.used = upstream.newer
            return upstream
        pool.n_in_vain = 0
        core.silent = pool.next_silent
    return NULL


cdef bint has_room(Core *core, const Endpoint *endpoint) noexcept nogil:
    cdef UpstreamPool *pool = pool_of(core, endpoint)
    return (pool != NULL and pool.first_waiting == NULL
            and (pool.idle != NULL or (has_place(core, pool) and not others_are_first(core, pool))))


cdef bint drop_any_idle(Core *core) noexcept nogil:
    cdef int block
    cdef int i
    for block in range(N_BLOCKS):
        if core.pools[block] != NULL:
            for i in range(BLOCK_POOLS):
                if core.pools[block][i].idle != NULL:
                    drop_upstream(core, &core.pools[block][i].idle.own)
                    return True
    return False


cdef void tend_pools(Core *core) noexcept nogil:
    cdef int32_t first = core.tended_from
    cdef int block, i, n
    core.looks_left = LOOKS_A_TICK
    if core.n_upstream == 0 and core.n_queued == 0:
        return
    for n in range(N_BLOCKS + 1):       # of the first block what lies ahead of the first row comes last
        block = (first // BLOCK_POOLS + n) % N_BLOCKS
        if core.pools[block] != NULL:
            for i in range(first % BLOCK_POOLS if n == 0 else 0, first % BLOCK_POOLS if n == N_BLOCKS else BLOCK_POOLS):
                if core.pools[block][i].columns != NULL:
                    tend_pool(core, &core.pools[block][i])


cdef void tend_called(Core *core, int64_t rows) noexcept nogil:
    cdef int block
    cdef int i
    if rows == 0:
        return
    for block in range(N_BLOCKS):
        if core.pools[block] != NULL:
            for i in range(BLOCK_POOLS):
                if rows >> (block * BLOCK_POOLS + i) % <int>N_ROW_BITS & 1 and core.pools[block][i].columns != NULL:
                    tend_pool(core, &core.pools[block][i])


cdef void free_pools(Core *core) noexcept nogil:
    cdef int block
    for block in range(N_BLOCKS):
        give(POOLS, core.pools[block])
        core.pools[block] = NULL
