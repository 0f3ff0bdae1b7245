import asyncio
import logging
from types import SimpleNamespace

import pytest

from gateway.control.life.beat import Beat
from gateway.control.process.awake import Awake
from tests.unit.gateway.control.helpers import Clock

PARTS = ["gates", "ejections", "resolver", "prober", "refresh", "publisher", "drains", "workers", "lifecycle"]


def parts_of(done):
    """Those of a beat, each writing its name down."""

    def part(name, **more):
        return SimpleNamespace(turn=lambda *_: done.append(name), **more)

    made = {name: part(name) for name in PARTS if name not in ("gates", "publisher")}
    made["gates"] = SimpleNamespace(turn=lambda: done.append("gates") or [])
    made["publisher"] = SimpleNamespace(config="config", table=SimpleNamespace(spec="spec"), collect=lambda: done.append("publisher"))
    return made


@pytest.mark.parametrize("broken", PARTS)
def test_a_part_that_fails_stops_no_other_and_is_said_once(broken, caplog):
    caplog.set_level(logging.INFO)
    done, n = [], []
    parts = parts_of(done)

    def fail(*_):
        n.append(1)
        raise OSError(f"for the {len(n)}. time")

    setattr(parts[broken], "collect" if broken == "publisher" else "turn", fail)
    beat = Beat(**parts, awake=Awake(Clock(7.0)))
    for _ in range(10):
        done.clear()
        asyncio.run(beat.turn())
        assert done == [name for name in PARTS if name != broken]
    assert len(n) == 10
    (record,) = caplog.records
    assert (record.message, record.part) == ("turn failed", broken)
    assert "for the 1. time" in caplog.text


def test_a_fault_that_comes_back_is_said_again(caplog):
    parts = parts_of([])
    beat = Beat(**parts, awake=Awake(Clock(7.0)))
    working = parts["drains"].turn
    for _ in range(2):
        parts["drains"].turn = lambda: 1 / 0
        asyncio.run(beat.turn())
        parts["drains"].turn = working
        asyncio.run(beat.turn())
    assert len(caplog.records) == 2


class Awaking:
    def __init__(self, done):
        self.done = done

    def turn(self):
        self.done.append(("awake",))

    def __call__(self):
        return 7.0


def test_a_turn_does_each_thing_once_and_looks_before_it_publishes():
    done = []

    def part(name, **more):
        return SimpleNamespace(turn=lambda *args: done.append((name, *args)), **more)

    gates = SimpleNamespace(turn=lambda: done.append(("gates",)) or ["doubted"])
    prober = part("prober", ask_soon=lambda gate: done.append(("ask", gate)))
    publisher = SimpleNamespace(config="config", table=SimpleNamespace(spec="spec"), collect=lambda: done.append(("collect",)))
    others = (
        part("resolver"),
        part("workers"),
        part("drains"),
        part("lifecycle"),
        Awaking(done),
    )
    beat = Beat(gates, part("ejections"), prober, part("refresh"), publisher, *others)
    asyncio.run(beat.turn())
    assert done == [
        ("awake",),
        ("gates",), ("ask", "doubted"), ("ejections", "config", "spec"), ("resolver",), ("prober",), ("refresh", "config", "spec"),
        ("collect",), ("drains",), ("workers", 7.0), ("lifecycle",),
    ]  # fmt: skip
