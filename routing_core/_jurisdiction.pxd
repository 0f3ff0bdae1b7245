"""Jurisdiction: which rule holds for a client. Which PoPs a rule permits was worked out when the table was made.

Must not know health, load or latency: what it forbids stays forbidden.
"""
from routing_core._layout cimport Rule, Target
from routing_core._location cimport Location

# The first of the target's rules that fits the client; NULL: none, so nothing is permitted.
cdef const Rule *find_rule(const Target *target, const Location *client) noexcept nogil
