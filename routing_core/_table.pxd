"""Table: the immutable snapshot used to route. PoPs, services with their pools and endpoints, routes.

Built by control from a TableSpec, never changed after; one block of memory owned by one `Table`. Who publishes it
and frees it when workers have let go is the data plane's affair (gateway/dataplane/_snapshot).
Pointers inside point into the same block, or into rows of Figures (which outlive tables).
Must not know sockets, clocks or logging.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

from routing_core._figures cimport EndpointColumn, EndpointGate, PoolColumn, PoolGate, ServiceColumn
from routing_core._text cimport Text    # all texts of a table are owned by the table

cdef enum:
    MAX_POPS = 512              # scratch of a decision is sized by it
    ADDRESS_BYTES = 110         # sizeof(sockaddr_un)

cdef struct Address:            # a sockaddr, as connect() takes it
    unsigned char bytes[ADDRESS_BYTES]
    uint16_t length

cdef struct Pop:
    Text name
    double x                    # unit vector
    double y
    double z
    uint64_t salt               # of the name: a request's draw is hashed with it
    int32_t number              # index in the table's pops: the configured order
    bint is_drained             # the operator's word: takes no new request

cdef struct Endpoint:
    Text name                   # "192.0.2.1:8080", for logs and explain
    Address address
    int32_t row
    int32_t weight              # >= 1
    const EndpointGate *gate
    EndpointColumn *columns     # [n_workers]

cdef struct Pool:               # one service in one PoP
    const Pop *pop
    const Service *service
    int32_t row
    int32_t n_endpoints         # those that may be chosen: ready, or serving and terminating if none is ready
    int32_t total               # what availability counts: unready ones included, terminating ones not
    int32_t max_in_flight       # per endpoint, whole gateway; 0: no limit
    const Endpoint *endpoints
    const PoolGate *gate
    PoolColumn *columns         # [n_workers]

cdef struct Service:
    Text name
    int32_t number
    int32_t n_pools
    int32_t row
    const Pool *pools
    ServiceColumn *columns      # [n_workers]

cdef enum Leg:
    CLIENT_POP
    GATEWAY_POP

cdef struct Route:
    Text name
    int32_t number              # order in the configuration: the last tie-breaker
    Leg leg
    double window_ms
    const Service *service
    int32_t n_candidates
    const Pool **candidates     # [n_candidates]: pools of the service whose PoP the jurisdiction permits, in the configured order
    int32_t n_denied            # pools of the service that it does not permit, for explain
    const Pool **denied

cdef struct TableData:
    int64_t generation
    int32_t n_workers
    int32_t n_pops
    int32_t n_services
    int32_t n_routes
    const Pop *pops
    const Service *services
    const Route *routes
    double intercept_ms         # the prior: rtt_ms = intercept + slope * great-circle km
    double slope_ms_per_km
    bint has_gateway            # the gateway's own place is known
    double gateway_x            # unit vector
    double gateway_y
    double gateway_z
    const void *matcher         # of _routes: private to it

cdef class Table:
    cdef TableData *data            # owned; immutable
    cdef readonly object spec       # what it was built from (gateway/control shows it)
    cdef object figures             # keeps the rows' memory
