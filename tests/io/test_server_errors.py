"""5xx among real endpoints behind a real gateway: one that answers 500 to everything, and 500s that are no endpoint's fault."""

import contextlib

import pytest

from tests.io.outlying import endpoint, lines, pool_of, standing
from tests.io.serving import Client, Load, eventually

pytestmark = pytest.mark.slow


def requests(gateway, n, path="/", network=7, client=None):
    """One after another, from one client of that network."""
    with contextlib.closing(Client(gateway.port)) if client is None else contextlib.nullcontext(client) as client:
        for _ in range(n):
            client.ask(path, {"x-forwarded-for": f"203.0.{network}.1"})


def test_one_that_answers_500_to_everything_is_ejected_and_returns(tmp_path):
    with standing(tmp_path, 4, eject="2s") as (gateway, servers):
        bad, *others = servers
        load = Load(gateway.port).keep_alive(4)
        eventually(lambda: bad.n_seen > 5, "all serve")
        bad.answers = 500
        ejected = eventually(lambda: lines(gateway, bad, "ejected"), "it is ejected", 15)[0]
        assert "of answers 5xx or none, where others have 0.0%" in ejected["cause"]
        assert (endpoint(gateway, bad)["gate"], endpoint(gateway, bad)["state"]) == ("ejected", "ejected")
        said = endpoint(gateway, bad)
        assert said["failures"] == said["server_errors"] > 5
        assert {endpoint(gateway, one)["failures"] for one in others} == {0}
        assert pool_of(gateway)["failures"] == pool_of(gateway)["server_errors"] == endpoint(gateway, bad)["failures"]
        load.wait_answers(50)  # what was under way has ended
        before = bad.n_seen
        load.wait_answers(200)
        assert bad.n_seen == before
        bad.answers = 200
        eventually(lambda: bad.n_seen > before, "it serves again")
        assert lines(gateway, bad, "ramping")
        load.stop()
        assert not any(lines(gateway, one, "ejected") for one in others)


@pytest.mark.parametrize(("failing", "more"), [("all", ""), ("one", "server_errors: false")], ids=["all fail alike", "off"])
def test_nobody_is_ejected(tmp_path, failing, more):
    with standing(tmp_path, 4, more=more) as (gateway, servers):
        for one in servers[: 4 if failing == "all" else 1]:
            one.answers = 500
        load = Load(gateway.port).keep_alive(4)
        load.wait_answers(2000)
        load.stop()
        assert pool_of(gateway)["server_errors"] > 200
        assert "endpoint is ejected" not in gateway.log


def test_too_few_answers_say_nothing(tmp_path):
    with standing(tmp_path, 2) as (gateway, servers):
        servers[0].answers = 500
        requests(gateway, 39)  # not both can have had 20
        assert pool_of(gateway)["failures"] == servers[0].n_seen > 0
        assert "endpoint is ejected" not in gateway.log


def test_one_client_that_asks_for_what_always_fails_ejects_nobody(tmp_path):
    """Wherever it is sent. And it may see to that: where it was answered late nobody goes for a while."""
    with standing(tmp_path, 2) as (gateway, servers):
        for one in servers:
            one.failing_path = "/poison"
        for network in range(20):
            requests(gateway, 20, network=network)
        requests(gateway, 1, "/?delay=0.9", network=99)
        requests(gateway, 500, "/poison", network=99)
        assert pool_of(gateway)["server_errors"] == pool_of(gateway)["failures"] == 500
        assert "endpoint is ejected" not in gateway.log
