"""Plain: bytes as they are, over a stream socket that does not block."""
from gateway.dataplane._core cimport Transport

cdef Transport PLAIN        # set when this module is imported; never changed
