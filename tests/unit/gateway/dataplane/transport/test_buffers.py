"""What is taken of memory for buffers is counted, whoever has it and whatever for; where there is no room nothing is kept for later."""

import routing_core
from gateway.dataplane import CompiledSettings, Settings
from tests.support.dataplane import ANSWER, REQUEST, received

KIB, MIB = 1 << 10, 1 << 20
DOWNLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30)


def held(bench):
    return bench.counters.read()["buffered"]


def test_what_is_taken_is_counted_and_what_is_lent_again_is_not(bench):
    assert held(bench) == 0
    ends = [bench.client() for _ in range(10)]
    for end in ends:
        end.send(REQUEST[:9])
    bench.turn()
    assert held(bench) == 80 * KIB
    for end in ends:
        end.close()
    bench.turn(turns=2)
    again = bench.client()
    again.send(REQUEST[:9])
    bench.turn()
    assert held(bench) == 80 * KIB, "the list's"
    bench.pass_ms(9000)
    assert held(bench) == 8 * KIB


def test_a_head_that_grows_is_counted_as_what_it_is_held_in(bench):
    end = bench.client()
    end.send(REQUEST[:-2] + b"x: " + b"x" * 20_000)
    bench.turn()
    bench.pass_ms(9000)
    assert held(bench) == 32 * KIB


def test_all_workers_count_in_one_cell_and_what_one_gives_back_is_gone(make_bench):
    bench = make_bench(n_workers=3)
    for worker in range(3):
        bench.client(worker=worker).send(REQUEST[:9])
    bench.turn()
    assert held(bench) == 24 * KIB
    bench.workers[1].close()
    assert held(bench) == 16 * KIB


def test_a_turn_gives_back_so_many_and_the_next_ones_the_rest_while_a_head_waits_for_it(bench):
    """A bound that a reload lowers: all that nobody uses has to go, and each costs a call."""
    ends = [bench.client("198.51.100.1") for _ in range(300)]
    for end in ends:
        end.send(REQUEST[:9])
    bench.turn()
    for end in ends:
        end.close()
    bench.turn(turns=2)
    assert held(bench) == 2400 * KIB, "spare"
    client, upstream = bench.client("198.51.100.2"), bench.upstream()
    bench.settings, bench.compiled = Settings(buffer_bytes=MIB), CompiledSettings(Settings(buffer_bytes=MIB), 1)
    bench.snapshots.publish(bench.table(), bench.locator, bench.compiled)
    client.send(REQUEST)
    seen = []
    while received(upstream) is None:
        bench.turn()
        seen.append(held(bench) // KIB)
    assert seen[:2] == [2400 - 1024, 2400 - 2048] and len(seen) <= 4, "no tick is waited for"
    assert bench.figures_read["evicted_for_buffers"] == 0, "nobody goes for what is on its way"
    bench.turn(turns=3)
    assert held(bench) <= 32 * KIB


def download(bench):
    """A client that reads nothing of a large answer; returns its end and the upstream's."""
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(DOWNLOAD)
    more(bench, upstream)
    return client, upstream


def more(bench, upstream):
    for _ in range(20):
        try:
            upstream.send(bytes(256 * KIB))
        except BlockingIOError:
            pass
        bench.turn()


def test_a_body_has_a_large_buffer_where_there_is_room_and_a_small_one_where_there_is_none(make_bench):
    bench = make_bench(Settings(buffer_bytes=MIB))
    before = routing_core.live_blocks()["buffer"]
    client, upstream = download(bench)
    bench.pass_ms(9000)
    assert held(bench) == 64 * KIB and routing_core.live_blocks()["buffer"] == before + 1, "its heads are needed no more"
    full = [bench.client() for _ in range(56)]
    for end in full:
        end.send(REQUEST[:9])
    bench.turn()
    assert held(bench) == 512 * KIB
    more_ends = [bench.client() for _ in range(1)]
    more_ends[0].send(REQUEST[:9])
    bench.turn()
    assert held(bench) == 520 * KIB, "one head is above"
    received(client)
    more(bench, upstream)
    assert held(bench) == 520 * KIB - 56 * KIB, "it goes on in a small one"
    got = 0
    for _ in range(300):
        more(bench, upstream)
        got += len(received(client) or b"")
    assert got > 2 * MIB


def test_nothing_is_kept_for_later_where_there_is_no_room(make_bench):
    bench = make_bench(Settings(buffer_bytes=MIB))
    ends = [bench.client() for _ in range(65)]
    for end in ends:
        end.send(REQUEST[:9])
    bench.turn()
    assert held(bench) == 520 * KIB
    for end in ends:
        end.close()
    bench.turn(turns=2)
    assert held(bench) == 512 * KIB


def test_a_stream_that_pauses_and_a_tunnel_hold_none(bench):
    for request, answer in (
        (REQUEST, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
        (
            REQUEST[:-2] + b"Connection: upgrade\r\nUpgrade: w\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n",
        ),
    ):
        client, upstream = bench.client(), bench.upstream()
        bench.ask(client, upstream, request)
        upstream.send(answer)
        bench.turn()
        assert received(client).startswith(answer[:12])
        upstream.send(b"data: 1\n\n")
        bench.turn()
        assert received(client) == b"data: 1\n\n"
        bench.pass_ms(9000)
        assert held(bench) == 0
        upstream.send(b"data: 2\n\n")
        bench.turn()
        assert received(client) == b"data: 2\n\n"
        upstream.close()
        bench.turn(turns=2)
    assert received(client) == b""


def test_what_follows_a_stream_on_its_connection_is_served(bench):
    client, upstream = bench.client(), bench.upstream()
    bench.ask(client, upstream)
    upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    bench.turn()
    client.send(REQUEST)  # ahead of the answer's end
    bench.turn()
    upstream.send(b"0\r\n\r\n")
    bench.turn(turns=2)
    assert received(client).endswith(b"0\r\n\r\n") and received(upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER
    bench.assert_at_rest()
