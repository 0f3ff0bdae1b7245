"""Rendezvous: which PoP of a window keeps the clients of a key. Highest random weight, with bounded loads.

Each PoP draws by the key, and the highest draw wins: who comes or goes moves its own clients only (Thaler and Ravishankar, 1998). One
that has more than its share of what is in flight, by a quarter and two an endpoint, is left out (Mirrokni et al., "Consistent Hashing with
Bounded Loads", 2016).
"""
from libc.stdint cimport int32_t, uint64_t

from routing_core._decision cimport Weighed

# Index of a candidate; the window has at least one. Each has its part by endpoints * weight.
cdef int32_t find_rendezvous(const Weighed *weighed, uint64_t key) noexcept nogil
