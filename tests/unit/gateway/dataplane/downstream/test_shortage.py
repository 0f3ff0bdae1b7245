"""Where buffers have no room for a new head the clients that hold most give theirs up; polite ones are served, or wait a little."""

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received
from tests.unit.gateway.dataplane.downstream.test_holders import open_ones

KIB, MIB = 1 << 10, 1 << 20
HOSTILE, OTHER, HOP = "198.51.100.1", "198.51.100.2", "192.0.2.200"
HALF = REQUEST[:9]


@pytest.fixture
def make_tight(make_bench):
    """Room for 64 heads: 512 KiB, half of the bound."""

    def make(**options):
        options = {"trusted": (HOP,), "request_head_ms": 60_000} | options
        n_workers = options.pop("n_workers", 1)
        return make_bench(Settings(buffer_bytes=MIB, **options), n_workers=n_workers)

    return make


def halves(bench, n, address, worker=0):
    ends = [bench.client(address, worker=worker) for _ in range(n)]
    for end in ends:
        end.send(HALF)
    bench.turn()
    return ends


def held(bench):
    return bench.counters.read()["buffered"]


def evicted(bench):
    assert bench.figures_read["evicted"] == 0
    return bench.figures_read["evicted_for_buffers"]


def is_served(bench, address, after_ms=0):
    client, upstream = bench.client(address), bench.upstream()
    client.send(REQUEST)
    bench.turn()
    bench.pass_ms(after_ms)
    if not received(upstream):
        return False
    upstream.send(ANSWER)
    bench.turn()
    answer = received(client)
    client.close()
    upstream.close()
    bench.turn(turns=2)
    return answer == ANSWER


def test_half_heads_of_one_client_leave_room_for_others_at_once(make_tight):
    bench = make_tight()
    polite = halves(bench, 4, OTHER)
    hostile = halves(bench, 61, HOSTILE)
    assert held(bench) == 520 * KIB and evicted(bench) == 0
    assert is_served(bench, "192.0.2.1")
    assert open_ones(polite) == [0, 1, 2, 3]
    assert open_ones(hostile) == list(range(9, 61)), "the oldest went, an eighth of the room"
    assert evicted(bench) == 9 and bench.figures_read["buffer_waits"] == 0


def test_a_flood_that_comes_back_at_once_is_cut_again(make_tight):
    bench = make_tight()
    for _ in range(30):
        halves(bench, 65, HOSTILE)
        bench.turn(25)
        assert is_served(bench, "192.0.2.1", 200)
        assert held(bench) < 560 * KIB
    assert evicted(bench) > 1000


def slow_readers(bench, n, address):
    ends = []
    for _ in range(n):
        client, upstream = bench.client(address), bench.upstream()
        bench.ask(client, upstream)
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(20):
            try:
                upstream.send(bytes(256 * KIB))
            except OSError:  # full, or cut already
                pass
            bench.turn()
        ends.append(client)
    return ends


def test_slow_readers_give_up_theirs_and_none_of_it_is_the_pops_fault(make_tight):
    bench = make_tight()
    readers = slow_readers(bench, 12, HOSTILE)
    for n in range(3):
        halves(bench, 8, f"203.0.113.{n}")
    assert held(bench) > 512 * KIB
    assert is_served(bench, "192.0.2.1", 200) and evicted(bench) > 0
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 0
    for end in readers:
        end.close()
    bench.turn(turns=3)


def test_who_begins_while_there_is_none_waits_and_is_served(make_tight):
    """All that is held is this machine's, or a hop's: nobody is cut."""
    bench = make_tight()
    exempt = halves(bench, 33, "127.0.0.1") + halves(bench, 32, HOP)
    client, upstream = bench.client("192.0.2.1"), bench.upstream()
    client.send(REQUEST)
    bench.turn(turns=3)
    bench.pass_ms(1000)
    assert received(upstream) is None and received(client) is None
    assert bench.figures_read["buffer_waits"] > 5 and evicted(bench) == 0
    exempt[0].close()
    bench.turn()
    assert len(open_ones(exempt[1:])) == 64
    bench.pass_ms(300)
    assert received(upstream), "its end was not seen while nobody reads, but by the kernel's word for both directions"
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER


def test_those_who_wait_end_with_their_worker_and_alone(make_tight):
    bench = make_tight()
    halves(bench, 65, HOP)
    waiting = [bench.client("192.0.2.1") for _ in range(5)]
    for end in waiting:
        end.send(REQUEST)
    bench.turn()
    waiting[2].close()
    bench.pass_ms(500)
    assert len(open_ones([waiting[0], *waiting[3:]])) == 3


def test_many_clients_with_little_each_are_not_cut(make_tight):
    bench = make_tight()
    ends = [end for n in range(33) for end in halves(bench, 2, f"203.0.113.{n}")]
    assert held(bench) == 520 * KIB  # the last one waits
    bench.pass_ms(1000)
    assert len(open_ones(ends)) == 66 and evicted(bench) == 0


def test_what_is_under_way_has_its_answer_while_nothing_new_is_read(make_tight):
    bench = make_tight()
    clients, upstreams = [bench.client(HOP) for _ in range(20)], [bench.upstream() for _ in range(20)]
    for client in clients:
        client.send(REQUEST)
    bench.turn()
    exempt = halves(bench, 40, HOP)
    assert held(bench) > 512 * KIB
    for upstream in upstreams:
        assert received(upstream)
        upstream.send(ANSWER)
    bench.turn()
    assert [received(client) for client in clients] == [ANSWER] * 20
    assert len(open_ones(exempt)) == 40


def test_a_client_that_holds_most_at_another_worker_is_cut_there(make_tight):
    bench = make_tight(n_workers=2)
    polite = [halves(bench, 4, f"203.0.113.{n}", worker=0) for n in range(4)]
    hostile = halves(bench, 49, HOSTILE, worker=1)
    client, upstream = bench.client("192.0.2.1"), bench.upstream()
    client.send(REQUEST)
    bench.turn(workers=[0])
    assert received(upstream) is None and evicted(bench) == 0, "nobody here holds too much"
    bench.pass_ms(300)
    assert received(upstream) and evicted(bench) > 0
    assert len(open_ones(hostile)) < 49 and all(len(open_ones(ends)) == 4 for ends in polite)


def test_a_level_that_somebody_has_left_does_not_protect_others(make_tight):
    bench = make_tight(n_workers=2)
    gone = halves(bench, 60, HOSTILE, worker=1)
    halves(bench, 6, "203.0.113.1", worker=0)
    bench.pass_ms(200)
    for end in gone:
        end.close()
    bench.pass_ms(2000)
    halves(bench, 65, HOSTILE, worker=0)
    bench.turn(25)
    assert is_served(bench, "192.0.2.1")


def test_a_head_that_goes_on_growing_waits_too(make_tight):
    bench = make_tight()
    exempt = halves(bench, 60, HOP)
    large = bench.client(HOP)
    large.send(REQUEST[:-2] + b"x: " + b"x" * 25_000)
    bench.turn()
    halves(bench, 3, HOP)
    before = held(bench)
    large.send(b"x" * 3000 + b"\r\n\r\n")
    bench.turn(turns=3)
    assert held(bench) == before > 512 * KIB
    for end in exempt:
        end.close()
    bench.turn(turns=2)
    upstream = bench.upstream()
    bench.pass_ms(200)
    assert received(upstream).startswith(b"GET /x ")
