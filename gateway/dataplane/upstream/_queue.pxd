"""Queue: exchanges that wait for a connection to an endpoint: in which order, at all workers together.

Must not know how a connection is made, nor what an exchange does with it.
"""
from gateway.dataplane._core cimport Core, Exchange, UpstreamPool
from routing_core._atomic cimport load_in_order

# Neither a pooled connection nor a place.
cdef bint is_full(const Core *core, const UpstreamPool *pool) noexcept nogil
# The first of those who wait is looked at again in this turn.
cdef void wake_first(Core *core, UpstreamPool *pool) noexcept nogil
# Who waits goes on: the first one here, or at another worker, which is called.
cdef inline void pass_on(Core *core, UpstreamPool *pool) noexcept nogil:
    if load_in_order(&pool.share.n_waiting):
        tell_next(core, pool)

cdef void tell_next(Core *core, UpstreamPool *pool) noexcept nogil
# Whether someone has waited longer at another worker.
cdef inline bint others_are_first(const Core *core, const UpstreamPool *pool) noexcept nogil:
    return load_in_order(&pool.share.n_waiting) > pool.n_waiting and is_behind_others(core, pool)

cdef bint is_behind_others(const Core *core, const UpstreamPool *pool) noexcept nogil
# Nobody has waited longer for the endpoint here, or at another worker that turns by so much longer as counts: a place there is
# theirs, also while they have not heard of it.
cdef bint is_first_at(const Core *core, const UpstreamPool *pool, const Exchange *exchange) noexcept nogil
# Where all places are taken: another worker gives up a connection that it does not use.
cdef void ask_for_idle(Core *core, UpstreamPool *pool) noexcept nogil
# Behind the entry into the line: a place that came free meanwhile told nobody there.
cdef void look_again(Core *core, UpstreamPool *pool) noexcept nogil
# False: as many wait as may, at all workers. is_busy: with all that it has; if not, what lies idle at other workers is waited for, which
# is no queue of the endpoint's.
cdef bint enqueue(Core *core, UpstreamPool *pool, Exchange *exchange, bint is_busy) noexcept nogil
cdef void dequeue(Core *core, Exchange *exchange) noexcept nogil
# It waits no more, and has not had its turn: what it was told of goes to who comes next.
cdef void leave_line(Core *core, Exchange *exchange) noexcept nogil
