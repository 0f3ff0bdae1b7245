import pytest

from gateway.control.steering.comparison import Comparison, counts_of
from gateway.control.steering.penalties import Outcomes
from tests.unit.gateway.control.outlying import ALL, ONE

GOOD = Outcomes(100)
BAD = Outcomes(100, failures=10, server_errors=80)


class Scene:
    """A service's PoPs that answer as a test says."""

    def __init__(self, *pops):
        self.comparison = Comparison()
        self.now = 100.0
        self.seen = {pop: (Outcomes(0), (0, 0, 0)) for pop in pops}
        self.look()

    def look(self, gap=0.1, bad_by=ALL, **grown):
        """Those have answered meanwhile: what fails comes to `bad_by`, what does not to all."""
        self.now += gap
        for pop, outcomes in grown.items():
            was, (answered_by, limited_by, was_bad_by) = self.seen[pop]
            is_bad = outcomes.failures + outcomes.server_errors > 0
            groups = (answered_by + (bad_by if is_bad else ALL), limited_by, was_bad_by + (bad_by if is_bad else 0))
            self.seen[pop] = Outcomes(*(one + other for one, other in zip(was, outcomes, strict=True))), groups
        self.comparison.look({pop: counts_of(*seen) for pop, seen in self.seen.items()}, self.now)
        return set(self.comparison.failing)

    def is_due(self, pop):
        return self.comparison.is_due(pop, self.seen[pop][0], self.now)


@pytest.mark.parametrize(
    ("outcomes", "failing"),
    [
        ({"fra": BAD, "nyc": GOOD}, {"fra"}),
        ({"fra": BAD, "nyc": GOOD, "tyo": BAD}, {"fra", "tyo"}),
        ({"fra": BAD, "nyc": BAD, "tyo": BAD}, set()),  # the application's own
        ({"fra": BAD}, set()),  # of the others nothing is known
        ({"fra": BAD, "nyc": Outcomes(19)}, set()),  # and that little
        ({"fra": Outcomes(100, server_errors=25), "nyc": GOOD}, set()),  # not worth it
        ({"fra": Outcomes(100, failures=90), "nyc": GOOD}, {"fra"}),  # no answer is as bad as one of 5xx
    ],
)
def test_who_fails_more_than_the_others(outcomes, failing):
    assert Scene("fra", "nyc", "tyo").look(**outcomes) == failing


def test_the_cause_says_both_shares():
    scene = Scene("fra", "nyc")
    scene.look(fra=BAD, nyc=GOOD)
    assert scene.comparison.failing == {"fra": "90.0% of answers 5xx or none, where others have 0.0%"}


def test_what_comes_to_one_network_alone_is_that_clients_own():
    scene = Scene("fra", "nyc")
    scene.look(fra=GOOD, nyc=GOOD)
    assert scene.look(fra=Outcomes(9000, server_errors=9000), bad_by=ONE) == set()
    assert scene.look(fra=Outcomes(8, server_errors=8)) == {"fra"}


def test_it_is_over_when_it_answers_well_for_as_long_as_two_looks():
    scene = Scene("fra", "nyc")
    assert scene.look(fra=BAD, nyc=GOOD) == {"fra"}
    assert scene.look(10, fra=GOOD, nyc=GOOD) == {"fra"}
    assert scene.look(10, fra=GOOD, nyc=GOOD) == set()


def test_what_lies_farther_back_is_forgotten():
    scene = Scene("fra", "nyc")
    scene.look(fra=BAD, nyc=GOOD)
    assert scene.look(20, nyc=GOOD) == set()
    assert scene.look(fra=Outcomes(1, server_errors=1), nyc=GOOD) == set()


def test_who_comes_is_compared_from_then_on():
    """All over the same time: what it answered before, or another row of its own, says nothing."""
    scene = Scene("nyc")
    scene.seen["fra"] = (BAD, (ALL, 0, ALL))
    assert scene.look(nyc=GOOD) == set()
    assert scene.look(fra=BAD, nyc=GOOD) == {"fra"}
    scene.seen["fra"] = (Outcomes(0), (0, 0, 0))
    assert scene.look(nyc=GOOD) == set()


def test_a_look_is_due_every_ten_seconds_and_where_it_may_be_worth_it():
    scene = Scene("fra", "nyc")
    assert not scene.is_due("fra")
    scene.look(fra=Outcomes(100, server_errors=29))
    assert not scene.is_due("fra")
    scene.look(fra=Outcomes(100, server_errors=90))
    assert scene.is_due("fra")
    assert not scene.is_due("nyc")
    scene.now += 10
    assert scene.is_due("nyc")
