"""Memory: the only place that allocates for code that runs without the GIL.

Owns the count of live blocks by kind, so that a test can assert that nothing is left.
Must not know what is stored in a block.
"""

cdef enum Kind:
    WORKER
    CONNECTION
    EXCHANGE
    BUFFER
    TABLE
    SNAPSHOT
    FIGURES
    DATABASE
    RING
    POOLS
    HOLDER
    N_KINDS

cdef enum:
    LINE_BYTES = 64     # a cache line: what two writers must not share

# Zeroed and cache-line aligned; NULL when there is none. The caller gives it back under the same kind.
cdef void *take(Kind kind, size_t size) noexcept nogil
# The same, but what is in it is anything: for what is written before it is read, and may never be written whole.
cdef void *take_unset(Kind kind, size_t size) noexcept nogil
cdef void give(Kind kind, void *block) noexcept nogil
