import contextlib
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.life.lifecycle import STATES, TRANSITIONS, Event, Lifecycle, Phase, TransitionRefused, transition
from gateway.model import Drain, Duration
from tests.support.diagrams import followers_by, followers_in
from tests.support.said import drain
from tests.unit.gateway.control.helpers import Clock


def test_the_page_shows_what_follows():
    moves = ((before.name, after.name, event.value) for (before, event), after in TRANSITIONS.items())
    assert followers_in(Path("docs/architecture.md"), "LAMEDUCK") == followers_by(moves)


class Hands:
    """Writes down what it is told."""

    def __init__(self):
        self.told = []
        self.n_connections = 3
        self.n_cut = 0
        self.share = None
        self.has_let_go = True

    def order(self, phase, close_share):
        if phase not in self.told[-1:]:
            self.told.append(phase)
        self.share = close_share

    def refuse_new(self):
        self.told.append("refuse new")

    def leave_listeners(self, at_once):
        told = "leave at once" if at_once else "leave"
        if told not in self.told:
            self.told.append(told)

    def have_let_go(self):
        return self.has_let_go

    def close_listeners(self):
        self.told.append("close listeners")

    def connections(self):
        return self.n_connections

    def cut(self):
        return {"request": self.n_cut, "tunnel": 0, "idle": 0}


@pytest.fixture
def scene():
    clock, hands = Clock(), Hands()
    life = Lifecycle(drain(lameduck="10s", deadline="60s"), hands, clock)
    return life, hands, clock


def serving(scene):
    scene[0].handle(Event.STARTED)
    return scene


def test_every_pair_is_listed_or_an_error():
    for phase in Phase:
        for event in Event:
            if (phase, event) in TRANSITIONS:
                assert transition(phase, event) in Phase
            else:
                with pytest.raises(TransitionRefused, match=f"not possible while {phase.value}: {event.value}"):
                    transition(phase, event)
    assert not any(phase is Phase.EXIT for phase, _ in TRANSITIONS)
    assert set(STATES) == set(Phase)
    assert set(STATES.values()) == {"starting", "serving", "lameduck", "closing"}


def test_the_whole_drain_in_order(scene):
    life, hands, clock = serving(scene)
    life.handle(Event.TERMINATE)
    assert life.state == "lameduck"
    for _ in range(100):
        clock.advance(0.1)
        life.turn()
    assert life.state == "closing"
    clock.advance(0.1)
    life.turn()
    assert hands.told == ["serving", "lameduck", "closing", "refuse new"]
    clock.advance(1.01)
    life.turn()
    assert hands.told[-2:] == ["leave", "close listeners"]
    assert not life.done.is_set()
    hands.n_connections = 0
    life.turn()
    assert life.phase is Phase.EXIT
    assert life.done.is_set()
    assert hands.told.count("close listeners") == 1


def test_quiet_before_the_listeners_are_closed_ends_nothing(scene):
    life, hands, clock = serving(scene)
    hands.n_connections = 0
    life.handle(Event.TERMINATE)
    clock.advance(5)
    life.turn()
    assert life.phase is Phase.LAMEDUCK  # load balancers still send
    clock.advance(5)
    life.turn()
    life.turn()
    assert life.phase is Phase.CLOSING
    clock.advance(1.01)
    life.turn()
    assert life.phase is Phase.EXIT


def test_the_share_that_is_told_grows_to_all(scene):
    life, hands, clock = serving(scene)
    assert life.close_share == 0
    life.handle(Event.TERMINATE)
    shares = []
    for _ in range(10):
        life.turn()
        shares.append(hands.share)
        clock.advance(1)
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[3] == pytest.approx(0.4)
    assert shares[8] == 1  # the last quarter tells everyone
    life.turn()
    assert life.phase is Phase.CLOSING
    assert life.close_share == 1


def test_without_a_lameduck_all_are_told_at_once():
    life = Lifecycle(Drain(lameduck=Duration(0), deadline=Duration(5)), Hands(), Clock())
    life.handle(Event.STARTED)
    life.handle(Event.TERMINATE)
    assert life.close_share == 1
    life.turn()
    assert life.phase is Phase.CLOSING


def test_at_the_deadline_what_is_left_is_cut(scene):
    life, hands, clock = serving(scene)
    life.handle(Event.TERMINATE)
    clock.advance(10)
    life.turn()
    clock.advance(50)
    life.turn()
    assert life.phase is Phase.ABORTING
    assert hands.told[-3:] == ["aborting", "leave at once", "close listeners"]
    clock.advance(2)
    life.turn()
    assert life.phase is Phase.EXIT  # a worker that does not obey holds nothing up


def test_a_worker_that_does_not_let_go_holds_nothing_up(scene):
    life, hands, clock = serving(scene)
    hands.has_let_go = False
    life.handle(Event.TERMINATE)
    life.handle(Event.TERMINATE)
    clock.advance(2)
    life.turn()
    assert life.phase is Phase.EXIT


@pytest.mark.parametrize("step", ["order", "refuse_new", "leave_listeners", "have_let_go", "connections", "close_listeners"])
def test_a_step_that_fails_each_time_holds_no_deadline_up(scene, step):
    life, hands, clock = serving(scene)
    life.handle(Event.TERMINATE)

    def broken(*_, **__):
        raise OSError("broken")

    setattr(hands, step, broken)
    seen = []
    for _ in range(640):  # a minute, and what cutting may take, in turns of 100 ms
        clock.advance(0.1)
        with contextlib.suppress(OSError):
            life.turn()
        seen.append(life.phase)
    assert life.phase is Phase.EXIT
    assert seen.index(Phase.CLOSING) in (99, 100)
    assert life.done.is_set()


