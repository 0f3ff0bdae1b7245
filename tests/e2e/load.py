r"""Load for drain tests, as a process of its own: clients of four kinds that count every error a client can see, and never retry.

    python -m tests.e2e.load --targets FILE --report FILE [--posts FILE] [--field "NAME: VALUE"] \
        [--keepalive 16] [--fresh 4] [--upload 2] [--download 2]

Owns the clients and what they count. Knows nothing of clusters, pods or gateways: it is pointed at addresses. The targets file (an address
`host:port` a line) plays DNS: it is read for each new connection, and a client takes the addresses in turn.

- keepalive: small GETs on one connection until an answer says `Connection: close`, or the peer closed it between two requests;
- fresh: the same with a connection per request;
- upload: POST /echo of 1 to 5 MB at 4 MB/s (Content-Length and chunked in turn), each with an id of its own; the answer must hold the
  body's sha256;
- download: GET /bytes/N read slowly into a small receive buffer, so that backpressure reaches the pod; every byte is compared.

SIGTERM: no new exchange begins, those that run end, the report is written for the last time. The report (JSON, rewritten whole every
0.25 s) is `Report`; doubled and lost POSTs are counted from the posts file that the pods write (backend.py).
"""

import argparse
import asyncio
import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.demo.client import BLOCK, Connection, Fault, Request
from tests.e2e import payload
from tests.e2e.processes import Program

KINDS = ("keepalive", "fresh", "upload", "download")
REPORT_EVERY_S = 0.25
DEADLINE_S = 30.0  # of one exchange
PAUSE_S = 0.02  # between a client's exchanges: the load is about seeing drops, not about filling two cores
AFTER_FAULT_S = 0.05
UPLOAD_BYTES, UPLOAD_BYTES_PER_S = (1_000_000, 5_000_000), 4_000_000  # up to 1.25 s: some are always on their way
# 2.5 s: less than a pod's grace. More bytes than the kernel's socket buffers take on the way (up to 4 MB to send, 6 MB received, a hop):
# else nothing would be in flight but in the kernel, and a download would survive even the death of its pod.
DOWNLOAD_BYTES, DOWNLOAD_BYTES_PER_S = 20_000_000, 8_000_000
DOWNLOAD_BUFFER = 32 * 1024
FAULTS_KEPT = 50


