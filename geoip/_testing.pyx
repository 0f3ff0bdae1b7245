"""For tests and benchmarks only: what the data plane calls, callable from Python, and loops of it without Python in between.

Addresses are blocks of 16 bytes each, IPv4 as ::ffff:a.b.c.d (see _locator.packed_address).
"""
cimport cython
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset

from geoip._cache cimport Cache, close_cache, locate_cached, open_cache
from geoip._data cimport Data, Read, Record, read_record
from geoip._locator cimport N_LOOKUPS, Locator, LocatorData, Lookup, locate, locate_network
from geoip._ranges cimport Range, Ranges, find_place
from geoip._reader cimport Database, look_up
from geoip._tree cimport Tree, TreeFault, check_tree, find_record, set_v4_start
from routing_core._location cimport Location

RESULTS = ("found", "overridden", "not found", "broken")
READS = ("found", "absent", "broken")


cdef text_of(int code):
    return chr(code >> 8) + chr(code & 0xff) if code else None


cdef tuple fields_of(Lookup result, const Location *location):
    return (
        RESULTS[<int>result], location.x, location.y, location.z, location.lat, location.lon, location.accuracy_km, location.asn,
        text_of(location.country), text_of(location.continent), location.source, location.pin)


cdef bint is_equal(const Location *one, const Location *other) noexcept nogil:
    # Field by field: a struct's padding may differ.
    return (one.x == other.x and one.y == other.y and one.z == other.z and one.lat == other.lat and one.lon == other.lon
            and one.accuracy_km == other.accuracy_km and one.asn == other.asn and one.country == other.country
            and one.continent == other.continent and one.source == other.source and one.pin == other.pin)


cdef const unsigned char *one_address(bytes address) except NULL:
    if len(address) != 16:
        raise ValueError("an address has 16 bytes")
    return address


cdef dict dict_of(const Record *record):
    fields = {"asn": record.asn, "country": text_of(record.country), "continent": text_of(record.continent)}
    if record.has_place:
        fields.update(lat=record.lat, lon=record.lon, accuracy_km=record.accuracy_km)
    return {key: value for key, value in fields.items() if value or key in ("lat", "lon")}


def decode(bytes data not None, uint64_t offset=0) -> tuple:
    """(one of READS, what is not zero) of the record at an offset of a data section."""
    cdef Data section
    cdef Record record
    section.bytes = data
    section.size = len(data)
    cdef Read found = read_record(&section, offset, &record)
    return READS[<int>found], dict_of(&record)


def walk(bytes nodes not None, int record_bits, int address_bits, uint64_t data_size, bytes address not None) -> tuple:
    """(one of READS, offset, bits that decided) in a search tree; the fault (node, value) when the tree is not whole."""
    cdef Tree tree
    cdef TreeFault fault
    cdef uint64_t offset = 0, n_records = 0
    cdef int bits = -1
    tree.nodes = nodes
    tree.n_nodes = len(nodes) * 4 // record_bits
    tree.record_bits = record_bits
    tree.address_bits = address_bits
    tree.data_size = data_size
    if not check_tree(&tree, &fault, &n_records):
        return fault.node, fault.value
    set_v4_start(&tree)
    cdef Read found = find_record(&tree, one_address(address), &offset, &bits)
    return READS[<int>found], offset, bits


def place_of(list ranges not None, bytes address not None) -> tuple:
    """(place, bits that decided) among what ranges.disjoint() gave."""
    cdef Ranges mine
    starts = b"".join((start >> 64).to_bytes(8, "little") + (start & 0xffffffffffffffff).to_bytes(8, "little") for start, _ in ranges)
    places = b"".join(place.to_bytes(4, "little", signed=True) for _, place in ranges)
    mine.ranges = <const Range *><const unsigned char *>starts
    mine.places = <const int32_t *><const unsigned char *>places
    mine.n = len(ranges)
    in_order = [start for start, _ in ranges]
    mine.v4_first = in_order.index(0xffff << 32)
    mine.v4_end = in_order.index(0x10000 << 32)
    cdef int bits = -1
    place = find_place(&mine, one_address(address), &bits)
    return place, bits


def read(Database database not None, bytes address not None) -> tuple:
    """(one of READS, record as a dict of what is not zero, bits that decided)."""
    cdef Record record
    cdef int bits = -1
    cdef Read found = look_up(&database.reader, one_address(address), &record, &bits)
    return READS[<int>found], dict_of(&record), bits


def locate_one(Locator locator not None, bytes address not None) -> tuple:
    """(result, the fields of Location in their order, bits that decided)."""
    cdef Location location
    cdef int bits = -1
    cdef Lookup result = locate_network(locator.data, one_address(address), &location, &bits)
    return fields_of(result, &location), bits


def locate_all(Locator locator not None, bytes addresses not None, int rounds=1) -> list:
    """Locates a block of addresses without the GIL, uncached; returns how often each of RESULTS came."""
    cdef const unsigned char *block = addresses
    cdef int n = len(addresses) // 16
    cdef const LocatorData *data = locator.data
    cdef Location location
    cdef long[<int>N_LOOKUPS] counts
    cdef int i, _turn
    memset(counts, 0, sizeof(counts))
    with nogil:
        for _turn in range(rounds):
            for i in range(n):
                counts[<int>locate(data, block + 16 * i, &location)] += 1
    return [counts[i] for i in range(<int>N_LOOKUPS)]


@cython.final
cdef class CacheHandle:
    """A worker's cache. MemoryError when there is none."""
    cdef Cache *cache       # owned

    def __cinit__(self):
        self.cache = open_cache()
        if self.cache == NULL:
            raise MemoryError

    def __dealloc__(self):
        close_cache(self.cache)

    def locate_one(self, Locator locator not None, bytes address not None) -> tuple:
        """(result, the fields of Location in their order)."""
        cdef Location location
        cdef Lookup result = locate_cached(self.cache, locator.data, one_address(address), &location)
        return fields_of(result, &location)

    def locate_all(self, Locator locator not None, bytes addresses not None, int rounds=1) -> list:
        """As the function of this name, through the cache."""
        cdef const unsigned char *block = addresses
        cdef int n = len(addresses) // 16
        cdef const LocatorData *data = locator.data
        cdef Location location
        cdef long[<int>N_LOOKUPS] counts
        cdef int i, _turn
        memset(counts, 0, sizeof(counts))
        with nogil:
            for _turn in range(rounds):
                for i in range(n):
                    counts[<int>locate_cached(self.cache, data, block + 16 * i, &location)] += 1
        return [counts[i] for i in range(<int>N_LOOKUPS)]

    def differences(self, Locator locator not None, bytes addresses not None) -> int:
        """How many addresses of a block the cache answers otherwise than the locator: any but 0 is a fault."""
        cdef const unsigned char *block = addresses
        cdef int n = len(addresses) // 16
        cdef const LocatorData *data = locator.data
        cdef Location cached, plain
        cdef Lookup result
        cdef int i, found = 0
        with nogil:
            for i in range(n):
                result = locate_cached(self.cache, data, block + 16 * i, &cached)
                if result != locate(data, block + 16 * i, &plain) or not is_equal(&cached, &plain):
                    found += 1
        return found
