"""The heap keeps what lies between blocks that are in use, and malloc_trim(), which gives it back, holds the lock of each arena while it
looks at all of it: 0.1 to 1 s behind a burst of some 100 MiB, in which no thread of that arena gets memory. Here a block's pages go by one
call of a microsecond or two, and its address is kept for the next one.

A region is 2 MiB at an address that is a multiple of it: so a block's region is known by its address. Its first page says which blocks are
free; a region that is all free goes as a whole. The lock is held for a few stores, or to make a region.
"""
from libc.stdint cimport uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport free

cdef extern from *:
    """
    #include <pthread.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    static pthread_mutex_t pages_lock = PTHREAD_MUTEX_INITIALIZER;
    #define lock_pages() ((void)pthread_mutex_lock(&pages_lock))
    #define unlock_pages() ((void)pthread_mutex_unlock(&pages_lock))
    /* Under ASan each block is the heap's, with what it poisons on both sides. */
    #if defined(__SANITIZE_ADDRESS__)
    #define FROM_HEAP 1
    #else
    #define FROM_HEAP 0
    #endif
    """
    void lock_pages() noexcept nogil
    void unlock_pages() noexcept nogil
    bint FROM_HEAP
    int posix_memalign(void **block, size_t alignment, size_t size) noexcept nogil     # aligned_alloc() takes multiples alone
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset) noexcept nogil
    int munmap(void *address, size_t length) noexcept nogil
    int madvise(void *address, size_t length, int advice) noexcept nogil
    void *MAP_FAILED
    enum: PROT_READ
    enum: PROT_WRITE
    enum: MAP_PRIVATE
    enum: MAP_ANONYMOUS
    enum: MADV_DONTNEED
    enum: MADV_NOHUGEPAGE

cdef enum:
    PAGE_BYTES = 4096       # the least there is
    HEAD_BYTES = 65536      # the first block's offset: a page is that large at most
    REGION_BYTES = 1 << 21
    N_SIZES = 5
    MOST_BLOCKS = REGION_BYTES // PAGE_BYTES

cdef struct Region:
    Region *next            # of its size, that have a free block
    Region *before
    int step                # size: PAGE_BYTES, doubled so often
    uint32_t n_blocks
    uint32_t n_free
    uint16_t free[MOST_BLOCKS]

cdef Region *regions[N_SIZES]   # by step; under the lock


cdef inline int step_of(size_t size) noexcept nogil:
    cdef int step = 0
    while <size_t>PAGE_BYTES << step < size:
        step += 1
    return step


cdef void link(Region *region) noexcept nogil:
    region.before = NULL
    region.next = regions[region.step]
    if region.next != NULL:
        region.next.before = region
    regions[region.step] = region


cdef void unlink(Region *region) noexcept nogil:
    if region.next != NULL:
        region.next.before = region.before
    if region.before != NULL:
        region.before.next = region.next
    else:
        regions[region.step] = region.next


cdef char *map_region() noexcept nogil:
    """Twice as much, less what lies before and behind."""
    cdef char *mapped = <char *>mmap(NULL, 2 * REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    cdef size_t ahead
    if <void *>mapped == MAP_FAILED:
        return NULL
    ahead = -<uintptr_t>mapped & <uintptr_t>(REGION_BYTES - 1)
    if ahead:
        munmap(mapped, ahead)
    munmap(mapped + ahead + REGION_BYTES, REGION_BYTES - ahead)
    madvise(mapped + ahead, REGION_BYTES, MADV_NOHUGEPAGE)      # else all of it is there with its first byte
    return mapped + ahead


cdef Region *open_region(int step) noexcept nogil:
    cdef Region *region = <Region *>map_region()
    cdef uint32_t i
    if region == NULL:
        return NULL
    region.step = step
    region.n_blocks = region.n_free = (REGION_BYTES - HEAD_BYTES) // (PAGE_BYTES << step)
    for i in range(region.n_blocks):
        region.free[i] = <uint16_t>(region.n_blocks - 1 - i)
    link(region)
    return region


cdef void *take_pages(size_t size) noexcept nogil:
    cdef int step = step_of(size)
    cdef Region *region
    cdef char *block = NULL
    if FROM_HEAP:
        return block if posix_memalign(<void **>&block, PAGE_BYTES, size) == 0 else NULL
    lock_pages()
    region = regions[step]
    if region == NULL:
        region = open_region(step)
    if region != NULL:
        region.n_free -= 1
        block = <char *>region + HEAD_BYTES + (<size_t>region.free[region.n_free] * PAGE_BYTES << step)
        if region.n_free == 0:
            unlink(region)
    unlock_pages()
    return block


cdef void give_pages(void *block) noexcept nogil:
    cdef Region *region = <Region *>(<uintptr_t>block & ~<uintptr_t>(REGION_BYTES - 1))
    cdef bint is_over
    if FROM_HEAP:
        free(block)
        return
    madvise(block, <size_t>PAGE_BYTES << region.step, MADV_DONTNEED)
    lock_pages()
    region.free[region.n_free] = <uint16_t>((<uintptr_t>block - <uintptr_t>region - HEAD_BYTES) // (<uintptr_t>PAGE_BYTES << region.step))
    region.n_free += 1
    if region.n_free == 1:
        link(region)
    is_over = region.n_free == region.n_blocks and (region.next != NULL or region.before != NULL)    # the last one stays
    if is_over:
        unlink(region)
    unlock_pages()
    if is_over:
        munmap(region, REGION_BYTES)