@dataclass
class Report:
    """What the clients saw. `faults` are counted by FAULTS of gateway/demo/client.py, `details` holds the first of them in words."""

    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))  # exchanges without a fault, by kind of client
    faults: dict[str, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    doubled_posts: int = 0  # ids that pods saw more than once
    lost_posts: int = 0  # answered 200, and no pod has finished them
    connections: int = 0
    closes_announced: int = 0
    closes_unannounced: int = 0  # the peer closed an idle connection; legal, no request was on it
    pods: dict[str, dict[str, int]] = field(default_factory=dict)  # second (of the epoch) -> pod -> answers
    slowest_ms: float = 0.0  # of the small GETs
    final: bool = False

    def problems(self) -> dict[str, int]:
        """Everything a client may not see, by name; empty when all went well."""
        found = self.faults | {"doubled_posts": self.doubled_posts, "lost_posts": self.lost_posts}
        return {name: count for name, count in found.items() if count}

    def by_pod(self, since_s: float = 0.0) -> Counter[str]:
        """Answers by pod, of the whole seconds since `since_s` (time.time())."""
        total: Counter[str] = Counter()
        for second, pods in self.pods.items():
            if int(second) >= since_s:
                total.update(pods)
        return total

    def by_cluster(self, since_s: float = 0.0) -> Counter[str]:
        """Answers by cluster: a pod is named CLUSTER/NAME."""
        total: Counter[str] = Counter()
        for pod, count in self.by_pod(since_s).items():
            total[pod.split("/")[0]] += count
        return total

    def count(self, kind: str, pod: str) -> None:
        self.done[kind] += 1
        second = self.pods.setdefault(str(int(time.time())), {})
        second[pod] = second.get(pod, 0) + 1

    def count_fault(self, kind: str, fault: Fault) -> None:
        self.faults[fault.kind] = self.faults.get(fault.kind, 0) + 1
        if len(self.details) < FAULTS_KEPT:
            self.details.append(f"{time.time():.3f} {kind}: {fault}")


class Client:
    """One client of one kind: a connection, a request at a time."""

    def __init__(self, load: "Generator", kind: str, number: int) -> None:
        self.load, self.kind, self.name = load, kind, f"{kind}-{number}"
        self.turn = number  # clients begin at different addresses
        self.rng = random.Random(f"{os.getpid()} {self.name}")
        self.connection: Connection | None = None
        self.requests = 0
        self.pod = ""  # that answered last

    async def run(self) -> None:
        while not self.load.stopping.is_set():
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self.one()
            except Fault as fault:
                await self.failed(fault)
            except TimeoutError:
                await self.failed(Fault("deadline", f"{self.name}: no end within {DEADLINE_S} s"))
            await asyncio.sleep(PAUSE_S)
        self.hang_up()

    async def failed(self, fault: Fault) -> None:
        self.hang_up()
        self.load.report.count_fault(self.kind, fault)
        await asyncio.sleep(AFTER_FAULT_S)

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    async def connected(self) -> Connection:
        if self.connection is not None and self.connection.is_closed_by_peer():
            self.load.report.closes_unannounced += 1
            self.hang_up()
        if self.connection is None:
            addresses = self.load.targets.read_text().split()
            self.turn += 1
            host, _, port = addresses[self.turn % len(addresses)].rpartition(":")
            buffer = DOWNLOAD_BUFFER if self.kind == "download" else None
            self.connection = await Connection.open(host.strip("[]"), int(port), buffer)
            self.load.report.connections += 1
        return self.connection

    async def one(self) -> None:
        """One exchange, judged."""
        self.requests += 1
        if self.kind == "upload":
            await self.upload()
        elif self.kind == "download":
            await self.download()
        else:
            await self.get()

    async def exchange(self, request: Request, pace: float = 0) -> bytes:
        """The body of a 2xx answer; `pod` is who gave it. Counting it is the caller's: the bytes may be wrong."""
        connection = await self.connected()
        own = {"connection": "close"} if self.kind == "fresh" else {}
        request.fields = {**self.load.fields, **own, **request.fields}
        answer = await connection.exchange(request, pace)
        if not 200 <= answer.status < 300:
            raise Fault("status", f"{request}: {answer.status} {bytes(answer.body[:80])!r}")
        self.pod = answer.fields.get("x-pod", "?")
        if answer.is_last():
            self.load.report.closes_announced += self.kind != "fresh"
            self.hang_up()
        elif self.kind == "fresh":
            self.hang_up()
        return bytes(answer.body)

    async def get(self) -> None:
        target = f"/get/{self.name}/{self.requests}"
        begin = time.monotonic()
        body = await self.exchange(Request("GET", target, {}))
        if body != target.encode():
            raise Fault("wrong_bytes", f"GET {target} was answered with {body[:80]!r}")
        self.load.report.slowest_ms = max(self.load.report.slowest_ms, (time.monotonic() - begin) * 1000)
        self.load.report.count(self.kind, self.pod)

    async def upload(self) -> None:
        length, offset = self.rng.randint(*UPLOAD_BYTES), self.rng.randrange(len(payload.UNIT))
        chunked = self.requests % 2 == 0
        post = f"{os.getpid()}-{self.name}-{self.requests}"
        framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(length)}
        fields = framing | {"x-post-id": post, "content-type": "application/octet-stream"}
        body = await self.exchange(Request("POST", "/echo", fields, upload_body(offset, length, chunked)))
        seen = as_object(body)
        expected = {"id": post, "bytes": length, "sha256": hashlib.sha256(payload.piece(offset, length)).hexdigest()}
        if {key: seen.get(key) for key in expected} != expected:
            raise Fault("wrong_bytes", f"POST {post}: sent {expected}, the pod saw {seen}")
        self.load.answered_posts.add(post)
        self.load.report.count(self.kind, self.pod)

    async def download(self) -> None:
        offset = self.rng.randrange(len(payload.UNIT))
        chunked = self.requests % 2
        target = f"/bytes/{DOWNLOAD_BYTES}?offset={offset}&chunked={chunked}"
        body = await self.exchange(Request("GET", target, {}), pace=DOWNLOAD_BYTES_PER_S)
        if body != payload.piece(offset, DOWNLOAD_BYTES):
            raise Fault("wrong_bytes", f"GET {target}: {len(body)} bytes, not those asked for")
        self.load.report.count(self.kind, self.pod)


def as_object(body: bytes) -> dict[str, object]:
    """A JSON body. Fault `wrong_bytes` when it isn't an object."""
    try:
        found = json.loads(body)
    except ValueError as nonsense:
        raise Fault("wrong_bytes", f"no JSON: {body[:80]!r}") from nonsense
    if not isinstance(found, dict):
        raise Fault("wrong_bytes", f"no object: {body[:80]!r}")
    return found


async def upload_body(offset: int, length: int, chunked: bool) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for start in range(0, length, BLOCK):
        await asyncio.sleep(begin + start / UPLOAD_BYTES_PER_S - loop.time())
        block = payload.piece(offset + start, min(BLOCK, length - start))
        yield b"%x\r\n%b\r\n" % (len(block), block) if chunked else block
    if chunked:
        yield b"0\r\n\r\n"


