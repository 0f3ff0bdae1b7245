"""judge() finds what is sound, send() passes it on, refill() reads more: in turn, until one of them has to wait."""
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memmove

from gateway.dataplane._core cimport *
from gateway.dataplane.http1._chunks cimport CHUNK_BAD, CHUNK_DATA, CHUNK_END, Step, begin_chunks, drop_trailers, feed_chunks
from gateway.dataplane.transport._buffers cimport close_buffer, make_room, open_buffer, room_for_new
from gateway.dataplane.transport._linux cimport iovec
from gateway.dataplane.transport._stream cimport fill
from gateway.dataplane.transport._transport cimport write


cdef void begin_body(Flow *flow) noexcept nogil:
    flow.is_whole = flow.framing == NO_BODY or (flow.framing == BY_LENGTH and flow.left == 0)
    flow.is_done = False
    flow.ready = 0
    flow.bytes = 0
    flow.is_fast = False
    if flow.framing == BY_CHUNKS:
        begin_chunks(&flow.chunks)


cdef inline uint32_t held_back(const Flow *flow) noexcept nogil:
    """Trailers of an answer, judged but not ready: which of them go down is seen when all are there."""
    return flow.chunks.trailer_bytes if flow.chunks.is_of_answer and not flow.is_unchunked and not flow.is_whole else 0


cdef Pumped judge_chunks(Flow *flow, Buffer *buffer) noexcept nogil:
    cdef char *sound = buffer.at + buffer.begin + flow.ready    # where sound bytes end
    cdef char *at = sound + held_back(flow)                     # and those not yet judged begin
    cdef char *end = buffer.at + buffer.end
    cdef size_t taken = 0
    cdef size_t data_at = 0
    cdef size_t data_length = 0
    cdef Step step = CHUNK_DATA
    while at < end and step == CHUNK_DATA:
        step = feed_chunks(&flow.chunks, at, end - at, &taken, &data_at, &data_length)
        if step == CHUNK_DATA:
            flow.bytes += data_length
        if not flow.is_unchunked:
            sound += taken
        elif step == CHUNK_DATA:        # the data only, closed up
            memmove(sound, at + data_at, data_length)
            sound += data_length
        at += taken
    if held_back(flow):
        sound = at - flow.chunks.trailer_bytes
        if step == CHUNK_END:
            sound += drop_trailers(sound, flow.chunks.trailer_bytes)
    flow.is_whole = step == CHUNK_END
    flow.ready = <uint32_t>(sound - buffer.at) - buffer.begin
    if sound < at and not held_back(flow):      # one gap at the end, however many chunks there were
        memmove(sound, at, end - at)
        buffer.end -= <uint32_t>(at - sound)
    return PUMP_BAD if step == CHUNK_BAD else PUMP_DONE


cdef Pumped judge(Flow *flow, Stream *source) noexcept nogil:
    """Marks what has come and is sound as ready. PUMP_DONE: judged."""
    cdef Buffer *buffer = &source.input
    cdef int64_t fresh = <int64_t>buffer.end - buffer.begin - flow.ready
    cdef Pumped judged = PUMP_DONE
    if not flow.is_whole and fresh > 0:
        if flow.framing == BY_CHUNKS:
            judged = judge_chunks(flow, buffer)
        elif flow.framing == BY_LENGTH:
            fresh = min(fresh, flow.left)
            flow.left -= fresh
            flow.ready += <uint32_t>fresh
            flow.bytes += fresh
            flow.is_whole = flow.left == 0
        else:
            flow.ready += <uint32_t>fresh
            flow.bytes += fresh
    if flow.limit and flow.bytes > flow.limit:
        return PUMP_TOO_LARGE
    return judged


cdef Pumped send(Core *core, Flow *flow, Stream *source, Stream *sink, bint is_last) noexcept nogil:
    """Sends head and ready bytes. PUMP_DONE: nothing is left to send."""
    cdef iovec vector[2]
    cdef Buffer *body = &source.input
    cdef uint32_t head = flow.head.end - flow.head.begin
    cdef ssize_t sent
    while head > 0 or flow.ready > 0:
        if not sink.is_writable:
            return PUMP_WAIT_SINK
        vector[0].iov_base = flow.head.at + flow.head.begin
        vector[0].iov_len = head
        vector[1].iov_base = body.at + body.begin
        vector[1].iov_len = flow.ready
        sent = write(sink, &vector[0 if head else 1], 1 + (head > 0 and flow.ready > 0), is_last and flow.is_whole)
        if sent < 0:
            return PUMP_WAIT_SINK if sent == BLOCKED else PUMP_SINK_BROKEN
        flow.has_moved = True
        if sent < head:
            flow.head.begin += <uint32_t>sent
            head -= <uint32_t>sent
            continue
        flow.head.begin = flow.head.end
        flow.n_sent += <uint32_t>sent
        core.n_sent += sent
        sent -= head
        head = 0
        body.begin += <uint32_t>sent
        flow.ready -= <uint32_t>sent
    return PUMP_DONE


