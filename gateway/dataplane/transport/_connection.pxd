"""Connection: how one begins and ends, and which events are its own.

Must not know what is said on a connection, nor what an exchange is.
"""
from libc.stdint cimport uint32_t, uint64_t

from gateway.dataplane._core cimport Connection, Core, StreamState, Transport
from gateway.dataplane.transport._linux cimport sockaddr_storage


# told: what epoll says of an event of it. An address is never as low as a number.
cdef bint watch(Core *core, int fd, uint64_t told, uint32_t events) noexcept nogil
# Whose event it is that epoll tells; NULL: of one that is gone. A descriptor that is closed stays watched for as long as a child that was
# just forked has it too, and its memory may be another connection by then.
cdef Connection *heard_of(uint64_t told) noexcept nogil
# What a downstream or an upstream is watched for: both directions, edge-triggered.
cdef bint watch_peer(Core *core, Connection *connection) noexcept nogil
# Owns fd from here on, also when it fails: then NULL.
cdef Connection *open_connection(Core *core, int fd, StreamState state, const Transport *transport) noexcept nogil
# Closes it, which is not DEAD yet; freed after the batch. What points to it is the caller's affair.
cdef void bury(Core *core, Connection *connection) noexcept nogil
# To the lowest number of a descriptor that is free, which the kernel gives, where that is below the limit.
cdef bint move_down(Core *core, Connection *connection, int limit) noexcept nogil
# Where the peer connected to. Its family is AF_UNIX where nobody knows.
cdef void local_address(const Connection *connection, sockaddr_storage *out) noexcept nogil
cdef void sweep_graveyard(Core *core) noexcept nogil
# Back to the heap; while the worker runs they stay, see heard_of.
cdef void free_connections(Core *core) noexcept nogil
