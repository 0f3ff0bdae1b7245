"""Where only pools changed the next table is a copy of the last one's block: as one that is built anew, and with nothing of the last."""

import dataclasses
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import AffinitySpec, BordersSpec, EndpointSpec, Figures, RouteSpec, RuleSpec, Table, draw, explain
from routing_core._memory import live_blocks, refuse
from routing_core._testing import block_of, endpoints_of
from tests.unit.routing_core.tables import HERE, LONDON, spec_of

RULES = (RuleSpec(frozenset({1, 2}), frozenset({"DE"})), RuleSpec(frozenset({0}), None, frozenset({"EU"})), RuleSpec())
ROUTES = [
    RouteSpec("plain", 0, hosts=("a.example.com",)),
    RouteSpec("refused", None, hosts=("c.example.com",), rules=RULES, affinity=AffinitySpec("cookie", "pop")),
    RouteSpec("ruled", 1, hosts=("b.example.com",), rules=RULES, affinity=AffinitySpec("cookie", "pop", attributes="; Path=/")),
    RouteSpec("split", 0, path_prefix="/b", split=((0, 1), (1, 3)), is_split_sticky=True, rules=RULES),
    RouteSpec("fallback", 1, fallback_services=(0,), affinity=AffinitySpec("header", "x-user"), redirect_status=307, leg="gateway-pop"),
]


@pytest.fixture(autouse=True)
def nothing_of_others():
    """A table that another test left in a circle is not given back while the blocks of this one are counted."""
    gc.collect()


def rich_spec(figures):
    """With something of everything that a table has."""
    of_pops = {"fra": {"high": 9, "cookie": "fra.mac", "public_url": "https://fra.example.com"}, "sin": {"country": "SG"}}
    pins = [(0, 1), (), (3,)]
    spec = spec_of(figures, services=["shop", "other"], routes=ROUTES, of_pops=of_pops, pins=tuple(pins), gateway=(50.0, 8.0))
    pools = spec.services[1].pools[::-1][:3]  # less than PoPs, and in another order
    return dataclasses.replace(spec, services=(spec.services[0], dataclasses.replace(spec.services[1], pools=pools)))


def changed(spec, service, pool, **changes):
    services, pools = list(spec.services), list(spec.services[service].pools)
    pools[pool] = dataclasses.replace(pools[pool], **changes)
    services[service] = dataclasses.replace(services[service], pools=tuple(pools))
    return dataclasses.replace(spec, services=tuple(services))


def seen(table):
    """All that a request could find in it."""
    answers = [[endpoints_of(table, s, p) for p in range(len(service.pools))] for s, service in enumerate(table.spec.services)]
    for number, route in enumerate(table.spec.routes):
        if route.service is None:
            continue
        for where, country in ((LONDON, "GB"), (HERE, "DE"), (None, None)):
            answers.append([explain(table, number, where, seed, country=country, continent="EU") for seed in range(3)])
        answers.append(draw(table, number, LONDON, 20))
    return answers


def test_all_that_pointed_into_the_block_points_into_the_copy(nothing_left):
    """A field that is forgotten would still point into the other one."""
    figures = Figures(2)
    spec = rich_spec(figures)
    table = Table(spec, figures)
    copy = Table(dataclasses.replace(spec), figures, table)
    words, rest = block_of(copy)
    assert (words, rest) == block_of(table)
    assert sum(kind == "here" for kind, _ in words) > 60
    del table, copy, figures


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=6))
def test_whatever_changes_in_pools_it_is_as_if_built_anew(steps):
    figures = Figures(1)
    spec = rich_spec(figures)
    more = [EndpointSpec(figures.acquire("endpoint"), f"10.9.0.{n + 1}", 80) for n in range(4)]
    blocks = live_blocks()["table"]
    table = Table(spec, figures)
    for generation, (service, pool, n, total, is_last_resort) in enumerate(steps, 2):
        spec = changed(spec, service, pool, endpoints=tuple(more[:n]), total=total, is_last_resort=is_last_resort, n_preferred=n // 2)
        spec = dataclasses.replace(spec, generation=generation)
        table = Table(spec, figures, table)  # the last one is gone when this is looked at
        assert seen(table) == seen(Table(spec, figures))
    n_pools = sum(len(service.pools) for service in spec.services)
    assert live_blocks()["table"] - blocks == 2 + n_pools
    del table


@pytest.mark.parametrize(
    "change",
    [
        {"total": -1}, {"max_in_flight": -1}, {"high": -1}, {"weight": 0}, {"n_preferred": 9}, {"row": 99}, {"row": 0}, {"pop": 1},
        {"pop": 9}, {"endpoints": (EndpointSpec(99_999, "192.0.2.1", 80),)}, {"endpoints": (EndpointSpec(0, "nowhere", 80),)},
    ],
)  # fmt: skip
def test_what_is_refused_anew_is_refused_again(change, nothing_left):
    figures = Figures(1)
    spec = rich_spec(figures)
    table = Table(spec, figures)
    wrong = changed(spec, 0, 0, **change)
    errors = []
    for before in (None, table):
        with pytest.raises(ValueError, match=r".") as refused:
            Table(wrong, figures, before)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]
    del table, figures, refused


