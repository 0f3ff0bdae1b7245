"""One block holds all but the databases' content: header, readers, places, ranges and AS numbers of overrides, the table of countries.

Owns precedence: override by prefix, then the databases in order, of which the first that can place the address wins; a record with
a country but no coordinates is placed at the middle of the country, with an accuracy that says so. An override by AS or by country
then moves the place: both need to know first what the databases say. So does one by prefix that names no country: which law a client is
under is not forgotten because its place is known better.
"""
cimport cython
from libc.math cimport M_PI, cos, sin
from libc.stdint cimport int32_t, uint16_t, uint32_t
from libc.string cimport memset

from geoip._data cimport READ_BROKEN, READ_FOUND, Read, Record
from geoip._ranges cimport Range, Ranges, find_place
from geoip._reader cimport Database, Reader, look_up
from routing_core._location cimport DATABASE as FROM_DATABASE
from routing_core._location cimport OVERRIDE as FROM_OVERRIDE
from routing_core._memory cimport DATABASE as DATABASE_MEMORY
from routing_core._memory cimport give, take

from ipaddress import ip_address
from typing import NamedTuple

# Private names: the stub says what this module offers.
from geoip.countries import COUNTRIES as _COUNTRIES
from geoip.overrides import plan as _plan
from geoip.ranges import MAPPED as _MAPPED

cdef enum:
    LETTERS = 26
    N_COUNTRIES = 676       # LETTERS * LETTERS: a table by the two letters of a code

cdef struct Country:        # continent 0: no such country
    uint16_t continent
    float lat
    float lon
    float radius_km
    const Location *override    # in places; NULL: none

cdef struct AsnOverride:
    uint32_t asn
    const Location *place

cdef struct LocatorData:
    uint64_t serial
    int n_cities
    int n_asns
    const Reader *readers   # [n_cities + n_asns], in this block, as all below
    const Location *places  # what ranges.places index; one without a source is a pin alone
    Ranges ranges
    int n_asn_overrides
    const AsnOverride *asn_overrides    # ascending
    Country countries[N_COUNTRIES]


cdef inline int country_index(uint16_t code) noexcept nogil:
    # Codes are two letters A-Z, made so by the decoder.
    return ((code >> 8) - c'A') * LETTERS + (code & 0xff) - c'A'


cdef void set_place(Location *out, double lat, double lon, double accuracy_km) noexcept nogil:
    cdef double across = cos(lat * (M_PI / 180))
    out.x = across * cos(lon * (M_PI / 180))
    out.y = across * sin(lon * (M_PI / 180))
    out.z = sin(lat * (M_PI / 180))
    out.lat = <float>lat
    out.lon = <float>lon
    out.accuracy_km = <float>accuracy_km


cdef bint fill(const LocatorData *data, const Record *record, Location *out) noexcept nogil:
    """Takes over what the record has; True when that is a place."""
    cdef const Country *country = NULL
    out.country = record.country
    out.continent = record.continent
    out.asn = record.asn
    if record.country:
        country = &data.countries[country_index(record.country)]
        if out.continent == 0:
            out.continent = country.continent
    if record.has_place:
        set_place(out, record.lat, record.lon, record.accuracy_km)
    elif country != NULL and country.continent:
        set_place(out, country.lat, country.lon, country.radius_km)
    else:
        return False
    out.source = FROM_DATABASE
    return True


cdef Lookup search_cities(const LocatorData *data, const unsigned char *address, Location *out, int *bits) noexcept nogil:
    cdef Record record
    cdef Read found
    cdef Lookup result = NOT_FOUND
    cdef int i, taken = 0
    for i in range(data.n_cities):
        found = look_up(&data.readers[i], address, &record, &taken)
        bits[0] = max(bits[0], taken)
        if found == READ_FOUND:
            if fill(data, &record, out):
                return FOUND
        elif found == READ_BROKEN:
            result = BROKEN
    return result


