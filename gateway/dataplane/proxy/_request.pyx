"""The head is parsed as soon as it may be whole; what a slow sender adds is only searched for the end."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.downstream._client cimport is_trusted, read_forwarded, write_address, write_local
from gateway.dataplane.downstream._holders cimport mark_begun, may_have_more, refile
from gateway.dataplane.downstream._life cimport close_downstream, open_exchange
from gateway.dataplane.downstream._resting cimport leave_rest, rest_again
from gateway.dataplane.downstream._shortage cimport finds_room
from gateway.dataplane.exchange._account cimport note_headless, note_request
from gateway.dataplane.exchange._flow cimport begin_body
from gateway.dataplane.http1._head cimport *
from gateway.dataplane.http1._words cimport *
from gateway.dataplane.proxy._affinity cimport ask
from gateway.dataplane.proxy._attempts cimport *
from gateway.dataplane.proxy._bearings cimport find_route
from gateway.dataplane.proxy._forward cimport ADDED_BYTES, Facts, compose_request, ends_here, has_been_here
from gateway.dataplane.proxy._ids cimport settle_ids
from gateway.dataplane.proxy._redirect cimport redirect
from gateway.dataplane.shared._counters cimport *
from gateway.dataplane.shared._tally cimport TALLIED_EXCHANGES
from gateway.dataplane.transport._buffers cimport close_buffer, make_room, open_buffer
from gateway.dataplane.transport._connection cimport local_address
from gateway.dataplane.transport._linux cimport sockaddr_storage
from gateway.dataplane.transport._stream cimport *
from geoip._cache cimport locate_cached
from geoip._locator cimport Lookup
from routing_core._atomic cimport add_own
from routing_core._budget cimport enter
from routing_core._decision cimport NO_PERMITTED_POP
from routing_core._endpoints cimport ADMITTING_ONLY, ANSWERING_ONLY
from routing_core._figures cimport group_of
from routing_core._location cimport Location
from routing_core._random cimport next_u64
from routing_core._steer cimport steer


cdef void refuse_head(Core *core, Stream *downstream, int status, RejectCause cause) noexcept nogil:
    """The head is no request: answered, then closed, for where the next one begins is anyone's guess."""
    cdef Exchange *exchange = open_exchange(core, downstream)
    add_own(&core.column.causes[<int>cause], 1)
    if exchange == NULL:
        close_downstream(core, downstream)
        return
    note_headless(core, exchange)
    exchange.cause = <int32_t>cause
    exchange.downstream.input.begin = exchange.downstream.input.end
    reply(core, exchange, status, True)


cdef void on_late_head(Core *core, Stream *downstream) noexcept nogil:
    cdef Exchange *exchange
    if not downstream.has_head_begun:
        close_downstream(core, downstream)
        return
    exchange = open_exchange(core, downstream)
    if exchange == NULL:
        close_downstream(core, downstream)
        return
    note_headless(core, exchange)
    downstream.input.begin = downstream.input.end
    refuse(core, exchange, 408, CAUSE_SLOW_HEAD, True)


cdef Lookup find_place(Core *core, const uint8_t *address, Location *place) noexcept nogil:
    cdef Lookup lookup = locate_cached(core.geo, core.snapshot.locator, address, place)
    add_own(&core.column.lookups[<int>lookup], 1)
    return lookup


cdef void recognise(Core *core, Connection *connection) noexcept nogil:
    """Of what is remembered of the peer nothing outlives its snapshot: a pin is a place in a list, a hop is trusted by settings."""
    if connection.generation == core.snapshot.generation:
        return
    connection.generation = core.snapshot.generation
    connection.is_trusted = is_trusted(core.snapshot.settings, connection.peer)
    connection.is_located = False
    refile(core, connection)


cdef bint identify_client(Core *core, Exchange *exchange, const char *text, const RequestHead *head) noexcept nogil:
    """True: it is who a trusted hop says, and not the peer."""
    cdef Connection *connection = exchange.downstream.connection
    if connection.is_trusted and read_forwarded(core.snapshot.settings, text, head, exchange.client):
        find_place(core, exchange.client, &exchange.location)
        return True
    if not connection.is_located:
        connection.is_located = True
        find_place(core, connection.peer, &connection.location)
    exchange.location = connection.location
    return False