@pytest.mark.parametrize(
    "change",
    [
        lambda spec, figures: changed(spec, 0, 0, row=figures.acquire("pool")),
        lambda spec, figures: changed(spec, 0, 0, weight=3),
        lambda spec, figures: changed(spec, 1, 0, pop=0),
        lambda spec, figures: dataclasses.replace(spec, services=spec.services[:1], routes=spec.routes[:1]),
        lambda spec, figures: dataclasses.replace(spec, routes=spec.routes[::-1]),
        lambda spec, figures: dataclasses.replace(spec, pins=((2,),)),
        lambda spec, figures: dataclasses.replace(spec, gateway=None),
        lambda spec, figures: dataclasses.replace(spec, intercept_ms=1.0),
        lambda spec, figures: dataclasses.replace(spec, abroad_ms=9.0),
        lambda spec, figures: dataclasses.replace(spec, paths=((3, 2, 9.0),)),
        lambda spec, figures: dataclasses.replace(spec, gateway_pop=1),
        lambda spec, figures: dataclasses.replace(spec, borders=BordersSpec(("GB DE", "SG"), ((2,), (30, 0)))),
        lambda spec, figures: dataclasses.replace(spec, pops=(dataclasses.replace(spec.pops[0], is_drained=True), *spec.pops[1:])),
        lambda spec, figures: dataclasses.replace(
            spec, services=(dataclasses.replace(spec.services[0], name="renamed"), *spec.services[1:])
        ),
        lambda spec, figures: dataclasses.replace(
            spec, services=(dataclasses.replace(spec.services[0], pools=spec.services[0].pools[::-1]), *spec.services[1:])
        ),
        lambda spec, figures: dataclasses.replace(
            spec, services=(dataclasses.replace(spec.services[0], pools=spec.services[0].pools[:2]), *spec.services[1:])
        ),
    ],
)
def test_what_else_changes_is_in_the_next_table_too(change):
    figures = Figures(1)
    spec = rich_spec(figures)
    table = Table(spec, figures)
    other = change(spec, figures)
    assert seen(Table(other, figures, table)) == seen(Table(other, figures))


def test_a_change_of_one_pool_reads_no_other_service_and_no_route():
    figures, read = Figures(1), []
    spec = rich_spec(figures)
    spec = dataclasses.replace(spec, services=tuple(Watched(one, read) for one in spec.services))
    spec = dataclasses.replace(spec, routes=tuple(Watched(one, read) for one in spec.routes))
    table = Table(spec, figures)
    assert {of for of, _ in read} == {"shop", "other", *(one.name for one in ROUTES)}
    read.clear()
    service = dataclasses.replace(
        spec.services[1].one, pools=tuple(dataclasses.replace(pool, total=7) for pool in spec.services[1].one.pools)
    )
    after = Table(dataclasses.replace(spec, services=(spec.services[0], service)), figures, table)
    assert {(of, what) for of, what in read if of != "other"} == {("shop", "pools")}  # how many
    assert seen(after) == seen(Table(after.spec, figures))


class Watched:
    """As a part of a spec, and says that it was read."""

    def __init__(self, one, read):
        self.one, self.read = one, read

    def __getattr__(self, name):
        self.read.append((self.one.name, name))
        return getattr(self.one, name)


def test_memory_that_is_out_is_an_error_and_leaves_nothing(nothing_left):
    figures = Figures(1)
    spec = rich_spec(figures)
    table = Table(spec, figures)
    after = changed(spec, 0, 0, endpoints=(EndpointSpec(figures.acquire("endpoint"), "10.9.0.1", 80),))
    before = live_blocks()
    for granted in range(2):
        refuse(True, after=granted)
        try:
            with pytest.raises(MemoryError):
                Table(after, figures, table)
        finally:
            refuse(False)
        assert live_blocks() == before
    del table, figures
