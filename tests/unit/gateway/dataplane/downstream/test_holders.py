"""Who holds most goes first: room for a new client is made at the cost of the one that has most connections."""

import random
import socket
from collections import defaultdict

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received
from tests.unit.gateway.dataplane.downstream.test_accept import connect, listening


@pytest.fixture
def door():
    made = listening()
    yield made
    made.close()


def newcomer(bench, door):
    """A new connection, from this machine, which holds nothing; returns it."""
    end = connect(door)
    bench.ends.append(end)
    bench.turn(turns=2)
    return end


def open_ones(ends):
    """Which are still open, by number."""
    return [number for number, end in enumerate(ends) if received(end) != b""]


def test_half_heads_of_one_client_do_not_keep_others_out(make_bench, door):
    bench = make_bench(Settings(connections_per_listener=40), listeners=[door])
    polite = bench.client("192.0.2.1")
    hostile = [bench.client("198.51.100.1") for _ in range(39)]
    for end in hostile:
        end.send(REQUEST[:9])
    bench.turn()
    new = [newcomer(bench, door) for _ in range(20)]
    assert open_ones(new) == list(range(20)) and received(polite) is None
    assert open_ones(hostile) == list(range(20, 39)), "the oldest went"
    assert bench.figures_read["evicted"] == 20 and bench.causes == {"too_many_connections": 20}


def test_busy_ones_go_when_their_client_holds_most_and_cost_the_pop_nothing(make_bench, door):
    bench = make_bench(Settings(connections_per_listener=4), listeners=[door])
    clients = [bench.client("198.51.100.1") for _ in range(3)]
    upstreams = [bench.upstream() for _ in clients]
    for client in clients:
        client.send(REQUEST)
        bench.turn()
    assert all(received(upstream) for upstream in upstreams)
    single = bench.client("192.0.2.1")
    single.send(REQUEST[:9])
    bench.turn()
    assert received(newcomer(bench, door)) is None
    assert open_ones(clients) == [1, 2] and received(single) is None
    bench.turn()
    assert bench.figures.read_endpoint(bench.rows[0][0])["failures"] == 0 and len(open_ones(upstreams)) == 2
    for end in (*clients[1:], single):
        end.close()
    bench.turn(turns=2)
    bench.assert_at_rest()


def test_idle_ones_of_a_client_go_before_its_busy_ones(make_bench, door):
    bench = make_bench(Settings(connections_per_listener=3), listeners=[door])
    busy, idle, again = (bench.client("198.51.100.1") for _ in range(3))
    first, second = bench.upstream(), bench.upstream()
    for client in (busy, again):
        client.send(REQUEST)
        bench.turn()
    for upstream in (first, second):
        if received(upstream):
            upstream.send(ANSWER)
            bench.turn()
            break
    received(busy), received(again)
    bench.turn()
    new = newcomer(bench, door)
    assert received(idle) == b"" and received(new) is None
    assert open_ones((busy, again)) == [0, 1]


def test_nobody_is_cut_for_who_holds_as_much(make_bench):
    """A client that holds one less would hold as much as the other is left with: what runs is not cut for that."""
    outside = socket.create_server(("127.0.0.1", 0))
    outside.setblocking(False)
    bench = make_bench(Settings(connections_per_listener=2), listeners=[outside])
    busy = [bench.client(f"198.51.100.{n}") for n in range(2)]
    for client in busy:
        bench.upstream()
        client.send(REQUEST)
        bench.turn()
    refused = newcomer(bench, outside)
    assert received(refused) == b"" and open_ones(busy) == [0, 1]
    assert bench.figures_read["evicted"] == 0


@pytest.mark.parametrize("exempt", ["127.0.0.1", "::1", "10.1.2.3"])
def test_trusted_hops_and_this_machine_hold_nothing(make_bench, door, exempt):
    bench = make_bench(Settings(connections_per_listener=9, trusted=("10.0.0.0/8",)), listeners=[door])
    many = [bench.client(exempt) for _ in range(6)]
    two = [bench.client("198.51.100.1") for _ in range(3)]
    for end in (*many, *two):
        end.send(REQUEST[:9])
    bench.turn()
    newcomer(bench, door)
    assert len(open_ones(many)) == 6 and open_ones(two) == [1, 2]


