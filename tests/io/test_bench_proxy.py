import contextlib
import json
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.proxy import load, peers, recorder, report
from bench.proxy.configurations import HOST
from bench.proxy.load import KINDS

pytestmark = pytest.mark.slow

LACKING = [*peers.missing(), *(name for name in ("haproxy",) if name in peers.absent())]
RUNNER = Path(__file__).resolve().parents[2] / "bench" / "proxy" / "run.py"
GOOD = (
    f"GET /record HTTP/1.1\r\n{recorder.FIELDS.replace(recorder.CLIENT, f'{recorder.CLIENT}, 127.0.0.1')}x-forwarded-proto: http\r\n"
    f"x-forwarded-host: {HOST}\r\nvia: 1.1 one\r\n\r\n"
)
HEADS = [GOOD, GOOD]


@contextlib.contextmanager
def answering(answer):
    """A server that says one thing to its first client, and ends."""

    def serve():
        connection = server.accept()[0]
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(5)


@pytest.mark.skipif(bool(LACKING), reason=f"BENCH NOT TRIED: no {', '.join(LACKING)}: apt-get install nginx-light haproxy wrk")
@pytest.mark.alone
@pytest.mark.heavy
def test_quick_run_measures_every_proxy_that_is_here(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(RUNNER), "--quick", "--results", str(tmp_path)], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads((tmp_path / "proxy.json").read_text())
    assert result["bench"] == "proxy" and result["rounds"] == 1
    assert set(result["proxies"]) == set(peers.PEERS) - set(result["missing"]) >= {"nginx", "haproxy", "aiohttp", "isochrone"}
    assert result["missing"] == [] or "make bench-peers" in ran.stderr
    for name, proxy in result["proxies"].items():
        assert recorder.CLIENT in proxy["fields_at_backend"]["x-forwarded-for"]
        for kind in KINDS:
            one = proxy[kind.name]
            assert 0 < one["cpu_us"] < 1e5 and one["rounds"][0]["requests"] > 10
            assert 0 < one["p50_ms"] <= one["p99_ms"]
            nginx_us = result["proxies"]["nginx"][kind.name]["cpu_us"]
            assert one["x_nginx"] == pytest.approx(one["cpu_us"] / nginx_us, rel=0.001, abs=0.002)
            assert one["all_us"] > one["cpu_us"]
            assert kind.rest_ms == 0 or name == "aiohttp" or one["per_s"] < 10_000
        assert f"| {name} |" in ran.stdout
    assert 0.3 < result["workers"]["ratio"] < 3
    assert {"kernel", "nginx", "wrk", "isochrone"} <= set(result["versions"])
    assert ET.parse(tmp_path / "proxy.svg").getroot().tag.endswith("svg")


def test_sound_heads_have_no_faults():
    assert recorder.faults_of(HEADS) == []


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        ("via: 1.1 one\r\n", "", "via: []"),
        ("via: 1.1 one\r\n", "via: 1.1 one\r\nvia: 1.1 two\r\n", "via: ['1.1 one', '1.1 two']"),
        (", 127.0.0.1", "", "x-forwarded-for"),
        (recorder.IDS["Traceparent"][36:52], "0" * 16, "traceparent"),
        (recorder.IDS["X-Request-ID"], "1" * 32, "x-request-id"),
        (f"x-forwarded-host: {HOST}", "x-forwarded-host: other", "x-forwarded-host"),
        ("x-forwarded-proto", "x-forwarded-protocol", "x-forwarded-protocol: not expected"),
        ("GET /record", "GET /", "request line"),
    ],
)
def test_a_head_that_lacks_something_is_a_fault(was, becomes, fault):
    assert any(fault in found for found in recorder.faults_of([head.replace(was, becomes) for head in HEADS]))


def test_a_body_of_the_wrong_length_is_an_error():
    with pytest.raises(AssertionError, match="3 of 5 bytes"), answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc") as port:
        recorder.ask(port, "/")


def test_anything_but_200_is_an_error():
    with pytest.raises(AssertionError, match="503"), answering(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as port:
        recorder.ask(port, "/")


def test_what_others_take_is_seen():
    """Of a process that is none of ours; nothing of one that is."""
    code = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdout.readline()
        assert load.taken_s(set())[other.pid] > 0.15
        assert other.pid not in load.taken_s({other.pid})
        other.stdin.write(b"\n")


def test_the_range_is_of_the_ratios_of_each_round():
    rounds = [load.Round(100, 10.0, cpu, 1.0, 1.0, 1.0, 2.0, 9.0, 0.0) for cpu in (1.0, 3.0, 2.0)]
    nginx = [load.Round(100, 10.0, cpu, 1.0, 1.0, 1.0, 2.0, 9.0, 0.0) for cpu in (2.0, 3.0, 1.0)]
    found = report.summary(rounds, nginx)
    assert found["x_nginx"] == 1.0 and found["x_nginx_range"] == [0.5, 2.0]
