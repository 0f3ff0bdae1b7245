import asyncio
import contextlib
import os
import socket
import stat
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web

from gateway.control.life.lifecycle import Event
from gateway.control.operator import status as module
from gateway.control.operator.status import Server, application
from gateway.errors import IsochroneError, StartError
from gateway.model import Address
from gateway.parts import status
from tests.unit.gateway.control.operating import gateway_of

ANYWHERE = Address("127.0.0.1", 0)


@contextlib.asynccontextmanager
async def serving(server):
    await server.start()
    connector = aiohttp.UnixConnector(server.address.host) if server.address.is_unix else None
    base = "http://localhost" if server.address.is_unix else f"http://{server.address}"
    try:
        async with aiohttp.ClientSession(base, connector=connector, timeout=aiohttp.ClientTimeout(20)) as session:
            yield session
    finally:
        await server.stop()


async def ask(session, path, method="GET", **more):
    async with session.request(method, path, **more) as answer:
        return answer.status, await (answer.json() if answer.content_type == "application/json" else answer.text())


def with_status(scenario, **more):
    async def whole():
        gateway = gateway_of(parts=(status,), status='{bind: "127.0.0.1:0"}', **more)
        async with serving(gateway.parts[0].server) as session:
            await scenario(gateway, session)

    asyncio.run(whole())


def test_health_says_who_and_what():
    async def scenario(gateway, session):
        said = {"pid": os.getpid(), "generation": 1, "table": {"generation": gateway.publisher.generation}}
        assert await ask(session, "/healthz") == (200, {**said, "state": "starting"})
        gateway.lifecycle.handle(Event.STARTED)
        assert await ask(session, "/healthz") == (200, {**said, "state": "serving"})
        gateway.lifecycle.handle(Event.TERMINATE)
        assert await ask(session, "/healthz") == (200, {**said, "state": "lameduck"})  # a failing one would kill the drain
        gateway.lifecycle.handle(Event.ANNOUNCED)
        assert await ask(session, "/healthz") == (200, {**said, "state": "closing"})

    with_status(scenario)


def test_readiness_has_its_reason():
    async def scenario(gateway, session):
        status, said = await ask(session, "/readyz")
        assert status == 503
        assert said == {"ready": False, "reasons": ["first probe round: 3 endpoints to go"]}
        for identity in gateway.gates.all:
            gateway.gates.judge(identity, True, 0)
        gateway.lifecycle.handle(Event.STARTED)
        assert await ask(session, "/readyz") == (200, {"ready": True, "reasons": []})
        gateway.lifecycle.handle(Event.DRAIN)
        assert await ask(session, "/readyz") == (503, {"ready": False, "reasons": ["draining: lameduck"]})

    with_status(scenario)


def test_metrics_in_the_format_asked_for():
    async def scenario(gateway, session):
        async with session.get("/metrics?collect[]=x", headers={"Accept": "application/openmetrics-text"}) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await answer.text()).endswith("# EOF\n")
        status, text = await ask(session, "/metrics")
        assert status == 200
        assert "\nisochrone_table_generation 2.0\n" in text

    with_status(scenario)


def test_nothing_else_is_there_and_refusals_are_json():
    async def scenario(gateway, session):
        there = "GET /healthz, GET /readyz, GET /metrics"
        for path in ("/", "/pops", "/config", "/explain?client=10.0.0.1"):
            bare = path.partition("?")[0]
            assert await ask(session, path) == (404, {"error": f"no such path {bare!r}; there is: {there}"})
        assert await ask(session, "/drain", "POST") == (404, {"error": f"no such path '/drain'; there is: {there}"})
        assert await ask(session, "/healthz", "POST") == (405, {"error": "/healthz: must be GET, got POST"})
        assert await ask(session, "/readyz?x=1") == (400, {"error": "query: must have no parameters, got 'x'"})
        assert gateway.lifecycle.state == "starting"

    with_status(scenario)


def test_without_a_status_section_nothing_listens():
    async def scenario():
        (part,) = gateway_of(parts=(status,)).parts
        assert part.server is None
        await part.start()
        await part.stop()

    asyncio.run(scenario())


def failing(error):
    async def handler(request):
        raise error

    return application([web.get("/", handler)])


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (IsochroneError("two\nlines"), 500, "two lines"),
        (TimeoutError(), 503, "not done in time"),
        (RuntimeError("secret"), 500, "internal error; the log has more"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, HTTPStatus(413).phrase),
    ],
)
def test_every_failure_is_one_line_of_json(error, status, text):
    async def scenario():
        async with serving(Server("x", ANYWHERE, failing(error))) as session:
            assert await ask(session, "/") == (status, {"error": text})

    asyncio.run(scenario())


def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_server(tmp_path):
    path = tmp_path / "admin.sock"

    async def scenario():
        server = Server("admin", Address(str(path), 0), application([]))
        async with serving(server) as session:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert (await ask(session, "/"))[0] == 404

    asyncio.run(scenario())
    assert not path.exists()


def test_an_address_in_use_is_one_clear_line():
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = Address("127.0.0.1", taken.getsockname()[1])
            server = Server("admin", address, application([]))
            with pytest.raises(StartError, match=f"^listener admin: {address} is already in use$"):
                await server.start()
            await server.stop()

    asyncio.run(scenario())


def test_who_takes_nothing_of_an_answer_is_ended():
    async def scenario():
        server = Server("status", ANYWHERE, application([]))
        async with serving(server):
            _, writer = await asyncio.open_connection(server.address.host, server.address.port)
            async with asyncio.timeout(20):
                while not server._runner.server.connections:
                    writer.write(b"G")
                    await asyncio.sleep(0)
            (connection,) = server._runner.server.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == module.UNREAD_MS
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("descriptors", "most"), [(-1, 128), (1 << 20, 128), (16_384, 128), (1024, 8), (256, 4), (64, 4)])
def test_idle_connections_take_no_more_than_is_kept_for_them(descriptors, most):
    assert module.most_connections(descriptors) == most
    reserve = min(32 + 2 * 2 + descriptors // 32, descriptors // 4)  # of two workers; half of it may be upstream connections
    assert descriptors < 0 or 2 * most <= reserve // 2


def test_who_only_connects_locks_nobody_out(monkeypatch):
    monkeypatch.setattr(module, "most_connections", lambda n_descriptors: 3)

    async def scenario():
        server = Server("status", ANYWHERE, application([]))
        async with serving(server) as session:
            silent = [await asyncio.open_connection(server.address.host, server.address.port) for _ in range(6)]
            # The kernel hands over those that said nothing only after a second: let them speak.
            for _, writer in silent:
                writer.write(b"GET")
            async with asyncio.timeout(20):
                for reader, _ in silent[:3]:
                    with contextlib.suppress(ConnectionResetError):
                        assert await reader.read() == b""
            assert (await ask(session, "/"))[0] == 404
            for _, writer in silent:
                writer.close()

    asyncio.run(scenario())
