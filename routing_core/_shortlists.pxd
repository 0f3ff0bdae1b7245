"""Shortlists: the PoPs of a rule as seen from one place, the shortest path first, kept: so a decision looks at the first few.

One cache a worker, without locks. What a shortlist stands on is in its key: place and country, rule and leg, the table's `places`, and
where measured paths are in it the version and how often paths have changed. Changes of endpoints, health, load and service times leave it
alone.
Must not know requests, or who may be sent where.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

from routing_core._figures cimport N_VERSIONS
from routing_core._layout cimport Leg, Rule, Service, TableData
from routing_core._location cimport Location

cdef enum:
    N_KEPT = 24                 # of a rule's PoPs: of which farther ones are needed all are looked at
    N_PAIRS = 1024              # of places a worker knows: of one hash the last two
    N_LEASTS = 64               # services likewise

cdef struct Near:               # a PoP of a rule, from one place; as an Estimate has it
    double path_ms
    float distance_km
    uint16_t at                 # of the rule's candidates
    unsigned char evidence

cdef struct ShortlistKey:
    double x                    # of the place, a unit vector
    double y
    double z
    uint64_t of                 # rule, leg, country and version
    int64_t places              # of the table
    int64_t paths               # changes of measured paths; -1: none is in it

cdef struct Shortlist:          # seven cache lines
    ShortlistKey key
    int32_t n
    bint is_whole               # all of the rule's are in it
    bint is_known               # its place
    Near nearest[N_KEPT]

cdef struct Least:              # two cache lines
    int64_t places              # of the table; 0: nothing is known here
    int32_t service
    int64_t times               # changes of service times
    double ms[N_VERSIONS]

cdef struct Shortlists:             # zeroed: nothing is kept
    Shortlist *kept[N_PAIRS][2]     # owned, the last used first; NULL: none yet
    Least leasts[N_LEASTS]

cdef void free_shortlists(Shortlists *shortlists) noexcept nogil
# Kept, or worked out; NULL: no memory. slot: which version of measured paths, see Pace.
cdef const Shortlist *find_shortlist(Shortlists *shortlists, const TableData *table, Leg leg, const Rule *rule, const Location *client,
                                     int slot) noexcept nogil
# The least service time of any pool of the service in that version: what a PoP that is not looked at takes besides its path.
cdef double least_service_ms(Shortlists *shortlists, const TableData *table, const Service *service, int slot) noexcept nogil
