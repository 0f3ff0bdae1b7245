"""Requests to an API server: TLS both ways, refusals, foreign errors, and when access is loaded again."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
import stat
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from k8s._api import RELOAD_AFTER_S, Api, refused
from k8s.access import ClusterAccess
from k8s.errors import AccessError, ApiError, CutOffError, GarbageError, K8sError, UnreachableError
from k8s.objects import Status
from tests.k8s.authority import make_authority
from tests.k8s.fake_api import FakeApi, body, hang, lines, refuse

PATH = "/api/v1/namespaces/shop/services"


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 10.0))


async def ask(api: Api, timeout_s: float = 5.0, path: str = PATH) -> bytes:
    async with api.get(await api.access(), path, {}, aiohttp.ClientTimeout(total=timeout_s)) as response:
        return await response.read()


async def fails(api: Api, **kwargs: Any) -> K8sError:
    with pytest.raises(K8sError) as caught:
        await ask(api, **kwargs)
    return caught.value


class Loads:
    """A loader that counts, and a clock."""

    def __init__(self, *results: Callable[[], ClusterAccess]) -> None:
        self.results, self.count, self.now = list(results), 0, 1000.0

    def __call__(self) -> ClusterAccess:
        self.count += 1
        return (self.results.pop(0) if len(self.results) > 1 else self.results[0])()

    def clock(self) -> float:
        return self.now


def broken() -> ClusterAccess:
    raise AccessError("kubeconfig x: empty")


def test_what_a_request_carries() -> None:
    async def main() -> None:
        async with FakeApi() as fake, Api(lambda: ClusterAccess(fake.url + "/", authorization="Bearer t"), lambda: 0.0) as api:
            assert b'"ServiceList"' in await ask(api)
            assert fake.authorizations == ["Bearer t"]
            assert fake.requests[0][0] == PATH

    run(main())


def test_a_server_behind_a_proxy_is_asked_through_it() -> None:
    """The proxy gets the whole address (RFC 9112 3.2.2) of a host that nobody here could reach."""

    async def main() -> None:
        async with FakeApi() as proxy:
            access = ClusterAccess("http://api.invalid:6443", proxy=proxy.url, authorization="Bearer t")
            async with Api(lambda: access, lambda: 0.0) as api:
                assert b'"ServiceList"' in await ask(api)
                assert proxy.hosts == ["api.invalid:6443"]

    run(main())


def test_a_redirect_is_a_refusal_and_takes_no_token_along() -> None:
    async def main() -> None:
        async with FakeApi() as fake, FakeApi() as elsewhere:

            async def redirect(_: web.Request) -> web.StreamResponse:
                raise web.HTTPFound(elsewhere.url)

            fake.fault(redirect)
            async with Api(lambda: ClusterAccess(fake.url, authorization="Bearer t"), lambda: 0.0) as api:
                error = await fails(api)
                assert isinstance(error, ApiError)
                assert error.code == 302
                assert elsewhere.requests == []

    run(main())


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (refuse(403, "Forbidden", "cannot list"), ApiError, "403 Forbidden: cannot list"),
        (body(b"<html>bad gateway</html>", code=502), ApiError, "502"),
        (body(b'{"code":"x"}', code=500), ApiError, "500"),
        (body(b"[" * 10_000, code=500), ApiError, "500"),
        (body(b"", code=204), ApiError, "204"),
        (lines(b"{", then="reset"), CutOffError, "broke off"),
        (hang, UnreachableError, "does not answer"),
    ],
    ids=range(7),
)
def test_foreign_errors_become_ours(answer: Any, kind: type[K8sError], text: str) -> None:
    async def main() -> None:
        async with FakeApi() as fake, Api(lambda: ClusterAccess(fake.url), lambda: 0.0) as api:
            fake.fault(answer)
            error = await fails(api, timeout_s=0.1)
            assert type(error) is kind
            assert text in str(error)

    run(main())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"SSH-2.0-OpenSSH\r\n", GarbageError), (b"", CutOffError), (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", K8sError)],
)
def test_a_server_that_speaks_no_http(answer: bytes, kind: type[K8sError]) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, Api(lambda: ClusterAccess(url), lambda: 0.0) as api:
            assert isinstance(await fails(api), kind)

    run(main())


def test_a_token_that_no_header_can_carry() -> None:
    async def main() -> None:
        async with FakeApi() as fake, Api(lambda: ClusterAccess(fake.url, authorization="Bearer a\r\nX: y"), lambda: 0.0) as api:
            assert isinstance(await fails(api), GarbageError)
            assert fake.requests == []

    run(main())


def test_a_name_that_does_not_resolve() -> None:
    async def main() -> None:
        async with Api(lambda: ClusterAccess("http://kube.invalid"), lambda: 0.0) as api:
            assert "cannot connect to http://kube.invalid" in str(await fails(api))

    run(main())


@contextlib.asynccontextmanager
async def stale(cause: str) -> AsyncIterator[str]:
    """The address of a server that has moved, and what its old place does with a request."""
    if cause == "refused":
        yield "http://127.0.0.1:1"
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if cause == "silent":
            await reader.read()
        elif cause == "no HTTP":
            writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()  # as a server of TLS 1.3 does with a client certificate that it refuses

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_plugin_that_hangs_is_ended_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it started; and threads do not pile up, however often the access is asked for."""
    monkeypatch.setattr("k8s.access.PLUGIN_DEADLINE_S", 0.5)
    monkeypatch.setattr("k8s._api.LOAD_DEADLINE_S", 0.01)
    pids, command, config = tmp_path / "pids", tmp_path / "plugin", tmp_path / "config"
    command.write_text(f"#!/bin/sh\nsleep 600 &\necho $$ $! >> {pids}\nwait\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    version = "client.authentication.k8s.io/v1"

    def describe(url: str) -> dict[str, Any]:
        return {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"exec": {"apiVersion": version, "command": str(command), "interactiveMode": "Never"}}}],
        }

    def loading() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "k8s-access"]

    async def until(check: Callable[[], object]) -> None:
        while not check():
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with FakeApi(token="Bearer new") as fake:
            config.write_text(yaml.safe_dump(describe(fake.url)))
            loads = Loads(lambda: ClusterAccess.load(kubeconfig=str(config)))
            async with Api(loads, loads.clock) as api:
                for _ in range(5):
                    assert "takes longer than" in str(await fails(api))
                    loads.now += RELOAD_AFTER_S
                    assert len(loading()) == 1
                await until(pids.exists)
                await until(lambda: not loading())
                for pid in pids.read_text().split():
                    await until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
                ran = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": "new"}}
                command.write_text(f"#!/bin/sh\necho '{json.dumps(ran)}'\n")
                monkeypatch.setattr("k8s._api.LOAD_DEADLINE_S", 5.0)
                loads.now += RELOAD_AFTER_S
                await ask(api)
                assert fake.authorizations == ["Bearer new"]

    run(main())


