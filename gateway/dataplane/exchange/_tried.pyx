"""A bit says of each row how it was tried: both move with it."""
from libc.stdint cimport uint32_t

from gateway.dataplane._core cimport *
from routing_core._layout cimport Endpoint, Pool, Route, Service


cdef void note_tried(Exchange *exchange, int32_t row, Came came) noexcept nogil:
    exchange.refused |= <uint32_t>(came == CAME_REFUSED) << exchange.n_tried
    exchange.passed_by |= <uint32_t>(came == CAME_BY) << exchange.n_tried
    exchange.tried[exchange.n_tried] = row
    exchange.n_tried += 1


cdef uint32_t moved(uint32_t bits, int32_t last, int32_t i) noexcept nogil:
    """The last one's bit is the i-th's, and there is no last one any more."""
    bits = (bits & ~(<uint32_t>1 << i)) | ((bits >> last & 1) << i)
    return bits & ((<uint32_t>1 << last) - 1)


cdef void forget(Exchange *exchange, int32_t i) noexcept nogil:
    cdef int32_t last = exchange.n_tried - 1
    exchange.tried[i] = exchange.tried[last]
    exchange.refused = moved(exchange.refused, last, i)
    exchange.passed_by = moved(exchange.passed_by, last, i)
    exchange.n_tried = last


cdef const Endpoint *find_endpoint(const Route *route, int32_t row) noexcept nogil:
    cdef const Service *service
    cdef const Pool *pool
    cdef int32_t i, k, n
    for i in range(route.n_targets):
        service = route.targets[i].service
        for k in range(service.n_pools):
            pool = &service.pools[k]
            for n in range(pool.n_endpoints):
                if pool.endpoints[n].row == row:
                    return &pool.endpoints[n]
    return NULL


cdef void forget_gone(Exchange *exchange) noexcept nogil:
    cdef int32_t i
    for i in range(exchange.n_tried - 1, -1, -1):
        if find_endpoint(exchange.route, exchange.tried[i]) == NULL:
            forget(exchange, i)
