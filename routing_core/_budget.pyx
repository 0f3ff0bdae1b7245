"""A purse per worker: time and requests fill it, up to a cap; a retry takes one."""
from routing_core._atomic cimport load_relaxed, store_release

cdef enum:
    RETRY_MILLI = 1000
    LONG_MS = 3600000           # more than any cap is worth; keeps the product far from its limits


cdef void fill(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms, int64_t earned_milli) noexcept nogil:
    cdef int64_t waited_ms = now_ms - load_relaxed(&own.budget_at_ms)
    cdef int64_t purse = load_relaxed(&own.budget_milli) + earned_milli
    cdef int64_t gained
    # A purse that was never used starts full: its last time is 0.
    if waited_ms > 0:
        gained = min(waited_ms, LONG_MS) * terms.floor_milli_per_s + load_relaxed(&own.budget_rest)
        purse += gained // 1000
        store_release(&own.budget_rest, gained % 1000)
        store_release(&own.budget_at_ms, now_ms)
    # Anyone may read the column.
    store_release(&own.budget_milli, min(purse, terms.cap_milli))


cdef void earn(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms) noexcept nogil:
    fill(own, terms, now_ms, terms.share_milli)


cdef bint spend(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms) noexcept nogil:
    fill(own, terms, now_ms, 0)
    if load_relaxed(&own.budget_milli) < RETRY_MILLI:
        return False
    store_release(&own.budget_milli, load_relaxed(&own.budget_milli) - RETRY_MILLI)
    return True
