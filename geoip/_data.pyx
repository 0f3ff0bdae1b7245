"""Reads one record without building it: walks its maps, remembers where the wanted fields lie, decodes those.

Everything else is skipped by counting: a skipped map adds its entries to the number of values still to pass, so there is no
recursion, and pointers in what is skipped are not followed, so no cycle can be entered. A pointer that is followed leads to a value
that is no pointer (the format forbids chains). Two levels of maps are looked into, so depth is fixed by the code.
Each value read takes one step of a budget: a record can't cost more than MAX_STEPS, whatever sizes it claims.
A field that occurs twice counts as its last occurrence, as in other readers (a map becomes a dict there).
"""
from libc.math cimport isfinite
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    MAX_STEPS = 4096        # real records take 10 to 300

cdef enum Type:             # of the format, section "Output Data Section" of MaxMind-DB-spec.md
    EXTENDED
    POINTER
    STRING
    DOUBLE
    BYTES
    UINT16
    UINT32
    MAP
    INT32
    UINT64
    UINT128
    ARRAY
    CACHE_CONTAINER         # these two never stand in a data section
    END_MARKER
    BOOLEAN
    FLOAT
    N_TYPES

cdef enum Field:            # keys, of whatever level
    NO_FIELD
    COUNTRY
    REGISTERED_COUNTRY
    CONTINENT
    LOCATION
    TRAITS
    ISO_CODE
    CODE
    LATITUDE
    LONGITUDE
    ACCURACY_RADIUS
    COUNTRY_CODE
    CONTINENT_CODE
    AS_NUMBER
    ASN
    N_FIELDS

cdef struct Cursor:
    const unsigned char *bytes
    uint64_t size
    int steps_left

cdef struct Value:
    int type                # Type, never EXTENDED; POINTER only where said
    uint64_t size           # bytes of a scalar, entries of a map or array, target of a pointer
    uint64_t payload        # offset of a scalar's bytes, or of a container's first value
    uint64_t next           # offset behind it; of a container: of its first value

ctypedef uint64_t[<int>N_FIELDS] Places     # offsets of values; 0: not there (no value of a map lies at 0)


cdef inline uint64_t big_endian(const unsigned char *bytes, uint64_t size) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint64_t i
    for i in range(size):
        value = (value << 8) | bytes[i]
    return value


cdef inline bint is_size_legal(int type, uint64_t size) noexcept nogil:
    if type == DOUBLE:
        return size == 8
    if type == FLOAT:
        return size == 4
    if type == UINT16:
        return size <= 2
    if type == UINT32 or type == INT32:
        return size <= 4
    if type == UINT64:
        return size <= 8
    if type == UINT128:
        return size <= 16
    if type == BOOLEAN:
        return size <= 1
    return type != CACHE_CONTAINER and type != END_MARKER


cdef bint read_pointer(Cursor *cursor, uint64_t at, int bits, Value *out) noexcept nogil:
    # Two bits say how many bytes follow, three more are the high bits of the target but in the longest form.
    cdef uint64_t width = <uint64_t>(bits >> 3) + 1
    if cursor.size - at < width:
        return False
    out.size = big_endian(cursor.bytes + at, width)
    if width < 4:
        out.size |= (<uint64_t>(bits & 7)) << (8 * width)
    if width == 2:
        out.size += 2048
    elif width == 3:
        out.size += 526336
    out.payload = at
    out.next = at + width
    return True


cdef bint read_value(Cursor *cursor, uint64_t at, Value *out) noexcept nogil:
    """False: the value is not whole, of no type, of an impossible size, or the budget is spent."""
    cdef int control
    cdef uint64_t width
    cursor.steps_left -= 1
    if cursor.steps_left < 0 or at >= cursor.size:
        return False
    control = cursor.bytes[at]
    at += 1
    out.type = control >> 5
    if out.type == POINTER:
        return read_pointer(cursor, at, control & 31, out)
    if out.type == EXTENDED:
        if at >= cursor.size:
            return False
        out.type = cursor.bytes[at] + 7
        at += 1
        if out.type <= MAP or out.type >= N_TYPES:
            return False
    out.size = control & 31
    if out.size >= 29:
        width = out.size - 28
        if cursor.size - at < width:
            return False
        out.size = big_endian(cursor.bytes + at, width) + (29 if width == 1 else 285 if width == 2 else 65821)
        at += width
    if not is_size_legal(out.type, out.size):
        return False
    out.payload = at
    out.next = at
    if out.type != MAP and out.type != ARRAY and out.type != BOOLEAN:
        if cursor.size - at < out.size:
            return False
        out.next = at + out.size
    return True


