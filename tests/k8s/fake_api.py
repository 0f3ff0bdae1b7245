"""A fake API server for scripted faults: aiohttp on loopback, one process with the test. Knows nothing of what it tests.

It keeps the API's rules where a reflector depends on them: one resource version counter for all objects, an event log that
is compacted (410 below), lists not older than asked for, bookmarks, `timeoutSeconds`, label and field selectors, chunked
watches. `fault` (one per path, or for all) replaces the answer of the next `times` requests. It validates no object, so
loopback addresses are accepted, unlike by the real one.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
SERVICES = "/api/v1/namespaces/{}/services"
KINDS = {"endpointslices": "EndpointSlice", "services": "Service"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fault:
    answer: Handler
    watch: bool | None  # only watches, only lists, or both (None)
    times: int
    path: str | None


@dataclass
class FakeApi:
    bookmark_s: float = 60.0
    speed: float = 1.0  # a watch asked to end after N seconds ends after N / speed
    token: str | None = None  # if set, what Authorization must be
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)  # what Host said
    url: str = ""

    def __post_init__(self) -> None:
        self.version = 100
        self.compacted = 0
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}  # (collection path, name)
        self.log: list[tuple[int, str, str, dict[str, Any]]] = []  # version, collection path, type, object
        self._news = asyncio.Condition()
        self._faults: list[Fault] = []
        self._runner: web.AppRunner | None = None
        self.watching = 0  # watches open now

    # Life

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        await self.listen(0)
        return self

    async def listen(self, port: int) -> None:
        assert self._runner is not None
        site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]  # it has just been started

    async def stop_listening(self) -> int:
        """As a server that is gone: nothing accepts any more. Its port, to come back with."""
        assert self._runner is not None
        port = int(self.url.rsplit(":", 1)[1])
        for site in list(self._runner.sites):
            await site.stop()
        if self._runner.server is not None:
            await self._runner.server.shutdown(0.01)
        return port

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # The world it shows

    async def put(self, path: str, obj: dict[str, Any]) -> int:
        """Create or replace. Returns the object's new version."""
        self.version += 1
        obj = copy.deepcopy(obj)
        obj["metadata"]["resourceVersion"] = str(self.version)
        key = (path, obj["metadata"]["name"])
        kind = "MODIFIED" if key in self.objects else "ADDED"
        self.objects[key] = obj
        await self._record(path, kind, obj)
        return self.version

    async def delete(self, path: str, name: str) -> int:
        self.version += 1
        obj = copy.deepcopy(self.objects.pop((path, name)))
        obj["metadata"]["resourceVersion"] = str(self.version)
        await self._record(path, "DELETED", obj)
        return self.version

    def compact(self) -> None:
        """Forgets every event so far: a watch from before gets 410."""
        self.version += 1
        self.compacted = self.version
        self.log.clear()

    def restore(self, version: int) -> None:
        """As an etcd restored from a backup of back then, when there was nothing."""
        self.version = version
        self.objects.clear()
        self.log.clear()

    async def _record(self, path: str, kind: str, obj: dict[str, Any]) -> None:
        self.log.append((self.version, path, kind, obj))
        async with self._news:
            self._news.notify_all()

    # Faults

    def fault(self, answer: Handler, *, watch: bool | None = None, times: int = 1_000_000, path: str | None = None) -> Fault:
        fault = Fault(answer, watch, times, path)
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        self._faults.clear()

    # Requests

    def asked(self, *, watch: bool) -> list[dict[str, str]]:
        return [query for _, query in self.requests if ("watch" in query) is watch]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append((request.path, query))
        self.authorizations.append(request.headers.get("Authorization"))
        self.hosts.append(request.headers["Host"])
        is_watch = query.get("watch") in ("1", "true")
        for fault in self._faults:
            if fault.times > 0 and fault.watch in (None, is_watch) and fault.path in (None, request.path):
                fault.times -= 1
                return await fault.answer(request)
        if self.token is not None and request.headers.get("Authorization") != self.token:
            return status(401, "Unauthorized", "Unauthorized")
        kind = KINDS.get(request.path.rsplit("/", 1)[-1])
        if kind is None:
            return status(404, "NotFound", "the server could not find the requested resource")
        return await (self._watch(request, query, kind) if is_watch else self._list(request, query, kind))

    async def _list(self, request: web.Request, query: dict[str, str], kind: str) -> web.StreamResponse:
        asked = int(query.get("resourceVersion") or 0)
        if asked > self.version:
            return status(504, "Timeout", "Too large resource version", causes=[{"reason": "ResourceVersionTooLarge"}])
        found = [self.objects[key] for key in sorted(self.objects) if key[0] == request.path and matches(self.objects[key], query)]
        api = "v1" if kind == "Service" else "discovery.k8s.io/v1"
        return web.json_response(
            {"kind": f"{kind}List", "apiVersion": api, "metadata": {"resourceVersion": str(self.version)}, "items": found or None}
        )

    async def _watch(self, request: web.Request, query: dict[str, str], kind: str) -> web.StreamResponse:
        response = await stream(request)
        at = int(query["resourceVersion"])
        is_ahead = at > self.version
        if at < self.compacted:
            gone = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": f"too old resource version: {at}"}
            await send(response, "ERROR", gone)
            return response
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + int(query.get("timeoutSeconds", "1800")) / self.speed
        # An object that stops matching the selector is DELETED for this watch.
        shown = {name for (path, name), obj in self.objects.items() if path == request.path and matches(obj, query)}
        self.watching += 1
        try:
            while (left := ends_at - loop.time()) > 0:
                for version, path, type_, obj in [e for e in self.log if e[0] > at]:
                    at = version
                    if path == request.path and matches(obj, query):
                        shown.add(obj["metadata"]["name"])
                        await send(response, type_, obj)
                    elif path == request.path and type_ == "MODIFIED" and obj["metadata"]["name"] in shown:
                        shown.discard(obj["metadata"]["name"])
                        await send(response, "DELETED", obj)
                async with self._news:
                    if any(e[0] > at for e in self.log):
                        continue
                    try:
                        await asyncio.wait_for(self._news.wait(), min(left, self.bookmark_s))
                    except TimeoutError:
                        if is_ahead and self.version < at:
                            continue  # not even a bookmark, as the real one
                        at = max(at, self.version)
                        if query.get("allowWatchBookmarks") == "true":
                            mark = {"kind": kind, "metadata": {"resourceVersion": str(at), "creationTimestamp": None}}
                            await send(response, "BOOKMARK", mark)
        finally:
            self.watching -= 1
        return response


