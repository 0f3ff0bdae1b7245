"""Names lie behind the endpoints in their order, so that those of a run of endpoints are one run of bytes."""
cimport cython
from libc.stdint cimport int32_t
from libc.string cimport memcmp, memcpy

from routing_core._address cimport fill_endpoint
from routing_core._checks cimport name_bytes, whole
from routing_core._figures cimport Figures
from routing_core._memory cimport TABLE, give, take

cdef enum:
    MOST_SPLICED = 64           # endpoints that are new among old ones: each is compared with all


# How many objects of two tuples are the same at the beginnings.
cdef Py_ssize_t same_first(tuple some, tuple than):
    cdef Py_ssize_t most = min(len(some), len(than)), n = 0
    while n < most and some[n] is than[n]:
        n += 1
    return n


# And at the ends, of those that are left.
cdef Py_ssize_t same_last(tuple some, tuple than, Py_ssize_t first):
    cdef Py_ssize_t n_some = len(some), n_than = len(than), n = 0
    cdef Py_ssize_t most = min(n_some, n_than) - first
    while n < most and some[n_some - 1 - n] is than[n_than - 1 - n]:
        n += 1
    return n


# Bytes of the names of `n` endpoints that lie one behind the other.
cdef size_t names_length(const Endpoint *endpoints, int32_t n) noexcept nogil:
    return <size_t>(endpoints[n - 1].name.at + endpoints[n - 1].name.length - endpoints[0].name.at) if n > 0 else 0


# The same endpoints, with their names from `text` on; answers where these end.
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


# Whether one of the `n` from `first` on has the row, or the name, of another one of all.
cdef bint has_doubled(const Endpoint *endpoints, int32_t count, int32_t first, int32_t n) noexcept nogil:
    cdef int32_t i, k
    for i in range(first, first + n):
        for k in range(count):
            if k != i and is_doubled(&endpoints[i], &endpoints[k]):
                return True
    return False


cdef int reserve(Members out, size_t n_text) except -1:
    out.endpoints = <Endpoint *>take(TABLE, out.count * sizeof(Endpoint) + n_text)
    if out.endpoints == NULL:
        raise MemoryError
    return 0


cdef int compile_all(Members out, Figures figures, str what) except -1:
    cdef set seen = set()
    cdef list names = [name_bytes(endpoint.name, what + " endpoints", seen) for endpoint in out.spec]
    cdef char *text
    cdef Py_ssize_t place
    if len({endpoint.row for endpoint in out.spec}) < len(out.spec):
        raise ValueError(f"{what}: endpoints of one pool must have rows of their own")
    reserve(out, <size_t>sum(map(len, names)))
    text = <char *>(out.endpoints + out.count)
    for place, endpoint in enumerate(out.spec):
        fill_endpoint(out.endpoints + place, &text, endpoint, names[place], figures)
    return 0


cdef bint splice(Members out, Members before, Figures figures, str what) except -1:
    """Of thousands a change moves a few: what stands before and behind these is copied. False: nothing was done, they are too many, or not
    all different."""
    cdef Py_ssize_t first = same_first(out.spec, before.spec), last = same_last(out.spec, before.spec, first)
    cdef int32_t n = out.count - <int32_t>(first + last)
    cdef const Endpoint *behind = before.endpoints + before.count - last
    cdef list names
    cdef char *text
    cdef Py_ssize_t k
    if n > MOST_SPLICED:
        return False
    names = [name_bytes(endpoint.name, what + " endpoints", set()) for endpoint in out.spec[first:first + n]]
    reserve(out, names_length(before.endpoints, <int32_t>first) + <size_t>sum(map(len, names)) + names_length(behind, <int32_t>last))
    text = copy_endpoints(out.endpoints, before.endpoints, <int32_t>first, <char *>(out.endpoints + out.count))
    for k in range(n):
        fill_endpoint(out.endpoints + first + k, &text, out.spec[first + k], names[k], figures)
    copy_endpoints(out.endpoints + first + n, behind, <int32_t>last, text)
    if not has_doubled(out.endpoints, out.count, <int32_t>first, n):
        return True
    give(TABLE, out.endpoints)
    out.endpoints = NULL
    return False


@cython.final
cdef class Members:
    """What is compiled of `PoolSpec.endpoints`, with their names behind them. `before`: compiled of some of these with the same figures."""

    def __cinit__(self, tuple spec not None, Figures figures not None, str what not None, Members before=None):
        self.spec = spec
        self.count = <int32_t>whole(len(spec), 0, MAX_ENDPOINTS, what + " endpoints")
        try:
            if before is None or not splice(self, before, figures, what):
                compile_all(self, figures, what)
        except (IndexError, OverflowError) as error:      # a row that is none
            raise ValueError(str(error)) from error

    def __dealloc__(self):
        if self.endpoints != NULL:
            give(TABLE, self.endpoints)