cdef bint compose(Core *core, Exchange *exchange, const char *text, const RequestHead *head, bint is_forwarded) noexcept nogil:
    cdef Facts facts
    cdef sockaddr_storage local
    cdef Connection *connection = exchange.downstream.connection
    facts.peer = connection.peer_text
    facts.peer_length = connection.peer_length
    facts.is_trusted = connection.is_trusted
    facts.is_forwarded = is_forwarded
    if facts.is_trusted:
        facts.client_length = <uint32_t>write_address(exchange.client, facts.client)
    if head.authority_length == 0:
        local_address(connection, &local)
        facts.local_length = <uint32_t>write_local(&local, facts.local)
    settle_ids(text, head, next_u64(&core.rng), next_u64(&core.rng), next_u64(&core.rng), &facts)
    note_request(core, exchange, text, head, facts.id, facts.id_length, facts.trace)
    return (open_buffer(core, &exchange.up.head, head.length + <uint32_t>ADDED_BYTES)
            and compose_request(&exchange.up.head, text, head, core.snapshot.settings, &facts))


cdef void frame_body(Exchange *exchange, const RequestHead *head) noexcept nogil:
    exchange.up.limit = exchange.snapshot.settings.body_bytes
    exchange.up.keeps = True
    exchange.body_length = exchange.up.left = head.content_length
    if head.is_chunked:
        exchange.up.framing = BY_CHUNKS
    elif head.content_length > 0:
        exchange.up.framing = BY_LENGTH
    begin_body(&exchange.up)


cdef void begin(Core *core, Stream *downstream, const char *text, const RequestHead *head) noexcept nogil:
    cdef Exchange *exchange
    cdef bint is_forwarded, is_composed
    recognise(core, downstream.connection)
    exchange = open_exchange(core, downstream)
    if exchange == NULL:
        count_cause(core.column, CAUSE_NO_MEMORY)
        close_downstream(core, downstream)
        return
    exchange.method = head.method
    exchange.manners = core.snapshot.settings.manners
    exchange.minor = head.minor
    exchange.close_asked = head.close
    exchange.is_upgrade = head.is_upgrade
    exchange.expects_continue = head.expects_continue
    if head.n_underscored:
        add_own(&core.column.figures[<int>FIELDS_DROPPED], head.n_underscored)
    is_forwarded = identify_client(core, exchange, text, head)
    exchange.route = find_route(core, downstream.connection.is_trusted, text, head)
    is_composed = compose(core, exchange, text, head, is_forwarded)
    frame_body(exchange, head)
    exchange.head_at = downstream.input.begin
    downstream.input.begin += head.length
    exchange.body_at = downstream.input.begin
    if exchange.route == NULL:
        refuse(core, exchange, 404, CAUSE_NO_ROUTE, False)
        return
    if not is_composed:
        refuse(core, exchange, 503, CAUSE_NO_MEMORY, True)
        return
    if has_been_here(text, head, core.snapshot.settings):
        refuse(core, exchange, 508, CAUSE_LOOP, False)
        return
    if ends_here(text, head):
        reply(core, exchange, 200, False)
        return
    if exchange.up.limit and head.content_length > exchange.up.limit:
        refuse(core, exchange, 413, CAUSE_BODY_TOO_LARGE, True)
        return
    if not may_have_more(core, exchange.client, TALLIED_EXCHANGES, &exchange.place):
        refuse(core, exchange, 429, CAUSE_CLIENT_EXCHANGES, False)
        return
    if exchange.route.n_targets == 0:
        refuse(core, exchange, 500, CAUSE_ROUTE_REFUSED, False)
        return
    exchange.group = group_of(exchange.client)
    ask(core.snapshot.table, exchange, text, head, &exchange.asked)
    steer(core.snapshot.table, exchange.route, &exchange.asked, &core.rng, &core.shortlists, &core.weighed, &exchange.decision)
    if exchange.decision.pool == NULL:
        refuse(core, exchange, 503, CAUSE_NO_PERMITTED_POP if exchange.decision.failure == NO_PERMITTED_POP else CAUSE_NO_ENDPOINT,
               False)
        return
    exchange.pool = exchange.decision.pool
    exchange.heed = ANSWERING_ONLY if exchange.decision.is_panic else ADMITTING_ONLY
    if redirect(core, exchange, text, head):
        return
    # What goes nowhere pays for no retry.
    exchange.service = exchange.decision.target.service
    enter(exchange.service.debt, &exchange.service.columns[core.number], &core.snapshot.settings.budget)
    attempt(core, exchange)


