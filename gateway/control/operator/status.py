"""Status: the read-only answers (/healthz, /readyz, /metrics), and how control's own HTTP listeners are served.

Owns the status listener, which stands where strangers may reach it, and `Server`, which the admin API uses too: a socket bound
like a client's, a bound number of connections, errors as one line of JSON. Must not know what changes anything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.control.life.inherited import Inherited
from gateway.control.life.listeners import BACKLOG, Listener
from gateway.control.life.ready import Ready
from gateway.control.operator.scrapes import Scrapes
from gateway.control.operator.telemetry import Telemetry
from gateway.control.process.tasks import Tasks
from gateway.errors import IsochroneError, StartError
from gateway.model import Address

logger = logging.getLogger("isochrone.admin")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

GENERATION = 1  # of processes: `serve` is one generation, without a supervisor that starts another
MAX_CONNECTIONS = 128  # a listener; more end the oldest, so that nobody who only connects can lock a scraper out
LEAST_CONNECTIONS = 4
OF_DESCRIPTORS = 128  # one in so many at most; workers leave both listeners that, and as much again
TRIM_S = 0.05
KEEP_ALIVE_S = 75.0
UNREAD_MS = 60_000  # that nothing of an answer is taken
STOP_S = 1.0  # for answers under way
UNIX_MODE = 0o600  # an admin socket is for its owner and root


class BadRequest(IsochroneError):
    """What came, and what is legal."""

    status = 400


def answer(body: Any, status: int = 200) -> web.Response:
    """JSON on one line, so that `curl` and `jq` both do."""
    return web.Response(text=json.dumps(body) + "\n", status=status, content_type="application/json")


def parameters(request: web.Request, legal: Iterable[str] = ()) -> dict[str, str]:
    """The query, each once; BadRequest for what is not legal."""
    known = tuple(legal)
    found: dict[str, str] = {}
    for key, value in request.query.items():
        if key not in known:
            raise BadRequest(f"query: must have {' or '.join(known) if known else 'no parameters'}, got {key!r}")
        if key in found:
            raise BadRequest(f"{key}: must be given once, got it twice")
        found[key] = value
    return found


@web.middleware
async def as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is one line of JSON. What nobody foresaw is logged, and not told."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return answer({"error": f"no such path {request.path!r}; there is: {', '.join(paths(request.app))}"}, 404)
    except web.HTTPMethodNotAllowed as error:
        allowed = sorted(error.allowed_methods - {"HEAD"})
        refused = answer({"error": f"{request.path}: must be {' or '.join(allowed)}, got {request.method}"}, 405)
        refused.headers["Allow"] = ", ".join(allowed)
        return refused
    except web.HTTPException as error:
        return answer({"error": error.reason}, error.status)
    except IsochroneError as error:
        return answer({"error": " ".join(str(error).split())}, error.status)
    except TimeoutError:
        return answer({"error": "not done in time"}, 503)
    except Exception:
        logger.exception("request failed", extra={"path": request.path})
        return answer({"error": "internal error; the log has more"}, 500)


def paths(app: web.Application) -> list[str]:
    """`GET /healthz`, ... as the application has them."""
    return [f"{route.method} {route.resource.canonical}" for route in app.router.routes() if route.resource and route.method != "HEAD"]


class Conversation(web.RequestHandler):
    """One connection. What can't be read as a request is answered without a word of it, and makes no line: strangers may send it."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        refused = answer({"error": "must be an HTTP/1.1 request that can be read"}, status)
        refused.force_close()
        return refused


def most_connections(n_descriptors: int) -> int:
    """Of one listener, where a process may have so many descriptors: idle ones must not take what answers are kept for."""
    if n_descriptors < 0:
        return MAX_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MAX_CONNECTIONS, n_descriptors // OF_DESCRIPTORS))


