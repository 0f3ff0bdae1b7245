"""Waits: for whom a flow waits, since when, and until when; from that, the deadlines of an exchange's two streams.

A wait goes on until a byte moves on its own flow: what happens on the other side, or the other way, is no sign of life of this one.
Must not know what becomes of who is late.
"""
from gateway.dataplane._core cimport CLIENT_SIDE, Core, Exchange, Flow, Side
from gateway.dataplane.shared._settings cimport Settings

# The flow waits for that side, from now on or still. NO_SIDE: for nobody.
cdef void wait_for(Core *core, Exchange *exchange, Flow *flow, Side side) noexcept nogil
# All that the endpoint may have of the request for now is sent: it owes an answer, or it does not yet. An interim one extends no wait.
cdef void wait_for_answer(Core *core, Exchange *exchange, bint is_owed) noexcept nogil
# The client sends its body when it is told to continue (RFC 9110 10.1.1): the endpoint has the whole head, and the next word is its own.
cdef bint awaits_continue(const Exchange *exchange) noexcept nogil
# Another state: neither flow waits for anyone.
cdef void end_waits(Core *core, Exchange *exchange) noexcept nogil
# What the streams' deadlines are by now. For an exchange under way, behind all that has moved.
cdef void settle_deadlines(Core *core, Exchange *exchange) noexcept nogil

# Those that the exchange began with, as long as it holds them.
cdef inline const Settings *settings_of(const Core *core, const Exchange *exchange) noexcept nogil:
    return exchange.snapshot.settings if exchange.snapshot != NULL else core.snapshot.settings

# One of the flows waits for the client.
cdef inline bint is_for_client(const Exchange *exchange) noexcept nogil:
    return exchange.up.waits_for == CLIENT_SIDE or exchange.down.waits_for == CLIENT_SIDE
