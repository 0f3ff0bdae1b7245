import asyncio
from types import SimpleNamespace

from gateway.control.beat import Beat
from tests.unit.gateway.control.helpers import Clock


def test_a_turn_does_each_thing_once_and_looks_before_it_publishes():
    done = []

    def part(name, **more):
        return SimpleNamespace(turn=lambda *args: done.append((name, *args)), **more)

    gates = SimpleNamespace(turn=lambda: done.append(("gates",)) or ["doubted"])
    prober = part("prober", ask_soon=lambda gate: done.append(("ask", gate)))
    publisher = SimpleNamespace(config="config", table=SimpleNamespace(spec="spec"), collect=lambda: done.append(("collect",)))
    others = (part("resolver"), part("workers"), part("drains"), part("lifecycle"), Clock(7.0))
    beat = Beat(gates, part("ejections"), prober, part("refresh"), publisher, *others)
    asyncio.run(beat.turn())
    assert done == [
        ("gates",), ("ask", "doubted"), ("ejections", "config", "spec"), ("resolver",), ("prober",), ("refresh", "config", "spec"),
        ("collect",), ("drains",), ("workers", 7.0), ("lifecycle",),
    ]  # fmt: skip