def test_a_plugin_inherits_no_descriptor(tmp_path: Path) -> None:
    """Not even one that others were to inherit: it would keep a client's connection open for as long as it runs."""
    seen, command, config = tmp_path / "seen", tmp_path / "plugin", tmp_path / "config"
    version = "client.authentication.k8s.io/v1"
    ran = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": {"token": "t"}})
    command.write_text(f"#!/bin/sh\nls -l /proc/$$/fd > {seen}\necho '{ran}'\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    described = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": version, "command": str(command), "interactiveMode": "Never"}}}],
    }
    config.write_text(yaml.safe_dump(described))
    with socket.socket() as held:
        held.set_inheritable(True)
        inode = os.fstat(held.fileno()).st_ino
        ClusterAccess.load(kubeconfig=str(config))
        assert "pipe:" in seen.read_text()
        assert f"socket:[{inode}]" not in seen.read_text()


@pytest.mark.parametrize("cause", ["401", "refused", "silent", "closed", "no HTTP"])
def test_what_stale_access_may_have_caused_loads_it_again(cause: str) -> None:
    async def main() -> None:
        async with FakeApi(token="Bearer new") as fake, stale(cause) as moved:
            old = ClusterAccess(fake.url, authorization="Bearer old") if cause == "401" else ClusterAccess(moved)
            loads = Loads(lambda: old, broken, lambda: ClusterAccess(fake.url, authorization="Bearer new"))
            async with Api(loads, loads.clock) as api:
                for _ in range(3):
                    await fails(api, timeout_s=0.05 if cause == "silent" else 5.0)
                assert loads.count == 1
                loads.now += RELOAD_AFTER_S
                assert (
                    str(await fails(api, timeout_s=0.05 if cause == "silent" else 5.0)) != "kubeconfig x: empty"
                )  # the old access stays, and its error is the true one
                assert loads.count == 2
                loads.now += RELOAD_AFTER_S
                await ask(api)
                loads.now += RELOAD_AFTER_S
                await ask(api)
                assert loads.count == 3

    run(main())


def test_an_address_that_swallows_connects_loads_it_again() -> None:
    """Nothing there accepts, and the queue is full: the kernel drops each SYN, as a host that is gone does."""

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            door = stack.enter_context(socket.socket())
            door.bind(("127.0.0.1", 0))
            door.listen(0)
            for _ in range(2):  # one more than the queue is said to hold
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(door.getsockname())
            async with FakeApi() as fake:
                moved = f"http://127.0.0.1:{door.getsockname()[1]}"
                loads = Loads(lambda: ClusterAccess(moved), lambda: ClusterAccess(fake.url))
                async with Api(loads, loads.clock) as api:
                    error = await fails(api, timeout_s=0.3)
                    assert isinstance(error, UnreachableError) and "does not answer" in str(error)
                    loads.now += RELOAD_AFTER_S
                    await ask(api)
                    assert loads.count == 2

    run(main())


