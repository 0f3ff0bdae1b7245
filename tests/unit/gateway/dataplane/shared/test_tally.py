"""Caps of one client: connections and exchanges of the whole gateway, whatever worker has them."""

import pytest

from gateway.dataplane import CompiledSettings, Counters, Settings, Snapshots, Worker
from routing_core import Figures
from tests.support.dataplane import ANSWER, REQUEST, received

HOSTILE, POLITE = "198.51.100.1", "192.0.2.1"


def forwarded(address):
    return REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: " + address.encode() + b"\r\n\r\n")


def test_connections_beyond_the_cap_are_closed_and_counted(make_bench):
    bench = make_bench(Settings(client_connections=3))
    ends = [bench.client(HOSTILE) for _ in range(3)]
    with pytest.raises(OSError, match="adopt"):
        bench.client(HOSTILE)
    assert received(bench.ends[-1]) == b"" and bench.causes == {"client_connections": 1}
    bench.client(POLITE)
    for address in ("127.0.0.1", "::1"):
        for _ in range(5):
            bench.client(address)
    ends[0].close()
    bench.turn()
    bench.client(HOSTILE)


def test_exchanges_beyond_the_cap_are_429_and_leave_the_connection(make_bench):
    bench = make_bench(Settings(client_exchanges=2))
    upstreams = [bench.upstream() for _ in range(3)]
    clients = [bench.client(HOSTILE) for _ in range(3)]
    for client in clients:
        client.send(REQUEST)
        bench.turn()
    answer = received(clients[2])
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n") and b"\r\nretry-after: 1\r\n" in answer
    assert bench.causes == {"client_exchanges": 1}
    other = bench.client(POLITE)
    other.send(REQUEST)
    bench.turn()
    for upstream in upstreams:
        assert received(upstream)
        upstream.send(ANSWER)
    bench.turn()
    assert received(clients[0]) == received(other) == ANSWER
    bench.ask(clients[2], upstreams[0])
    assert received(clients[2]) is None, "room again, on the same connection"


@pytest.mark.parametrize(("forwarded_for", "is_capped"), [("198.51.100.1", True), ("10.0.0.9", False), ("127.0.0.1", False)])
def test_behind_a_trusted_hop_exchanges_count_by_the_resolved_client(make_bench, forwarded_for, is_capped):
    bench = make_bench(Settings(client_exchanges=2, client_connections=2, trusted=("10.0.0.0/8",)))
    hops = [bench.client("10.1.1.1") for _ in range(4)]
    for hop in hops:
        bench.upstream()
        hop.send(forwarded(forwarded_for))
        bench.turn()
    answers = [received(hop) for hop in hops]
    assert [bool(answer and answer.startswith(b"HTTP/1.1 429 ")) for answer in answers] == [False, False, is_capped, is_capped]
    polite = bench.client("10.1.1.1")
    bench.upstream()
    polite.send(forwarded(POLITE))
    bench.turn()
    assert received(polite) is None, "another client behind the same hop is served"


def test_a_cap_is_the_whole_gateways(make_bench):
    """Two workers: what one of them has counts for the other."""
    bench = make_bench(Settings(client_connections=3))
    figures, counters = Figures(2), Counters(2)
    snapshots = Snapshots(bench.table(), bench.locator, CompiledSettings(Settings(client_connections=3), 2))
    workers = [Worker(number, snapshots, figures, counters, now_us=bench.now_us) for number in range(2)]
    for number in (0, 1, 1):
        workers[number].adopt_downstream(bench.pair()[1], HOSTILE)
    for worker in workers:
        with pytest.raises(OSError, match="adopt"):
            worker.adopt_downstream(bench.pair()[1], HOSTILE)
        worker.adopt_downstream(bench.pair()[1], POLITE)
    assert counters.read()["causes"]["client_connections"] == 2
    for worker in workers:
        worker.close()


def test_a_cap_that_comes_and_goes_by_reload_leaves_no_debt(make_bench):
    bench = make_bench(Settings())
    before = [bench.client(HOSTILE) for _ in range(2)]

    def cap(connections):
        bench.reload(Settings(client_connections=connections))

    cap(2)
    during = [bench.client(HOSTILE) for _ in range(2)]
    with pytest.raises(OSError, match="adopt"):
        bench.client(HOSTILE)
    cap(0)
    after = bench.client(HOSTILE)
    for end in (*before, *during, after):
        end.close()
    bench.turn(turns=2)
    cap(2)
    for _ in range(2):
        bench.client(HOSTILE)
    with pytest.raises(OSError, match="adopt"):
        bench.client(HOSTILE)


def asked_again(bench, client, upstream, address=None):
    """Serves one request; whether the client is told that its connection ends with it."""
    assert bench.ask(client, upstream, forwarded(address) if address else REQUEST)
    upstream.send(ANSWER)
    bench.turn()
    return b"connection: close" in received(client)


def test_who_is_there_when_a_cap_comes_counts_from_the_next_request_on(make_bench):
    bench = make_bench()
    clients, upstream = [bench.client(HOSTILE) for _ in range(4)], bench.upstream()
    bench.reload(Settings(client_connections=2))
    assert [asked_again(bench, client, upstream) for client in clients] == [False, False, True, True], "those above it end"
    with pytest.raises(OSError, match="adopt"):
        bench.client(HOSTILE)
    for client in clients[2:]:
        client.close()
    bench.turn()
    bench.reload(Settings(client_connections=1))
    assert asked_again(bench, clients[0], upstream), "two are one too many"
    clients[0].close()
    bench.turn()
    assert not asked_again(bench, clients[1], upstream)
    bench.reload(Settings())
    assert not asked_again(bench, clients[1], upstream)
    clients[1].close()
    bench.turn()
    bench.reload(Settings(client_connections=1))
    bench.client(HOSTILE)


def test_a_cap_counts_by_the_prefixes_of_the_newest_settings(make_bench):
    bench = make_bench(Settings(client_connections=2))
    clients, upstream = [bench.client(f"198.51.100.{n}") for n in range(3)], bench.upstream()
    bench.reload(Settings(client_connections=2, v4_bits=24))
    assert [asked_again(bench, client, upstream) for client in clients] == [False, False, True]
    with pytest.raises(OSError, match="adopt"):
        bench.client(HOSTILE)
    for end in clients:
        end.close()
    bench.turn(turns=2)
    for _ in range(2):
        bench.client(HOSTILE)


def test_a_hop_that_is_trusted_no_more_counts_and_one_that_is_now_does_not(make_bench):
    trusting, caps = {"trusted": ("198.51.100.0/24",)}, {"client_connections": 1}
    bench = make_bench(Settings(**trusting, **caps))
    hops, upstream = [bench.client(HOSTILE) for _ in range(2)], bench.upstream()
    assert [asked_again(bench, hop, upstream, POLITE) for hop in hops] == [False, False]
    bench.reload(Settings(**caps))
    assert [asked_again(bench, hop, upstream) for hop in hops] == [False, True]
    bench.reload(Settings(**trusting, **caps))
    assert not asked_again(bench, hops[0], upstream, POLITE)
    bench.client(HOSTILE)
    bench.reload(Settings(**caps))
    bench.client(POLITE)
