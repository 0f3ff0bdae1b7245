"""Each figure goes to the worker's own column; the log record is written in place in the ring."""
import ipaddress

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from gateway.dataplane._core cimport *
from gateway.dataplane.http1._head cimport RequestHead
from gateway.dataplane.shared._clock cimport clock_us
from gateway.dataplane.shared._counters cimport LOG_DROPPED, count
from gateway.dataplane.shared._ring cimport commit, reserve
from gateway.dataplane.transport._buffers cimport open_buffer
from routing_core._atomic cimport add_own, load_relaxed, store_release
from routing_core._budget cimport leave
from routing_core._endpoints cimport observe_latency
from routing_core._figures cimport EndpointColumn, PoolColumn, RetryOutcome, add_served, add_to_group, bucket_of_us, slot_of_code
from routing_core._layout cimport Pool, Text
from routing_core._random cimport next_u64

from gateway.dataplane.shared._counters import ANSWER_NAMES as _ANSWERS, CAUSE_NAMES as _CAUSES
from routing_core._figures import REASONS as _REASONS

_SIDES = (None, "client", "upstream", "gateway")      # in the order of Side

cdef enum:
    REFUSALS_SHARE = 8      # the eighth part of the log's ring
    GOOD_ANSWERS = 16       # that a mean is of
    SLOW_US = 25000         # above that mean, and half of it: what only one endpoint of three does is more than that


cdef inline PoolColumn *own_pool(Core *core, Exchange *exchange) noexcept nogil:
    return &exchange.pool.columns[core.number]


# When the endpoint had the request: the client's upload, and what the gateway did before, are not its slowness.
cdef inline int64_t asked_us(const Exchange *exchange) noexcept nogil:
    return max(exchange.sent_us, exchange.started_us)


cdef inline void count_in_flight(Core *core, Exchange *exchange, int64_t by) noexcept nogil:
    add_own(&own_pool(core, exchange).in_flight, by)
    if exchange.pool.pop.columns != NULL:
        add_own(&exchange.pool.pop.columns[core.number].in_flight, by)


cdef inline void count_tunnels(Core *core, Exchange *exchange, int64_t by) noexcept nogil:
    add_own(&exchange.endpoint.columns[core.number].tunnels, by)
    add_own(&own_pool(core, exchange).tunnels, by)
    if exchange.pool.pop.columns != NULL:
        add_own(&exchange.pool.pop.columns[core.number].tunnels, by)


cdef void begin_attempt(Core *core, Exchange *exchange) noexcept nogil:
    cdef EndpointColumn *own = &exchange.endpoint.columns[core.number]
    add_own(&own.in_flight, 1)
    add_own(&own.attempts, 1)
    add_own(&own_pool(core, exchange).attempts, 1)
    count_in_flight(core, exchange, 1)
    note_wait(core, exchange, True)


cdef void end_attempt(Core *core, Exchange *exchange) noexcept nogil:
    # What is in flight last: where nothing is, a row may be another's.
    note_wait(core, exchange, False)
    note_hold(core, exchange, False)
    if exchange.state == TUNNELLING:
        count_tunnels(core, exchange, -1)
    add_own(&exchange.endpoint.columns[core.number].in_flight, -1)
    count_in_flight(core, exchange, -1)


cdef void begin_queueing(Core *core, Exchange *exchange) noexcept nogil:
    exchange.queued_at_us = core.now_us
    count_in_flight(core, exchange, 1)
    note_wait(core, exchange, True)


cdef void end_queueing(Core *core, Exchange *exchange) noexcept nogil:
    exchange.queued_us += core.now_us - exchange.queued_at_us
    note_wait(core, exchange, False)
    count_in_flight(core, exchange, -1)


cdef void note_wait(Core *core, Exchange *exchange, bint is_waiting) noexcept nogil:
    cdef int64_t by = 1 if is_waiting else -1
    if exchange.is_waiting != is_waiting:
        exchange.is_waiting = is_waiting
        add_own(&own_pool(core, exchange).waiting, by)
        add_own(&own_pool(core, exchange).waiting_by[exchange.group], by)
        if exchange.endpoint != NULL:       # else it waits in a queue
            add_own(&exchange.endpoint.columns[core.number].awaiting, by)


cdef void note_hold(Core *core, Exchange *exchange, bint is_held) noexcept nogil:
    if exchange.is_held != is_held:
        exchange.is_held = is_held
        add_own(&own_pool(core, exchange).held[exchange.group], 1 if is_held else -1)


