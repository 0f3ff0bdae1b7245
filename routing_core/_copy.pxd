"""Copy: the block of a table as another one's. Must not know what a table says, or who owns a block."""
from routing_core._layout cimport TableData

# Points to itself where the other one does, and has no matcher. The caller gives it back; NULL: memory is out.
cdef TableData *copy_block(const TableData *block) noexcept nogil
