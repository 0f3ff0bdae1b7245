"""Other people's clients and servers, through a worker: large bodies, WebSocket, server-sent events, curl, requests, httpx, Go."""

import asyncio
import hashlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import httpx
import pytest
import requests
import websockets.sync.client
from aiohttp import WSMsgType, web

from gateway.dataplane import Settings
from tests.support.local_gateway import LocalGateway

SIZE = 20_000_000
BODY = (random.Random(1).randbytes(1 << 20) * 20)[:SIZE]
SHA = hashlib.sha256(BODY).hexdigest()
GO_ON = web.AppKey("go", asyncio.Event)
pytestmark = pytest.mark.slow


async def say(request):
    """What came, as JSON."""
    digest, length = hashlib.sha256(), 0
    async for piece in request.content.iter_chunked(1 << 16):
        digest.update(piece)
        length += len(piece)
    told = {"method": request.method, "length": length, "sha": digest.hexdigest(), "chunked": "Transfer-Encoding" in request.headers}
    return web.json_response(told | {"fields": dict(request.headers), "path": request.path_qs})


async def large(request):
    if request.query.get("chunked"):
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
    else:
        answer = web.StreamResponse(headers={"Content-Length": str(SIZE)})
    await answer.prepare(request)
    for at in range(0, SIZE, 777_777):
        await answer.write(BODY[at : at + 777_777])
    await answer.write_eof()
    return answer


async def until_the_end(request):
    """A body that ends with the connection."""
    request.transport.write(b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:3_000_000])
    request.transport.close()
    return web.Response()


async def chat(request):
    socket_ = web.WebSocketResponse(max_msg_size=1 << 24)
    await socket_.prepare(request)
    async for message in socket_:
        if message.type == WSMsgType.TEXT:
            await socket_.send_str(message.data.upper())
        elif message.type == WSMsgType.BINARY:
            await socket_.send_bytes(message.data[::-1])
    return socket_


async def events(request):
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for number in range(5):
        await request.app[GO_ON].wait()
        request.app[GO_ON].clear()
        await answer.write(b"data: %d\n\n" % number)
    return answer


async def go_on(request):
    request.app[GO_ON].set()
    return web.Response()


class Upstream:
    """The handlers above, served from a thread."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.runner = self.do(self.start())
        return self

    async def start(self):
        app = web.Application(client_max_size=1 << 30)
        app[GO_ON] = asyncio.Event()
        for path, handler in (("/large", large), ("/end", until_the_end), ("/chat", chat), ("/events", events), ("/go", go_on)):
            app.router.add_get(path, handler)
        app.router.add_route("*", "/{tail:.*}", say)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.address = site._server.sockets[0].getsockname()
        return runner

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def __exit__(self, *_):
        self.do(self.runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture(scope="module")
def gateway():
    with Upstream() as upstream, LocalGateway([upstream.address], settings=Settings(upstream_idle_ms=3000, linger_ms=300)) as made:
        yield made
        deadline = time.monotonic() + 5
        while (made.figures.read_pool(made.pool_row)["in_flight"]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert made.figures.read_pool(made.pool_row)["in_flight"] == 0
        assert made.counters.read()["figures"]["bad_transitions"] == 0


@pytest.fixture
def base(gateway):
    return f"http://127.0.0.1:{gateway.port}"


def pieces():
    for at in range(0, SIZE, 123_456):
        yield BODY[at : at + 123_456]


def request_by(name, base, method, path, body=None, is_chunked=False):
    """Status and body, by one of three libraries."""
    data = pieces() if is_chunked else body
    if name == "requests":
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, base + path, data=data, timeout=30)
            return answer.status_code, answer.content
    if name == "httpx":
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.request(method, base + path, content=data)
            return answer.status_code, answer.content
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=30)
    connection.request(method, path, data, encode_chunked=is_chunked, headers={"Transfer-Encoding": "chunked"} if is_chunked else {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


PLAIN = {**os.environ, "LD_PRELOAD": ""}  # other programs run under no sanitizer
LIBRARIES = ("requests", "httpx", "http.client")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_large_bodies(base, name, is_chunked):
    status, told = request_by(name, base, "PUT", "/x", BODY, is_chunked)
    told = json.loads(told)
    assert (status, told["length"], told["sha"], told["chunked"]) == (200, SIZE, SHA, is_chunked)
    status, body = request_by(name, base, "GET", "/large" + ("?chunked=1" if is_chunked else ""))
    assert status == 200 and hashlib.sha256(body).hexdigest() == SHA


@pytest.mark.parametrize("name", LIBRARIES)
def test_bodies_that_end_with_the_connection(base, name):
    assert request_by(name, base, "GET", "/end") == (200, BODY[:3_000_000])


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH"])
def test_methods(base, name, method):
    status, body = request_by(name, base, method, "/a/b?c=d", b"hello" if method in ("POST", "PATCH") else None)
    assert status == 200
    if method == "HEAD":
        assert body == b""
        return
    told = json.loads(body)
    assert told["method"] == method and told["path"] == "/a/b?c=d" and told["length"] == (5 if method in ("POST", "PATCH") else 0)
    assert told["fields"]["X-Forwarded-For"] == "127.0.0.1"


def test_keep_alive_is_kept(gateway, base):
    before = gateway.counters.read()["figures"]["accepted"]
    with httpx.Client(trust_env=False) as client:
        assert {client.get(base + "/").status_code for _ in range(50)} == {200}
    assert gateway.counters.read()["figures"]["accepted"] == before + 1


def test_websocket(base):
    with websockets.sync.client.connect(base.replace("http", "ws") + "/chat", max_size=1 << 24, proxy=None) as connection:
        for text in ("hello", "", "x" * 70_000):
            connection.send(text)
            assert connection.recv(timeout=10) == text.upper()
        blob = BODY[:3_000_000]
        connection.send(blob)
        assert connection.recv(timeout=10) == blob[::-1]
        assert connection.ping().wait(10)


def test_websocket_refused_is_an_answer(base):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(base.replace("http", "ws") + "/other", proxy=None)
    assert refused.value.response.status_code == 200


def test_events_arrive_as_they_are_sent(base):
    with httpx.Client(trust_env=False, timeout=10) as client, client.stream("GET", base + "/events") as answer:
        lines = answer.iter_lines()
        for number in range(5):
            httpx.get(base + "/go", trust_env=False)  # only now is the next one written
            assert next(lines) == f"data: {number}"
            assert next(lines) == ""
        assert list(lines) == []


def curl(*arguments, stdin=b""):
    return subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-m", "30", *arguments], input=stdin, capture_output=True, timeout=60, env=PLAIN
    )


@pytest.mark.skipif(not shutil.which("curl"), reason="LOUD: no curl on this machine")
def test_curl(base, tmp_path):
    assert curl(base + "/large").stdout == BODY
    assert curl("-0", base + "/large?chunked=1").stdout == BODY, "HTTP/1.0: unchunked"
    upload = tmp_path / "body"
    upload.write_bytes(BODY)
    for more, is_chunked in (([], False), (["-H", "Transfer-Encoding: chunked"], True), (["-H", "Expect: 100-continue"], False)):
        told = json.loads(curl("-T", str(upload), *more, base + "/up").stdout)
        assert (told["sha"], told["chunked"]) == (SHA, is_chunked)
    head = curl("-I", base + "/large").stdout
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: %d\r\n" % SIZE in head
    many = curl("-w", "%{num_connects}", *[f"{base}/{n}" for n in range(5)], "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null",
                "-o", "/dev/null", "-o", "/dev/null")  # fmt: skip
    assert many.stdout == b"10000", "one connection for five requests"
    assert json.loads(curl("--request-target", base + "/abs?q", "-H", "Host: other", base).stdout)["path"] == "/abs?q"


GO = """
package main

