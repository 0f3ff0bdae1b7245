"""Request: reads a request's head, finds whose it is, where it goes, and begins its exchange."""
from gateway.dataplane._core cimport Stream, Core

# READING: takes what has come, and begins an exchange when a head is whole.
cdef void receive(Core *core, Stream *downstream) noexcept nogil
# READING, and its deadline has come.
cdef void on_late_head(Core *core, Stream *downstream) noexcept nogil
