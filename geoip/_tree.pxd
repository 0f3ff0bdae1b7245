"""Search tree: an address's bits -> where its record lies in the data section. Must not know what records hold.

Everything is borrowed from the owner of the content. check_tree() must have passed before find_record() is called.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

from geoip._data cimport Read

cdef struct Tree:
    const unsigned char *nodes
    uint32_t n_nodes
    int record_bits             # 24, 28 or 32
    int address_bits            # 32: IPv4 only; 128
    uint64_t data_size          # a record's offset lies below it
    uint32_t v4_start           # where ::/96 leads: a node, or what ends a walk

cdef enum:
    SEPARATOR_BYTES = 16        # between tree and data
    V4_BITS = 96                # of ::ffff:0:0/96, in which callers see IPv4

cdef struct TreeFault:          # of the first record that leads nowhere
    uint32_t node
    uint32_t value

cdef inline bint is_v4(const unsigned char *address) noexcept nogil:
    return memcmp(address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0

# Half an address.
cdef inline uint64_t word(const unsigned char *bytes) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):      # gcc makes one load and a byte swap of it
        value = value << 8 | bytes[i]
    return value

# All records of all nodes lead to a node, to nothing, or into the data section. *n_records: how many the last are.
cdef bint check_tree(const Tree *tree, TreeFault *fault, uint64_t *n_records) noexcept nogil
cdef void set_v4_start(Tree *tree) noexcept nogil
cdef uint32_t child(const Tree *tree, uint32_t node, int bit) noexcept nogil
# address: 16 bytes, IPv4 as ::ffff:a.b.c.d. READ_FOUND: *offset is the record's.
# *bits: how many leading bits of the address decided. All addresses of its kind (IPv4 mapped, or not) that share them get the same answer.
cdef Read find_record(const Tree *tree, const unsigned char *address, uint64_t *offset, int *bits) noexcept nogil
