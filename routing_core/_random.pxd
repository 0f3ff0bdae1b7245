"""Random: xorshift64*, one state per worker, never shared. Randomness is an argument everywhere."""
from libc.stdint cimport uint64_t

cdef struct Random:
    uint64_t state      # never 0

cdef inline uint64_t next_u64(Random *rng) noexcept nogil:
    # Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016).
    rng.state ^= rng.state >> 12
    rng.state ^= rng.state << 25
    rng.state ^= rng.state >> 27
    return rng.state * <uint64_t>2685821657736338717u

# In [0, 1).
cdef inline double next_double(Random *rng) noexcept nogil:
    return <double>(next_u64(rng) >> 11) * (1.0 / 9007199254740992.0)

# Spreads a seed, 0 included, over the state.
cdef inline void seed(Random *rng, uint64_t value) noexcept nogil:
    value = (value + <uint64_t>0x9E3779B97F4A7C15u) * <uint64_t>0xBF58476D1CE4E5B9u
    rng.state = (value ^ (value >> 31)) | 1

# A hash of 64 bits: each bit of the value moves half of the result's.
cdef inline uint64_t mixed(uint64_t value) noexcept nogil:
    value *= <uint64_t>0xBF58476D1CE4E5B9u
    value = (value ^ (value >> 31)) * <uint64_t>0x94D049BB133111EBu
    return value ^ (value >> 29)
