"""Who has been idle for longest, and who only lingers."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, received
from tests.unit.gateway.dataplane.downstream.test_accept import listening
from tests.unit.gateway.dataplane.downstream.test_holders import open_ones
from tests.unit.gateway.dataplane.downstream.test_room import newcomer


@pytest.fixture
def full(make_bench):
    """A worker behind a listener that may have three connections."""
    bench = make_bench(Settings(connections_per_listener=3), listeners=[listening()])
    bench.turn()
    return bench


def use(bench, client):
    upstream = bench.upstream()
    bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER


@pytest.mark.parametrize("again", [(), (0,), (0, 1), (0, 2), (0, 1, 2), (1,), (2, 0, 1)])
def test_idle_ones_go_by_when_they_became_so(full, again):
    clients = [full.client(f"192.0.2.{n}") for n in range(3)]
    for number in again:
        use(full, clients[number])
    order = [number for number in range(3) if number not in again] + list(again)
    for n in range(3):
        newcomer(full)
        assert open_ones(clients) == sorted(order[n + 1 :])


def test_who_has_had_its_answer_and_lingers_goes_before_who_may_ask_again(full):
    idle = [full.client(f"192.0.2.{n}") for n in (1, 2)]
    lingers = full.client("192.0.2.3")
    lingers.send(b"no request\r\n\r\n")
    full.turn(turns=2)
    assert received(lingers).startswith(b"HTTP/1.1 400 ")
    new = newcomer(full)
    assert received(new) is None and open_ones(idle) == [0, 1] and full.figures_read["evicted"] == 1