cdef bint fetch(Cursor *cursor, uint64_t at, Value *out) noexcept nogil:
    """As read_value, a pointer followed; `next` is then behind the pointer."""
    cdef uint64_t behind
    if not read_value(cursor, at, out):
        return False
    if out.type == POINTER:
        behind = out.next
        if not read_value(cursor, out.size, out) or out.type == POINTER:
            return False
        out.next = behind
    return True


cdef bint skip(Cursor *cursor, uint64_t *at) noexcept nogil:
    cdef Value value
    cdef uint64_t pending = 1       # can't overflow: MAX_STEPS sizes of at most 2^25
    while pending:
        if not read_value(cursor, at[0], &value):
            return False
        pending -= 1
        if value.type == MAP:
            pending += 2 * value.size
        elif value.type == ARRAY:
            pending += value.size
        at[0] = value.next
    return True


cdef inline Field if_same(const unsigned char *text, const char *key, size_t size, Field field) noexcept nogil:
    return field if memcmp(text, key, size) == 0 else NO_FIELD


cdef Field field_of(const unsigned char *text, uint64_t size) noexcept nogil:
    # By length first: most keys of a record are told apart by it, so a key costs one comparison or two.
    if size == 8:
        if memcmp(text, "iso_code", 8) == 0:
            return ISO_CODE
        return LOCATION if memcmp(text, "location", 8) == 0 else if_same(text, "latitude", 8, LATITUDE)
    if size == 9:
        return CONTINENT if memcmp(text, "continent", 9) == 0 else if_same(text, "longitude", 9, LONGITUDE)
    if size == 7:
        return if_same(text, "country", 7, COUNTRY)
    if size == 18:
        return if_same(text, "registered_country", 18, REGISTERED_COUNTRY)
    if size == 4:
        return if_same(text, "code", 4, CODE)
    if size == 15:
        return if_same(text, "accuracy_radius", 15, ACCURACY_RADIUS)
    if size == 6:
        return if_same(text, "traits", 6, TRAITS)
    if size == 12:
        return if_same(text, "country_code", 12, COUNTRY_CODE)
    if size == 14:
        return if_same(text, "continent_code", 14, CONTINENT_CODE)
    if size == 24:
        return if_same(text, "autonomous_system_number", 24, AS_NUMBER)
    if size == 3:
        return if_same(text, "asn", 3, ASN)
    return NO_FIELD


cdef bint find_fields(Cursor *cursor, const Value *map, uint64_t *places) noexcept nogil:
    """Where the values of known keys lie. places: [N_FIELDS]."""
    cdef Value key
    cdef uint64_t at = map.payload
    cdef uint64_t i = 0
    memset(places, 0, sizeof(Places))
    while i < map.size:             # ends: each entry takes steps
        if not fetch(cursor, at, &key) or key.type != STRING:
            return False
        at = key.next
        places[<int>field_of(cursor.bytes + key.payload, key.size)] = at
        if not skip(cursor, &at):
            return False
        i += 1
    return True


cdef bint read_number(Cursor *cursor, uint64_t at, double *out) noexcept nogil:
    """Leaves *out as it is when the value is well formed but no number. False: broken."""
    cdef Value value
    cdef uint64_t bits
    cdef uint32_t low
    cdef float single = 0
    if at == 0:
        return True
    if not fetch(cursor, at, &value):
        return False
    if value.type not in (DOUBLE, FLOAT, UINT16, UINT32, UINT64, INT32):
        return True
    bits = big_endian(cursor.bytes + value.payload, value.size)
    if value.type == DOUBLE:
        memcpy(out, &bits, 8)
    elif value.type == FLOAT:
        low = <uint32_t>bits
        memcpy(&single, &low, 4)
        out[0] = single
    elif value.type == INT32:       # shorter forms are padded with zero bytes, so only four bytes can be negative
        out[0] = <double>bits - (4294967296.0 if value.size == 4 and bits >> 31 else 0.0)
    else:
        out[0] = <double>bits
    return True


cdef inline int upper(int letter) noexcept nogil:
    return letter - 32 if c'a' <= letter <= c'z' else letter


cdef bint read_code(Cursor *cursor, uint64_t at, uint16_t *out) noexcept nogil:
    """A code of two letters; leaves *out as it is when the value is well formed but none. False: broken."""
    cdef Value value
    cdef int first, second
    if at == 0:
        return True
    if not fetch(cursor, at, &value):
        return False
    if value.type != STRING or value.size != 2:
        return True
    first = upper(cursor.bytes[value.payload])
    second = upper(cursor.bytes[value.payload + 1])
    if c'A' <= first <= c'Z' and c'A' <= second <= c'Z':
        out[0] = <uint16_t>(first << 8 | second)
    return True


