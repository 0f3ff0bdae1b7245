from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures
from routing_core._testing import earn_retry, spend_retry

TERMS = {"share_milli": 200, "floor_milli_per_s": 10_000, "cap_milli": 100_000}
NO_FLOOR = {**TERMS, "floor_milli_per_s": 0}


def purse():
    figures = Figures(1)
    return figures, figures.acquire("service")


def spent(figures, row, now_ms, terms):
    count = 0
    while spend_retry(figures, row, now_ms, **terms):
        count += 1
        assert count <= 1000
    return count


def test_a_request_earns_a_fifth_of_a_retry():
    figures, row = purse()
    for _ in range(14):
        earn_retry(figures, row, 0, **NO_FLOOR)
    assert spent(figures, row, 0, NO_FLOOR) == 2


def test_without_requests_there_are_ten_a_second():
    figures, row = purse()
    start = 10**6
    spent(figures, row, start, TERMS)
    assert spent(figures, row, start + 1000, TERMS) == 10
    assert spent(figures, row, start + 1099, TERMS) == 0
    assert spent(figures, row, start + 1100, TERMS) == 1


def test_a_small_floor_is_not_lost_to_frequent_calls():
    figures, row = purse()
    terms = {"share_milli": 0, "floor_milli_per_s": 150, "cap_milli": 1500}  # 10 a second over 64 workers
    start = 10**6
    spent(figures, row, start, terms)
    taken = sum(spend_retry(figures, row, start + ms, **terms) for ms in range(1, 60_001))
    assert taken == 9


def test_no_more_than_the_cap_is_saved():
    figures, row = purse()
    for _ in range(10_000):
        earn_retry(figures, row, 0, **TERMS)
    assert spent(figures, row, 0, TERMS) == 100
    assert spent(figures, row, 2**60, TERMS) == 100


def test_a_clock_that_steps_back_gives_nothing():
    figures, row = purse()
    spent(figures, row, 10**6, TERMS)
    assert spent(figures, row, 0, TERMS) == 0


@given(steps=st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=200))
def test_never_more_than_was_earned(steps):
    figures, row = purse()
    now = start = 10**6
    taken = spent(figures, row, start, TERMS) * 0
    requests = 0
    for wait, is_request in steps:
        now += wait
        if is_request:
            earn_retry(figures, row, now, **TERMS)
            requests += 1
        else:
            taken += spend_retry(figures, row, now, **TERMS)
    taken += spent(figures, row, now, TERMS)
    assert taken * 1000 <= requests * 200 + (now - start) * 10
