"""Endpoints: which endpoint of a pool. Peak-EWMA power-of-two-choices over those available (admitting, below the limit).

Linkerd's and Finagle's peak EWMA: cost = latency * (in flight + 1), rises at once, decays with tau.
"""
from libc.stdint cimport int32_t, int64_t

from routing_core._figures cimport Crew, EndpointColumn, EndpointGate
from routing_core._layout cimport Endpoint, Pool
from routing_core._random cimport Random

cdef enum:
    DECAY_MS = 10000            # tau of the peak EWMA (Linkerd's default)
    MAX_TRIED = 24              # rows that one request passes by: of six PoPs that refuse, as many as it asks in each, and some more

cdef enum Availability:
    AVAILABLE
    FULL                        # all that admit are at a limit, of requests or of connections: queue, or go elsewhere
    NO_ENDPOINT_ADMITS          # nothing in this pool can be used

# What of gates counts. In a panic who answers comes before who refused, in all of the pools that a request may try.
cdef enum Heed:
    ADMITTING_ONLY
    ANSWERING_ONLY              # probes and outliers are ignored
    ANSWERING_FIRST             # then whoever there is

# *chosen is NULL unless AVAILABLE or FULL (then the one with the least in flight, to queue at).
# tried: rows not to pick again. max_open: connections to one endpoint that may have a request, of all workers.
cdef Availability choose_endpoint(const Pool *pool, int worker, const Crew *crew, int64_t max_open, int64_t now_ms, Random *rng,
                                  const int32_t *tried, int n_tried, Heed heed, const Endpoint **chosen) noexcept nogil
# Whether it has all the requests that its pool lets it have.
cdef bint is_at_limit(const Pool *pool, const Endpoint *endpoint, const Crew *crew) noexcept nogil

# Who has an endpoint, and who waits in its queue for it: both are before a request that comes now. A tunnel is not: most are idle mostly.
cdef int64_t load_of(const EndpointGate *gate, const EndpointColumn *columns, const Crew *crew) noexcept nogil

# Feeds one time to first byte into a worker's own column.
cdef void observe_latency(EndpointColumn *own, int64_t us, int64_t now_ms) noexcept nogil
