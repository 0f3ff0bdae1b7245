"""PoP: one point of presence of the demo, a small aiohttp server in a process of its own.

The head of an answer is sent at once, its body after the round trip between this PoP and the client's place. So the client
measures that round trip to the whole answer, and what the gateway measures up to the first byte is the PoP's own time, as in
the world: there the gateway stands between them too, and the way of the client is not in what it sees of the PoP. Who waits is
the wire (see wire.py). A client of no known place is answered without a wait.
"""

from __future__ import annotations

import asyncio
import json
import socket

from aiohttp import web

from gateway.demo import places
from gateway.demo.wire import hand_over

KEEP_ALIVE_S = 600.0


class Answers:
    """What the PoP says."""

    def __init__(self, pop: places.Pop, link: socket.socket) -> None:
        self._pop = pop
        self._link = link
        self._clients = {client.address: client for client in places.clients()}
        self._round_trips = places.round_trips()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(text="well\n")
        # The gateway writes this field, behind a hop that it trusts: its first address is the client.
        address = request.headers.get("x-forwarded-for", "").partition(",")[0].strip()
        client = self._clients.get(address)
        ms = self._round_trips[client.city, self._pop.name] if client is not None else 0.0
        said = {"pop": self._pop.name, "in": self._pop.city, "client": address, "from": client and client.city, "round_trip_ms": ms}
        body = json.dumps(said).encode() + b"\n"
        whole = web.Response(body=body, content_type="application/json")
        if request.transport is None or request.method == "HEAD" or ms == 0:
            return whole
        head = web.StreamResponse(headers=whole.headers)
        head.content_length = len(body)
        await head.prepare(request)
        await head.write_eof()
        hand_over(self._link, request.transport.get_extra_info("socket"), ms, body)
        return head


async def serve(name: str, port: int, link: socket.socket) -> None:
    """Until killed, or cancelled. Says over the link that it listens."""
    pop = next(pop for pop in places.pops() if pop.name == name)
    runner = web.ServerRunner(web.Server(Answers(pop, link).answer, keepalive_timeout=KEEP_ALIVE_S, access_log=None), shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        link.send(b"0 listening")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(name: str, port: str, link: str) -> int:
    asyncio.run(serve(name, int(port), socket.socket(fileno=int(link))))
    return 0
