"""Budget: how many retries a service may make: a share of its requests, never under a floor (Linkerd: 20 %, 10 a second).

A worker keeps its own budget in its column of the service's row: the floor is split over the workers.
"""
from libc.stdint cimport int64_t

from routing_core._figures cimport ServiceColumn

cdef struct BudgetTerms:
    int64_t share_milli         # thousandths of a retry that a request earns: 200 is 20 %
    int64_t floor_milli_per_s   # this worker's part of the floor
    int64_t cap_milli           # most that can be saved up: 10 s of the floor

cdef void earn(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms) noexcept nogil
# True, and taken, when there is one.
cdef bint spend(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms) noexcept nogil
