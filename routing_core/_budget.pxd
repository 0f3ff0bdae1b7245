"""Budget: how many retries a service may make, in the whole gateway, so that an outage is not multiplied.

A retry is owed; a share of every request pays it back, and what is still owed after a minute is forgiven. No more is owed than was in
flight when retries were asked for, so that those whom a death hits are all tried again: in any minute there are at most share * requests +
the peak in flight. A floor, so many a second, stands in for the peak where little is in flight.
"""
from libc.stdint cimport int64_t

from routing_core._figures cimport DEBT_SPANS, Crew, ServiceColumn, ServiceDebt

cdef enum:
    SPAN_MS = 10000
    FORGIVEN_S = DEBT_SPANS * SPAN_MS // 1000   # a minute, and the span that is under way

cdef struct BudgetTerms:
    int64_t share_milli         # thousandths of a retry that a request pays: 200 is 20 %
    int64_t floor_milli         # that may be owed whatever is in flight: the floor of FORGIVEN_S

# A request begins, and ends, in a worker's own column.
cdef void enter(ServiceDebt *debt, ServiceColumn *own, const BudgetTerms *terms) noexcept nogil
cdef void leave(ServiceColumn *own) noexcept nogil
# True, and owed, when there is room for one more retry.
cdef bint spend(ServiceDebt *debt, const ServiceColumn *columns, const Crew *crew, const BudgetTerms *terms, int64_t now_ms) noexcept nogil
