"""The limit of connections is of the newest settings, as it is where a place is taken."""
from gateway.dataplane._core cimport *
from gateway.dataplane.shared._snapshot cimport has_closed
from routing_core._endpoints cimport AVAILABLE, NO_ENDPOINT_ADMITS, Availability, choose_endpoint, load_of
from routing_core._layout cimport Endpoint, Pool


cdef Availability choose(Core *core, const Exchange *exchange, const Pool *pool, Heed heed, const Endpoint **chosen) noexcept nogil:
    chosen[0] = NULL
    if has_closed(core.snapshot, exchange.snapshot, pool.pop):
        return NO_ENDPOINT_ADMITS
    return choose_endpoint(pool, core.number, core.crew, core.snapshot.settings.max_upstream, core.now_ms, &core.rng, exchange.tried,
                           exchange.n_tried, heed, chosen)


cdef bint may_look(Core *core, const Pool *pool, int32_t row) noexcept nogil:
    """Where a thousand lines are full each would look at a thousand endpoints, each tick: they take turns."""
    if core.looks_left <= 0:
        if core.looks_left == 0:
            core.looks_left = -1
            core.tended_from = row      # who is woken first is looked at first
        return False
    core.looks_left = max(core.looks_left - pool.n_endpoints * core.n_workers, 0)
    return True


cdef bint would_move(Core *core, Exchange *exchange) noexcept nogil:
    cdef const UpstreamPool *here = exchange.queue
    cdef const Pool *pool = exchange.pool
    cdef const Endpoint *there = NULL
    cdef Availability found
    if not may_look(core, pool, here.row):
        return False
    found = choose(core, exchange, pool, exchange.heed, &there)
    if there == NULL or there.row == here.row:
        return False
    # It counts here itself: where it would be as late there, nothing is gained.
    return found == AVAILABLE or (load_of(there.gate, there.columns, core.crew) + 1
                                  < load_of(here.gate, here.columns, core.crew))
