"""Pools lie in blocks by endpoint row, made on demand; a row outlives the tables that name it."""
from libc.errno cimport EADDRNOTAVAIL, EAGAIN, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int32_t
from posix.unistd cimport close

from gateway.dataplane._connection cimport bury, open_connection, resume_later, set_deadline
from gateway.dataplane._core cimport *
from gateway.dataplane._counters cimport UPSTREAM_OPENED, UPSTREAM_REUSED, count
from gateway.dataplane._linux cimport *
from routing_core._atomic cimport add_own
from routing_core._figures cimport is_admitting, is_silent
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
    block.gate = endpoint.gate
    block.columns = endpoint.columns
    return block


cdef void take_out(Connection *upstream) noexcept nogil:
    """From anywhere among the idle: a pool that dies ends in any order."""
    if upstream.previous != NULL:
        upstream.previous.next = upstream.next
    else:
        upstream.pool.idle = upstream.next
    if upstream.next != NULL:
        upstream.next.previous = upstream.previous
    upstream.next = upstream.previous = NULL
    upstream.pool.n_idle -= 1


cdef void begin_use(Connection *upstream) noexcept nogil:
    """At the ring's end: who has been told longest ago is the first."""
    cdef Connection *first = upstream.pool.used
    if first == NULL:
        upstream.pool.used = upstream.older = upstream.newer = upstream
        return
    upstream.newer = first
    upstream.older = first.older
    first.older.newer = upstream
    first.older = upstream


cdef void end_use(Connection *upstream) noexcept nogil:
    if upstream.newer == NULL:
        return
    if upstream.pool.used == upstream:
        upstream.pool.used = upstream.newer if upstream.newer != upstream else NULL
    upstream.older.newer = upstream.newer
    upstream.newer.older = upstream.older
    upstream.older = upstream.newer = NULL


