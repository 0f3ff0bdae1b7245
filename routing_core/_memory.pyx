"""One locked counter per kind; nothing here is called per request in steady state."""
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset

from routing_core._atomic cimport add_shared, load_relaxed, store_release
from routing_core._pages cimport give_pages, take_pages

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size) noexcept

cdef extern from *:
    """
    #include <malloc.h>
    #ifdef __GLIBC__
    #define give_back_pages() ((void)malloc_trim(0))
    #else
    #define give_back_pages() ((void)0)     /* musl gives back what is free by itself */
    #endif
    """
    void give_back_pages() noexcept nogil

NAMES = ("worker", "connection", "exchange", "buffer", "table", "snapshot", "figures", "database", "ring", "pools", "holder")

# Shared by all workers, so a locked add: hot paths keep their own free lists and do not come here.
cdef int64_t live[<int>N_KINDS]
cdef int64_t is_refusing = 0    # for tests: what happens when memory is out
cdef int64_t grants = 0         # for tests: how many more take() succeed before refusing; only while is_refusing


cdef void *take_unset(Kind kind, size_t size) noexcept nogil:
    cdef void *block
    size = (size + LINE_BYTES - 1) & ~<size_t>(LINE_BYTES - 1)
    if load_relaxed(&is_refusing):
        if load_relaxed(&grants) <= 0:
            return NULL
        add_shared(&grants, -1)
    block = take_pages(size) if kind == BUFFER else aligned_alloc(LINE_BYTES, size)
    if block != NULL:
        add_shared(&live[<int>kind], 1)
    return block


cdef void *take(Kind kind, size_t size) noexcept nogil:
    cdef void *block = take_unset(kind, size)
    if block != NULL:
        memset(block, 0, size)
    return block


cdef void give(Kind kind, void *block) noexcept nogil:
    if block != NULL:
        add_shared(&live[<int>kind], -1)
        if kind == BUFFER:
            give_pages(block)
        else:
            free(block)


def live_blocks() -> dict:
    """Blocks taken and not given back, by kind."""
    return {name: load_relaxed(&live[kind]) for kind, name in enumerate(NAMES)}


def trim() -> None:
    """Give pages of which nothing is in use back to the system: the heap keeps what lies between blocks that are. Takes milliseconds."""
    with nogil:
        give_back_pages()


def refuse(bint on, int64_t after=0) -> None:
    """Let every take() fail from now on but for the next `after`, or no longer. For tests."""
    store_release(&grants, after)
    store_release(&is_refusing, on)