cdef Pumped send_head(Flow *flow, Stream *sink) noexcept nogil:
    cdef iovec vector
    cdef ssize_t sent
    while flow.head.begin < flow.head.end:
        if not sink.is_writable:
            return PUMP_WAIT_SINK
        vector.iov_base = flow.head.at + flow.head.begin
        vector.iov_len = flow.head.end - flow.head.begin
        sent = write(sink, &vector, 1, False)
        if sent < 0:
            return PUMP_WAIT_SINK if sent == BLOCKED else PUMP_SINK_BROKEN
        flow.has_moved = True
        flow.head.begin += <uint32_t>sent
    return PUMP_DONE


cdef Pumped refill(Core *core, Flow *flow, Stream *source) noexcept nogil:
    """Reads more of the body into the source's buffer. PUMP_DONE: something came."""
    cdef Buffer *buffer = &source.input
    cdef ssize_t came
    cdef int64_t room = room_for_new(core)
    cdef uint32_t most = <uint32_t>LARGE_BYTES if room >= <int64_t>LARGE_BYTES else <uint32_t>SMALL_BYTES
    cdef uint32_t wanted = <uint32_t>min(flow.left, <int64_t>most) if flow.framing == BY_LENGTH else most
    if buffer.at == NULL:
        if not open_buffer(core, buffer, wanted):
            return PUMP_NO_MEMORY
    elif flow.keeps and buffer.end < buffer.capacity:
        pass                            # sent bytes stay, in case the request must be sent again
    elif held_back(flow):
        if not make_room(core, buffer):
            return PUMP_NO_MEMORY
    else:                               # all that was judged is sent, and all was judged
        flow.keeps = False
        if buffer.capacity < wanted or (room < 0 and buffer.capacity > <uint32_t>SMALL_BYTES):
            close_buffer(core, buffer)
            if not open_buffer(core, buffer, wanted):
                return PUMP_NO_MEMORY
        buffer.begin = buffer.end = 0
    came = fill(source)
    if came > 0:
        flow.has_moved = True
        flow.is_fast = buffer.end == <uint32_t>LARGE_BYTES
        return PUMP_DONE
    if came == BLOCKED:
        return wait_for_source(core, flow, source)
    return PUMP_ENDED if came == 0 else PUMP_BROKEN


cdef Pumped pump(Core *core, Flow *flow, Stream *source, Stream *sink, bint is_last) noexcept nogil:
    cdef Pumped pumped
    cdef Pumped judged
    if flow.is_fast and core.n_sent > ALONE_BYTES and sink.is_writable and (flow.ready or source.is_readable):
        return PUMP_GO_ON
    if flow.sent_in != core.n_turns:
        flow.sent_in = core.n_turns
        flow.n_sent = 0
    while True:
        judged = judge(flow, source)
        if judged == PUMP_TOO_LARGE:
            return judged
        pumped = send(core, flow, source, sink, is_last and judged == PUMP_DONE)
        if pumped != PUMP_DONE:
            return pumped
        if judged != PUMP_DONE:
            return judged
        if flow.is_whole:
            flow.is_done = True
            return PUMP_DONE
        if not source.is_readable:
            return wait_for_source(core, flow, source)
        if flow.n_sent >= <uint32_t>SHARE_BYTES and (core.is_shared or core.n_sent > ALONE_BYTES):
            return PUMP_GO_ON
        pumped = refill(core, flow, source)
        if pumped == PUMP_ENDED:
            return end_of_source(flow)
        if pumped != PUMP_DONE:
            return pumped


cdef Pumped wait_for_source(Core *core, Flow *flow, Stream *source) noexcept nogil:
    # A stream that pauses holds no buffer.
    if source.input.begin == source.input.end and not flow.keeps:
        close_buffer(core, &source.input)
    return PUMP_WAIT_SOURCE


cdef Pumped end_of_source(Flow *flow) noexcept nogil:
    if flow.framing == BY_END or flow.framing == RAW:
        flow.is_whole = flow.is_done = True
        return PUMP_DONE
    return PUMP_ENDED
