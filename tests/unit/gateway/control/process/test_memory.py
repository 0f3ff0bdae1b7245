"""Pages are handed on when blocks have been given back, and only then; and nobody waits for it."""

import threading

import pytest

from gateway.control.process import memory
from gateway.control.process.memory import BLOCKS, TURNS, Memory
from tests.support.local_gateway import LocalGateway


@pytest.mark.parametrize(
    ("seen", "trims"),
    [
        ([5, 5, 5], 0),
        ([5, 5 + BLOCKS, 5], 1),
        ([5, 5 + BLOCKS, 6], 0),
        ([5, 5 + BLOCKS, 5, 5, 5], 1),
        ([5, 500, 300, 100, 5], 3),
        ([500, 490, 480, 460], 1),  # little by little
    ],
)
def test_after_a_fall(monkeypatch, seen, trims):
    now = iter([seen[0], *seen])
    done = []
    monkeypatch.setattr(memory, "held", lambda: next(now))
    monkeypatch.setattr(memory.routing_core, "trim", lambda: done.append(1))
    keeper = Memory(memory.held())
    for _ in range(len(seen)):
        for _ in range(TURNS):
            keeper.turn()
        if keeper.thread is not None:
            keeper.thread.join(10)
    assert len(done) == trims


def test_a_turn_waits_for_no_pages(monkeypatch):
    """And there is one such call at a time."""
    now = iter([500, 400, 300])
    begun, go_on = [], threading.Event()
    monkeypatch.setattr(memory, "held", lambda: next(now))
    monkeypatch.setattr(memory.routing_core, "trim", lambda: begun.append(go_on.wait(20)))
    keeper = Memory(memory.held())
    for _ in range(5 * TURNS):
        keeper.turn()
    assert begun == [] and keeper.thread.is_alive()
    go_on.set()
    keeper.thread.join(10)
    for _ in range(TURNS):
        keeper.turn()
    keeper.thread.join(10)
    assert begun == [True, True]


def test_what_is_held_is_counted():
    """Against what is there: a table more, and it is gone again."""
    gateway = LocalGateway([("192.0.2.1", 80)])
    before = memory.held()
    table = gateway.table()
    with_it = memory.held()
    assert with_it > before and Memory().most == with_it
    del table
    assert memory.held() == before
    gateway.door.close()


def test_pages_can_be_handed_on():
    memory.routing_core.trim()
