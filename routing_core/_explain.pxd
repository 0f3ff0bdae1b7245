"""Explain: the decision for people and for control: which route, what is chosen, PoP by PoP and why. Python's face of the core.

Shares are worked out from the same weigh() that traffic runs. Must not know how an answer is shown.
"""
from routing_core._location cimport Location
from routing_core._steer cimport Weighed
from routing_core._table cimport Route, Table

# The share of each candidate of `weighed` over all draws of a request; zeros when there is no decision.
cdef void work_out_shares(const Weighed *weighed, double *shares) noexcept nogil
cdef const Route *route_of(Table table, int route) except NULL
cdef int fill_location(Location *out, object location) except -1
