import asyncio
import contextlib

import pytest

from gateway.demo import places
from gateway.demo.traffic import BrokenAnswer, Connection, Flow

CLIENTS = places.clients()
GOOD = b"HTTP/1.1 200 OK\r\nX-Isochrone-Pop: fra\r\nx-isochrone-reason: fastest\r\ncontent-length: 3\r\n\r\nfra"


@contextlib.asynccontextmanager
async def server(answer):
    """`answer(number, head)` gives bytes; None cuts the connection. Counts connections."""
    seen = []
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                seen.append(head.decode())
                if (said := answer(len(seen), seen[-1])) is None:
                    break
                writer.write(said)
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    opened = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with opened:
        yield opened.sockets[0].getsockname()[1], seen, connections
        for writer in connections:
            writer.close()


def test_a_connection_is_kept_and_its_answer_read_whole():
    async def main():
        async with server(lambda number, head: GOOD) as (port, seen, connections):
            connection = Connection(port)
            for _ in range(2):
                answer = await connection.ask("GET", "/x", {"x-forwarded-for": "192.0.2.1"})
                assert (answer.status, answer.body, answer.fields["x-isochrone-pop"]) == (200, b"fra", "fra")
            await connection.ask("POST", "/pops/fra/drain")
            assert len(connections) == 1
            assert seen[0] == f"GET /x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
            assert "content-length: 0" in seen[2]
            connection.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "said",
    [
        None,
        GOOD[:-1],  # then nothing: see below
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_broken_answer_is_an_error_and_never_asked_for_again(said):
    async def main():
        def answer(number, head):
            return said if number == 1 else GOOD

        async with server(answer) as (port, seen, connections):
            connection = Connection(port)
            asking = asyncio.ensure_future(connection.ask("GET", "/"))
            if said == GOOD[:-1]:
                while not seen:
                    await asyncio.sleep(0)
                connections[0].close()
            with pytest.raises(BrokenAnswer):
                await asking
            assert len(seen) == 1
            assert (await connection.ask("GET", "/")).status == 200  # the next one, on a new connection
            assert len(connections) == 2
            connection.close()

    asyncio.run(main())


def test_an_answer_that_ends_the_connection_is_believed():
    async def main():
        async with server(lambda number, head: GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as (port, _, connections):
            connection = Connection(port)
            await connection.ask("GET", "/")
            await connection.ask("GET", "/")
            assert len(connections) == 2
            connection.close()

    asyncio.run(main())


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.slow
def test_each_client_keeps_asking_and_each_fault_is_counted():
    faults = {7: None, 11: GOOD.replace(b"200 OK", b"503 Service Unavailable")}

    async def main():
        async with server(lambda number, head: faults.get(number, GOOD)) as (port, seen, _):
            flow = Flow(port, CLIENTS[:5])
            flow.start()
            await until(lambda: len(flow.samples) >= 20)
            await flow.stop()
            assert len(flow.samples) == len(seen)
            assert sorted(sample.error for sample in flow.errors) == ["an answer was cut", "status 503"]
            assert {sample.client for sample in flow.samples} == set(CLIENTS[:5])
            answered = [sample for sample in flow.samples if sample.error is None]
            assert all((sample.pop, sample.reason) == ("fra", "fastest") and sample.ms > 0 for sample in answered)
            each = [sum(f"x-forwarded-for: {client.address}\r\n" in head for head in seen) for client in CLIENTS[:5]]
            assert max(each) - min(each) <= 1  # the same pace for all

    asyncio.run(main())


@pytest.mark.slow
def test_stop_lets_what_is_under_way_end():
    async def main():
        began, may_end = asyncio.Event(), asyncio.Event()

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            began.set()
            await may_end.wait()
            writer.write(GOOD)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as opened:
            flow = Flow(opened.sockets[0].getsockname()[1], CLIENTS[:1])
            flow.start()
            async with asyncio.timeout(5):
                await began.wait()
            stopping = asyncio.ensure_future(flow.stop())
            await asyncio.sleep(0)
            may_end.set()
            await stopping
            assert flow.samples
            assert not flow.errors

    asyncio.run(main())


def test_a_gateway_that_is_not_there_is_an_error():
    async def main():
        async with server(lambda number, head: GOOD) as (port, _, _):
            pass
        flow = Flow(port, CLIENTS[:1])
        flow.start()
        await until(lambda: flow.samples)
        await flow.stop()
        assert flow.errors == flow.samples

    asyncio.run(main())
