"""Pages: blocks of a few whole pages, which are the system's again the moment a block is given back. For blocks that come and go by the
thousand, of any thread.

Must not know what is stored in a block, nor how many there are.
"""

cdef enum:
    MOST_PAGES_BYTES = 65536    # of a block

# What is in it is anything; NULL when there is none. size: a power of two, from a page up to MOST_PAGES_BYTES.
cdef void *take_pages(size_t size) noexcept nogil
cdef void give_pages(void *block) noexcept nogil
