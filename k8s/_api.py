"""GET requests to one API server: session, access and its renewal, foreign errors turned into ours. Knows nothing of lists and watches.

One per cluster, shared by its reflectors. Access is loaded on first use, and again after a failure that stale access may have
caused: 401, and whatever ends a request before the head of its answer (a rotated certificate, an edited kubeconfig, a server that
moved and whose old address refuses, resets or swallows what it gets); if that fails the old one stays.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Self

import aiohttp
import msgspec

from k8s._blocking import Blocking
from k8s._names import Names
from k8s.access import ClusterAccess
from k8s.errors import AccessError, ApiError, CutOffError, GarbageError, K8sError, UnreachableError
from k8s.objects import Status

LOAD_DEADLINE_S = 30.0  # a plugin may ask a cloud twice; client-go has no limit here
RELOAD_AFTER_S = 10.0  # neither a broken kubeconfig nor a plugin is run more often, however many reflectors ask
REFUSAL_BYTES = 16_384  # of an error's body; a Status is some 300 bytes
# A watch may have nothing to say for a minute, and HTTP/1.1 has no ping: the kernel asks whether the other end is still there, and gives
# up after 30 s, also where it is our bytes that are not acknowledged. client-go asks after 30 s, then each 15 s, nine times.
KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
RETRY_AFTER_MAX_S = 300.0  # a server may ask for patience, not for a day

_status_decoder = msgspec.json.Decoder(Status)


class Api:
    """`async with Api(load, clock) as api`, then `api.get(await api.access(), ...)`."""

    def __init__(self, load: Callable[[], ClusterAccess], clock: Callable[[], float]) -> None:
        self._load = load
        self._clock = clock
        self._loader: Blocking[tuple[int, ClusterAccess | Exception]] = Blocking("k8s-access")
        self._access: ClusterAccess | None = None
        self._is_suspect = False
        self._n_expired = 0  # a load that began before the last one knows nothing of it
        self._tried_at = float("-inf")
        self._fault: K8sError | None = None  # of the last load, if that failed
        self._session: aiohttp.ClientSession | None = None

    @property
    def server(self) -> str | None:
        """The identity of whom it asks; None: nothing is loaded yet."""
        return None if self._access is None else self._access.identity

    @property
    def fault(self) -> K8sError | None:
        """Why the last load failed; None: it did not."""
        return self._fault

    def expire(self) -> None:
        """Load at the next use, however long ago that was done: somebody says that it may have changed."""
        self._is_suspect, self._tried_at = True, float("-inf")
        self._n_expired += 1

    async def __aenter__(self) -> Self:
        # Credentials and proxy come from the access, so nothing is taken from the environment or .netrc, and no cookie is kept.
        # No limit: each watch holds a connection for good, and one that had to queue would look like a silent server.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_connecting, resolver=Names()),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @contextlib.asynccontextmanager
    async def get(
        self, access: ClusterAccess, path: str, params: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 200 response, its body unread. K8sError for all else, and for a body that breaks off inside the block."""
        assert self._session is not None, "used outside its block"
        is_answered = False
        try:
            async with self._session.get(
                access.server + path,
                params=params,
                headers={"Accept": "application/json", "User-Agent": "isochrone", **await access.headers()},
                timeout=timeout,
                ssl=access.tls or True,
                server_hostname=access.tls_server_name,
                proxy=access.proxy,
                allow_redirects=False,  # the token is for this server
            ) as response:
                is_answered = True
                if response.status != 200:
                    raise await self._refusal(response)
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:  # ssl.SSLError is an OSError
            # With TLS 1.3 a refused certificate is a reset in place of the answer, and a server that has moved a silence.
            self._is_suspect |= not is_answered
            raise _ours(access.server, error) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> ApiError:
        body = await response.content.read(REFUSAL_BYTES)
        try:
            status = _status_decoder.decode(body)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            status = Status(message=None)  # a proxy's page, most likely: the code says enough
        if response.status == 401:
            self._is_suspect = True
        return refused(status, response.status, response.headers.get("Retry-After"))

    async def access(self) -> ClusterAccess:
        """The way to the server as last loaded, loaded again first where that is due. K8sError where there never was one."""
        while self._access is None or self._is_suspect:
            is_due = self._clock() - self._tried_at >= RELOAD_AFTER_S
            if not is_due and (self._access is not None or self._fault is not None):
                break
            await self._load_again()
        if self._access is None:
            assert self._fault is not None
            raise self._fault
        return self._access

    async def _load_again(self) -> None:
        self._tried_at = self._clock()
        asked = self._n_expired

        def load() -> tuple[int, ClusterAccess | Exception]:
            try:
                return asked, self._load()
            except Exception as error:  # a loader is foreign code: the gateway serves on whatever it raises
                return asked, error

        try:
            read_for, loaded = await self._loader.call(load, LOAD_DEADLINE_S)
        except TimeoutError:
            self._fault = AccessError(f"loading the credentials takes longer than {LOAD_DEADLINE_S:.0f} s (a plugin that hangs?)")
            return
        if isinstance(loaded, ClusterAccess):
            self._access, self._fault, self._is_suspect = loaded, None, False
        elif isinstance(loaded, K8sError):
            self._fault = loaded
        else:
            self._fault = AccessError(f"cannot load the credentials: {type(loaded).__name__}: {loaded}")
        if read_for != self._n_expired:  # before somebody said that it may have changed
            self._is_suspect, self._tried_at = True, float("-inf")


def _connecting(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices a peer that is gone without a word."""
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    for level, option, value in KEEP_ALIVE:
        opened.setsockopt(level, option, value)
    return opened


def refused(status: Status, code: int, retry_after: str | None = None) -> ApiError:
    """The error that a Status (in a response with HTTP `code`, or in an ERROR event) means."""
    code = status.code or code
    wait_s: float | None = None
    # Kubernetes writes seconds; a date, which HTTP allows as well, is left aside.
    if retry_after and retry_after.strip().isdecimal() and len(retry_after) < 10:
        wait_s = float(retry_after)
    elif status.details and status.details.retry_after_seconds:
        wait_s = float(status.details.retry_after_seconds)
    reason = "ResourceVersionTooLarge" if status.has_cause("ResourceVersionTooLarge") else status.reason or ""
    return ApiError(
        f"{code} {reason}: {status.message}" if status.message else f"{code} {reason}".strip(),
        code=code,
        reason=reason,
        retry_after_s=None if wait_s is None else min(max(wait_s, 0.0), RETRY_AFTER_MAX_S),
    )


def _ours(server: str, error: Exception) -> K8sError:
    """A foreign error of a request as one of ours."""
    if isinstance(error, (aiohttp.ClientConnectorError, ssl.SSLError)):
        return UnreachableError(f"cannot connect to {server}: {_connect_text(error)}")
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{server} does not answer: {_timeout_text(error)}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return CutOffError(f"{server} broke off in an answer")
    if isinstance(error, (aiohttp.ServerDisconnectedError, OSError)):  # ClientOSError is an OSError
        return CutOffError(f"{server} closed the connection: {error}")
    return GarbageError(f"{server}: {type(error).__name__}: {error}")  # no HTTP, or a header or URL that cannot be sent


def _connect_text(error: Exception) -> str:
    # aiohttp's own text shows its SSL context as an object, and the address a second time.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    return str(error.os_error) if isinstance(error, aiohttp.ClientConnectorError) else str(error)


def _timeout_text(error: TimeoutError) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connecting timed out"
    return "nothing was read for too long" if isinstance(error, aiohttp.SocketTimeoutError) else "the request took too long"