cdef void note_tunnel(Core *core, Exchange *exchange) noexcept nogil:
    count_tunnels(core, exchange, 1)


cdef void note_connect(Core *core, Exchange *exchange) noexcept nogil:
    cdef PoolColumn *own = own_pool(core, exchange)
    if exchange.upstream.opened_us < core.resumed_us:
        return
    add_own(&own.connects, 1)
    add_own(&own.connect_us, core.now_us - exchange.upstream.opened_us)


# Its head was counted as an answer, so it is one that is bad, and not one more.
cdef void note_cut(Core *core, Exchange *exchange) noexcept nogil:
    cdef EndpointColumn *own = &exchange.endpoint.columns[core.number]
    add_own(&own.failures, 1)
    if exchange.status < 500:
        add_own(&own.server_errors, 1)
        add_to_group(own.bad_by, exchange.group)
    note_pool_failure(core, exchange, exchange.pool)


cdef void note_failure(Core *core, Exchange *exchange, bint is_connect) noexcept nogil:
    cdef EndpointColumn *own = &exchange.endpoint.columns[core.number]
    if is_connect:
        add_own(&own.connect_failures, 1)   # the endpoint's gate knows; the PoP has failed when nobody in it could be reached
    else:
        add_own(&own.failures, 1)
        add_own(&own.errors, 1)
        add_to_group(own.bad_by, exchange.group)
        note_pool_failure(core, exchange, exchange.pool)
        # No answer is an answer too: or the average of one that hangs would fade, and it would look ever quicker.
        observe_latency(own, max(core.now_us - asked_us(exchange), load_relaxed(&own.latency_us)), core.now_ms)


cdef void note_pool_failure(Core *core, const Exchange *exchange, const Pool *pool) noexcept nogil:
    cdef PoolColumn *own = &pool.columns[core.number]
    add_own(&own.failures, 1)
    add_to_group(own.bad_by, exchange.group)


cdef void note_first_byte(Core *core, Exchange *exchange, int64_t lay_us) noexcept nogil:
    # From the request's last byte: an upload's length is not the PoP's slowness.
    exchange.waited_us = max(core.now_us - lay_us - asked_us(exchange), 0)
    exchange.lay_us = lay_us
    exchange.first_byte_us = clock_us(core)