cdef Verdict try_head(Core *core, Stream *downstream) noexcept nogil:
    """Begins an exchange, or refuses, when what has come allows it; NEED_DATA else."""
    cdef Buffer *buffer = &downstream.input
    cdef const char *text = buffer.at + buffer.begin
    cdef size_t length = buffer.end - buffer.begin
    cdef uint32_t limit = core.snapshot.settings.head_bytes
    cdef Verdict verdict
    if downstream.scanned and length <= limit and not has_end(text, length, &downstream.scanned):
        return NEED_DATA
    verdict = parse_request(text, length, limit, core.snapshot.settings.manners, &core.request)
    if verdict == WHOLE and core.request.n_fields > core.snapshot.settings.max_fields:
        refuse_head(core, downstream, 431, CAUSE_TOO_MANY_FIELDS)
    elif verdict == WHOLE:
        begin(core, downstream, text, &core.request)
    elif verdict == BAD:
        refuse_head(core, downstream, core.request.status, core.request.cause)
    else:
        if downstream.scanned == 0:
            has_end(text, length, &downstream.scanned)
    return verdict


cdef bint passes_empty_line(Stream *downstream) noexcept nogil:
    """One before a head is no part of it (RFC 9112 2.2): some send one behind a body. False: half of one, or another."""
    cdef Buffer *buffer = &downstream.input
    cdef char octet
    while buffer.begin < buffer.end and downstream.n_passed < 2 and buffer.at[buffer.begin] == (c'\n' if downstream.n_passed else c'\r'):
        downstream.n_passed += 1
        buffer.begin += 1
    if downstream.n_passed == 0 or buffer.begin == buffer.end:
        return True
    octet = buffer.at[buffer.begin]
    return downstream.n_passed == 2 and octet != c'\r' and octet != c'\n'


cdef Verdict take_in(Core *core, Stream *downstream) noexcept nogil:
    """What has come, one octet at least."""
    if not downstream.has_head_begun:
        if not passes_empty_line(downstream):
            refuse_head(core, downstream, 400, CAUSE_LINE_END)
            return BAD
        if downstream.input.begin == downstream.input.end:
            return NEED_DATA
        downstream.has_head_begun = True
        leave_rest(core, downstream.connection)
        set_deadline(core, downstream, core.snapshot.settings.request_head_ms)
    return try_head(core, downstream)


cdef void receive(Core *core, Stream *downstream) noexcept nogil:
    cdef Buffer *buffer = &downstream.input
    cdef ssize_t came
    if not finds_room(core, downstream):
        return
    # What was left of the last exchange's buffer comes first: pipelining.
    if buffer.begin < buffer.end:
        if take_in(core, downstream) != NEED_DATA:
            return
    while downstream.is_readable:
        if not make_room(core, buffer):
            count_cause(core.column, CAUSE_NO_MEMORY)
            close_downstream(core, downstream)
            return
        came = fill(downstream)
        if came == BLOCKED:
            break
        if came <= 0:
            close_downstream(core, downstream)
            return
        if take_in(core, downstream) != NEED_DATA:
            return
    if buffer.begin < buffer.end:
        mark_begun(downstream.connection)
        return
    close_buffer(core, buffer)
    if not downstream.has_head_begun:
        rest_again(core, downstream.connection)     # a drain took it for one that has begun
