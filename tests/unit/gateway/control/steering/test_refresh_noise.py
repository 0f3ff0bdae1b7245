"""What chance and one client make of the published service times, and what a PoP does that has become slower: many turns of traffic."""

import numpy as np
import pytest

from gateway.control.steering.refresh import INTERVAL_S
from tests.unit.gateway.control.refreshing import ManyPops

N = 12
MEAN_MS = 100.0


class Traffic:
    """Requests come to each PoP by chance, so many a second, of clients anywhere; each takes a log-normal time of that mean and width."""

    def __init__(self, scene, per_s, sigma, seed=1):
        self.scene, self.sigma = scene, sigma
        self.n = len(scene.spec.pops)
        self.per_s = np.broadcast_to(per_s, self.n)
        self.rng = np.random.default_rng(seed)
        self.times = np.ones(self.n)  # how much longer it takes in each

    def turn(self, interval_s):
        for number, n in enumerate(self.rng.poisson(self.per_s * interval_s)):
            took = self.rng.lognormal(-self.sigma * self.sigma / 2, self.sigma, n) * MEAN_MS * self.times[number]
            for ms, group in zip(took.tolist(), self.rng.integers(0, 8, n).tolist(), strict=True):
                self.scene.answer(number, ms, 1, by=group)
        self.scene.clock.advance(interval_s - INTERVAL_S)
        self.scene.turn()
        return [self.scene.pool(number)["service_ms"] for number in range(self.n)]

    def run(self, seconds, interval_s=INTERVAL_S):
        """What is published, after each turn: [turn, PoP]."""
        return np.array([self.turn(interval_s) for _ in range(round(seconds / interval_s))])


def is_alike(seen):
    """Whether no two PoPs were ever told apart."""
    return bool((seen.max(axis=1) == seen.min(axis=1)).all())


UNEVEN = [100, 30, 10, 10, 3, 3, 1, 1, 1, 0.3, 0.3, 0.03]


@pytest.mark.slow
@pytest.mark.parametrize("per_s", [0.05, 1, 10, UNEVEN], ids=str)
def test_equal_pops_are_alike_for_ten_minutes_however_their_work_varies(per_s):
    traffic = Traffic(ManyPops(N), per_s, 1.2)
    seen = traffic.run(600, interval_s=1.0)
    assert is_alike(seen)
    # What is beyond MOST_TIMES the level is not counted, and it is known no better than four standard errors.
    assert 0.7 * MEAN_MS < seen[-1, 0] < 1.2 * MEAN_MS
    assert len(np.unique(seen[50:, 0])) <= 3, "the level itself moves seldom"


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.2])
def test_a_pop_that_slows_by_30_percent_at_100_a_second_is_found_within_20_s(sigma):
    traffic = Traffic(ManyPops(N), 100, sigma)
    traffic.run(30)
    traffic.times[4] = 1.3
    seen = traffic.run(20)
    others = np.delete(seen, 4, axis=1)
    assert is_alike(others), np.unique(others.round(3), return_counts=True)
    assert seen[-1, 4] > 1.1 * others[-1, 0]
    assert (seen[:, 4] >= others[:, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("begins_s", [0, 30])
def test_one_network_that_asks_slow_pages_moves_nobody_though_it_makes_most_requests(begins_s):
    """Nine of ten in one PoP, each twenty times as long."""
    scene = ManyPops(3)
    traffic = Traffic(scene, 10, 0.5)
    traffic.run(begins_s)
    for _ in range(60 * 10):
        scene.answer(0, 20 * MEAN_MS, 9, by=3)
        seen = traffic.turn(INTERVAL_S)
        assert len(set(seen)) == 1
    assert scene.pool(0)["samples"] > 0
    assert seen[0] == pytest.approx(MEAN_MS, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("ms", [300, 3000, 60_000])
def test_of_an_idle_service_one_slow_request_moves_nobody(ms):
    """A request each 5 s in each PoP; then one that takes long. As long as it is remembered."""
    scene = ManyPops(N)
    for second in range(120):
        for number in range(N):
            if second % 5 == number % 5:
                scene.answer(number, MEAN_MS, 1, by=second % 8)
        scene.turn(2)
        scene.clock.advance(0.8)
    before = scene.pool(3)["service_ms"]
    assert before == pytest.approx(MEAN_MS, rel=0.01)
    scene.answer(3, ms, 1, by=5)
    for _ in range(120):
        scene.turn(2)
        scene.clock.advance(0.8)
        assert [scene.pool(number)["service_ms"] for number in range(N)] == [before] * N
        assert scene.pool(3)["penalty_ms"] == 0


def test_the_first_request_of_a_service_says_nothing_of_the_pop_that_took_it():
    scene = ManyPops(N)
    scene.answer(3, 3000, 1, by=5)
    for _ in range(60):
        scene.turn()
        assert {scene.pool(number)["service_ms"] for number in range(N)} == {3000}
    for number in (0, 3):
        scene.answer(number, 100, 1, by=2)
    for _ in range(60):
        scene.turn()
        assert len({scene.pool(number)["service_ms"] for number in range(N)}) == 1
