"""Limits of an endpoint are the whole gateway's: a connection that comes free is for whoever waits, at whatever worker."""

from functools import partial

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received, reset

ONE_POP = ((("127.0.0.1", 9),), ())


def crew_of(make_bench, n_workers=2, **settings):
    """Workers before one endpoint, which a server is behind."""
    crew = make_bench(Settings(**settings), endpoints=ONE_POP, n_workers=n_workers)
    crew.server = crew.listen()
    crew.server.setblocking(False)
    return crew


@pytest.fixture
def make_crew(make_bench):
    return partial(crew_of, make_bench)


def asks(crew, worker):
    client = crew.client(worker=worker)
    client.send(REQUEST)
    crew.turn(turns=2)
    return client


def arrived(crew):
    """The far end of a connection that was made with a request; None: there is none."""
    try:
        end = crew.server.accept()[0]
    except BlockingIOError:
        return None
    end.settimeout(5)
    crew.ends.append(end)
    assert end.recv(65536).startswith(b"GET /x ")
    end.setblocking(False)
    return end


def answers(crew, end):
    end.send(ANSWER)
    crew.turn(turns=4)


def test_one_connection_is_one_for_all_workers_and_goes_to_who_waits(make_crew):
    crew = make_crew(3, connections_per_endpoint=1)
    clients = [asks(crew, worker) for worker in range(3)]
    for client in clients:
        end = arrived(crew)
        assert end is not None and arrived(crew) is None
        assert crew.figures.read_endpoint(crew.rows[0][0])["connections"] == 1
        answers(crew, end)
        assert received(client) == ANSWER
        if client is not clients[-1]:
            assert received(end) == b"", "another worker has to make its own"
    crew.assert_at_rest()


def test_what_lies_idle_at_another_worker_is_given_up(make_crew):
    crew = make_crew(connections_per_endpoint=1)
    first = asks(crew, 0)
    end = arrived(crew)
    answers(crew, end)
    assert received(first) == ANSWER and received(end) is None, "it is kept while nobody wants it"
    second = asks(crew, 1)
    crew.turn(turns=3)
    assert received(end) == b""
    answers(crew, arrived(crew))
    assert received(second) == ANSWER


def test_all_that_lies_idle_at_another_worker_is_given_up_without_a_tick(make_crew):
    """One after the other: whoever goes sees to the next one who waits."""
    crew = make_crew(connections_per_endpoint=2)
    earlier = [asks(crew, 1) for _ in range(2)]
    ends = [arrived(crew) for _ in earlier]
    for end in ends:
        answers(crew, end)
    assert [received(client) for client in earlier] == [ANSWER] * 2
    clients = [crew.client() for _ in range(2)]
    for client in clients:
        client.send(REQUEST)
    crew.turn(turns=8)
    assert [received(end) for end in ends] == [b"", b""]
    for _ in clients:
        answers(crew, arrived(crew))
    assert [received(client) for client in clients] == [ANSWER] * 2


def test_those_of_the_own_worker_go_on_with_its_connection_until_another_has_waited_for_long(make_crew):
    crew = make_crew(connections_per_endpoint=1, queue_ms=8000)  # an eighth of it: a second
    clients = [asks(crew, worker) for worker in (0, 1, 0, 0)]
    end = arrived(crew)
    answers(crew, end)
    assert received(clients[0]) == ANSWER and received(end).startswith(b"GET /x "), "its own"
    crew.pass_ms(1500)
    late = asks(crew, 0)
    answers(crew, end)
    assert received(clients[2]) == ANSWER and received(end).startswith(b"GET /x ")
    answers(crew, end)
    assert received(clients[3]) == ANSWER and received(end) == b"", "whoever comes next has waited less by so much"
    answers(crew, arrived(crew))
    assert received(clients[1]) == ANSWER and received(late) is None
    answers(crew, arrived(crew))
    assert received(late) == ANSWER


