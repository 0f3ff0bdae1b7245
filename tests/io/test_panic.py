"""Too little is well to be choosy: real gateways before real backends, most of which are dead."""

import contextlib
import socket
from collections import Counter

import pytest

from tests.io.serving import CONFIG, Client, backends, eventually, free_port, served

pytestmark = pytest.mark.slow

ALIVE, DEAD = 3, 7


@pytest.fixture(scope="module")
def ten():
    with backends(*(f"one-{number}" for number in range(ALIVE + DEAD))) as opened:
        yield opened


@contextlib.contextmanager
def silent(n):
    """Addresses where connections open and nothing answers."""
    with contextlib.ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)) for _ in range(n)]
        yield [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]


@contextlib.contextmanager
def closed(n):
    yield [f"127.0.0.1:{free_port()}" for _ in range(n)]


def listed(addresses):
    return '", "'.join(addresses)


def shown(gateway, pop):
    """Its only service there, as the admin API has it."""
    return gateway.admin(f"/pops/{pop}")["services"][0]


def wait_states(gateway, pop, good):
    """Until so many endpoints take requests and nobody is in doubt."""

    def is_so():
        states = shown(gateway, pop)["endpoints"]
        n_good = states.get("admitting", 0) + states.get("ramping", 0)
        return n_good == good and n_good + states.get("shut", 0) == sum(states.values())

    eventually(is_so, f"{good} of {pop} admit")


def ask(gateway, n=200, method="GET"):
    """What n requests in a row met: by status and who answered."""
    client = Client(gateway.port)
    try:
        answers = [client.ask("/", None, method, b"x" if method == "POST" else None) for _ in range(n)]
        return Counter((answer.status, answer.text.partition(" ")[0]) for answer in answers), answers
    finally:
        client.close()


@pytest.mark.parametrize("dead", [closed, silent])
def test_three_of_ten_that_live_answer_everything(tmp_path, ten, dead):
    """One PoP, and nobody else to go to."""
    with dead(DEAD + 1) as others:
        config = CONFIG.replace("      - {{pop: nyc", "      #").replace(
            "interval: 300ms, timeout: 300ms", "interval: 300ms, timeout: 150ms"
        )
        addresses = [one.address for one in ten[:ALIVE]] + others[:DEAD]
        with served(tmp_path, config, fra=listed(addresses), nyc=others[-1]) as gateway:
            wait_states(gateway, "fra", ALIVE)
            for method in ("GET", "POST"):
                met, answers = ask(gateway, method=method)
                assert met.keys() <= {(200, one.name) for one in ten[:ALIVE]}, met
                assert answers[0].headers["x-isochrone-reason"] == "panic"


def test_of_two_pops_the_dead_one_is_passed_over(tmp_path, ten):
    with closed(DEAD + 2) as others:
        nyc = [ten[0].address, *others[DEAD:]]  # one of three: less than half of its availability
        with served(tmp_path, CONFIG, fra=listed(others[:DEAD]), nyc=listed(nyc)) as gateway:
            wait_states(gateway, "fra", 0)
            wait_states(gateway, "nyc", 1)
            met, answers = ask(gateway)
            assert met.keys() == {(200, ten[0].name)}
            assert {answer.headers["x-isochrone-reason"] for answer in answers} == {"panic"}


def test_those_that_die_one_after_another_are_seen_by_nobody(tmp_path, ten):
    """Into the panic and through it, while requests come."""
    config = CONFIG.replace("      - {{pop: nyc", "      #")
    with served(tmp_path, config, fra=listed(one.address for one in ten), nyc="-") as gateway:
        wait_states(gateway, "fra", ALIVE + DEAD)
        try:
            for number in range(DEAD):
                ten[-1 - number].die()
                assert {status for status, _ in ask(gateway, 50)[0]} == {200}
            wait_states(gateway, "fra", ALIVE)
            assert ask(gateway)[0].keys() <= {(200, one.name) for one in ten[:ALIVE]}
        finally:
            for one in ten[ALIVE:]:
                one.revive()


def test_what_probes_are_answered_is_ignored(tmp_path, ten):
    """Too many are unwell by their own word to believe it: all take their part."""
    config = CONFIG.replace("      - {{pop: nyc", "      #")
    for one in ten[ALIVE:]:
        one.status = 503
    try:
        with served(tmp_path, config, fra=listed(one.address for one in ten), nyc="-") as gateway:
            wait_states(gateway, "fra", ALIVE)
            assert ask(gateway)[0].keys() == {(200, one.name) for one in ten}
    finally:
        for one in ten:
            one.status = 200
