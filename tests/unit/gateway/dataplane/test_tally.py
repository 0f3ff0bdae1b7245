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
    workers = [Worker(number, snapshots, figures, counters, (), now_us=bench.now_us) for number in range(2)]
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
        bench.compiled = CompiledSettings(Settings(client_connections=connections), 1)
        bench.publish()

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