cdef Connection *borrow(Core *core, UpstreamPool *pool, bint careful) noexcept nogil:
    cdef Connection *upstream
    cdef char byte = 0
    cdef bint looks = careful or core.is_crowded
    while pool.idle != NULL:
        upstream = pool.idle
        # A peer that closes, or speaks unasked, just now is seen by its socket before epoll tells.
        if looks and (recv(upstream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 or errno != EAGAIN):
            drop_upstream(core, upstream)
            continue
        take_out(upstream)
        begin_use(upstream)
        upstream.state = SERVING_UPSTREAM
        upstream.is_reused = True
        upstream.lent_in = 0 if looks else core.told
        count(core.column, UPSTREAM_REUSED)
        return upstream
    return NULL


cdef Connection *reach(Core *core, UpstreamPool *pool, const Endpoint *endpoint, Lack *lack) noexcept nogil:
    cdef const sockaddr *address = <const sockaddr *>endpoint.address.bytes
    cdef int one = 1
    cdef bint is_there
    cdef Connection *upstream
    cdef int fd = socket(address.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            lack[0] = LACKS_OWN
        return NULL
    if fd >= core.upstream_limit:       # the rest is for those who look after the gateway
        lack[0] = LACKS_OWN
        close(fd)
        return NULL
    if address.sa_family != AF_UNIX:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    is_there = connect(fd, address, endpoint.address.length) == 0
    if not is_there and errno != EINPROGRESS:
        if errno == EADDRNOTAVAIL:      # no port is left
            lack[0] = LACKS_OWN
        elif errno == EAGAIN:
            lack[0] = LACKS_ROOM
        close(fd)
        return NULL
    upstream = open_connection(core, fd, SERVING_UPSTREAM if is_there else CONNECTING)
    if upstream == NULL:
        lack[0] = LACKS_OWN
        return NULL
    upstream.is_writable = is_there
    upstream.opened_us = core.now_us
    adopt(core, pool, upstream)
    begin_use(upstream)
    count(core.column, UPSTREAM_OPENED)
    return upstream


cdef void adopt(Core *core, UpstreamPool *pool, Connection *upstream) noexcept nogil:
    upstream.pool = pool
    pool.n_open += 1
    core.n_upstream += 1
    add_own(&pool.columns[core.number].connections, 1)


cdef void put_back(Core *core, Connection *upstream) noexcept nogil:
    cdef UpstreamPool *pool = upstream.pool
    cdef char byte = 0
    upstream.exchange = NULL
    # Full reads leave the flag set: only the socket knows.
    if upstream.is_readable and not upstream.is_ending:
        upstream.is_readable = recv(upstream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 or errno != EAGAIN
    if upstream.is_ending or upstream.is_readable or not is_admitting(pool.gate, pool.columns, core.n_workers):
        drop_upstream(core, upstream)
        return
    end_use(upstream)
    upstream.state = POOLED
    upstream.next = pool.idle
    if pool.idle != NULL:
        pool.idle.previous = upstream
    pool.idle = upstream
    pool.n_idle += 1
    set_deadline(core, upstream, core.snapshot.settings.upstream_idle_ms)
    wake_first(core, pool)


cdef void drop_upstream(Core *core, Connection *upstream) noexcept nogil:
    cdef UpstreamPool *pool = upstream.pool
    if upstream.state == POOLED:
        take_out(upstream)
    end_use(upstream)
    if not upstream.is_apart:
        pool.n_open -= 1
    core.n_upstream -= 1
    add_own(&pool.columns[core.number].connections, -1)
    bury(core, upstream)
    wake_first(core, pool)


cdef void set_apart(Core *core, Connection *upstream) noexcept nogil:
    end_use(upstream)
    upstream.is_apart = True
    upstream.pool.n_open -= 1
    wake_first(core, upstream.pool)


cdef void wake_first(Core *core, UpstreamPool *pool) noexcept nogil:
    if pool.first_waiting != NULL:
        resume_later(core, pool.first_waiting.downstream)


cdef void enqueue(Core *core, UpstreamPool *pool, Exchange *exchange) noexcept nogil:
    exchange.queue = pool
    exchange.next = NULL
    if pool.first_waiting == NULL:
        pool.first_waiting = pool.last_waiting = exchange
    elif exchange.is_its_turn:
        exchange.next = pool.first_waiting
        pool.first_waiting = exchange
    else:
        pool.last_waiting.next = exchange
        pool.last_waiting = exchange
    pool.n_waiting += 1
    core.n_queued += 1


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
    exchange.queue = NULL
    exchange.next = NULL


cdef void tend_pool(Core *core, UpstreamPool *pool) noexcept nogil:
    if pool.idle != NULL and not is_admitting(pool.gate, pool.columns, core.n_workers):
        while pool.idle != NULL:
            drop_upstream(core, pool.idle)
    wake_first(core, pool)
    if pool.used != NULL and pool.n_in_vain == 0 and is_silent(pool.gate):
        pool.n_in_vain = pool.n_open - pool.n_idle
        pool.next_silent = core.silent
        core.silent = pool


cdef Connection *next_in_vain(Core *core) noexcept nogil:
    cdef UpstreamPool *pool
    cdef Connection *upstream
    while core.silent != NULL:
        pool = core.silent
        if pool.n_in_vain > 0 and pool.used != NULL and is_silent(pool.gate):
            pool.n_in_vain -= 1
            upstream = pool.used
            pool.used = upstream.newer
            return upstream
        pool.n_in_vain = 0
        core.silent = pool.next_silent
    return NULL


cdef bint has_room(Core *core, const Endpoint *endpoint) noexcept nogil:
    cdef UpstreamPool *pool = pool_of(core, endpoint)
    return (pool != NULL and pool.first_waiting == NULL
            and (pool.idle != NULL or pool.n_open < core.snapshot.settings.max_upstream))


cdef void tend_pools(Core *core) noexcept nogil:
    cdef int block
    cdef int i
    if core.n_upstream == 0 and core.n_queued == 0:
        return
    for block in range(N_BLOCKS):
        if core.pools[block] != NULL:
            for i in range(BLOCK_POOLS):
                if core.pools[block][i].columns != NULL:
                    tend_pool(core, &core.pools[block][i])


cdef void free_pools(Core *core) noexcept nogil:
    cdef int block
    for block in range(N_BLOCKS):
        give(POOLS, core.pools[block])
        core.pools[block] = NULL
