"""Endpoints: which endpoint of a pool. Peak-EWMA power-of-two-choices over those available (admitting, below the limit).

Linkerd's and Finagle's peak EWMA: cost = latency * (in flight + 1), rises at once, decays with tau.
"""
from libc.stdint cimport int32_t, int64_t

from routing_core._figures cimport EndpointColumn
from routing_core._random cimport Random
from routing_core._table cimport Endpoint, Pool

cdef enum:
    DECAY_MS = 10000            # tau of the peak EWMA (Linkerd's default)
    MAX_TRIED = 4

cdef enum Availability:
    AVAILABLE
    FULL                        # all that admit are at their limit: queue, or go elsewhere
    NO_ENDPOINT_ADMITS          # nothing in this pool can be used

# What of gates counts. In a panic who answers comes before who refused, in all of the pools that a request may try.
cdef enum Heed:
    ADMITTING_ONLY
    ANSWERING_ONLY              # probes and outliers are ignored
    ANSWERING_FIRST             # then whoever there is

# *chosen is NULL unless AVAILABLE or FULL (then the one with the least in flight, to queue at).
# tried: rows not to pick again.
cdef Availability choose_endpoint(const Pool *pool, int worker, int n_workers, int64_t now_ms, Random *rng,
                                  const int32_t *tried, int n_tried, Heed heed, const Endpoint **chosen) noexcept nogil
# Feeds one time to first byte into a worker's own column.
cdef void observe_latency(EndpointColumn *own, int64_t us, int64_t now_ms) noexcept nogil