@pytest.mark.parametrize(
    ("bits", "together", "apart"),
    [
        ({}, ("2001:db8:1:2::1", "2001:db8:1:2:ffff::1"), "2001:db8:1:3::1"),
        ({"v6_bits": 48}, ("2001:db8:1:2::1", "2001:db8:1:3::1"), "2001:db8:2::1"),
        ({"v4_bits": 24}, ("198.51.100.1", "198.51.100.9"), "198.51.101.1"),
        ({"v4_bits": 23}, ("198.51.100.1", "198.51.101.9"), "198.51.102.1"),
        ({"v4_bits": 32}, ("198.51.100.1", "::ffff:198.51.100.1"), "198.51.100.2"),
    ],
)
def test_a_client_is_a_prefix(make_bench, door, bits, together, apart):
    bench = make_bench(Settings(connections_per_listener=3, **bits), listeners=[door])
    other = bench.client(apart)
    ends = [bench.client(address) for address in together]
    bench.turn()
    newcomer(bench, door)
    assert received(other) is None and open_ones(ends) == [1]


@pytest.mark.parametrize("seed", range(8))
def test_like_a_naive_model(make_bench, door, seed):
    """Connections of several clients come, ask, end; each time room is short the one goes that the model names."""
    rng = random.Random(seed)
    limit = rng.choice((5, 30, 150))
    bench = make_bench(Settings(connections_per_listener=limit, linger_ms=1), listeners=[door])
    held = defaultdict(list)  # open ends by client, in order of age
    for _ in range(400):
        n_open = sum(map(len, held.values()))
        owner = f"198.51.100.{int(rng.paretovariate(0.7)) % 40}"
        if rng.random() < 0.2 and n_open:
            end = held[rng.choice([one for one, ends in held.items() if ends])].pop(0)
            end.close()
            bench.turn(turns=2)
        elif n_open < limit:
            held[owner].append(bench.client(owner))
        else:
            most = max(map(len, held.values()))
            extra = newcomer(bench, door)
            extra.close()
            bench.turn(turns=2)
            gone = [(one, n) for one, ends in held.items() for n in reversed(range(len(ends))) if received(ends[n]) == b""]
            assert len(gone) == 1, "one connection goes"
            one, n = gone[0]
            if most > 1:
                assert len(held[one]) == most or (most >= 64 and len(held[one]) > most * 15 // 16), "of the client that holds most"
                assert n == 0, "its oldest"
            held[one].pop(n)
    assert sum(bench.counters.read()["idle"]) == sum(map(len, held.values()))


def asked_again(bench, ends, upstream):
    for end in ends:
        assert bench.ask(end, upstream)
        upstream.send(ANSWER)
        bench.turn()
        assert received(end) == ANSWER


TRUSTING = {"trusted": ("192.0.2.0/24",)}


@pytest.mark.parametrize(
    ("before", "after", "goes"),
    [
        ({**TRUSTING, "v4_bits": 24}, {"v4_bits": 24}, 0),  # hops no more: three of one client
        ({"v4_bits": 24}, {**TRUSTING, "v4_bits": 24}, 3),  # hops now: nobody's
        ({}, {"v4_bits": 24}, 0),
        ({"v4_bits": 24}, {}, 3),
    ],
)
def test_who_holds_what_follows_a_reload_from_the_next_request_on(make_bench, door, before, after, goes):
    bench = make_bench(Settings(connections_per_listener=5, **before), listeners=[door])
    ends = [bench.client(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1", "198.51.100.1")]
    upstream = bench.upstream()
    asked_again(bench, ends, upstream)
    bench.reload(Settings(connections_per_listener=5, **after))
    asked_again(bench, ends, upstream)
    newcomer(bench, door)
    assert open_ones(ends) == [n for n in range(5) if n != goes]
