"""Names lie behind the endpoints in their order, so that those of a run of endpoints are one run of bytes."""
from libc.string cimport memcmp, memcpy


cdef Py_ssize_t same_first(tuple some, tuple than):
    cdef Py_ssize_t most = min(len(some), len(than)), n = 0
    while n < most and some[n] is than[n]:
        n += 1
    return n


cdef Py_ssize_t same_last(tuple some, tuple than, Py_ssize_t first):
    cdef Py_ssize_t n_some = len(some), n_than = len(than), n = 0
    cdef Py_ssize_t most = min(n_some, n_than) - first
    while n < most and some[n_some - 1 - n] is than[n_than - 1 - n]:
        n += 1
    return n


cdef size_t names_length(const Endpoint *endpoints, int32_t n) noexcept nogil:
    return <size_t>(endpoints[n - 1].name.at + endpoints[n - 1].name.length - endpoints[0].name.at) if n > 0 else 0


cdef char *copy_endpoints(Endpoint *out, const Endpoint *endpoints, int32_t n, char *text) noexcept nogil:
    cdef size_t length = names_length(endpoints, n)
    cdef int32_t i
    if n <= 0:     # never below, which the compiler can't know
        return text
    memcpy(out, endpoints, <size_t>n * sizeof(Endpoint))
    memcpy(text, endpoints[0].name.at, length)
    for i in range(n):
        out[i].name.at = text + (endpoints[i].name.at - endpoints[0].name.at)
    return text + length


cdef inline bint is_doubled(const Endpoint *one, const Endpoint *other) noexcept nogil:
    return one.row == other.row or (
        one.name.length == other.name.length and memcmp(one.name.at, other.name.at, one.name.length) == 0)


cdef bint has_doubled(const Endpoint *endpoints, int32_t count, int32_t first, int32_t n) noexcept nogil:
    cdef int32_t i, k
    for i in range(first, first + n):
        for k in range(count):
            if k != i and is_doubled(&endpoints[i], &endpoints[k]):
                return True
    return False
