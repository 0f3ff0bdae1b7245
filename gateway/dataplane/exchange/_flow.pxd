"""Flow: moves one direction of an exchange: a head composed by us, then the body, from one stream to the other.

Backpressure: nothing is read while the sink would block. Bytes go straight across; sound ones only.
Must not know what a request or an answer is.
"""
from gateway.dataplane._core cimport LARGE_BYTES, Core, Flow, Stream

cdef enum:
    # What has been sent in a turn when no fast flow goes on in it: they move some 256 KiB, all of them together, for that is what anyone
    # else waits for. While more than one goes on, each reads no more once it has sent the lesser.
    ALONE_BYTES = 3 * LARGE_BYTES
    SHARE_BYTES = LARGE_BYTES

cdef enum Pumped:
    PUMP_WAIT_SOURCE        # all that came is sent; more must come
    PUMP_WAIT_SINK          # the sink would block
    PUMP_GO_ON              # neither: it has had its share of this turn
    PUMP_DONE               # head and body are sent
    PUMP_ENDED              # the source ended before the body did
    PUMP_BROKEN             # the source was reset
    PUMP_BAD                # the body's framing is not sound
    PUMP_TOO_LARGE          # more body than the limit
    PUMP_SINK_BROKEN        # the sink was reset
    PUMP_NO_MEMORY

# is_last: the sink is closed right after this flow, so its FIN may ride on the last segment.
cdef Pumped pump(Core *core, Flow *flow, Stream *source, Stream *sink, bint is_last) noexcept nogil
# The head alone: what is not followed by a body yet. PUMP_DONE, PUMP_WAIT_SINK or PUMP_SINK_BROKEN.
cdef Pumped send_head(Flow *flow, Stream *sink) noexcept nogil
cdef void begin_body(Flow *flow) noexcept nogil
