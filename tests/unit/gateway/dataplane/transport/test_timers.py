"""The wheel, through deadlines: none is early, none later than a tick, near or rounds away."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane import Settings
from tests.support.dataplane import Bench, received

TICK_MS, ROUND_MS = 100, 25_600


@pytest.mark.parametrize("after_ms", [1, 99, 100, 101, 25_500, 25_600, 25_601, 60_000, 600_000])
def test_to_the_tick(make_bench, after_ms):
    bench = make_bench(Settings(request_head_ms=after_ms))
    client = bench.client()
    waited = 0
    while received(client) is None:
        bench.turn(10)
        waited += 10
    assert after_ms <= waited <= after_ms + TICK_MS + 10


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=12), st.lists(st.integers(1, 30_000), min_size=1, max_size=30))
def test_any_steps_of_the_clock(offsets, steps):
    bench = Bench(Settings(request_head_ms=20_000))
    due = []
    for offset in offsets:  # connections that come at different times
        bench.turn(offset % 3000)
        due.append((bench.client(), bench.now_us // 1000 + 20_000))
    for step in steps:
        bench.turn(step)
        bench.turn()
        now_ms = bench.now_us // 1000
        for client, at in due:
            is_closed = received(client) == b""
            assert not is_closed or at <= now_ms
            assert is_closed or at + TICK_MS > now_ms
    bench.close()
