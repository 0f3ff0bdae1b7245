"""Choice: whom of a pool an exchange asks, by what is configured now, and whether who waits for one would do better at another.

Must not know pools other than the one it is asked about, nor what an attempt does.
"""
from gateway.dataplane._core cimport Core, Exchange
from routing_core._endpoints cimport Availability, Heed
from routing_core._layout cimport Endpoint, Pool

# As choose_endpoint(); of a PoP that has been drained or removed since the request came, nobody.
cdef Availability choose(Core *core, const Exchange *exchange, const Pool *pool, Heed heed, const Endpoint **chosen) noexcept nogil
cdef enum:
    LOOKS_A_TICK = 20000        # columns of endpoints: half a millisecond

# Of an exchange that is QUEUED where all is taken: whether another one of its pool has room, or fewer before it. When the tick's looks are
# spent: no, until a later tick.
cdef bint would_move(Core *core, Exchange *exchange) noexcept nogil
