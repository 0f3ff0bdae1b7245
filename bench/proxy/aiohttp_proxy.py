"""A plain reverse proxy on aiohttp: what one writes in Python in an afternoon. One process, uvloop, bodies streamed.

    python -m bench.proxy.aiohttp_proxy PORT BACKEND_PORT BACKEND_PORT RECORDER_PORT

Adds the same forwarded headers as the others; knows nothing of health, PoPs or retries.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Sequence

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
SESSION = web.AppKey("session", aiohttp.ClientSession)


def forwarded(request: web.Request) -> CIMultiDict[str]:
    headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP)
    before = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{before}, {request.remote}" if before else str(request.remote)
    headers["x-forwarded-proto"] = "http"
    headers["x-forwarded-host"] = request.host
    headers["via"] = "1.1 aiohttp"
    return headers


def application(backend_ports: Sequence[int], recorder_port: int) -> web.Application:
    turns = itertools.cycle(backend_ports)

    async def relay(request: web.Request) -> web.StreamResponse:
        port = recorder_port if request.path == "/record" else next(turns)
        url = URL(f"http://127.0.0.1:{port}{request.raw_path}", encoded=True)
        body = request.content if request.body_exists else None
        session = request.app[SESSION]
        async with session.request(request.method, url, headers=forwarded(request), data=body, allow_redirects=False) as answer:
            kept = CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP)
            if answer.content_length is not None and answer.content_length <= 65536:
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def session(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, skip_auto_headers=["User-Agent", "Accept"]) as one:
            app[SESSION] = one
            yield

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", relay)
    app.cleanup_ctx.append(session)
    return app


def main() -> None:
    port, *backend_ports, recorder_port = map(int, sys.argv[1:])
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(application(backend_ports, recorder_port), host="127.0.0.1", port=port, access_log=None, print=None, backlog=4096)


if __name__ == "__main__":
    main()
