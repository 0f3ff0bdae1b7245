import asyncio
import logging

import pytest

from gateway.control.life.beat import ORDER, Beat
from gateway.control.process.awake import Awake
from tests.unit.gateway.control.helpers import Clock


def turns_of(done):
    """Each part's writes its name down."""
    return {part: lambda part=part: done.append(part) for part in ORDER}


@pytest.mark.parametrize("broken", ORDER)
def test_a_part_that_fails_stops_no_other_and_is_said_once(broken, caplog):
    caplog.set_level(logging.INFO)
    done, n = [], []

    def fail():
        n.append(1)
        raise OSError(f"for the {len(n)}. time")

    beat = Beat(Awake(Clock(7.0)), {**turns_of(done), broken: fail})
    for _ in range(10):
        done.clear()
        asyncio.run(beat.turn())
        assert done == [name for name in ORDER if name != broken]
    assert len(n) == 10
    (record,) = caplog.records
    assert (record.message, record.part) == ("turn failed", broken)
    assert "for the 1. time" in caplog.text


def test_a_fault_that_comes_back_is_said_again(caplog):
    turns = turns_of([])
    beat = Beat(Awake(Clock(7.0)), turns)
    working = turns["drains"]
    for _ in range(2):
        turns["drains"] = lambda: 1 / 0
        asyncio.run(beat.turn())
        turns["drains"] = working
        asyncio.run(beat.turn())
    assert len(caplog.records) == 2


class Awaking:
    def __init__(self, done):
        self.done = done

    def turn(self):
        self.done.append("awake")


def test_a_turn_does_each_thing_once_and_looks_before_it_publishes():
    done = []
    asyncio.run(Beat(Awaking(done), turns_of(done)).turn())
    assert done == ["awake", *ORDER]
    assert done.index("gates") < done.index("ejections") < done.index("refresh") < done.index("lifecycle")


def test_a_part_without_a_turn_is_a_bug():
    turns = turns_of([])
    del turns["workers"]
    with pytest.raises(AssertionError, match="a turn of each of gates"):
        Beat(Awake(Clock(7.0)), turns)