cdef bint read_coded(Cursor *cursor, uint64_t at, Field key, uint16_t *out) noexcept nogil:
    """A code inside a map (GeoIP2: country.iso_code), or standing for itself ("country": "DE")."""
    cdef Value value
    cdef Places inner
    if at == 0:
        return True
    if not fetch(cursor, at, &value):
        return False
    if value.type != MAP:
        return read_code(cursor, at, out)
    return find_fields(cursor, &value, inner) and read_code(cursor, inner[<int>key], out)


cdef bint read_asn(Cursor *cursor, uint64_t at, uint32_t *out) noexcept nogil:
    """A number, or text as "AS64500"."""
    cdef Value value
    cdef double number = 0
    cdef const unsigned char *text
    cdef uint64_t i = 0
    if at == 0:
        return True
    if not fetch(cursor, at, &value):
        return False
    if value.type != STRING:
        if not read_number(cursor, at, &number):
            return False
    elif value.size <= 12:
        text = cursor.bytes + value.payload
        if value.size > 2 and upper(text[0]) == c'A' and upper(text[1]) == c'S':
            i = 2
        while i < value.size:
            if not c'0' <= text[i] <= c'9':
                return True
            number = 10 * number + (text[i] - c'0')
            i += 1
    if 1 <= number <= 4294967295.0:     # false for NaN
        out[0] = <uint32_t>number
    return True


cdef bint read_place(Cursor *cursor, const uint64_t *places, Record *out) noexcept nogil:
    cdef double lat = 91, lon = 181, accuracy_km = 0        # out of range: not said
    if not (read_number(cursor, places[<int>LATITUDE], &lat) and read_number(cursor, places[<int>LONGITUDE], &lon)
            and read_number(cursor, places[<int>ACCURACY_RADIUS], &accuracy_km)):
        return False
    # False for NaN.
    if -90 <= lat <= 90 and -180 <= lon <= 180 and not (lat == 0 and lon == 0):
        out.lat = lat
        out.lon = lon
        out.has_place = True
        if isfinite(accuracy_km) and 0 < accuracy_km <= 20040:      # half the equator
            out.accuracy_km = accuracy_km
    return True


cdef bint decode(Cursor *cursor, uint64_t offset, Record *out) noexcept nogil:
    cdef Value value
    cdef Places top
    cdef Places inner
    if not fetch(cursor, offset, &value):
        return False
    if value.type != MAP:           # a record of another kind of database: well formed, and of no use
        return True
    if not find_fields(cursor, &value, top):
        return False
    if not (read_place(cursor, top, out)
            and read_code(cursor, top[<int>COUNTRY_CODE], &out.country)
            and read_code(cursor, top[<int>CONTINENT_CODE], &out.continent)
            and read_asn(cursor, top[<int>ASN], &out.asn)
            and read_asn(cursor, top[<int>AS_NUMBER], &out.asn)
            and read_coded(cursor, top[<int>COUNTRY], ISO_CODE, &out.country)
            and read_coded(cursor, top[<int>CONTINENT], CODE, &out.continent)):
        return False
    if out.country == 0 and not read_coded(cursor, top[<int>REGISTERED_COUNTRY], ISO_CODE, &out.country):
        return False
    if top[<int>LOCATION]:
        if not fetch(cursor, top[<int>LOCATION], &value):
            return False
        if value.type == MAP and not (find_fields(cursor, &value, inner) and read_place(cursor, inner, out)):
            return False
    if out.asn == 0 and top[<int>TRAITS]:       # Enterprise files carry it there
        if not fetch(cursor, top[<int>TRAITS], &value):
            return False
        if value.type == MAP:
            return find_fields(cursor, &value, inner) and read_asn(cursor, inner[<int>AS_NUMBER], &out.asn)
    return True


cdef Read read_record(const Data *data, uint64_t offset, Record *out) noexcept nogil:
    cdef Cursor cursor
    cursor.bytes = data.bytes
    cursor.size = data.size
    cursor.steps_left = MAX_STEPS
    memset(out, 0, sizeof(Record))
    if not decode(&cursor, offset, out):
        memset(out, 0, sizeof(Record))      # half a record is a guess
        return READ_BROKEN
    return READ_FOUND if out.has_place or out.country or out.continent or out.asn else READ_ABSENT