import (
    "bytes"; "crypto/sha256"; "encoding/hex"; "encoding/json"; "fmt"; "io"; "net/http"; "os"; "sync"
)

type told struct { Sha string; Length int; Chunked bool; Method string }

func check(err error) { if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) } }

func send(url string, body io.Reader) told {
    request, err := http.NewRequest("PUT", url, body); check(err)
    answer, err := http.DefaultClient.Do(request); check(err)
    defer answer.Body.Close()
    var got told
    check(json.NewDecoder(answer.Body).Decode(&got))
    return got
}

func main() {
    base, sha := os.Args[1], os.Args[2]
    for _, path := range []string{"/large", "/large?chunked=1"} {
        answer, err := http.Get(base + path); check(err)
        body, err := io.ReadAll(answer.Body); check(err)
        answer.Body.Close()
        sum := sha256.Sum256(body)
        if hex.EncodeToString(sum[:]) != sha { check(fmt.Errorf("%s: another body", path)) }
        got := send(base + "/up", bytes.NewReader(body))
        if got.Sha != sha || got.Chunked { check(fmt.Errorf("up: %v", got)) }
        got = send(base + "/up", io.MultiReader(bytes.NewReader(body)))
        if got.Sha != sha || !got.Chunked { check(fmt.Errorf("chunked up: %v", got)) }
    }
    var group sync.WaitGroup
    for range 20 {
        group.Add(1)
        go func() {
            defer group.Done()
            for range 20 {
                answer, err := http.Get(base + "/"); check(err)
                io.Copy(io.Discard, answer.Body); answer.Body.Close()
                if answer.StatusCode != 200 { check(fmt.Errorf("status %d", answer.StatusCode)) }
            }
        }()
    }
    group.Wait()
    fmt.Println("ok")
}
"""


@pytest.mark.skipif(not shutil.which("go"), reason="LOUD: no Go on this machine")
def test_go(base, tmp_path):
    (tmp_path / "main.go").write_text(GO)
    pure = {**PLAIN, "CGO_ENABLED": "0"}  # no C compiler: half the time on an empty cache
    built = subprocess.run(["go", "build", "-o", "client", "main.go"], cwd=tmp_path, env=pure, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(tmp_path / "client"), base, SHA], capture_output=True, text=True, timeout=60, env=PLAIN)
    assert ran.stdout == "ok\n", ran.stderr


def test_a_client_that_reads_one_byte_a_time(base, gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.send(b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = b""
        while byte := client.recv(1):
            got += byte
    assert json.loads(got.partition(b"\r\n\r\n")[2])["path"] == "/small"
