"""Bearings: by what a request is decided: its route, its client's place, its affinity; as a snapshot has them.

Must not know how a PoP is chosen, nor what becomes of the request.
"""
from gateway.dataplane._core cimport Core, Exchange
from gateway.dataplane.http1._head cimport RequestHead
from gateway.dataplane.shared._snapshot cimport Snapshot
from routing_core._decision cimport Asked
from routing_core._layout cimport Route
from routing_core._location cimport Location

cdef struct Bearings:           # of an exchange, kept while others are tried
    const Snapshot *snapshot
    const Route *route
    Location location
    Asked asked
    bint is_over_tls

# By the snapshot that the worker looks at. NULL: no route.
cdef const Route *find_route(const Core *core, bint is_trusted, const char *text, const RequestHead *head) noexcept nogil
# Those of a new request of the same head, by the newest snapshot, which is not held yet; nobody is left out. The exchange's decision and
# pool are of the old one until keep_bearings(). False: it has no route any more, and keeps those that it has.
cdef bint turn_to_newest(Core *core, Exchange *exchange) noexcept nogil
cdef void note_bearings(const Exchange *exchange, Bearings *out) noexcept nogil
# Nothing of the snapshot before is pointed to any more: it is let go. Who of those that it has tried is in none of its route's pools now is
# forgotten.
cdef void keep_bearings(Core *core, Exchange *exchange, const Bearings *before) noexcept nogil
cdef void give_back_bearings(Exchange *exchange, const Bearings *before) noexcept nogil
