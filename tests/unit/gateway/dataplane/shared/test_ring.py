"""The log ring through its one user: order, wrapping, overflow."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, Bench, received


def write(bench, client, upstream, path):
    bench.ask(client, upstream, b"GET /" + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER


@given(st.lists(st.tuples(st.integers(1, 1500), st.booleans()), max_size=40))
def test_what_fits_comes_out_in_order_and_the_rest_is_counted(steps):
    bench = Bench(Settings(log_share=1.0), log_bytes=4096)
    client, upstream = bench.client(), bench.upstream()
    written, read = [], []
    for number, (length, reads) in enumerate(steps):
        dropped = bench.figures_read["log_dropped"]
        path = b"%d-" % number + b"x" * length
        write(bench, client, upstream, path)
        if bench.figures_read["log_dropped"] == dropped:
            written.append(f"/{path.decode()}")
        if reads:
            read += [record["path"] for record in bench.worker.read_log()]
            assert read == written
    read += [record["path"] for record in bench.worker.read_log()]
    assert read == written
    bench.close()


def test_full_then_read_then_room_again(make_bench):
    bench = make_bench(Settings(log_share=1.0), log_bytes=4096)
    client, upstream = bench.client(), bench.upstream()
    for number in range(100):
        write(bench, client, upstream, b"%d" % number)
    first = bench.worker.read_log()
    assert [record["path"] for record in first] == [f"/{number}" for number in range(len(first))] and 5 < len(first) < 30
    assert bench.figures_read["log_dropped"] == 100 - len(first)
    write(bench, client, upstream, b"again")
    assert [record["path"] for record in bench.worker.read_log()] == ["/again"]


def test_one_that_never_fits(make_bench):
    bench = make_bench(Settings(log_share=1.0), log_bytes=4096)
    client, upstream = bench.client(), bench.upstream()
    write(bench, client, upstream, b"x" * 5000)
    assert bench.worker.read_log() == [] and bench.figures_read["log_dropped"] == 1
