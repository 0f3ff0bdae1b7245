"""A node is two records of 24, 28 or 32 bits: the next node for a 0 and for a 1. A value below the count of nodes is a node, the count
itself means that nothing is known, and above it come offsets into the data, 16 bytes (the separator) ahead.
IPv4 addresses of an IPv6 tree lie in ::/96; the walk there is done once, at open.
"""
from geoip._data cimport READ_ABSENT, READ_BROKEN, READ_FOUND


cdef inline uint32_t bytes_3(const unsigned char *at) noexcept nogil:
    return <uint32_t>at[0] << 16 | <uint32_t>at[1] << 8 | at[2]


cdef inline uint32_t step(const Tree *tree, uint32_t node, int bit) noexcept nogil:
    # node < n_nodes, and all nodes lie inside the content.
    cdef const unsigned char *at
    if tree.record_bits == 28:
        at = tree.nodes + <uint64_t>node * 7
        if bit:
            return <uint32_t>(at[3] & 0x0f) << 24 | bytes_3(at + 4)
        return <uint32_t>(at[3] & 0xf0) << 20 | bytes_3(at)
    if tree.record_bits == 24:
        return bytes_3(tree.nodes + <uint64_t>node * 6 + 3 * bit)
    at = tree.nodes + <uint64_t>node * 8 + 4 * bit
    return <uint32_t>at[0] << 24 | bytes_3(at + 1)


cdef uint32_t child(const Tree *tree, uint32_t node, int bit) noexcept nogil:
    return step(tree, node, bit)


cdef bint check_tree(const Tree *tree, TreeFault *fault, uint64_t *n_records) noexcept nogil:
    cdef uint64_t first_data = <uint64_t>tree.n_nodes + SEPARATOR_BYTES
    cdef uint32_t node, value
    cdef int bit
    n_records[0] = 0
    for node in range(tree.n_nodes):
        for bit in range(2):
            value = step(tree, node, bit)
            if value > tree.n_nodes:
                n_records[0] += 1
                if not (first_data <= value < first_data + tree.data_size):
                    fault.node = node
                    fault.value = value
                    return False
    return True


cdef void set_v4_start(Tree *tree) noexcept nogil:
    cdef uint32_t node = 0
    cdef int taken = 0
    if tree.address_bits == 128:
        while taken < V4_BITS and node < tree.n_nodes:      # some files end before, with one answer for all of IPv4
            node = step(tree, node, 0)
            taken += 1
    tree.v4_start = node


cdef Read find_record(const Tree *tree, const unsigned char *address, uint64_t *offset, int *bits) noexcept nogil:
    cdef uint32_t node = 0
    cdef int taken = 0
    if is_v4(address):
        node = tree.v4_start
        taken = V4_BITS
    elif tree.address_bits == 32:
        bits[0] = 0         # all of IPv6 but ::ffff:0:0/96; the caller knows that it holds no such address
        return READ_ABSENT
    while node < tree.n_nodes:
        if taken == 128:    # an address has no more bits
            bits[0] = 128
            return READ_BROKEN
        node = step(tree, node, address[taken >> 3] >> (7 - (taken & 7)) & 1)
        taken += 1
    bits[0] = taken
    if node == tree.n_nodes:
        return READ_ABSENT
    offset[0] = <uint64_t>node - tree.n_nodes - SEPARATOR_BYTES
    return READ_FOUND