class Generator:
    """All clients of this process and their one report."""

    def __init__(self, targets: Path, report: Path, posts: Path | None, fields: dict[str, str]) -> None:
        self.targets, self.report_path, self.posts, self.fields = targets, report, posts, fields
        self.report = Report()
        self.stopping = asyncio.Event()
        self.answered_posts: set[str] = set()

    async def run(self, counts: Mapping[str, int]) -> None:
        writing = asyncio.create_task(self.keep_writing())
        async with asyncio.TaskGroup() as clients:
            for kind, count in counts.items():
                for number in range(count):
                    clients.create_task(Client(self, kind, number).run(), name=f"{kind}-{number}")
        writing.cancel()
        self.count_posts()
        self.report.final = True
        self.write()

    async def keep_writing(self) -> None:
        while True:
            self.write()
            await asyncio.sleep(REPORT_EVERY_S)

    def write(self) -> None:
        """Whole or not at all: a test may read at any time."""
        fresh = self.report_path.with_suffix(".new")
        fresh.write_text(json.dumps(dataclasses.asdict(self.report)))
        fresh.replace(self.report_path)

    def count_posts(self) -> None:
        """Compares what pods did with what was asked: this process's posts begin with its pid."""
        if self.posts is None:
            return
        lines = [line.split() for line in self.posts.read_text().splitlines()] if self.posts.exists() else []
        own = [(word, post) for word, post, _ in lines if post.startswith(f"{os.getpid()}-")]
        begun = Counter(post for word, post in own if word == "begin")
        finished = {post for word, post in own if word == "done"}
        doubled = [post for post, times in begun.items() if times > 1]
        lost = self.answered_posts - finished
        self.report.doubled_posts, self.report.lost_posts = len(doubled), len(lost)
        self.report.details += [f"doubled POST {post}" for post in doubled]
        self.report.details += [f"lost POST {post}" for post in lost]


class Load:
    """A load process, as a test handles it."""

    def __init__(self, folder: Path, *, posts: Path | None = None, fields: Mapping[str, str] | None = None, **counts: int) -> None:
        """`fields`: of every request (host is web.test); `counts`: clients by kind (16, 4, 2, 2 when none is given). All files of this load
        land in `folder`, which must exist."""
        self.targets, self.report_path = folder / "targets", folder / "report.json"
        command = [sys.executable, "-m", "tests.e2e.load", "--targets", str(self.targets), "--report", str(self.report_path)]
        command += ["--posts", str(posts)] if posts else []
        for name, value in (fields or {}).items():
            command += ["--field", f"{name}: {value}"]
        if counts:
            for kind in KINDS:
                command += [f"--{kind}", str(counts.get(kind, 0))]
        self.program = Program("load", command, folder / "load.log")

    def point_at(self, *addresses: str) -> None:
        """What the name resolves to from now on. Each is `host:port`."""
        fresh = self.targets.with_suffix(".new")
        fresh.write_text("\n".join(addresses))
        fresh.replace(self.targets)

    def start(self) -> None:
        """Starts the clients and waits until the first exchange has ended well (or one went wrong)."""
        self.program.start()
        self.program.wait_ready(lambda: any(self.report().done.values()) or self.report().faults, 10.0)

    def report(self) -> Report:
        """What the clients have seen until a moment ago."""
        if not self.report_path.exists():
            return Report()
        found: dict[str, Any] = json.loads(self.report_path.read_text())
        return Report(**found)

    def stop(self) -> Report:
        """Lets what runs end; the whole report."""
        self.program.stop(timeout_s=DEADLINE_S + 5)
        report = self.report()
        assert report.final, f"the load ended early:\n{self.program.tail()}"
        return report


async def main() -> None:
    parser = argparse.ArgumentParser(description="clients that count every error")
    parser.add_argument("--targets", type=Path, required=True, help="file with an address a line, read for each new connection")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--posts", type=Path)
    parser.add_argument("--field", action="append", default=[], metavar="NAME: VALUE", help="a field of every request")
    for kind, count in zip(KINDS, (16, 4, 2, 2), strict=True):
        parser.add_argument(f"--{kind}", type=int, default=count)
    given = parser.parse_args()
    fields = {"host": "web.test"} | {name.lower(): value.strip() for name, value in (text.split(":", 1) for text in given.field)}
    load = Generator(given.targets, given.report, given.posts, fields)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stopping.set)
    await load.run({kind: getattr(given, kind) for kind in KINDS})


if __name__ == "__main__":
    asyncio.run(main())