def test_listeners_that_could_not_be_closed_are_closed_at_the_next_turn(scene):
    """As without a descriptor left, which the socket takes that stands in for a hung worker's."""
    life, hands, clock = serving(scene)
    closes = iter([OSError("Too many open files"), None])

    def close():
        if fault := next(closes):
            raise fault
        hands.told.append("close listeners")

    hands.close_listeners, hands.n_connections = close, 0
    life.handle(Event.TERMINATE)
    clock.advance(10)
    life.turn()
    clock.advance(1)
    with pytest.raises(OSError, match="Too many"):
        life.turn()
    assert life.phase is Phase.CLOSING
    life.turn()
    assert life.phase is Phase.EXIT and hands.told[-1] == "close listeners"


def test_aborting_ends_as_soon_as_nothing_is_left(scene):
    life, hands, _ = serving(scene)
    life.handle(Event.TERMINATE)
    life.handle(Event.TERMINATE)
    assert life.phase is Phase.ABORTING
    hands.has_let_go = False
    life.turn()
    assert hands.told[-2:] == ["aborting", "leave at once"], "a worker may still be accepting"
    hands.has_let_go = True
    hands.n_connections = 0
    life.turn()
    assert hands.told[-1] == "close listeners"
    assert life.phase is Phase.EXIT


def test_a_third_signal_waits_for_nothing(scene):
    life, _, _ = serving(scene)
    for _ in range(3):
        life.handle(Event.TERMINATE)
    assert life.done.is_set()


def test_the_operators_drain_stays_and_can_be_taken_back(scene):
    life, hands, clock = serving(scene)
    life.handle(Event.DRAIN)
    life.handle(Event.DRAIN)
    for _ in range(1000):
        clock.advance(1)
        life.turn()
    assert (life.state, hands.share) == ("lameduck", 1)
    life.handle(Event.UNDRAIN)
    assert (life.state, life.close_share, hands.told[-1], hands.share) == ("serving", 0, "serving", 0)
    life.handle(Event.UNDRAIN)


def test_sigterm_after_a_drain_does_not_announce_again(scene):
    """A preStop hook has drained already: the wait for load balancers is over."""
    life, _, clock = serving(scene)
    life.handle(Event.DRAIN)
    clock.advance(30)
    life.handle(Event.TERMINATE)
    life.turn()
    assert life.phase is Phase.CLOSING
    clock.advance(59)
    life.turn()
    assert life.phase is Phase.CLOSING  # the deadline counts from the signal
    clock.advance(1)
    life.turn()
    assert life.phase is Phase.ABORTING


def test_undrain_after_sigterm_is_refused_and_a_late_drain_is_not(scene):
    life, _, _ = serving(scene)
    life.handle(Event.TERMINATE)
    with pytest.raises(TransitionRefused) as caught:
        life.handle(Event.UNDRAIN)
    assert caught.value.status == 409
    life.handle(Event.DRAIN)
    assert life.phase is Phase.LAMEDUCK


def test_sigterm_while_starting_is_the_end(scene):
    life, _, _ = scene
    life.handle(Event.TERMINATE)
    assert life.done.is_set()


def test_each_step_is_one_event_in_the_log_and_force_is_a_warning(scene, caplog):
    caplog.set_level(logging.INFO, "isochrone.drain")
    life, _, clock = serving(scene)
    told = []
    life.on_phase = told.append
    life.handle(Event.TERMINATE)
    for seconds in (10, 50, 2):
        clock.advance(seconds)
        life.turn()
    assert [record.getMessage() for record in caplog.records] == ["serving", "lameduck", "closing", "aborting", "exit"]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "INFO", "WARNING", "WARNING"]
    assert caplog.records[1].connections == 3
    assert [phase.value for phase in told] == ["lameduck", "closing", "aborting", "exit"]


@pytest.mark.parametrize("n_cut", [0, 2])
def test_the_last_event_says_what_was_cut(scene, caplog, n_cut):
    caplog.set_level(logging.INFO, "isochrone.drain")
    life, hands, clock = serving(scene)
    life.handle(Event.TERMINATE)
    for seconds in (10, 50):
        clock.advance(seconds)
        life.turn()
    hands.n_connections, hands.n_cut = 0, n_cut
    life.turn()
    last = caplog.records[-1]
    assert (last.getMessage(), last.event, last.levelname) == ("exit", "no connection left", "WARNING" if n_cut else "INFO")
    assert {key: value for key, value in vars(last).items() if key.startswith("cut_")} == ({"cut_request": 2} if n_cut else {})


ORDERS = {
    Phase.STARTING: None, Phase.SERVING: "serving", Phase.HELD: "lameduck", Phase.LAMEDUCK: "lameduck", Phase.CLOSING: "closing",
    Phase.ABORTING: "aborting",
}  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from([Event.STARTED, Event.DRAIN, Event.UNDRAIN, Event.TERMINATE]), st.floats(0, 20)), max_size=30))
def test_whatever_comes_workers_have_the_order_of_the_phase(steps):
    clock, hands = Clock(), Hands()
    life = Lifecycle(drain(lameduck="10s", deadline="60s"), hands, clock)
    for step in steps:
        if life.phase is Phase.EXIT:
            break
        if isinstance(step, float):
            clock.advance(step)
            life.turn()
        else:
            try:
                life.handle(step)
            except TransitionRefused:
                pass
        orders = [told for told in hands.told if told in ORDERS.values()]
        if life.phase is not Phase.EXIT:
            assert (orders[-1] if orders else None) == ORDERS[life.phase]
            assert life.phase in (Phase.CLOSING, Phase.ABORTING) or not {"leave", "leave at once"} & set(hands.told)
        assert hands.told.count("close listeners") <= 1
        assert 0 <= life.close_share <= 1
