"""The structs by value, their names behind them; everything else that they point to is a row of the figures, or not asked for again."""
from libc.string cimport memcpy

from gateway.dataplane._core cimport *
from gateway.dataplane.shared._snapshot cimport let_go
from routing_core._budget cimport leave
from routing_core._layout cimport Text
from routing_core._memory cimport EXCHANGE, give, take


cdef void move_text(Text *text, char **at) noexcept nogil:
    memcpy(at[0], text.at, text.length)
    text.at = at[0]
    at[0] += text.length


cdef void keep_remains(Core *core, Exchange *exchange) noexcept nogil:
    cdef size_t length = (exchange.route.name.length + exchange.pool.service.name.length + exchange.pool.pop.name.length
                          + exchange.endpoint.name.length)
    cdef Remains *remains = <Remains *>take(EXCHANGE, sizeof(Remains) + length)
    cdef char *at
    if remains == NULL:
        return
    at = <char *>(remains + 1)
    remains.route = exchange.route[0]
    remains.service = exchange.pool.service[0]
    remains.pop = exchange.pool.pop[0]
    remains.pool = exchange.pool[0]
    remains.endpoint = exchange.endpoint[0]
    move_text(&remains.route.name, &at)
    move_text(&remains.service.name, &at)
    move_text(&remains.pop.name, &at)
    move_text(&remains.endpoint.name, &at)
    remains.pool.service = remains.target.service = &remains.service
    remains.pool.pop = &remains.pop
    remains.pool.endpoints = NULL
    remains.service.pools = NULL
    remains.route.targets = &remains.target
    # Its retries are behind it, and its service's row may be another's before it ends.
    leave(&exchange.service.columns[core.number])
    exchange.service = NULL
    exchange.remains = remains
    exchange.route = &remains.route
    exchange.decision.target = &remains.target
    exchange.decision.pool = exchange.pool = &remains.pool
    exchange.decision.n_fallbacks = 0
    exchange.endpoint = exchange.tried_last = &remains.endpoint
    exchange.asked.kept = NULL
    let_go(exchange.snapshot, core.number)
    exchange.snapshot = NULL


cdef void free_remains(Exchange *exchange) noexcept nogil:
    give(EXCHANGE, exchange.remains)
    exchange.remains = NULL
