/* What Cython can't say. Each line has its reason. */
#ifndef ROUTING_CORE_ATOMIC_H
#define ROUTING_CORE_ATOMIC_H
#include <stdint.h>

/* Cython has no atomics on C integers. Relaxed: the value alone matters, nothing is published by it. */
static inline int64_t load_relaxed(const int64_t *place) { return __atomic_load_n(place, __ATOMIC_RELAXED); }
static inline void store_relaxed(int64_t *place, int64_t value) { __atomic_store_n(place, value, __ATOMIC_RELAXED); }
/* One writer: load and store, no locked instruction. Readers may be anyone. */
static inline void add_own(int64_t *place, int64_t by) {
    __atomic_store_n(place, __atomic_load_n(place, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}
/* Many writers: a locked add. Off the hot path only. In order, as all that is locked here: see load_in_order. */
static inline void add_shared(int64_t *place, int64_t by) { __atomic_fetch_add(place, by, __ATOMIC_SEQ_CST); }
/* Many writers, and what is written depends on what was read: in a loop, until nobody came between. Off the hot path only. */
static inline int is_replaced(int64_t *place, int64_t seen, int64_t value) {
    return __atomic_compare_exchange_n(place, &seen, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}
/* Each of two threads writes a cell and then reads the other's: one of them at least sees what the other wrote. */
static inline int64_t load_in_order(const int64_t *place) { return __atomic_load_n(place, __ATOMIC_SEQ_CST); }
static inline void store_in_order(int64_t *place, int64_t value) { __atomic_store_n(place, value, __ATOMIC_SEQ_CST); }
/* Many writers, a bit each: a locked instruction. Off the hot path only. */
static inline void set_bits(int64_t *place, int64_t bits) { __atomic_fetch_or(place, bits, __ATOMIC_RELAXED); }
static inline void clear_bits(int64_t *place, int64_t bits) { __atomic_fetch_and(place, ~bits, __ATOMIC_RELAXED); }
/* Acquire and release: what was written before the store is seen after the load. */
static inline int64_t load_acquire(const int64_t *place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }
static inline void store_release(int64_t *place, int64_t value) { __atomic_store_n(place, value, __ATOMIC_RELEASE); }
/* __atomic_load_n is typed by its pointer; Cython would need one declaration per struct. */
static inline void *load_pointer(void *const *place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }
static inline void store_pointer(void **place, void *value) { __atomic_store_n(place, value, __ATOMIC_RELEASE); }
#endif
