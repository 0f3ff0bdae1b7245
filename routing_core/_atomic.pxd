"""Atomics: the interface of the C header. Reasons stand in atomic.h."""
from libc.stdint cimport int64_t

cdef extern from "atomic.h" nogil:
    int64_t load_relaxed(const int64_t *place) noexcept
    void store_relaxed(int64_t *place, int64_t value) noexcept
    void add_own(int64_t *place, int64_t by) noexcept
    void add_shared(int64_t *place, int64_t by) noexcept
    bint is_replaced(int64_t *place, int64_t seen, int64_t value) noexcept
    int64_t load_in_order(const int64_t *place) noexcept
    void store_in_order(int64_t *place, int64_t value) noexcept
    void set_bits(int64_t *place, int64_t bits) noexcept
    void clear_bits(int64_t *place, int64_t bits) noexcept
    int64_t load_acquire(const int64_t *place) noexcept
    void store_release(int64_t *place, int64_t value) noexcept
    void *load_pointer(void **place) noexcept
    void store_pointer(void **place, void *value) noexcept
