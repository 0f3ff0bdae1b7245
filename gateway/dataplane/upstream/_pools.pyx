"""Pools lie in blocks by endpoint row, made on demand; a row outlives the tables that name it."""
from libc.errno cimport EADDRNOTAVAIL, EAGAIN, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t
from posix.unistd cimport close

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._calls cimport N_ROW_BITS
from gateway.dataplane.shared._counters cimport UPSTREAM_OPENED, UPSTREAM_REUSED, count
from gateway.dataplane.shared._places cimport free_place, has_place, is_overfull, is_place_taken
from gateway.dataplane.transport._connection cimport bury, open_connection
from gateway.dataplane.transport._linux cimport *
from gateway.dataplane.transport._plain cimport PLAIN
from gateway.dataplane.transport._stream cimport set_deadline
from gateway.dataplane.transport._transport cimport end_with_reset, peek, unsent
from gateway.dataplane.upstream._choice cimport LOOKS_A_TICK
from gateway.dataplane.upstream._queue cimport others_are_first, pass_on, wake_first
from routing_core._atomic cimport add_own
from routing_core._figures cimport EndpointShare, is_answering, is_silent
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


# --- Places ---

cdef bint take_place(Core *core, UpstreamPool *pool) noexcept nogil:
    if is_place_taken(core, pool):
        return True
    if pool.idle == NULL:
        return False
    drop_idle(core, pool.idle)      # a fresh connection is wanted where only pooled ones are left: one of them goes
    return is_place_taken(core, pool)


cdef bint is_owed(const Core *core, const UpstreamPool *pool) noexcept nogil:
    """Whether a connection without exchange goes, for one that another worker is to make."""
    return others_are_first(core, pool) and not has_place(core, pool)


# --- Each tick ---

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
