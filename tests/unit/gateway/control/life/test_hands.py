import asyncio

import pytest

from gateway.control.life.doors import Doors
from gateway.control.life.hands import WorkerHands
from gateway.control.life.listeners import Listeners
from gateway.control.life.workers import Workers
from gateway.dataplane import Counters
from gateway.model import Address
from tests.unit.gateway.control.helpers import Clock, config_of, publisher_of


def test_the_steps_are_carried_out():
    publisher = publisher_of(config_of(), Clock())
    workers = Workers(Counters(2))
    listeners = Listeners.open([("web", Address("127.0.0.1", 0)), ("other", Address("127.0.0.1", 0))])
    listeners.listen()
    doors = Doors(publisher.snapshots, workers, listeners)
    for number in doors.numbers:
        doors.open(number)
    workers.start(publisher.snapshots, publisher.figures, 1.0)
    hands = WorkerHands(doors)
    for phase in ("lameduck", "lameduck", "closing", "aborting"):
        hands.order(phase, 0.5)
    with pytest.raises(ValueError, match="phase"):
        hands.order("asleep", 0.5)
    hands.refuse_new()
    assert not hands.have_let_go()
    for at_once in (False, False, True):
        hands.leave_listeners(at_once)
    while not hands.have_let_go():
        workers.wake()
    assert hands.connections() == 0 and hands.cut() == {"request": 0, "tunnel": 0, "idle": 0}
    hands.close_listeners()
    assert [one.is_closed for one in listeners.all] == [True, True]
    assert asyncio.run(workers.stop(5))
    workers.close()