def matches(obj: dict[str, Any], query: dict[str, str]) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, is_equality, value = term.partition("=")
        if (labels.get(name) != value) if is_equality else (name not in labels):
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        name, _, value = term.partition("=")
        assert name == "metadata.name", "the only field selector that is known here"
        if obj["metadata"]["name"] != value:
            return False
    return True


# Answers that faults are made of


def status(code: int, reason: str, message: str, *, headers: dict[str, str] | None = None, **details: Any) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }
    return web.json_response(body, status=code, headers=headers)


def refuse(code: int, reason: str, message: str = "no", **kwargs: Any) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return status(code, reason, message, **kwargs)

    return answer


def body(data: bytes, *, code: int = 200, content_type: str = "application/json") -> Handler:
    """A whole answer: garbage, a proxy's page, a list of another kind."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, status=code, content_type=content_type)

    return answer


def lines(*data: bytes, then: str = "close") -> Handler:
    """A watch that says just this, and then closes properly, breaks off ("reset"), or falls silent ("hang")."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await stream(request)
        for line in data:
            await response.write(line)
        if then == "hang":
            await asyncio.Event().wait()
        if then == "reset":
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


async def hang(_: web.Request) -> web.StreamResponse:
    """Half-open: the request is taken, and nothing ever comes back."""
    await asyncio.Event().wait()
    raise AssertionError


def flood(line: bytes) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = await stream(request)
        chunk = line * (1 + 65_536 // len(line))
        while True:
            await response.write(chunk)

    return answer


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


async def send(response: web.StreamResponse, kind: str, obj: dict[str, Any]) -> None:
    await response.write(event(kind, obj))


def event(kind: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


# Objects


def piece(
    name: str,
    addresses: list[str],
    *,
    service: str = "web",
    port: int | None = 8080,
    port_name: str | None = "http",
    family: str = "IPv4",
    **conditions: bool | None,
) -> dict[str, Any]:
    """An EndpointSlice. Each address is a pod with the uid `uid-ADDRESS` and these conditions (ready, if none are given)."""
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "endpoints": [
            {
                "addresses": [address],
                "conditions": conditions or {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"pod-{address}", "uid": f"uid-{address}"},
                "nodeName": "node-1",
                "zone": "z1",
            }
            for address in addresses
        ]
        or None,
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }


def service(name: str, ports: list[dict[str, Any]], *, kind: str = "ClusterIP") -> dict[str, Any]:
    return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name, "namespace": "shop"}, "spec": {"type": kind, "ports": ports}}