class Server:
    """One HTTP listener: bound by `start`, closed by `stop`."""

    def __init__(
        self, name: str, address: Address, app: web.Application, inherited: Inherited | None = None, *, is_everyones: bool = True
    ) -> None:
        """`is_everyones`: whoever reaches a unix socket that was open before may use it. Without that its file must keep others out."""
        self.name, self.address = name, address
        self._is_everyones = is_everyones
        self._inherited = inherited or Inherited()
        # Whoever leaves has his request cancelled: nothing is done for nobody. What must be done whole is a task of its own.
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=STOP_S,
        )
        self._listener: Listener | None = None
        self._server: asyncio.AbstractServer | None = None
        self._trimming: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """StartError when the address can't be bound. Afterwards `address` is the real one, also where port 0 was asked for."""
        listener = self._listener = self._inherited.open(self.name, self.address)
        try:
            if listener.address.is_unix and not listener.is_shared:
                os.chmod(listener.address.host, UNIX_MODE)  # before it listens: nobody can have connected yet
            elif listener.address.is_unix and not self._is_everyones:
                self._check_mode(listener.address.host)
            if not listener.address.is_unix:
                # Who does not read holds a text of megabytes: connections have this from their listener.
                listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
            await self._runner.setup()
            loop = asyncio.get_running_loop()
            create = loop.create_unix_server if listener.address.is_unix else loop.create_server
            self._server = await create(self._protocol, sock=listener.socket, backlog=BACKLOG)
        except BaseException:
            listener.close()
            raise
        self.address = listener.address
        logger.info("listening", extra={"listener": self.name, "address": str(self.address)})

    def _check_mode(self, path: str) -> None:
        """Who connects needs the right to write. A group is the choice of whoever made it; all users are systemd's default."""
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError:
            return  # it is where this process can't look
        if mode & stat.S_IWOTH:
            raise StartError(
                f"listener {self.name}: every user of this machine may connect to the inherited socket {path} (mode {mode:04o}): it must"
                " have SocketMode=0600 (or 0660 and SocketGroup=) in its unit, or admin.token"
            )

    async def stop(self) -> None:
        if self._trimming is not None:
            self._trimming.cancel()
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None, "set up before the socket listens"
        loop = asyncio.get_running_loop()
        if self._trimming is None:
            self._trimming = loop.call_later(TRIM_S, self._trim)
        # Nobody has a reason to send a body that is compressed.
        more: dict[str, Any] = {"access_log": None, "keepalive_timeout": KEEP_ALIVE_S, "auto_decompress": False}
        return Conversation(server, loop=loop, **more)

    def _trim(self) -> None:
        """End the oldest connections that are too many. A little later: the server knows a connection only after this turn."""
        self._trimming = None
        server = self._runner.server
        most = most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        for connection in server.connections[:-most] if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()


class StatusAnswers:
    """What both listeners say of this process. Nothing here changes anything."""

    def __init__(self, telemetry: Telemetry, ready: Ready, tasks: Tasks) -> None:
        self.ready = ready
        self.scrapes = Scrapes(telemetry.read, tasks, ready.start.clock)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/healthz", self.healthz), web.get("/readyz", self.readyz), web.get("/metrics", self.metrics)]

    async def healthz(self, request: web.Request) -> web.Response:
        """200 while any worker turns, also during a drain: a failing liveness probe would kill it. 503: nobody can be served again."""
        parameters(request)
        table, workers = {"generation": self.ready.start.publisher.generation}, self.ready.workers
        said: dict[str, Any] = {"pid": os.getpid(), "generation": GENERATION, "state": self.ready.lifecycle.state, "table": table}
        if workers.has_none:
            return answer({**said, "error": f"no worker turns: {', '.join(workers.silent)}"}, 503)
        return answer(said)

    async def readyz(self, request: web.Request) -> web.Response:
        parameters(request)
        reasons = self.ready.reasons()
        return answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        # Any query is let through: scrapers send parameters of their own.
        accept = ",".join(request.headers.getall("Accept", []))
        body, content_type = await self.scrapes.text(accept)
        return web.Response(body=body, headers={"Content-Type": content_type})


def application(routes: Iterable[web.RouteDef], *middlewares: Middleware) -> web.Application:
    app = web.Application(middlewares=[as_json, *middlewares])
    app.add_routes(routes)
    return app


class Status:
    """The status listener, where one is configured: a part of the gateway (see gateway.app.Part)."""

    def __init__(self, answers: StatusAnswers, bind: Address | None, inherited: Inherited, own: list[Address]) -> None:
        """`own`: where the gateway itself listens; its own address is added."""
        self.own = own
        self.server = None if bind is None else Server("status", bind, application(answers.routes()), inherited)

    async def start(self) -> None:
        if self.server is not None:
            await self.server.start()
            self.own.append(self.server.address)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop()
