import asyncio
import contextlib
import json
import time

import pytest

from gateway.demo import children, places, pop
from gateway.demo.wire import Wire

TRIPS = places.round_trips()
PARIS = next(client for client in places.clients() if client.city == "Paris")


@contextlib.asynccontextmanager
async def frankfurt():
    """A PoP in this very process; its port."""
    wire = Wire()
    with children.reserve() as held:
        link, heard = wire.link()
        serving = asyncio.ensure_future(pop.serve("fra", children.port_of(held), link))
        async with asyncio.timeout(10):
            await heard.wait()
        yield children.port_of(held)
        serving.cancel()
        await asyncio.wait((serving,))
        link.close()
    wire.close()


async def ask(port, head, n_bodies=1):
    """When the head's and the body's end were there, in ms from the request, and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        began = time.perf_counter()
        writer.write(head.encode())
        fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        head_ms = (time.perf_counter() - began) * 1000
        length = int(fields.partition("content-length:")[2].split()[0])
        body = await reader.readexactly(length if n_bodies else 0)
        body_ms = (time.perf_counter() - began) * 1000
    writer.close()
    return head_ms, body_ms, body, fields


def request(path="/", address="", method="GET"):
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\n" + (f"x-forwarded-for: {address}\r\n" if address else "") + "\r\n"


@pytest.mark.slow
def test_the_head_comes_at_once_and_the_body_after_the_round_trip():
    far = next(client for client in places.clients() if client.city == "Auckland")

    async def main():
        async with frankfurt() as port:
            head_ms, body_ms, body, _ = await ask(port, request(address=f"{far.address}, 127.0.0.1"))
            ms = TRIPS["Auckland", "fra"]
            assert head_ms < ms / 2  # the PoP's own time is no part of the way
            assert ms - 1 <= body_ms < ms + 500
            said = json.loads(body)
            assert (said["pop"], said["client"], said["from"], said["round_trip_ms"]) == ("fra", far.address, "Auckland", ms)

    asyncio.run(main())


def test_probes_and_strangers_wait_for_nothing():
    async def main():
        async with frankfurt() as port:
            for head in (request("/healthz", PARIS.address), request(address="192.0.2.1"), request(address="no address"), request()):
                _, body_ms, body, fields = await ask(port, head)
                assert fields.startswith("http/1.1 200")
                assert body_ms < 2000
            assert json.loads(body)["from"] is None

    asyncio.run(main())


def test_a_head_request_gets_a_head():
    async def main():
        async with frankfurt() as port:
            _, _, body, fields = await ask(port, request(address=PARIS.address, method="HEAD"), n_bodies=0)
            assert fields.startswith("http/1.1 200")
            assert body == b""

    asyncio.run(main())


def test_a_connection_is_kept():
    async def main():
        async with frankfurt() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(10):
                for _ in range(3):
                    writer.write(request(address=PARIS.address).encode())
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    body = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
                    assert json.loads(body)["from"] == "Paris"
            writer.close()

    asyncio.run(main())
