"""What is compiled of endpoints most of which were compiled before is what compiling all of them anew gives."""

import dataclasses
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import EndpointSpec, Figures, Table
from routing_core._memory import live_blocks
from routing_core._testing import endpoints_of
from tests.unit.routing_core.tables import spec_of


@pytest.fixture(autouse=True)
def nothing_of_others():
    """A table that another test left in a circle is not given back while the blocks of this one are counted."""
    gc.collect()


def with_endpoints(spec, endpoints):
    service = spec.services[0]
    pools = (dataclasses.replace(service.pools[0], endpoints=tuple(endpoints), total=len(endpoints)), *service.pools[1:])
    return dataclasses.replace(spec, services=(dataclasses.replace(service, pools=pools),))


def made_or_refused(spec, figures, before=None):
    try:
        table = Table(spec, figures, before)
    except ValueError as error:
        return str(error), None
    return endpoints_of(table, 0, 0), table


def some(figures, n):
    return [EndpointSpec(figures.acquire("endpoint"), f"10.0.{k // 250}.{k % 250 + 1}", 80 + 9000 * (k % 2)) for k in range(n)]


@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=8))
def test_whatever_changes_it_is_as_if_compiled_anew(steps):
    figures = Figures(2)
    spec = spec_of(figures)
    those = some(figures, 8)
    those.append(dataclasses.replace(those[0], address="10.9.9.9"))  # with a row that another one has
    those.append(dataclasses.replace(those[0], row=figures.acquire("endpoint")))  # with a name that another one has
    blocks = live_blocks()["table"]
    table = Table(spec, figures)
    for step in steps:
        changed = with_endpoints(spec, [those[k] for k in step])
        expected, anew = made_or_refused(changed, figures)
        found, after = made_or_refused(changed, figures, table)
        assert found == expected
        table = after or table
        del anew, after
    assert live_blocks()["table"] - blocks == 2 + len({id(pool.endpoints) for pool in table.spec.services[0].pools})


@pytest.mark.parametrize("n_changed", [1, 64, 65, 200])
@pytest.mark.parametrize("first", [0, 100, 299])
def test_so_it_is_of_few_and_of_many(first, n_changed):
    figures = Figures(1)
    spec = spec_of(figures)
    those = some(figures, 600)
    table = Table(with_endpoints(spec, those[:300]), figures)
    changed = with_endpoints(spec, [*those[:first], *those[300 : 300 + n_changed], *those[first + 1 : 300]])
    assert endpoints_of(Table(changed, figures, table), 0, 0) == endpoints_of(Table(changed, figures), 0, 0)


class Watched:
    """As an EndpointSpec, and says that it was read."""

    def __init__(self, one, read):
        self.one, self.read = one, read

    def __getattr__(self, name):
        self.read.append(self.one)
        return getattr(self.one, name)


def test_of_thousands_only_those_are_read_that_came():
    figures, read = Figures(1), []
    spec = spec_of(figures)
    those = [Watched(one, read) for one in some(figures, 3001)]
    table = Table(with_endpoints(spec, those[:3000]), figures)
    read.clear()
    Table(with_endpoints(spec, [*those[:2000], those[3000], *those[2001:3000]]), figures, table)
    assert set(read) == {those[3000].one}
