"""Accept: new connections, and room for them.

Must not know what is said on a connection.
"""
from libc.stdint cimport int64_t, uint8_t

from gateway.dataplane._core cimport Connection, Core, Listener

# A downstream for an accepted socket; owns fd, also when it returns NULL.
cdef Connection *welcome(Core *core, int fd, int listener, const uint8_t *address) noexcept nogil
# A listener has an event.
cdef void on_knock(Core *core, Listener *listener) noexcept nogil
# Those where the last accept found someone may have more for this worker.
cdef void accept_more(Core *core) noexcept nogil
# Once a tick: takes who waits though this worker was not told.
cdef void try_doors(Core *core) noexcept nogil
# Whether there are some for clients.
cdef bint has_descriptors(Core *core) noexcept nogil
# 0, or errno.
cdef int start_accepting(Core *core) noexcept nogil
cdef void stop_accepting(Core *core) noexcept nogil
# Does at each what control has ordered since. 0, or errno of one that can't be watched: then the tick tries anew.
cdef int follow_listeners(Core *core) noexcept nogil
# The first descriptor that is not for a client, and the first that is not for an upstream.
cdef tuple limits_of(int64_t n_descriptors, int n_workers)
