"""Client: asks a running gateway's admin API. Owns its address, its deadline and the words for what can go wrong.

Standard library only, so that `isochrone drain` as a preStop hook begins at once. Must not know what is asked.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import urllib.parse
from typing import Any

from gateway.errors import IsochroneError

DEFAULT = "http://127.0.0.1:9901"  # as `admin.bind` has it
TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 << 20
LEGAL = "must be http://HOST:PORT or unix:/PATH"


class AdminError(IsochroneError):
    """The gateway can't be asked, or refuses: one line."""


class Refusal(AdminError):
    """The gateway's own word, with all that it said."""

    def __init__(self, text: str, said: dict[str, Any]) -> None:
        super().__init__(text)
        self.said = said


class Unreachable(AdminError):
    """Nobody answers there."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def add_admin(parser: argparse.ArgumentParser, default: str | None, says: str) -> None:
    """The option that all who ask have."""
    parser.add_argument("--admin", metavar="URL", default=default, help=says)


class AdminClient:
    """One admin API. AdminError for an address that is none."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._unix = url.removeprefix("unix:") if url.startswith("unix:/") else None
        if self._unix is None:
            self._host, self._port = _host_and_port(url)

    def get(self, path: str, /, **query: str) -> Any:
        return self._ask("GET", path, query)

    def post(self, path: str, /, **query: str) -> Any:
        return self._ask("POST", path, query)

    def _ask(self, method: str, path: str, query: dict[str, str]) -> Any:
        """What it answers, of JSON; AdminError with its own words when it refuses."""
        if query:
            path = f"{path}?{urllib.parse.urlencode(query)}"
        connection = self._connection()
        try:
            connection.request(method, path, headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            raise Unreachable(f"no admin API at {self.url}: {reason or type(error).__name__}") from error
        finally:
            connection.close()
        try:
            said = json.loads(body)
        except ValueError:
            raise AdminError(f"{self.url} is no admin API: status {answer.status}, and no JSON") from None
        if answer.status >= 400:
            said = said if isinstance(said, dict) else {}
            raise Refusal(f"{self.url} refuses: {said.get('error') or f'status {answer.status}'}", said)
        return said

    def _connection(self) -> http.client.HTTPConnection:
        if self._unix is not None:
            return _UnixConnection(self._unix, self.timeout_s)
        return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout_s)


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/") and not parts.query and not parts.username:
            return parts.hostname, parts.port
    except ValueError:
        pass  # a port that is none
    raise AdminError(f"--admin: {LEGAL}, got {url!r}")