cdef void search_asns(const LocatorData *data, const unsigned char *address, Location *out, int *bits) noexcept nogil:
    cdef Record record
    cdef int i, taken = 0
    for i in range(data.n_cities, data.n_cities + data.n_asns):
        look_up(&data.readers[i], address, &record, &taken)
        bits[0] = max(bits[0], taken)
        if record.asn:
            out.asn = record.asn
            return


cdef const Location *find_override(const LocatorData *data, uint32_t asn, uint16_t country) noexcept nogil:
    """By AS, else by country; NULL when there is none. Both may be 0."""
    cdef int first = 0
    cdef int end = data.n_asn_overrides
    cdef int middle
    while first < end:          # all before first are below asn, none from end on is
        middle = (first + end) // 2
        if data.asn_overrides[middle].asn < asn:
            first = middle + 1
        else:
            end = middle
    if first < data.n_asn_overrides and data.asn_overrides[first].asn == asn:
        return data.asn_overrides[first].place
    return data.countries[country_index(country)].override if country else NULL


cdef void move(Location *out, const Location *place) noexcept nogil:
    """AS and pin stay, as do country and continent when the override has none."""
    out.x = place.x
    out.y = place.y
    out.z = place.z
    out.lat = place.lat
    out.lon = place.lon
    out.accuracy_km = place.accuracy_km
    out.source = place.source
    if place.country:
        out.country = place.country
        out.continent = place.continent


cdef Lookup locate_network(const LocatorData *data, const unsigned char *address, Location *out, int *bits) noexcept nogil:
    cdef Lookup result
    cdef const Location *moved
    cdef const Location *named = NULL       # by prefix
    cdef int32_t place = find_place(&data.ranges, address, bits)
    memset(out, 0, sizeof(Location))
    if place >= 0:
        named = &data.places[place]
        out.pin = named.pin     # stays, whatever fills the rest
        if named.source != FROM_OVERRIDE:
            named = NULL
    if named != NULL and named.country:
        out[0] = named[0]
        search_asns(data, address, out, bits)
        return OVERRIDDEN
    result = search_cities(data, address, out, bits)
    search_asns(data, address, out, bits)
    moved = find_override(data, out.asn, out.country)
    if moved != NULL:
        move(out, moved)
    if named != NULL:
        move(out, named)
    return result if moved == NULL and named == NULL else OVERRIDDEN


cdef Lookup locate(const LocatorData *data, const unsigned char *address, Location *out) noexcept nogil:
    cdef int bits = 0
    return locate_network(data, address, out, &bits)


cdef uint64_t serial_of(const LocatorData *data) noexcept nogil:
    return data.serial


class Found(NamedTuple):
    """A Location in Python's terms; None where nothing is known, pin 0 where there is none.

    source: "database", "override" or "unknown".
    """
    lat: float | None
    lon: float | None
    country: str | None
    continent: str | None
    asn: int | None
    accuracy_km: float | None
    source: str
    pin: int = 0


cdef uint64_t last_serial = 0       # written with the GIL held


cdef str text_of(uint16_t code):
    return chr(code >> 8) + chr(code & 0xff) if code else None


cdef uint16_t code_of(str text):
    return ord(text[0]) << 8 | ord(text[1])


cdef int fill_countries(LocatorData *data) except -1:
    cdef Country *country
    for code, facts in _COUNTRIES.items():
        country = &data.countries[country_index(code_of(code))]
        country.continent = code_of(facts.continent)
        country.lat = facts.lat
        country.lon = facts.lon
        country.radius_km = facts.radius_km
    return 0


cdef int fill_ranges(LocatorData *data, list ranges) except -1:
    cdef Ranges *mine = &data.ranges
    cdef Range *slot = <Range *>mine.ranges
    cdef int32_t *place = <int32_t *>mine.places
    mine.n = len(ranges)
    for i, (start, where) in enumerate(ranges):
        slot[i].high = start >> 64
        slot[i].low = start & 0xffffffffffffffff
        place[i] = where
        # Ranges begin at both edges of ::ffff:0:0/96, always.
        if start == _MAPPED:
            mine.v4_first = i
        elif start == _MAPPED + (1 << 32):
            mine.v4_end = i
    return 0


