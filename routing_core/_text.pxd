"""Text: bytes with a length, owned by someone else. In a file of its own because tables and requests both have them."""
from libc.stdint cimport uint32_t

cdef struct Text:
    const char *at              # not terminated; whose it is stands where the field is declared
    uint32_t length
