"""What a block points to in itself stands as far from its beginning in the copy. Each field of _table.pxd that does so is named here."""
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from routing_core._layout cimport Pin, Pool, Pop, Route, Rule, Service, Target, Text
from routing_core._memory cimport TABLE, take_unset


cdef inline void *place(const TableData *block, TableData *copy, const void *pointer) noexcept nogil:
    return <char *>copy + (<const char *>pointer - <const char *>block)


cdef inline void move_text(const TableData *block, TableData *copy, Text *text) noexcept nogil:
    if text.at != NULL:     # else there is none
        text.at = <const char *>place(block, copy, text.at)


cdef void move_parts(const TableData *block, TableData *copy) noexcept nogil:
    copy.pops = <const Pop *>place(block, copy, block.pops)
    copy.services = <const Service *>place(block, copy, block.services)
    copy.pools = <const Pool *>place(block, copy, block.pools)
    copy.routes = <const Route *>place(block, copy, block.routes)
    copy.targets = <const Target *>place(block, copy, block.targets)
    copy.rules = <const Rule *>place(block, copy, block.rules)
    copy.lists = <const Pool **>place(block, copy, block.lists)
    copy.pins = <const Pin *>place(block, copy, block.pins)


cdef void move_pools(const TableData *block, TableData *copy) noexcept nogil:
    cdef Pop *pop = <Pop *>copy.pops
    cdef Service *service = <Service *>copy.services
    cdef Pool *pool = <Pool *>copy.pools
    cdef int32_t i
    for i in range(copy.n_pops):
        move_text(block, copy, &pop[i].name)
        move_text(block, copy, &pop[i].cookie)
        move_text(block, copy, &pop[i].public_url)
    for i in range(copy.n_services):
        move_text(block, copy, &service[i].name)
        service[i].pools = <const Pool *>place(block, copy, service[i].pools)
    for i in range(copy.n_pools):
        pool[i].pop = <const Pop *>place(block, copy, pool[i].pop)
        pool[i].service = <const Service *>place(block, copy, pool[i].service)


cdef void move_steering(const TableData *block, TableData *copy) noexcept nogil:
    cdef Route *route = <Route *>copy.routes
    cdef Target *target = <Target *>copy.targets
    cdef Rule *rule = <Rule *>copy.rules
    cdef Pin *pin = <Pin *>copy.pins
    cdef int32_t i
    cdef size_t k
    for i in range(copy.n_routes):
        move_text(block, copy, &route[i].name)
        move_text(block, copy, &route[i].affinity_name)
        move_text(block, copy, &route[i].cookie_attributes)
        route[i].targets = <const Target *>place(block, copy, route[i].targets)
    for k in range(copy.n_targets):
        target[k].service = <const Service *>place(block, copy, target[k].service)
        target[k].rules = <const Rule *>place(block, copy, target[k].rules)
    for k in range(copy.n_rules):
        rule[k].candidates = <const Pool **>place(block, copy, rule[k].candidates)
        rule[k].denied = <const Pool **>place(block, copy, rule[k].denied)
    for k in range(copy.n_lists):
        copy.lists[k] = <const Pool *>place(block, copy, copy.lists[k])
    for i in range(copy.n_pins):
        pin[i].pops = <const int32_t *>place(block, copy, pin[i].pops)


cdef TableData *copy_block(const TableData *block) noexcept nogil:
    cdef TableData *copy = <TableData *>take_unset(TABLE, block.n_bytes)
    if copy == NULL:
        return NULL
    memcpy(copy, block, block.n_bytes)
    copy.matcher = NULL
    move_parts(block, copy)
    move_pools(block, copy)
    move_steering(block, copy)
    return copy
