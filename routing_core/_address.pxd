"""Address: from an EndpointSpec to what connect() takes, and to the endpoint that has it. Must not know pools, or names of hosts."""
from routing_core._figures cimport Figures
from routing_core._layout cimport Endpoint

cdef enum:
    MAX_WEIGHT = 1000000

# `text`: where its name is kept; moved on. ValueError says what is wrong in `spec`, IndexError that its row is none.
cdef int fill_endpoint(Endpoint *out, char **text, object spec, bytes name, Figures figures) except -1
