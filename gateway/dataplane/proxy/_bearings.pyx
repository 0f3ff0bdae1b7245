"""A request that is decided once more is read as it came: its head lies before its body for as long as it may be repeated."""
from libc.stdint cimport int32_t, uint32_t

from gateway.dataplane._core cimport *
from gateway.dataplane.exchange._tried cimport find_endpoint, forget_gone
from gateway.dataplane.http1._head cimport RequestHead, parse_request
from gateway.dataplane.http1._words cimport MAX_FIELDS, WHOLE, Field, says_nothing
from gateway.dataplane.proxy._affinity cimport ask
from gateway.dataplane.shared._snapshot cimport hold, let_go
from geoip._cache cimport locate_cached
from routing_core._budget cimport enter, leave
from routing_core._layout cimport Route, Service
from routing_core._routes cimport FieldView, RequestFacts, match_route


cdef const Route *find_route(const Core *core, bint is_trusted, const char *text, const RequestHead *head) noexcept nogil:
    cdef RequestFacts facts
    cdef FieldView views[MAX_FIELDS]
    cdef const Field *field
    cdef FieldView *view
    cdef int32_t i
    facts.n_fields = 0
    for i in range(head.n_fields):
        field = &head.fields[i]
        if says_nothing(field.id, is_trusted):
            continue            # it goes no further, and leads nowhere
        view = &views[facts.n_fields]
        view.name = text + field.name_at
        view.name_length = field.name_length
        view.value = text + field.value_at
        view.value_length = field.value_length
        facts.n_fields += 1
    facts.host.at = text + head.host_at
    facts.host.length = head.host_length
    facts.path.at = text + head.path_at
    facts.path.length = head.path_length
    if facts.path.length == 0:
        facts.path.at = "/"
        facts.path.length = 1
    facts.query.at = text + head.query_at
    facts.query.length = head.query_length
    facts.method.at = text + head.method_at
    facts.method.length = head.method_length
    facts.fields = views
    return match_route(core.snapshot.table, &facts)


cdef void note_bearings(const Exchange *exchange, Bearings *out) noexcept nogil:
    out.snapshot = exchange.snapshot
    out.route = exchange.route
    out.location = exchange.location
    out.asked = exchange.asked
    out.is_over_tls = exchange.is_over_tls


cdef void give_back_bearings(Exchange *exchange, const Bearings *before) noexcept nogil:
    exchange.snapshot = before.snapshot
    exchange.route = before.route
    exchange.location = before.location
    exchange.asked = before.asked
    exchange.is_over_tls = before.is_over_tls


cdef bint turn_to_newest(Core *core, Exchange *exchange) noexcept nogil:
    cdef const Buffer *input = &exchange.downstream.input
    cdef const char *text = input.at + exchange.head_at
    cdef uint32_t length = exchange.body_at - exchange.head_at
    cdef RequestHead *request = &core.request
    cdef const Route *route
    if (input.at == NULL or not exchange.up.keeps
            or parse_request(text, length, length, exchange.manners, request) != WHOLE):
        return False
    route = find_route(core, exchange.downstream.connection.is_trusted, text, request)
    if route == NULL:
        return False
    exchange.snapshot = core.snapshot
    exchange.route = route
    locate_cached(core.geo, core.snapshot.locator, exchange.client, &exchange.location)
    ask(core.snapshot.table, exchange, text, request, &exchange.asked)
    return True


cdef void keep_bearings(Core *core, Exchange *exchange, const Bearings *before) noexcept nogil:
    cdef const Service *service = exchange.decision.target.service
    if exchange.snapshot == before.snapshot:
        return
    hold(exchange.snapshot, core.number)
    if service.columns != exchange.service.columns:
        leave(&exchange.service.columns[core.number])
        enter(service.debt, &service.columns[core.number], &exchange.snapshot.settings.budget)
    exchange.service = service
    if exchange.tried_last != NULL:
        exchange.tried_last = find_endpoint(exchange.route, exchange.tried_last.row)
    forget_gone(exchange)
    let_go(before.snapshot, core.number)
