import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.process.awake import MOST_S, Awake
from tests.unit.gateway.control.helpers import Clock


def test_it_is_the_clock_until_the_first_beat_and_while_beats_come():
    clock = Clock(50.0)
    awake = Awake(clock)
    clock.advance(100)
    assert awake() == 150.0
    for _ in range(20):
        awake.turn()
        clock.advance(0.1)
        assert round(awake(), 6) == round(clock(), 6)
    assert awake.resumed_at == -math.inf


def test_a_pause_is_no_time():
    clock = Clock(50.0)
    awake = Awake(clock)
    awake.turn()
    clock.advance(30)
    assert awake() == 50 + MOST_S, "also before the beat has seen it"
    awake.turn()
    assert awake.resumed_at == awake() == 50 + MOST_S
    clock.advance(0.1)
    awake.turn()
    assert awake() == pytest.approx(50 + MOST_S + 0.1)
    assert awake.resumed_at == 50 + MOST_S, "this one came in time"


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())))
def test_it_never_falls_nor_runs_ahead(steps):
    clock = Clock(7.0)
    awake = Awake(clock)
    before = awake()
    for seconds, is_beat in steps:
        clock.advance(seconds)
        if is_beat:
            awake.turn()
        assert before <= awake() <= clock() + 1e-9
        before = awake()
