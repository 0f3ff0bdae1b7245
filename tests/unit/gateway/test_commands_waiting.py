import argparse

import pytest

from gateway.commands._client import AdminError, Unreachable
from gateway.commands._waiting import duration_s, follow, path_of
from tests.unit.gateway.control.helpers import Clock

GATEWAY = {"state": "lameduck", "drained": True, "since_s": 1.0, "lameduck_s": 5.0, "connections": {"active": 1, "idle": 2}, "done": False}
POP = {"pop": "fra", "drained": True, "in_flight": 3, "since_s": 1.0, "done": False}


class Client:
    def __init__(self, *seen):
        self.seen = list(seen)

    def get(self, path):
        one = self.seen.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


def run(first, *then, timeout_s=None):
    clock = Clock()
    return follow(Client(*then), "/drain", first, timeout_s, clock, clock.advance)


def test_a_line_for_each_change_and_the_end(capsys):
    assert run(POP, POP, {**POP, "in_flight": 1}, {**POP, "in_flight": 0, "since_s": 2.04, "done": True}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "fra: draining, 3 in flight",
        "fra: draining, 1 in flight",
        "fra: drained after 2.0 s, nothing in flight; `isochrone undrain` takes it back",
    ]


def test_a_gateways_lines(capsys):
    over = {**GATEWAY, "since_s": 6.0}
    assert run(GATEWAY, over, {**over, "done": True}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "lameduck for 5 s, 1 active and 2 idle connections",
        "draining, 1 active and 2 idle connections",
        "drained after 6.0 s, no connection left; `isochrone undrain` takes it back",
    ]


def test_what_does_not_change_is_said_again_after_a_while(capsys):
    assert run(POP, *[POP] * 40, {**POP, "done": True}) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == ["fra: draining, 3 in flight"] * 3  # 41 looks, 20 s


def test_somebody_else_takes_it_back():
    with pytest.raises(AdminError, match="taken it back"):
        run(POP, {**POP, "drained": False})


def test_the_time_is_up():
    with pytest.raises(AdminError, match="not done in 2 s, and still under way: fra: draining, 3 in flight"):
        run(POP, *[POP] * 9, timeout_s=2.0)


def test_the_gateway_ends_meanwhile():
    with pytest.raises(Unreachable, match="refused; it answered before: has it ended"):
        run(POP, Unreachable("refused"))


def test_names_are_part_of_a_path():
    assert path_of(None, "drain") == "/drain"
    assert path_of("a/b c", "undrain") == "/pops/a%2Fb%20c/undrain"


def test_durations():
    assert duration_s("2m") == 120
    with pytest.raises(argparse.ArgumentTypeError, match="must be a duration"):
        duration_s("2")
