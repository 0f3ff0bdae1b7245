"""Checks: what a number and a name of a spec must be. ValueError says what came and what is legal. Must not know what they are of."""
from libc.stdint cimport int64_t

cdef int64_t whole(object value, int64_t low, int64_t high, str what) except? -1
cdef double number(object value, double low, double high, str what) except? -1
# As bytes. `seen`: of the same kind so far; it is added.
cdef bytes name_bytes(object name, str what, set seen)
