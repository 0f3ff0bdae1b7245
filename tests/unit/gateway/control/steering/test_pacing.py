from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.steering.pacing import MARGIN_MS, N_STEPS, N_VERSIONS, UNITS, Pace, Slots, Versions, settle

TURN_S = 0.1
EPS = 1e-9


@dataclass
class Gateway:
    """A pool's eight slots, written as `Slots` says, and who decides by what: path and what is above the level. A version begins as the one
    before."""

    pace: Pace
    versions: Versions = field(default_factory=Versions)
    slots: list = field(default_factory=lambda: [(None, 0.0)] * N_VERSIONS)
    phase: int = N_VERSIONS * UNITS

    def turn(self, now, path_ms=None, above_ms=0.0, *, has_level=False, is_starting=False):
        """The slots are written before the phase is published."""
        has_begun = self.pace.turn(now)
        if has_begun:
            self.slots[self.pace.number % N_VERSIONS] = self.slots[(self.pace.number - 1) % N_VERSIONS]
        where = self.versions.turn(path_ms, above_ms, has_level or path_ms is not None, has_begun, is_starting)
        times = (self.versions.path_ms, self.versions.above_ms)
        if where is Slots.ALL:
            self.slots = [times] * N_VERSIONS
        elif where is Slots.NEWEST:
            self.slots[self.pace.number % N_VERSIONS] = times
        between = self.shares()
        self.phase = self.pace.phase
        return between

    def shares(self):
        """Of the requests, by the estimate that decides them: each draws evenly from the last seven versions' times."""
        drawn = Counter()
        newest, faded_in = divmod(self.phase, UNITS)
        drawn[self.slots[newest % N_VERSIONS]] += faded_in
        for age in range(1, N_STEPS):
            drawn[self.slots[(newest - age) % N_VERSIONS]] += UNITS
        drawn[self.slots[(newest - N_STEPS) % N_VERSIONS]] += UNITS - faded_in
        return {times: count / (N_STEPS * UNITS) for times, count in drawn.items()}


def moved(before, after):
    """Share of the requests that are decided by another estimate than before."""
    return sum(max(0.0, share - before.get(times, 0)) for times, share in after.items())


def settled(pace, times=(10.0, 20.0)):
    """A gateway whose estimate has been known for long."""
    gateway = Gateway(pace)
    gateway.turn(0, *times)
    return gateway


# The clock of versions


@pytest.mark.parametrize("share_per_s", [0.01, 0.1, 1.0])
def test_a_version_begins_each_step(share_per_s):
    pace = Pace(share_per_s)
    assert pace.step_s == pytest.approx(1 / (7 * share_per_s))
    assert not pace.turn(50)
    assert pace.number == N_VERSIONS
    turns = int(20 * pace.step_s / TURN_S)
    begun = sum(pace.turn(50 + turn * TURN_S) for turn in range(1, turns + 1))
    assert begun == pace.number - N_VERSIONS == int(turns * TURN_S / pace.step_s + EPS)


def test_phase_is_the_time_since_the_first_version():
    pace = Pace(0.1)
    pace.turn(0)
    for turn in range(1, 36001):  # an hour: no drift
        pace.turn(turn * TURN_S)
    assert pace.phase == pytest.approx((N_VERSIONS + 3600 / pace.step_s) * UNITS, abs=2)


def test_what_was_held_up_goes_on_where_it_was():
    pace = Pace(0.1)
    pace.turn(0)
    assert pace.turn(100)
    assert pace.phase == (N_VERSIONS + 1) * UNITS
    pace.turn(100.1)
    assert pace.phase == (N_VERSIONS + 1) * UNITS + int(0.1 / pace.step_s * UNITS)


def test_another_pace_goes_on_from_here():
    pace = Pace(0.1)
    pace.turn(0)
    pace.turn(1)
    before = pace.phase
    pace.share_per_s = 0.2
    pace.turn(1.5)
    assert pace.phase - before == pytest.approx(0.5 * 7 * 0.2 * UNITS, abs=2)


