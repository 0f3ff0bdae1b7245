"""16,384 networks in sets of four, found by a hash of the /24 (IPv4) or /48.

Which prefix is safe to share? The one the locator names: all its databases and overrides tell how many leading bits decided,
and the longest of them counts. Where that is at most a /24 or /48, one entry serves the whole /24 or /48; where it is longer (a
/29 of an office, an override for one host) the entry holds the longer network, and several of them share the set. So a hit is
exactly what a miss would give, and addresses of one client network share an entry as far as that is true.

A new locator costs nothing at once: each set knows the serial number of the locator that filled it, and is empty to any other.
(By its address in memory a locator could not be told from a freed one.) A set that someone fills on purpose costs misses, under
2 us each, and no one else more than that; so the hash is no secret.
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from geoip._locator cimport locate_network, serial_of
from geoip._tree cimport V4_BITS, is_v4, word
from routing_core._memory cimport DATABASE, give, take

cdef enum:
    N_SETS_BITS = 12
    WAYS = 4
    V4_SHARED_BITS = 24     # what the hash is of: no entry is shared more widely
    V6_SHARED_BITS = 48

cdef struct Entry:          # 16 bytes of key apart from the location: a set's keys are one cache line
    uint64_t high
    uint64_t low

cdef struct Set:
    Entry entries[WAYS]
    uint64_t serial         # of the locator whose answers these are
    uint8_t bits[WAYS]      # how many of the key's leading bits count; 0: free
    uint8_t results[WAYS]
    uint64_t oldest         # the way that is used next
    Location locations[WAYS]

cdef struct Cache:
    Set sets[4096]          # 1 << N_SETS_BITS


cdef Cache *open_cache() noexcept nogil:
    return <Cache *>take(DATABASE, sizeof(Cache))


cdef void close_cache(Cache *cache) noexcept nogil:
    give(DATABASE, cache)


cdef inline bint is_same(const Entry *entry, int bits, uint64_t high, uint64_t low) noexcept nogil:
    # bits: 48 to 128.
    if bits <= 64:
        return (entry.high ^ high) >> (64 - bits) == 0
    return entry.high == high and (entry.low ^ low) >> (128 - bits) == 0


cdef Lookup keep(Set *mine, const LocatorData *data, const unsigned char *address, int least, Location *out) noexcept nogil:
    cdef int bits = 0
    cdef int way
    cdef Lookup result = locate_network(data, address, out, &bits)
    if mine.serial != serial_of(data):
        memset(mine.bits, 0, sizeof(mine.bits))
        mine.serial = serial_of(data)
    way = <int>mine.oldest
    mine.oldest = (mine.oldest + 1) % WAYS
    mine.entries[way].high = word(address)
    mine.entries[way].low = word(address + 8)
    mine.bits[way] = <uint8_t>max(bits, least)
    mine.results[way] = <uint8_t>result
    mine.locations[way] = out[0]
    return result


cdef Lookup locate_cached(Cache *cache, const LocatorData *data, const unsigned char *address, Location *out) noexcept nogil:
    cdef uint64_t high = word(address)
    cdef uint64_t low = word(address + 8)
    cdef bint is_mapped = is_v4(address)
    cdef uint64_t key = low >> (32 - V4_SHARED_BITS) if is_mapped else high >> (64 - V6_SHARED_BITS)
    cdef Set *mine = &cache.sets[key * 11400714819323198485u >> (64 - N_SETS_BITS)]      # 2^64 / golden ratio
    cdef int way
    if mine.serial == serial_of(data):
        for way in range(WAYS):
            if mine.bits[way] and is_same(&mine.entries[way], mine.bits[way], high, low):
                out[0] = mine.locations[way]
                return <Lookup>mine.results[way]
    return keep(mine, data, address, V4_BITS + V4_SHARED_BITS if is_mapped else V6_SHARED_BITS, out)
