"""A purse per worker: time and requests fill it, up to a cap; a retry takes one."""
from routing_core._atomic cimport load_relaxed, store_release

cdef enum:
    RETRY_MILLI = 1000


cdef void fill(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms, int64_t earned_milli) noexcept nogil:
    cdef int64_t at_ms = load_relaxed(&own.budget_at_ms)
    cdef int64_t purse = load_relaxed(&own.budget_milli) + earned_milli
    cdef int64_t gained
    # A purse that was never used starts full: its last time is 0.
    if now_ms > at_ms and terms.floor_milli_per_s > 0:
        if now_ms - at_ms >= terms.cap_milli * 1000 // terms.floor_milli_per_s:
            gained = terms.cap_milli
            at_ms = now_ms
        else:
            gained = (now_ms - at_ms) * terms.floor_milli_per_s // 1000
            # Only the time that was paid for: a small floor must not lose its fractions to frequent calls.
            at_ms += gained * 1000 // terms.floor_milli_per_s
        purse += gained
    # Anyone may read the column.
    store_release(&own.budget_milli, min(purse, terms.cap_milli))
    store_release(&own.budget_at_ms, at_ms)


cdef void earn(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms) noexcept nogil:
    fill(own, terms, now_ms, terms.share_milli)


cdef bint spend(ServiceColumn *own, const BudgetTerms *terms, int64_t now_ms) noexcept nogil:
    fill(own, terms, now_ms, 0)
    if load_relaxed(&own.budget_milli) < RETRY_MILLI:
        return False
    store_release(&own.budget_milli, load_relaxed(&own.budget_milli) - RETRY_MILLI)
    return True