@given(st.lists(st.floats(0, 5), max_size=30), st.sampled_from([0.01, 0.1, 0.37, 1.0]))
def test_the_phase_never_falls_and_skips_no_version(gaps, share_per_s):
    pace, now = Pace(share_per_s), 3.0
    pace.turn(now)
    for gap in gaps:
        now += gap
        before = pace.phase
        has_begun = pace.turn(now)
        assert 0 <= pace.phase - before <= UNITS
        assert pace.phase - before <= gap / pace.step_s * UNITS + 1 + EPS
        assert pace.phase // UNITS - before // UNITS == has_begun


# The dead band


@pytest.mark.parametrize(
    ("published", "fresh", "expected"),
    [
        (100, 105, 100),
        (100, 95, 100),
        (100, 105.1, 105.1),
        (100, 94.9, 94.9),
        (4, 4.5, 4),  # 5 % of a little is less than can be measured
        (4, 4.51, 4.51),
        (0, 0.5, 0),
        (0, 0.6, 0.6),
        (None, 0.1, 0.1),
        (100, None, None),
        (None, None, None),
    ],
)
def test_only_what_differs_by_more_than_the_margin_is_published(published, fresh, expected):
    assert settle(published, fresh, 0.05) == expected


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1))
def test_what_is_published_is_never_further_off_than_the_margin(published, fresh, margin):
    now = settle(published, fresh, margin)
    assert now in (published, fresh)
    assert abs(now - fresh) <= max(MARGIN_MS, margin * published)
    assert settle(now, fresh, margin) == now


# The versions of a pool


def test_what_is_first_known_is_in_force_at_once():
    gateway = Gateway(Pace(0.1))
    gateway.turn(0)
    assert gateway.shares() == {(None, 0.0): 1}
    gateway.turn(0.1, 12.0)
    assert gateway.shares() == {(12.0, 0.0): 1}


def test_a_level_that_is_first_known_is_written_although_the_pool_is_at_it():
    """None of its own figures is another one."""
    versions = Versions()
    assert versions.turn(None, 0.0, True, False, False) is Slots.ALL
    assert versions.is_known
    assert versions.turn(None, 0.0, True, False, False) is Slots.NONE


def test_while_the_process_starts_all_is_in_force_at_once():
    gateway = Gateway(Pace(0.1))
    for turn, path_ms in enumerate((30.0, 29.0, 80.0)):
        gateway.turn(turn * TURN_S, path_ms, 5.0 * turn, is_starting=True)
        assert gateway.shares() == {(path_ms, 5.0 * turn): 1}


def test_while_it_starts_and_nothing_is_known_nothing_is_written():
    assert Versions().turn(None, 0.0, False, False, True) is Slots.NONE
    assert Versions().turn(None, 0.0, False, True, True) is Slots.NONE


def test_between_two_versions_nothing_is_written():
    versions = Versions()
    assert versions.turn(None, 0.0, False, False, False) is Slots.NONE
    assert versions.turn(None, 5.0, True, False, False) is Slots.ALL
    assert versions.turn(None, 500.0, True, False, False) is Slots.NONE
    assert versions.above_ms == 5
    assert versions.turn(None, 500.0, True, True, False) is Slots.NEWEST
    assert versions.above_ms == 500


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize("is_starting", [False, True])
def test_where_nothing_changed_nothing_is_written(has_begun, is_starting):
    """A version begins as the one before: it holds what was written into that."""
    unknown, known = Versions(), Versions(10.0, 20.0, True)
    assert unknown.turn(None, 0.0, False, has_begun, is_starting) is Slots.NONE
    assert known.turn(10.0, 20.0, True, has_begun, is_starting) is Slots.NONE
    assert (unknown, known) == (Versions(), Versions(10.0, 20.0, True))


def test_what_is_forgotten_is_paced_and_then_first_known_again():
    """A path that expired, of a service that never answered."""
    versions = Versions(10.0, 0.0, True)
    assert versions.turn(None, 0.0, False, False, False) is Slots.NONE
    assert versions.turn(None, 0.0, False, True, False) is Slots.NEWEST
    assert versions.turn(12.0, 0.0, True, False, False) is Slots.ALL


