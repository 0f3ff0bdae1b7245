"""Pages are handed on when blocks have been given back, and only then."""

import pytest

from gateway.control import memory
from gateway.control.memory import BLOCKS, TURNS, Memory


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
    for _ in range(TURNS * len(seen)):
        keeper.turn()
    assert len(done) == trims


def test_what_is_held_is_counted():
    assert memory.held() >= 0 and Memory().most >= 0
    memory.routing_core.trim()
