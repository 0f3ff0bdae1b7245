"""Explain: the decision for people and for control: which route, what is chosen, PoP by PoP and why. Python's face of the core.

Shares are worked out from the same weigh() that traffic runs. Must not know how an answer is shown.
"""
from routing_core._decision cimport Asked
from routing_core._layout cimport Route
from routing_core._location cimport Location
from routing_core._table cimport Table

cdef const Route *route_of(Table table, int route) except NULL
# facts: what the keywords of explain() say of the client.
cdef int fill_asked(Asked *out, Location *client, Table table, location, dict facts) except -1
