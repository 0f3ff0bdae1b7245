"""Each figure goes to the worker's own column; the log record is written in place in the ring."""
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from gateway.dataplane._connection cimport open_buffer
from gateway.dataplane._core cimport *
from gateway.dataplane._counters cimport LOG_DROPPED, count
from gateway.dataplane._head cimport RequestHead
from gateway.dataplane._ring cimport commit, reserve
from routing_core._atomic cimport add_own
from routing_core._endpoints cimport observe_latency
from routing_core._figures cimport EndpointColumn, PoolColumn, RetryOutcome, bucket_of_us, slot_of_code
from routing_core._random cimport next_u64
from routing_core._table cimport Text


cdef inline PoolColumn *own_pool(Core *core, Exchange *exchange) noexcept nogil:
    return &exchange.pool.columns[core.number]


cdef void begin_attempt(Core *core, Exchange *exchange) noexcept nogil:
    cdef EndpointColumn *own = &exchange.endpoint.columns[core.number]
    add_own(&own.in_flight, 1)
    add_own(&own.attempts, 1)
    add_own(&own_pool(core, exchange).in_flight, 1)


cdef void end_attempt(Core *core, Exchange *exchange) noexcept nogil:
    add_own(&exchange.endpoint.columns[core.number].in_flight, -1)
    add_own(&own_pool(core, exchange).in_flight, -1)


cdef void note_connect(Core *core, Exchange *exchange) noexcept nogil:
    cdef PoolColumn *own = own_pool(core, exchange)
    add_own(&own.connects, 1)
    add_own(&own.connect_us, core.now_us - exchange.upstream.opened_us)


cdef void note_first_byte(Core *core, Exchange *exchange) noexcept nogil:
    # From the request's last byte: an upload's length is not the PoP's slowness.
    cdef int64_t us = max(core.now_us - max(exchange.sent_us, exchange.started_us), 0)
    cdef PoolColumn *own = own_pool(core, exchange)
    exchange.first_byte_us = core.now_us
    add_own(&own.first_bytes, 1)
    add_own(&own.first_byte_us, us)
    add_own(&own.first_byte_buckets[bucket_of_us(us)], 1)
    observe_latency(&exchange.endpoint.columns[core.number], us, core.now_ms)


cdef void count_retry(Core *core, Exchange *exchange, RetryOutcome outcome) noexcept nogil:
    add_own(&exchange.pool.service.columns[core.number].retries[<int>outcome], 1)


cdef void note_request(Core *core, Exchange *exchange, const char *text, const RequestHead *head, const char *id, unsigned int id_length,
                       const char *trace) noexcept nogil:
    cdef uint32_t share = exchange.snapshot.settings.log_share
    cdef Buffer buffer
    cdef Note *note = &exchange.note
    if share == 0 or (next_u64(&core.rng) >> 44) >= share or not open_buffer(core, &buffer, SMALL_BYTES):
        return
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


cdef void put_text(Record *record, Texts which, char **at, const Text *text) noexcept nogil:
    memcpy(at[0], text.at, text.length)
    at[0] += text.length
    record.lengths[<int>which] = text.length


cdef void write_record(Core *core, Exchange *exchange) noexcept nogil:
    cdef Note *note = &exchange.note
    cdef uint32_t noted = note.method_length + note.host_length + note.path_length + note.id_length + note.trace_length
    cdef int64_t length = <int64_t>sizeof(Record) + noted
    cdef Record *record
    cdef char *at
    if exchange.route != NULL:
        length += exchange.route.name.length + exchange.route.service.name.length
    if exchange.pool != NULL:
        length += exchange.pool.pop.name.length
    if exchange.endpoint != NULL:
        length += exchange.endpoint.name.length
    record = <Record *>reserve(core.log, length)
    if record == NULL:
        count(core.column, LOG_DROPPED)
        return
    record.ended_us = core.now_us
    record.duration_us = core.now_us - exchange.started_us
    record.first_byte_us = exchange.first_byte_us - exchange.started_us if exchange.first_byte_us else -1
    record.bytes_in = exchange.up.bytes
    record.bytes_out = exchange.down.bytes
    memcpy(record.client, exchange.client, 16)
    record.asn = exchange.location.asn
    record.country = exchange.location.country
    record.reason = <short>exchange.decision.reason if exchange.pool != NULL else -1
    record.status = exchange.status
    record.attempts = exchange.n_attempts
    record.lengths[<int>TEXT_METHOD] = note.method_length
    record.lengths[<int>TEXT_HOST] = note.host_length
    record.lengths[<int>TEXT_PATH] = note.path_length
    record.lengths[<int>TEXT_ID] = note.id_length
    record.lengths[<int>TEXT_TRACE] = note.trace_length
    at = <char *>(record + 1)
    memcpy(at, note.text, noted)
    at += noted
    record.lengths[<int>TEXT_ROUTE] = record.lengths[<int>TEXT_SERVICE] = record.lengths[<int>TEXT_POP] = 0
    record.lengths[<int>TEXT_ENDPOINT] = 0
    if exchange.route != NULL:
        put_text(record, TEXT_ROUTE, &at, &exchange.route.name)
        put_text(record, TEXT_SERVICE, &at, &exchange.route.service.name)
    if exchange.pool != NULL:
        put_text(record, TEXT_POP, &at, &exchange.pool.pop.name)
    if exchange.endpoint != NULL:
        put_text(record, TEXT_ENDPOINT, &at, &exchange.endpoint.name)
    commit(core.log, length)


cdef void close_account(Core *core, Exchange *exchange) noexcept nogil:
    cdef PoolColumn *own
    cdef int64_t us = core.now_us - exchange.started_us
    if exchange.pool != NULL:
        own = own_pool(core, exchange)
        add_own(&own.codes[slot_of_code(exchange.status)], 1)
        add_own(&own.reasons[<int>exchange.decision.reason], 1)
        add_own(&own.durations, 1)
        add_own(&own.duration_us, us)
        add_own(&own.duration_buckets[bucket_of_us(us)], 1)
        add_own(&own.bytes_up, exchange.up.bytes)
        add_own(&own.bytes_down, exchange.down.bytes)
    if exchange.note.text != NULL:
        write_record(core, exchange)
