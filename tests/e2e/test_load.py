"""The load generator against pods without a cluster: it moves on when told, counts what pods saw, and is quiet only when all is well."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.client import Fault
from tests.e2e.load import Client, Generator, Load
from tests.e2e.processes import Program, wait_until

ADDRESSES = ("10.244.250.1", "10.244.250.2")


@pytest.fixture
def backends(sandbox: None, tmp_path: Path) -> Iterator[list[Program]]:
    """Two pods' programs, not yet started; both write their POSTs to `tmp_path / "posts"`."""
    programs = []
    for number, address in enumerate(ADDRESSES):
        environment = {"POD_NAME": f"pod-{number}", "POD_IP": address, "POD_PORT": "8080"}
        environment |= {"SLOW_STOP_S": "0.5", "POSTS": str(tmp_path / "posts")}
        programs.append(Program(f"pod-{number}", [sys.executable, "-m", "tests.e2e.backend"], tmp_path / f"pod-{number}.log", environment))
    yield programs
    for program in programs:
        program.kill()


def start(program: Program) -> None:
    program.start()
    program.wait_ready(lambda: "listening" in program.tail(), 10)


def at(number: int) -> str:
    return f"{ADDRESSES[number]}:8080"


@pytest.mark.slow
@pytest.mark.heavy
def test_a_drained_pod_costs_nothing_when_its_clients_can_move(backends: list[Program], tmp_path: Path) -> None:
    old, new = backends
    start(old)
    load = Load(tmp_path, posts=tmp_path / "posts")
    load.point_at(at(0))
    load.start()
    wait_until(lambda: min(load.report().done.values()) >= 1, 20, "an exchange of each kind")
    start(new)
    load.point_at(at(1))
    old.stop(timeout_s=10)
    assert "drained" in old.tail()
    assert old.wait(1) == 0, "it ended by itself, not by SIGKILL"
    moved = load.report().by_pod()["-/pod-1"]
    wait_until(lambda: load.report().by_pod()["-/pod-1"] > moved + 50, 10, "all clients at the new pod")
    report = load.stop()
    assert report.problems() == {}, report.details
    assert report.closes_announced >= 16, "keep-alive clients left because they were told to"


@pytest.mark.slow
def test_every_small_get_of_a_pod_that_is_gone_is_counted(backends: list[Program], tmp_path: Path) -> None:
    start(backends[0])
    load = Load(tmp_path, keepalive=1, fresh=1)
    load.point_at(at(0))
    load.start()
    backends[0].kill()
    wait_until(lambda: load.report().faults.get("refused", 0) >= 4, 10, "refusals")
    assert load.stop().problems()["refused"] >= 4


@pytest.mark.parametrize(
    ("lines", "answered", "doubled", "lost"),
    [
        (["begin A p", "done A p"], ["A"], 0, 0),
        (["begin A p", "begin A q", "done A q"], ["A"], 1, 0),
        (["begin A p"], ["A"], 0, 1),
        (["begin A p"], [], 0, 0),  # cut, and its client knows: counted as a fault where it was seen
        (["begin other p", "begin other p"], [], 0, 0),  # of another load
    ],
)
def test_posts_are_compared_with_what_pods_did(lines: list[str], answered: list[str], doubled: int, lost: int, tmp_path: Path) -> None:
    own = f"{os.getpid()}-upload-0-1"
    posts = tmp_path / "posts"
    posts.write_text("".join(f"{line.replace('A', own)}\n" for line in lines))
    load = Generator(tmp_path / "targets", tmp_path / "report", posts, {})
    load.answered_posts = {own for _ in answered}
    load.count_posts()
    assert (load.report.doubled_posts, load.report.lost_posts) == (doubled, lost)
    assert len(load.report.details) == doubled + lost


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("keepalive", b"/get/keepalive-1/2"),  # somebody else's answer
        ("upload", b'{"id": "other", "bytes": 1, "sha256": "0"}'),
        ("upload", b"no json"),
        ("download", b"x" * 20_000_000),
    ],
)
def test_wrong_bytes_are_seen(kind: str, answer: bytes, tmp_path: Path) -> None:
    load = Generator(tmp_path / "targets", tmp_path / "report", None, {"host": "h"})
    client = Client(load, kind, 0)

    async def lie(*_: object, **__: object) -> bytes:
        return answer

    client.exchange = lie  # type: ignore[method-assign]  # a client that lies, for once
    with pytest.raises(Fault) as fault:
        asyncio.run(client.one())
    assert fault.value.kind == "wrong_bytes"
    assert load.report.by_pod() == Counter()


def test_a_status_of_an_error_is_a_fault(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy")
        writer.close()

    async def ask() -> None:
        load = Generator(tmp_path / "targets", tmp_path / "report", None, {"host": "h"})
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            load.targets.write_text(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            client = Client(load, "fresh", 0)
            try:
                await client.one()
            finally:
                client.hang_up()

    with pytest.raises(Fault, match="503 b'busy'"):
        asyncio.run(ask())
