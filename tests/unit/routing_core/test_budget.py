from hypothesis import example, given
from hypothesis import strategies as st

from routing_core import Figures
from routing_core._testing import enter_service, leave_service, spend_retry

SHARE = 200
MINUTE = 60_000
SPAN = 10_000
START = 10**6


class Budget:
    """Of one service, seen by several workers."""

    def __init__(self, n_workers=1, floor=0):
        self.figures = Figures(n_workers)
        self.row = self.figures.acquire("service")
        self.floor = floor

    def begin(self, n=1, worker=0):
        for _ in range(n):
            enter_service(self.figures, self.row, SHARE, worker)

    def end(self, n=1, worker=0):
        for _ in range(n):
            leave_service(self.figures, self.row, worker)

    def is_granted(self, now_ms=START):
        return spend_retry(self.figures, self.row, now_ms, self.floor)

    def spent(self, now_ms=START):
        count = 0
        while self.is_granted(now_ms):
            count += 1
            assert count <= 10_000
        return count


def test_as_many_as_are_in_flight_whichever_workers_have_them():
    budget = Budget(8)
    budget.begin(993)
    for worker in range(1, 8):
        budget.begin(worker=worker)
    assert budget.spent() == 1000


def test_those_that_are_answered_meanwhile_leave_room_to_the_others_of_the_same_death():
    budget = Budget()
    budget.begin(300)
    for _ in range(300):
        assert budget.is_granted()
        budget.end()
    assert not budget.is_granted()


def test_a_request_pays_a_fifth_of_a_retry_that_is_owed():
    budget = Budget(2)
    budget.begin(10)
    assert budget.spent() == 10
    for worker in (0, 1):
        for _ in range(14):
            budget.begin(worker=worker)
            budget.end(worker=worker)
    assert budget.spent() == 5, "28 of them"


def test_nothing_is_saved_while_nothing_is_owed():
    budget = Budget()
    budget.begin(10_000)
    budget.end(9_999)
    assert budget.spent() == 1


def test_a_floor_where_little_is_in_flight():
    budget = Budget(floor=1)
    assert budget.spent() == 70
    budget.begin(71)
    assert budget.spent() == 14 + 1, "what 71 pay; and one more is in flight than the floor"


def test_a_floor_is_never_refused():
    budget = Budget(floor=10)
    assert all(budget.is_granted(START + 100 * n) for n in range(6000)), "ten a second for ten minutes"


def test_what_is_a_minute_old_is_forgiven_not_what_is_younger():
    budget = Budget(floor=1)
    assert budget.spent() == 70
    assert budget.spent(START + MINUTE - 1) == 0
    assert budget.spent(START + MINUTE) == 0, "of the same ten seconds some may be younger"
    assert budget.spent(START + MINUTE + 10_000) == 70
    assert budget.spent(START + 4 * MINUTE) == 70, "nobody asked for three minutes"


def test_only_what_is_old_is_forgiven():
    budget = Budget(floor=1)
    assert sum(budget.is_granted(START + 10_000 * n) for n in range(7) for _ in range(10)) == 70
    assert budget.spent(START + 70_000) == 10
    assert budget.spent(START + 80_000) == 10


def test_a_peak_is_forgotten():
    budget = Budget()
    budget.begin(100)
    assert budget.is_granted()
    budget.end(99)
    assert budget.spent(START + 10_000) == 99, "of the same death"
    assert budget.spent(START + 20_000) == 0
    assert budget.spent(START + 2 * MINUTE) == 1


def test_a_clock_that_steps_back_gives_nothing():
    budget = Budget(floor=1)
    budget.spent()
    assert budget.spent(0) == 0


steps = st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(["begin", "end", "retry", "retries"]), st.integers(0, 3)), max_size=120)


@given(steps=steps, floor=st.sampled_from([0, 1, 10]))
@example(steps=[(0, "retries", 0)], floor=10)  # the default: 700 at once where nothing is in flight
def test_in_any_minute_no_more_than_a_fifth_of_its_requests_and_the_peak_or_the_floor(steps, floor):
    """The greater of the two, once: the most that were in flight in the minute and the two spans before, and the floor's of seven spans."""
    budget = Budget(4, floor)
    now = START
    in_flight = [0] * 4
    log = []  # when, requests, retries, what was in flight
    for wait, what, worker in steps:
        now += wait
        before = sum(in_flight)
        begun = retried = 0
        if what == "begin":
            budget.begin(worker=worker)
            in_flight[worker] += 1
            begun = 1
        elif what == "end" and in_flight[worker]:
            budget.end(worker=worker)
            in_flight[worker] -= 1
        elif what == "retry":
            retried = int(budget.is_granted(now))
        elif what == "retries":
            retried = budget.spent(now)
        log.append((now, begun, retried, max(before, sum(in_flight))))
    for start, *_ in log:
        within = [(requests, retries) for at, requests, retries, _ in log if start <= at < start + MINUTE]
        peak = max(most for at, _, _, most in log if start - 2 * SPAN <= at < start + MINUTE)
        once = max(peak, 7 * SPAN // 1000 * floor)
        assert 1000 * sum(r for _, r in within) <= SHARE * sum(n for n, _ in within) + 1000 * once
