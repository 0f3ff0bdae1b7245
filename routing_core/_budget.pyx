"""One debt a service, shared by all workers: requests write it only while something is owed, so its cache lines rest with everybody.

Two workers that begin a span in the same instant may forget each other's first retry in it.
"""
from routing_core._atomic cimport add_own, add_shared, is_replaced, load_relaxed, store_relaxed
from routing_core._figures cimport sum_levels

cdef enum:
    RETRY_MILLI = 1000


cdef void take_off(int64_t *place, int64_t most) noexcept nogil:
    """Never below 0."""
    cdef int64_t seen = load_relaxed(place)
    while seen > 0 and not is_replaced(place, seen, seen - min(seen, most)):
        seen = load_relaxed(place)


cdef void raise_to(int64_t *place, int64_t value) noexcept nogil:
    cdef int64_t seen = load_relaxed(place)
    while seen < value and not is_replaced(place, seen, value):
        seen = load_relaxed(place)


cdef void begin_span(ServiceDebt *debt, int64_t now_ms) noexcept nogil:
    """No more is owed than was granted in the spans that are kept: what is older is forgiven."""
    cdef int64_t span = now_ms // SPAN_MS
    cdef int64_t seen = load_relaxed(&debt.span)
    cdef int64_t kept = 0
    cdef int64_t i
    if span <= seen or not is_replaced(&debt.span, seen, span):
        return
    for i in range(min(span - seen, <int64_t>DEBT_SPANS)):
        store_relaxed(&debt.granted[(span - i) % DEBT_SPANS], 0)
    for i in range(DEBT_SPANS):
        kept += load_relaxed(&debt.granted[i])
    take_off(&debt.owed_milli, max(load_relaxed(&debt.owed_milli) - kept * RETRY_MILLI, 0))
    store_relaxed(&debt.peak_before, load_relaxed(&debt.peak) if span == seen + 1 else 0)
    store_relaxed(&debt.peak, 0)


cdef void enter(ServiceDebt *debt, ServiceColumn *own, const BudgetTerms *terms) noexcept nogil:
    add_own(&own.in_flight, 1)
    take_off(&debt.owed_milli, terms.share_milli)


cdef void leave(ServiceColumn *own) noexcept nogil:
    add_own(&own.in_flight, -1)


cdef bint spend(ServiceDebt *debt, const ServiceColumn *columns, const Crew *crew, const BudgetTerms *terms, int64_t now_ms) noexcept nogil:
    cdef int64_t most, owed
    begin_span(debt, now_ms)
    raise_to(&debt.peak, sum_levels(&columns.in_flight, sizeof(ServiceColumn) // sizeof(int64_t), crew))
    most = max(max(load_relaxed(&debt.peak), load_relaxed(&debt.peak_before)) * RETRY_MILLI, terms.floor_milli)
    owed = load_relaxed(&debt.owed_milli)
    while owed + RETRY_MILLI <= most:
        if is_replaced(&debt.owed_milli, owed, owed + RETRY_MILLI):
            add_shared(&debt.granted[load_relaxed(&debt.span) % DEBT_SPANS], 1)
            return True
        owed = load_relaxed(&debt.owed_milli)
    return False
