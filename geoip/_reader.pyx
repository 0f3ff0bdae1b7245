"""Database: a file's content, checked at open as far as that is cheap. Owns the content.

Must not know paths, nor what a record is made into.

At open: metadata, sizes, every record of the search tree (so that a walk needs no checks), and a sample of the data records.
What the sample misses is found at lookup, where every length, pointer and type is checked again: see _data.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from geoip._data cimport READ_BROKEN, READ_FOUND, read_record
from geoip._tree cimport SEPARATOR_BYTES, TreeFault, check_tree, child, find_record, set_v4_start

from geoip.metadata import read_layout

cdef enum:
    SAMPLE = 4096           # records; they cost a millisecond or two

cdef struct Survey:
    uint64_t n_places
    uint64_t n_countries        # or continents
    uint64_t n_asns
    bint is_broken
    uint64_t broken_offset      # of the first broken record


cdef Read look_up(const Reader *reader, const unsigned char *address, Record *record, int *bits) noexcept nogil:
    cdef uint64_t offset = 0
    cdef Read found = find_record(&reader.tree, address, &offset, bits)
    if found == READ_FOUND:
        return read_record(&reader.data, offset, record)
    memset(record, 0, sizeof(Record))
    return found


cdef void note(const Reader *reader, uint64_t offset, Survey *survey) noexcept nogil:
    cdef Record record
    if read_record(&reader.data, offset, &record) == READ_BROKEN:
        if not survey.is_broken:
            survey.is_broken = True
            survey.broken_offset = offset
        return
    survey.n_places += record.has_place
    survey.n_countries += record.country != 0 or record.continent != 0
    survey.n_asns += record.asn != 0


cdef void sample(const Reader *reader, uint64_t n_records, Survey *survey) noexcept nogil:
    cdef uint64_t stride = n_records // SAMPLE + 1
    cdef uint64_t seen = 0
    cdef uint32_t node, value
    cdef int bit
    memset(survey, 0, sizeof(Survey))
    for node in range(reader.tree.n_nodes):
        for bit in range(2):
            value = child(&reader.tree, node, bit)
            if value > reader.tree.n_nodes:
                if seen % stride == 0:
                    note(reader, <uint64_t>value - reader.tree.n_nodes - SEPARATOR_BYTES, survey)
                seen += 1


class DatabaseError(ValueError):
    """What is wrong with a database, in one line that begins with its name."""


@cython.final
cdef class Database:
    def __cinit__(self, bytes content not None, str name not None="database"):
        cdef TreeFault fault
        cdef uint64_t n_records = 0
        cdef bint is_tree_whole
        cdef Survey survey
        self.name = name
        self.content = content
        try:
            layout = read_layout(content)
        except ValueError as error:
            raise DatabaseError(f"{name}: {error}") from error
        self.ip_version = layout.ip_version
        self.build_epoch = layout.build_epoch
        self.values = layout.values
        self.reader.tree.nodes = <const unsigned char *>content
        self.reader.tree.n_nodes = layout.n_nodes
        self.reader.tree.record_bits = layout.record_bits
        self.reader.tree.address_bits = 32 if layout.ip_version == 4 else 128
        self.reader.tree.data_size = layout.data_bytes
        self.reader.data.bytes = self.reader.tree.nodes + <uint64_t>layout.tree_bytes + SEPARATOR_BYTES
        self.reader.data.size = layout.data_bytes
        with nogil:
            is_tree_whole = check_tree(&self.reader.tree, &fault, &n_records)
            if is_tree_whole:
                set_v4_start(&self.reader.tree)
                sample(&self.reader, n_records, &survey)
        if not is_tree_whole:
            raise DatabaseError(f"{name}: search tree: node {fault.node} leads to {fault.value}, which is nowhere")
        if survey.is_broken:
            raise DatabaseError(f"{name}: the record at {survey.broken_offset} of the data section is broken")
        if not (survey.n_places or survey.n_countries or survey.n_asns):
            kind = str(layout.values.get("database_type"))
            raise DatabaseError(f"{name}: no coordinates, country or AS number in it (it says of itself: {kind:.60})")
        self.kind = "city" if survey.n_places else "country" if survey.n_countries else "asn"
        self.has_asn = survey.n_asns > 0

    @property
    def metadata(self) -> dict:
        """A copy of the file's own metadata."""
        return dict(self.values)