def test_with_a_level_a_path_that_was_forgotten_is_paced_also_when_it_is_known_again():
    versions = Versions(10.0, 0.0, True)
    assert versions.turn(None, 0.0, True, True, False) is Slots.NEWEST
    assert versions.turn(12.0, 0.0, True, False, False) is Slots.NONE
    assert versions.turn(12.0, 0.0, True, True, False) is Slots.NEWEST


def test_a_change_reaches_everybody_evenly_over_ten_seconds():
    gateway = settled(Pace(0.1))
    new = (10.0, 100.0)
    known = []
    for turn in range(1, 140):
        gateway.turn(turn * TURN_S, *new)
        known.append(gateway.shares().get(new, 0.0))
    began = next(i for i, share in enumerate(known) if share > 0)
    assert began * TURN_S <= gateway.pace.step_s
    for seconds in range(1, 10):
        assert known[began + seconds * 10] - known[began] == pytest.approx(seconds * 0.1, abs=0.001)
    assert known[-1] == 1


def test_a_part_that_becomes_known_or_unknown_later_is_paced():
    gateway = settled(Pace(0.1), (10.0, 0.0))
    for turn in range(1, 26):  # the version of 1.43 s knows, that of 2.86 s is still to come
        gateway.turn(turn * TURN_S, 10.0, 300.0)
    assert gateway.shares() == pytest.approx({(10.0, 0.0): 0.893, (10.0, 300.0): 0.107}, abs=0.001)
    gateway = settled(Pace(0.1), (10.0, 20.0))
    for turn in range(1, 26):
        gateway.turn(turn * TURN_S, None, 0.0, has_level=True)
    assert gateway.shares() == pytest.approx({(10.0, 20.0): 0.893, (None, 0.0): 0.107}, abs=0.001)


def test_a_change_that_is_taken_back_moves_little():
    gateway = settled(Pace(0.1))
    for turn in range(1, 600):
        gateway.turn(turn * TURN_S, 10.0, 900.0 if turn % 600 == 300 else 20.0)  # one bad turn a minute
    assert gateway.shares() == {(10.0, 20.0): 1}


PATHS = st.sampled_from([None, 5.0, 20.0, 80.0])
ABOVE = st.sampled_from([-5.0, 0.0, 20.0, 80.0])


@given(
    st.lists(st.tuples(st.floats(0, 3), PATHS, ABOVE), min_size=1, max_size=40),
    st.sampled_from([0.01, 0.1, 0.5, 1.0]),
)
def test_no_more_than_the_pace_moves(turns, share_per_s):
    """Between any two moments, whatever the estimates do and however late the turns come: at most the pace, and one turn's tick."""
    gateway = settled(Pace(share_per_s))
    now, longest, moments = 0.0, 0, [(0.0, gateway.shares())]
    for gap, path_ms, above_ms in turns:
        now += gap
        before = gateway.phase
        between = gateway.turn(now, path_ms, above_ms, has_level=True)  # what is first known is not paced, and has its own test
        longest = max(longest, gateway.phase - before)
        moments += [(now, between), (now, gateway.shares())]
    tick = (longest + 1) / (N_STEPS * UNITS)
    for i, (at, shares) in enumerate(moments):
        for later, after in moments[i:]:
            assert moved(shares, after) <= share_per_s * (later - at) + tick + EPS


@settings(max_examples=20)
@given(st.lists(st.tuples(PATHS, ABOVE), max_size=20), st.booleans())
def test_in_the_end_all_are_decided_by_what_is_known(estimates, is_starting):
    gateway = Gateway(Pace(0.1))
    for turn, times in enumerate([*estimates, *[(42.0, 7.0)] * 120]):
        gateway.turn(turn * TURN_S, *times, is_starting=is_starting)
    assert {times for times, share in gateway.shares().items() if share > 0} == {(42.0, 7.0)}