cdef int fill_place(Location *place, given) except -1:
    if given.lat is not None:
        set_place(place, given.lat, given.lon, 0)
        place.source = FROM_OVERRIDE
    if given.country is not None:
        place.country = code_of(given.country)
        place.continent = code_of(_COUNTRIES[given.country].continent)
    place.pin = given.pin
    return 0


cdef int fill_overrides(LocatorData *data, plan) except -1:
    cdef AsnOverride *slot = <AsnOverride *>data.asn_overrides
    cdef int i
    for i, given in enumerate(plan.places):
        fill_place(<Location *>&data.places[i], given)
    data.n_asn_overrides = len(plan.asns)
    for i, (asn, place) in enumerate(plan.asns):
        slot[i].asn = asn
        slot[i].place = &data.places[<int>place]
    for country, place in plan.countries.items():
        data.countries[country_index(code_of(country))].override = &data.places[<int>place]
    return fill_ranges(data, plan.ranges)


@cython.final
cdef class Locator:
    def __cinit__(self, cities=(), asns=(), overrides=(), home=None, pins=()):
        global last_serial
        cdef int i
        cdef size_t readers_bytes, places_bytes, asns_bytes, ranges_bytes
        cities, asns = tuple(cities), tuple(asns)
        self.kept = cities + asns
        for database in self.kept:
            if not isinstance(database, Database):
                raise TypeError(f"must be a Database, got {database!r}")
        for database in cities:
            if database.kind == "asn":
                raise ValueError(f"{database.name}: holds no locations")
        for database in asns:
            if not (<Database>database).has_asn:
                raise ValueError(f"{database.name}: holds no AS numbers")
        plan = _plan(overrides, home, pins)
        readers_bytes = len(self.kept) * sizeof(Reader)
        places_bytes = len(plan.places) * sizeof(Location)
        asns_bytes = len(plan.asns) * sizeof(AsnOverride)
        ranges_bytes = len(plan.ranges) * sizeof(Range)
        self.data = <LocatorData *>take(
            DATABASE_MEMORY,
            sizeof(LocatorData) + readers_bytes + places_bytes + asns_bytes + ranges_bytes + len(plan.ranges) * sizeof(int32_t))
        if self.data == NULL:
            raise MemoryError
        last_serial += 1
        self.data.serial = last_serial
        # By alignment, the widest first: each of these but the last is a multiple of eight bytes.
        self.data.readers = <Reader *>(self.data + 1)
        self.data.places = <Location *>(<char *>self.data.readers + readers_bytes)
        self.data.asn_overrides = <AsnOverride *>(<char *>self.data.places + places_bytes)
        self.data.ranges.ranges = <Range *>(<char *>self.data.asn_overrides + asns_bytes)
        self.data.ranges.places = <int32_t *>(<char *>self.data.ranges.ranges + ranges_bytes)
        self.data.n_cities = len(cities)
        self.data.n_asns = len(asns)
        for i in range(<int>len(self.kept)):
            (<Reader *>self.data.readers)[i] = (<Database>self.kept[i]).reader
        fill_countries(self.data)
        fill_overrides(self.data, plan)

    def __dealloc__(self):
        give(DATABASE_MEMORY, self.data)

    def locate(self, str address not None) -> Found:
        """Where it is. ValueError when it is no IP address."""
        cdef Location location
        cdef bytes packed = packed_address(address)
        locate(self.data, packed, &location)
        return found_of(&location)


def packed_address(str address not None) -> bytes:
    """16 bytes, IPv4 as ::ffff:a.b.c.d. ValueError when it is no IP address."""
    packed = ip_address(address).packed
    return bytes(10) + b"\xff\xff" + packed if len(packed) == 4 else packed


cdef found_of(const Location *location):
    sources = ("unknown", "database", "override")
    is_placed = location.source != 0
    # Databases give four digits; a float's further ones are noise.
    return Found(
        round(location.lat, 4) if is_placed else None,
        round(location.lon, 4) if is_placed else None,
        text_of(location.country),
        text_of(location.continent),
        location.asn or None,
        location.accuracy_km or None,
        sources[location.source],
        location.pin)
