"""Who waits for an endpoint: real gateways before real backends that may have little at once."""

import contextlib
import threading
from typing import Self

import pytest

from tests.io.serving import CONFIG, GERMAN, Answer, Client, Served, eventually, served

pytestmark = pytest.mark.slow


class Crowd:
    """So many clients, each of which asks again as soon as it is answered."""

    def __init__(self, port: int, n: int, path: str) -> None:
        self.answers: list[Answer] = []
        self._port, self._path, self._is_over = port, path, threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(n)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self) -> None:
        client = Client(self._port)
        while not self._is_over.is_set():
            self.answers.append(client.ask(self._path, GERMAN))
        client.close()

    def latest(self, n: int) -> list[Answer]:
        return self.answers[-n:] if len(self.answers) >= n else []


def with_limits(service: str, *more: str) -> str:
    return "\n".join([CONFIG.replace("slow_start: 200ms", f"slow_start: 200ms\n    {service}"), *more])


def test_a_pop_where_many_wait_is_slow_and_others_take_over(tmp_path, pops):
    """Eight clients ask the nearer PoP, which has one request at once, a tenth of a second each: they would wait for 0.8 s."""
    text = with_limits("max_in_flight: 1", "timeouts: {{queue: 500ms}}")
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway, Crowd(gateway.port, 8, "/?delay=0.1") as crowd:

        def is_shared() -> bool:
            latest = crowd.latest(40)
            decided = [answer.text for answer in latest if answer.headers.get("x-isochrone-reason") != "failover"]
            return len(latest) == 40 and {answer.status for answer in latest} == {200} and decided.count("nyc") >= 10

        eventually(is_shared, "all are answered, and many are sent to where nobody waits")


def ask_once(gateway: Served) -> Answer:
    with contextlib.closing(Client(gateway.port)) as client:
        return client.ask("/", GERMAN)


def test_who_waits_at_a_pop_that_is_drained_goes_to_another(tmp_path, pops):
    """One is under way there, four wait behind it; none of these has begun."""
    fra, nyc = pops
    text = with_limits("max_in_flight: 1", "timeouts: {{queue: 20s}}")
    with served(tmp_path, text, fra=fra.address, nyc=nyc.address) as gateway:
        holder = threading.Thread(target=gateway.get, args=("/?delay=4",), kwargs={"headers": GERMAN})
        holder.start()
        eventually(lambda: fra.in_flight == 1, "one is there")
        answers: list[Answer] = []
        waiting = [threading.Thread(target=lambda: answers.append(ask_once(gateway))) for _ in range(4)]
        for thread in waiting:
            thread.start()
        eventually(lambda: gateway.admin("/pops/fra")["in_flight"] == 5, "four wait for it")
        gateway.admin("/pops/fra/drain", "POST")
        for thread in (*waiting, holder):
            thread.join(20)
        assert [(answer.status, answer.text) for answer in answers] == [(200, "nyc")] * 4
        assert fra.most_in_flight == 1 and fra.seen["GET /"] == 1


def test_who_waits_at_one_endpoint_is_served_by_another_that_has_room(tmp_path, pops):
    """Two endpoints of one connection each, held for 4 s and for half a second; the others may wait for a second."""
    one, two = pops
    text = with_limits("max_in_flight: 0", "limits: {{connections_per_endpoint: 1}}").replace('["{fra}"]', '["{fra}", "{nyc}"]')
    text = text.replace('      - {{pop: nyc, endpoints: ["{nyc}"]}}\n', "")
    with served(tmp_path, text, fra=one.address, nyc=two.address) as gateway:
        answers: list[Answer] = []

        def ask(path: str) -> threading.Thread:
            def run() -> None:
                with contextlib.closing(Client(gateway.port)) as client:
                    answers.append(client.ask(path, GERMAN))

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        holders = [ask("/?delay=4")]
        eventually(lambda: one.in_flight + two.in_flight == 1, "one is held")
        holders.append(ask("/?delay=0.5"))
        eventually(lambda: one.in_flight + two.in_flight == 2, "so is the other, for a while")
        others = [ask("/") for _ in range(30)]
        for thread in (*others, *holders):
            thread.join(20)
        assert {answer.status for answer in answers} == {200} and len(answers) == 32