def test_who_comes_does_not_pass_who_waits_elsewhere(make_crew):
    crew = make_crew(connections_per_endpoint=1)
    first, second = asks(crew, 0), asks(crew, 1)
    end = arrived(crew)
    end.send(ANSWER + b"x")  # more than was asked for: it is closed, and there is room
    end.close()
    third = crew.client()
    third.send(REQUEST)
    crew.turn(workers=[0])
    crew.turn(turns=3)
    assert received(first) == ANSWER
    answers(crew, arrived(crew))
    assert received(second) == ANSWER
    crew.pass_ms(200)
    answers(crew, arrived(crew))
    assert received(third) == ANSWER


def test_as_many_wait_as_may_at_all_workers_together(make_crew):
    crew = make_crew(3, connections_per_endpoint=1, queue_per_endpoint=4)
    clients = [asks(crew, 0)] + [asks(crew, 1) for _ in range(3)] + [asks(crew, 2) for _ in range(3)]
    refused = [answer for client in clients if (answer := received(client))]
    assert len(refused) == 2 and all(answer.startswith(b"HTTP/1.1 503 ") for answer in refused)
    assert crew.causes == {"queue_full": 2}
    for _ in range(5):
        answers(crew, arrived(crew) or crew.ends[-1])
        crew.pass_ms(100)
    assert [received(client) for client in clients[:5]] == [ANSWER] * 5, "all others"


def test_a_tunnel_gives_its_place_to_who_waits_elsewhere(make_crew):
    crew = make_crew(connections_per_endpoint=1)
    upgrade = crew.client()
    upgrade.send(b"GET /x HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    crew.turn(turns=2)
    end = arrived(crew)
    other = asks(crew, 1)
    assert arrived(crew) is None
    end.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    crew.turn(turns=4)
    answers(crew, arrived(crew))
    assert received(other) == ANSWER and received(end) is None


def test_a_lost_call_is_made_up_for_by_the_tick(make_crew):
    """The worker that is called does not turn for a while; then it does what was asked, and what is left."""
    crew = make_crew(connections_per_endpoint=1)
    first = asks(crew, 0)
    end = arrived(crew)
    second = asks(crew, 1)
    end.send(ANSWER)
    for _ in range(5):
        crew.turn(100, workers=[0])
    assert received(first) == ANSWER and received(second) is None
    crew.turn(100, workers=[1])
    crew.turn(100)
    crew.turn(turns=3)
    answers(crew, arrived(crew))
    assert received(second) == ANSWER


def test_who_is_told_and_goes_in_the_same_turn_passes_it_on(make_crew):
    """The answer makes room for the first of those who wait, whose reset is read behind it."""
    crew = make_crew(1, connections_per_endpoint=1)
    first = asks(crew, 0)
    end = arrived(crew)
    second = crew.client(is_tcp=True)
    second.send(REQUEST)
    crew.turn()
    third = asks(crew, 0)
    end.send(ANSWER)
    reset(second)
    crew.turn()
    assert received(first) == ANSWER and received(end).startswith(b"GET /x "), "in that turn"
    answers(crew, end)
    assert received(third) == ANSWER


def test_who_is_told_too_late_passes_it_on(make_crew):
    """What held the place is given up in the same moment as the first one's wait."""
    crew = make_crew(1, connections_per_endpoint=1, first_byte_ms=1000, queue_ms=1000)
    first = asks(crew, 0)
    assert arrived(crew) is not None
    second = asks(crew, 0)
    crew.turn(10)
    third = asks(crew, 0)
    for _ in range(9):
        crew.turn(100)
    crew.turn(95)
    crew.turn(turns=2)
    assert received(first).startswith(b"HTTP/1.1 504 ") and received(second).startswith(b"HTTP/1.1 503 ")
    end = arrived(crew)
    assert end is not None, "no tick was in between"
    answers(crew, end)
    assert received(third) == ANSWER