def test_an_answer_that_breaks_off_is_not_the_accesss_fault() -> None:
    async def main() -> None:
        async with FakeApi() as fake:
            loads = Loads(lambda: ClusterAccess(fake.url))
            async with Api(loads, loads.clock) as api:
                fake.fault(lines(b"{", then="reset"))
                for _ in range(3):
                    assert isinstance(await fails(api), CutOffError)
                    loads.now += RELOAD_AFTER_S
                assert loads.count == 1

    run(main())


def test_a_403_is_not_the_credentials_fault() -> None:
    async def main() -> None:
        async with FakeApi() as fake:
            loads = Loads(lambda: ClusterAccess(fake.url))
            async with Api(loads, loads.clock) as api:
                fake.fault(refuse(403, "Forbidden"))
                for _ in range(3):
                    await fails(api)
                    loads.now += RELOAD_AFTER_S
                assert loads.count == 1

    run(main())


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("7", 7.0), (" 7 ", 7.0), ("86400", 300.0), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("9" * 30, None)],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    assert refused(Status(), 429, header).retry_after_s == expected


@pytest.fixture
def tls_server(authority: Path) -> ssl.SSLContext:
    """Asks for a client certificate, as an API server does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.crt", authority / "server.key")
    context.load_verify_locations(authority / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def serve_tls(context: ssl.SSLContext) -> tuple[web.AppRunner, int]:
    async def handle(request: web.Request) -> web.Response:
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        return web.Response(text=str(peer and peer["subject"]))

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    return runner, runner.addresses[0][1]


@pytest.mark.parametrize(
    ("cluster", "user", "fault"),
    [
        ({}, {}, None),
        ({"server": "https://localhost:PORT", "tls-server-name": "kube.example"}, {}, None),
        ({"certificate-authority": None, "insecure-skip-tls-verify": True}, {}, None),
        ({"server": "https://localhost:PORT"}, {}, "Hostname mismatch"),
        ({"certificate-authority": None}, {}, "self-signed certificate|unable to get local issuer"),
        ({}, {"client-certificate-data": None, "client-key-data": None}, "alert|closed|cannot connect"),
    ],
    ids=["mutual", "server-name", "insecure", "wrong-name", "wrong-authority", "no-client-certificate"],
)
def test_tls_from_a_kubeconfig(
    tmp_path: Path, authority: Path, tls_server: ssl.SSLContext, cluster: dict[str, Any], user: dict[str, Any], fault: str | None
) -> None:
    async def main() -> None:
        runner, port = await serve_tls(tls_server)
        described = {"server": "https://127.0.0.1:PORT", "certificate-authority": str(authority / "ca.crt")} | cluster
        described["server"] = described["server"].replace("PORT", str(port))
        inline = {
            f"client-{k}-data": base64.b64encode((authority / f"client.{e}").read_bytes()).decode()
            for k, e in (("certificate", "crt"), ("key", "key"))
        }
        config = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {k: v for k, v in described.items() if v is not None}}],
            "users": [{"name": "u", "user": {k: v for k, v in (inline | user).items() if v is not None}}],
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        try:
            async with Api(lambda: ClusterAccess.load(kubeconfig=str(path)), lambda: 0.0) as api:
                if fault is None:
                    assert "system:masters" in (await ask(api)).decode()
                else:
                    with pytest.raises(UnreachableError, match=fault) as caught:
                        await ask(api)
                    assert "SSLContext" not in str(caught.value)
        finally:
            await runner.cleanup()

    run(main())


def test_a_client_certificate_that_a_server_of_tls_1_3_refuses_loads_access_again(
    authority: Path, tls_server: ssl.SSLContext, tmp_path: Path
) -> None:
    """The handshake is over for the client by then: the refusal comes in place of the answer."""
    foreign = make_authority(tmp_path)
    tls_server.minimum_version = ssl.TLSVersion.TLSv1_3

    def access(port: int, certified_by: Path) -> ClusterAccess:
        tls = ssl.create_default_context(cafile=str(authority / "ca.crt"))
        tls.load_cert_chain(certified_by / "client.crt", certified_by / "client.key")
        return ClusterAccess(f"https://127.0.0.1:{port}", tls=tls)

    async def main() -> None:
        runner, port = await serve_tls(tls_server)
        try:
            loads = Loads(lambda: access(port, foreign), lambda: access(port, authority))
            async with Api(loads, loads.clock) as api:
                await fails(api)
                assert loads.count == 1
                loads.now += RELOAD_AFTER_S
                assert "system:masters" in (await ask(api)).decode()
                assert loads.count == 2
        finally:
            await runner.cleanup()

    run(main())
