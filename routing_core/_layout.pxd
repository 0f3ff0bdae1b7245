"""Layout: what a table consists of: PoPs, services with their pools and endpoints, routes. Declarations; never changed once built.

Pointers inside point into the table's own block, into `Members` that it keeps, or into rows of Figures (which outlive tables). A field
that points into the block stands in _copy.pyx too.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from routing_core._figures cimport Crew, EndpointColumn, EndpointGate, Pace, PoolColumn, PoolGate, PopColumn, ServiceColumn, ServiceDebt
from routing_core._text cimport Text    # all texts of a table are owned by the table

cdef enum:
    MAX_POPS = 512              # scratch of a decision is sized by it
    ADDRESS_BYTES = 110         # sizeof(sockaddr_un)
    EXPLORED_BITS = 20          # the lowest of a draw: all else goes by its hashes

cdef struct Address:            # a sockaddr, as connect() takes it
    unsigned char bytes[ADDRESS_BYTES]
    uint16_t length

cdef struct Pop:
    Text name
    double x                    # unit vector
    double y
    double z
    uint64_t salt               # of the name: a request's draw is hashed with it
    uint16_t country            # as Location has it; 0 when not said
    unsigned char subregion     # of the country; 0: of none
    int32_t number              # index in the table's pops: the configured order
    bint is_drained             # the operator's word: takes no new request
    int32_t high                # in flight, all services: none is added from here on while another PoP has room; 0: no capacity
    PopColumn *columns          # [n_workers]; NULL: not counted
    Text cookie                 # value that names it; empty: none
    Text public_url             # scheme and authority; empty: no redirect leads here
    const PoolGate *gate        # of the first pool in it: this gateway's path to that is its path to the PoP; NULL: there is none

cdef struct Path:               # from a landmark to a PoP
    float ms                    # round trip; -1: nobody says
    float per_prior             # 1 / what the prior says of it

cdef struct Endpoint:
    Text name                   # "192.0.2.1:8080", for logs and explain
    Address address
    int32_t row
    int32_t weight              # >= 1
    const EndpointGate *gate
    EndpointColumn *columns     # [n_workers]

cdef struct Pool:               # one service in one PoP
    const Pop *pop
    const Service *service
    int32_t row
    int32_t n_endpoints         # those that may be chosen: ready, or serving and terminating if none is ready
    int32_t total               # what availability counts: unready ones included, terminating ones not
    int32_t max_in_flight       # per endpoint, whole gateway; 0: no limit
    int32_t high                # as a PoP's, of this service alone
    int32_t weight              # >= 1: beside the number of endpoints, how often it is drawn among near-equals
    int32_t n_preferred         # the first of the endpoints: the others serve while none of these is available, and as the gate says
    const Endpoint *endpoints   # [n_endpoints], of Members
    const PoolGate *gate
    PoolColumn *columns         # [n_workers]

cdef struct Service:
    Text name
    int32_t number
    int32_t n_pools
    int32_t row
    bint has_weights            # its pools' weights differ
    bint is_long_lived          # its exchanges' times say nothing about latency
    const Pool *pools
    ServiceColumn *columns      # [n_workers]
    ServiceDebt *debt

cdef enum Leg:
    CLIENT_POP
    GATEWAY_POP

cdef enum:
    N_COUNTRIES = 676           # 26 * 26
    COUNTRY_WORDS = 11          # as many bits
    MAX_SUBREGIONS = 32         # of which 0 stands for none

cdef struct Rule:               # which PoPs of one service may see the requests of which clients
    bint is_for_all             # else for those of the places below; a client of unknown country or continent is in none
    uint32_t continents         # bits: see continent_bit
    uint64_t countries[COUNTRY_WORDS]   # bits: see country_bit
    int32_t n_candidates
    const Pool **candidates     # [n_candidates]: pools whose PoP the rule permits, in the configured order
    int32_t n_denied            # pools of the service that it does not permit, for explain
    const Pool **denied

cdef struct Target:             # a service that a route leads to
    const Service *service
    int32_t until               # weights added up to here: drawn below total_weight
    int32_t n_rules
    const Rule *rules           # shared by targets that agree

cdef enum AffinityKind:
    NO_AFFINITY
    BY_COOKIE
    BY_HEADER
    BY_CLIENT

cdef struct Route:
    Text name
    int32_t number              # order in the configuration: the last tie-breaker
    Leg leg
    double window_ms
    int32_t n_split             # the first targets, one of which is drawn; those after it are tried in order when that can't serve
    int32_t n_targets           # 0: it is refused, and nothing is decided by it
    int32_t total_weight
    bint is_split_sticky
    const Target *targets
    AffinityKind affinity
    Text affinity_name          # of the cookie or header; a header's in lower case
    Text cookie_attributes      # as they are sent behind the value
    bint is_secure_over_tls     # and Secure, for clients that came by TLS
    double within_ms            # the window by which a kept PoP is judged, when wider
    int32_t redirect_status     # 307, 308; 0: passed on
    bint redirects_all

cdef struct Pin:
    int32_t n_pops
    const int32_t *pops         # numbers, in order

cdef struct TableData:
    int64_t generation
    int64_t places              # the same in tables whose PoPs, services, rules and prior are, and where each stands; else another; from 1
    int32_t n_pops
    int32_t n_services
    int32_t n_routes
    int32_t n_pools             # of all services
    size_t n_targets            # of all routes
    size_t n_rules              # of all targets
    size_t n_lists              # places in lists of pools
    size_t n_bytes              # of the block
    const Pop *pops
    const Service *services
    const Route *routes
    const Pool *pools           # of all services
    const Target *targets       # of all routes
    const Rule *rules           # of all targets
    const Pool **lists          # those of all rules, one behind the other
    int32_t n_pins
    const Pin *pins
    const Pace *pace            # of the figures
    const Crew *crew            # of the figures
    double intercept_ms         # the prior: rtt_ms = intercept + slope * great-circle km + abroad, when the countries differ
    double slope_ms_per_km
    double abroad_ms
    unsigned char subregions[N_COUNTRIES]   # of each country, by country_bit(); 0: none
    float borders_ms[MAX_SUBREGIONS][MAX_SUBREGIONS]    # abroad_ms, and what more a border between the two costs
    int32_t n_landmarks         # PoPs of which paths to others are known
    const int32_t *landmarks    # [n_landmarks]: their numbers; of Landmarks
    const Path *paths           # [n_landmarks][n_pops]; of Landmarks
    int32_t gateway_pop         # number of the PoP in which this gateway stands; -1: none
    uint64_t explored_below     # of the EXPLORED_BITS of a draw: requests that may go where little is known, at most
    bint has_gateway            # the gateway's own place is known
    double gateway_x            # unit vector
    double gateway_y
    double gateway_z
    const void *matcher         # of _routes: private to it

# Two ASCII letters, the first in the high byte, as Location has them. -1: none of 26 * 26.
cdef inline int country_bit(uint16_t country) noexcept nogil:
    cdef int high = (country >> 8) - 65
    cdef int low = (country & 0xFF) - 65
    return high * 26 + low if 0 <= high < 26 and 0 <= low < 26 else -1

cdef inline unsigned char subregion_of(const TableData *table, uint16_t country) noexcept nogil:
    cdef int bit = country_bit(country)
    return table.subregions[bit] if bit >= 0 else 0

# AF AN AS EU NA OC SA as Location has them: compared whole, for a database may have any two letters there. -1: none of these.
cdef inline int continent_bit(uint16_t continent) noexcept nogil:
    if continent == 0x4146:
        return 0
    if continent == 0x414E:
        return 1
    if continent == 0x4153:
        return 2
    if continent == 0x4555:
        return 3
    if continent == 0x4E41:
        return 4
    if continent == 0x4F43:
        return 5
    return 6 if continent == 0x5341 else -1