cdef void feed_latency(Core *core, Exchange *exchange, bint is_good) noexcept nogil:
    cdef PoolColumn *own = own_pool(core, exchange)
    cdef EndpointColumn *of_endpoint = &exchange.endpoint.columns[core.number]
    cdef int64_t us = exchange.waited_us
    if asked_us(exchange) < core.resumed_us:
        return
    # Who asks the PoP waits in its queues too; of two endpoints the shorter queue is known as it is.
    add_own(&own.first_bytes, 1)
    add_own(&own.first_byte_us, us + exchange.queued_us)
    add_own(&own.first_byte_buckets[bucket_of_us(us + exchange.queued_us)], 1)
    add_own(&of_endpoint.first_bytes, 1)
    add_own(&of_endpoint.first_byte_us, us)
    if own.good_us and us > own.good_us * 3 // 2 and us > own.good_us + SLOW_US:
        add_to_group(of_endpoint.slow_by, exchange.group)
    # Who refuses at once is not quick at what is asked of it: no better than those who do it (Finagle, Linkerd).
    if is_good:
        add_served(own, exchange.pool.gate, exchange.group, us + exchange.queued_us)
        store_release(&own.good_us, us + (own.good_us - us) * (GOOD_ANSWERS - 1) // GOOD_ANSWERS if own.good_us else max(us, 1))
    else:
        us = max(us, own.good_us)
    observe_latency(of_endpoint, us, core.now_ms)


cdef void note_given_up(Core *core, Exchange *exchange) noexcept nogil:
    cdef EndpointColumn *own
    if exchange.is_waiting and exchange.state == AWAITING and not exchange.pool.service.is_long_lived:
        own = &exchange.endpoint.columns[core.number]   # none is chosen yet where it waits in a queue
        observe_latency(own, max(core.now_us - asked_us(exchange), load_relaxed(&own.latency_us)), core.now_ms)


cdef void note_answer(Core *core, Exchange *exchange, int status, bint is_long_lived, int64_t retry_after_ms) noexcept nogil:
    cdef EndpointColumn *of_endpoint = &exchange.endpoint.columns[core.number]
    cdef PoolColumn *own = own_pool(core, exchange)
    cdef bint is_server_error = 500 <= status <= 599
    # Who says when to come back has answered: that one asks too much, or all do.
    cdef bint is_limited = status == 429 or (status == 503 and retry_after_ms > 0)
    # Those by which a server behind the endpoint, or a proxy there, says that it could not be served; a 500 may be the request's fault.
    cdef bint is_error = 502 <= status <= 504 and not is_limited
    note_wait(core, exchange, False)
    add_own(&own.lay_us, exchange.lay_us)
    add_own(&of_endpoint.errors if is_error else &of_endpoint.answers, 1)
    add_to_group(&of_endpoint.bad_by[0] if is_server_error else &of_endpoint.good_by[0], exchange.group)
    add_to_group(own.answered_by, exchange.group)
    if is_server_error:
        add_own(&own.server_errors, 1)
        add_to_group(own.bad_by, exchange.group)
        if not is_error:
            add_own(&of_endpoint.server_errors, 1)
    if is_limited:
        add_own(&own.rate_limited, 1)
        add_own(&own.retry_after_ms, retry_after_ms)
        add_to_group(own.limited_by, exchange.group)
    if not is_long_lived:
        feed_latency(core, exchange, not is_server_error and not is_limited)


cdef void count_retry(Core *core, Exchange *exchange, RetryOutcome outcome) noexcept nogil:
    add_own(&exchange.pool.service.columns[core.number].retries[<int>outcome], 1)


cdef inline bint is_drawn(Core *core, const Exchange *exchange) noexcept nogil:
    cdef uint32_t share = exchange.snapshot.settings.log_share
    return share > 0 and (next_u64(&core.rng) >> 44) < share


cdef void note_headless(Core *core, Exchange *exchange) noexcept nogil:
    exchange.is_logged = is_drawn(core, exchange)


cdef void note_bad_answer(Core *core, Exchange *exchange, int cause) noexcept nogil:
    exchange.bad_answer = cause
    add_own(&core.column.bad_answers[cause], 1)


cdef void note_request(Core *core, Exchange *exchange, const char *text, const RequestHead *head, const char *id, unsigned int id_length,
                       const char *trace) noexcept nogil:
    cdef Buffer buffer
    cdef Note *note = &exchange.note
    if not is_drawn(core, exchange) or not open_buffer(core, &buffer, SMALL_BYTES):
        return
    exchange.is_logged = True
    note.text = buffer.at
    note.method_length = min(head.method_length, <uint32_t>64)
    note.host_length = min(head.host_length, <uint32_t>256)
    note.path_length = min(head.target_length, <uint32_t>4096)
    note.id_length = id_length
    note.trace_length = 32
    memcpy(buffer.at, text + head.method_at, note.method_length)
    buffer.end = note.method_length
    memcpy(buffer.at + buffer.end, text + head.host_at, note.host_length)
    buffer.end += note.host_length
    memcpy(buffer.at + buffer.end, text + head.target_at, note.path_length)
    buffer.end += note.path_length
    memcpy(buffer.at + buffer.end, id, id_length)
    buffer.end += id_length
    memcpy(buffer.at + buffer.end, trace + 3, 32)   # the trace id of a traceparent


# Of the decision; of a request that was refused before it, the one that its route leads to first. NULL: it has none.
cdef inline const Text *service_of(const Exchange *exchange) noexcept nogil:
    if exchange.decision.target != NULL:
        return &exchange.decision.target.service.name
    return &exchange.route.targets.service.name if exchange.route != NULL and exchange.route.n_targets else <const Text *>NULL


cdef void put_text(Record *record, Texts which, char **at, const Text *text) noexcept nogil:
    memcpy(at[0], text.at, text.length)
    at[0] += text.length
    record.lengths[<int>which] = text.length


cdef void write_record(Core *core, Exchange *exchange) noexcept nogil:
    cdef Note *note = &exchange.note
    cdef uint32_t noted = note.method_length + note.host_length + note.path_length + note.id_length + note.trace_length
    cdef int64_t length = <int64_t>sizeof(Record) + noted
    cdef const Text *service = service_of(exchange)
    cdef Record *record
    cdef char *at
    if exchange.route != NULL:
        length += exchange.route.name.length
    if service != NULL:
        length += service.length
    if exchange.pool != NULL:
        length += exchange.pool.pop.name.length
    if exchange.tried_last != NULL:
        length += exchange.tried_last.name.length
    # Refusals cost a client nothing: a flood of them takes a share of the ring, and the others' lines the rest.
    record = <Record *>reserve(core.log, length, REFUSALS_SHARE if exchange.cause else 1)
    if record == NULL:
        count(core.column, LOG_DROPPED)
        return
    # What the worker was held up for the client has waited too.
    record.ended_us = clock_us(core)
    record.duration_us = record.ended_us - exchange.began_us
    record.first_byte_us = exchange.first_byte_us - exchange.began_us if exchange.first_byte_us else -1
    record.bytes_in = exchange.up.bytes
    record.bytes_out = exchange.down.bytes
    memcpy(record.client, exchange.client, 16)
    record.asn = exchange.location.asn
    record.country = exchange.location.country
    record.reason = <short>exchange.decision.reason if exchange.pool != NULL else -1
    record.status = exchange.status
    record.attempts = exchange.n_attempts
    record.cause = <short>exchange.cause
    record.bad_answer = <short>exchange.bad_answer
    record.ended_by = <short>exchange.ended_by
    record.lengths[<int>TEXT_METHOD] = note.method_length
    record.lengths[<int>TEXT_HOST] = note.host_length
    record.lengths[<int>TEXT_PATH] = note.path_length
    record.lengths[<int>TEXT_ID] = note.id_length
    record.lengths[<int>TEXT_TRACE] = note.trace_length
    at = <char *>(record + 1)
    if noted:
        memcpy(at, note.text, noted)
        at += noted
    record.lengths[<int>TEXT_ROUTE] = record.lengths[<int>TEXT_SERVICE] = record.lengths[<int>TEXT_POP] = 0
    record.lengths[<int>TEXT_ENDPOINT] = 0
    if exchange.route != NULL:
        put_text(record, TEXT_ROUTE, &at, &exchange.route.name)
    if service != NULL:
        put_text(record, TEXT_SERVICE, &at, service)
    if exchange.pool != NULL:
        put_text(record, TEXT_POP, &at, &exchange.pool.pop.name)
    if exchange.tried_last != NULL:
        put_text(record, TEXT_ENDPOINT, &at, &exchange.tried_last.name)
    commit(core.log, length)


cdef void close_account(Core *core, Exchange *exchange) noexcept nogil:
    cdef PoolColumn *own
    cdef int64_t us = clock_us(core) - exchange.began_us
    if exchange.service != NULL:
        leave(&exchange.service.columns[core.number])
    if exchange.pool != NULL:
        own = own_pool(core, exchange)
        add_own(&own.codes[slot_of_code(exchange.status)], 1)
        add_own(&own.reasons[<int>exchange.decision.reason], 1)
        add_own(&own.durations, 1)
        add_own(&own.duration_us, us)
        add_own(&own.duration_buckets[bucket_of_us(us)], 1)
        add_own(&own.bytes_up, exchange.up.bytes)
        add_own(&own.bytes_down, exchange.down.bytes)
    if exchange.is_logged:
        write_record(core, exchange)


# --- For the thread that writes the log ---

cdef str code_of(unsigned int packed):
    return chr(packed >> 8) + chr(packed & 255) if packed else None


cdef dict as_dict(const Record *record):
    cdef const char *at = <const char *>(record + 1)
    cdef int i
    texts = []
    for i in range(<int>N_RECORD_TEXTS):
        texts.append(at[:record.lengths[i]].decode("ascii", "backslashreplace") or None)
        at += record.lengths[i]
    address = ipaddress.IPv6Address(<bytes>(<const char *>record.client)[:16])
    return {
        "ended_us": record.ended_us,
        "client": str(address.ipv4_mapped or address),
        "method": texts[<int>TEXT_METHOD],
        "host": texts[<int>TEXT_HOST],
        "path": texts[<int>TEXT_PATH],
        "status": record.status,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "duration_ms": record.duration_us / 1000.0,
        "first_byte_ms": record.first_byte_us / 1000.0 if record.first_byte_us >= 0 else None,
        "route": texts[<int>TEXT_ROUTE],
        "service": texts[<int>TEXT_SERVICE],
        "pop": texts[<int>TEXT_POP],
        "endpoint": texts[<int>TEXT_ENDPOINT],
        "reason": _REASONS[record.reason] if record.reason >= 0 else None,
        "attempts": record.attempts,
        "request_id": texts[<int>TEXT_ID],
        "trace_id": texts[<int>TEXT_TRACE],
        "country": code_of(record.country),
        "asn": record.asn or None,
        "cause": _CAUSES[record.cause] if record.cause else _ANSWERS[record.bad_answer] if record.bad_answer else None,
        "ended_by": _SIDES[record.ended_by],
    }
