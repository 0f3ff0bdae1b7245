"""Client: asks a running gateway's admin API. Owns its address, its deadline and the words for what can go wrong.

Standard library only, so that `isochrone drain` as a preStop hook begins at once. Must not know what is asked.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import json
import os
import socket
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.errors import ConfigError, IsochroneError

DEFAULT = "http://127.0.0.1:9901"  # as `admin.bind` has it
VARIABLE = "ISOCHRONE_ADMIN"
TOKEN_VARIABLE = "ISOCHRONE_ADMIN_TOKEN_FILE"
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


class _Said(dict[str, Any]):
    """An object of an answer. What is asked for and not in it was said by another release, or by somebody else altogether."""

    def __missing__(self, key: str) -> Any:
        raise AdminError(f"no admin API that this command knows: its answer has no {key!r}")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def add_admin(parser: argparse._ActionsContainer, says: str) -> None:
    """The option that all who ask have."""
    parser.add_argument("--admin", metavar="URL", help=says)


def add_running(parser: argparse.ArgumentParser) -> None:
    """For who can mean nothing but a running gateway: which one."""
    which = parser.add_mutually_exclusive_group()
    add_admin(which, f"its admin API: http://HOST:PORT or unix:/PATH; default: the variable {VARIABLE}, or {DEFAULT}")
    which.add_argument("-c", "--config", metavar="FILE", type=Path, help="that of this configuration, whatever is faulty elsewhere in it")


def running(args: argparse.Namespace, timeout_s: float = TIMEOUT_S) -> AdminClient:
    """The gateway that add_running's options mean. ConfigError for a file that does not say which."""
    if args.config is not None:
        url, token = _bound(args.config)
        return AdminClient(url, timeout_s, token_file=token)
    if args.admin is not None:
        return AdminClient(args.admin, timeout_s)
    return AdminClient(os.environ.get(VARIABLE) or DEFAULT, timeout_s, VARIABLE)


def _bound(path: Path) -> tuple[str, Path | None]:
    """Where the admin API of a configuration is, and the file of its token."""
    from gateway.config import load_admin

    try:
        admin = load_admin(path)
    except ConfigError as error:
        raise ConfigError([replace(fault, text=f"{fault.text}; with --admin URL no file is needed") for fault in error.faults]) from None
    bind = admin.bind
    if bind.is_unix:
        return str(bind), admin.token
    if not bind.port:
        raise AdminError(f"{path}: admin.bind: any free port: --admin must say which it is")
    return f"http://{bind}", admin.token


class AdminClient:
    """One admin API. AdminError for an address that is none."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S, name: str = "--admin", token_file: Path | None = None) -> None:
        """`name`: where the address was given, for who gave it wrong. `token_file`: beside that of the environment, which counts first."""
        self.url, self.timeout_s = url, timeout_s
        self._unix = url.removeprefix("unix:") if url.startswith("unix:/") else None
        if self._unix is None:
            self._host, self._port = _host_and_port(url, name)
        self._headers = {"Connection": "close", **self._authorization(token_file)}

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
            connection.request(method, path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            raise Unreachable(f"no admin API at {self.url}: {reason or type(error).__name__}") from error
        finally:
            connection.close()
        try:
            said = json.loads(body, object_hook=_Said)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise AdminError(f"{self.url} is no admin API: status {answer.status}, and no JSON object")
        if answer.status >= 400:
            # Whoever listens there while the gateway is down writes to a terminal.
            words = "".join(one if one.isprintable() else " " for one in str(said.get("error") or f"status {answer.status}"))
            raise Refusal(f"{self.url} refuses: {words}", said)
        return said

    def _authorization(self, configured: Path | None) -> dict[str, str]:
        named = os.environ.get(TOKEN_VARIABLE)
        path = Path(named) if named else configured
        if path is None:
            return {}
        what = f"{TOKEN_VARIABLE} {path}" if named else f"admin.token {path}"
        if self._unix is None and not is_loopback(self._host):
            raise AdminError(f"{what}: a token goes to loopback and unix sockets alone, for there is no TLS, got {self.url}")
        try:
            token = path.read_text("ascii").strip()
        except OSError as error:
            raise AdminError(f"{what}: {error.strerror or error}") from error
        except UnicodeDecodeError:
            token = ""
        if not token.isprintable() or not token or " " in token:
            raise AdminError(f"{what}: must have one token, without spaces, all of ASCII")
        return {"Authorization": f"Bearer {token}"}

    def _connection(self) -> http.client.HTTPConnection:
        if self._unix is not None:
            return _UnixConnection(self._unix, self.timeout_s)
        return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout_s)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_and_port(url: str, name: str) -> tuple[str, int]:
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/") and not parts.query and not parts.username:
            parts.hostname.encode("idna")
            return parts.hostname, parts.port
    except ValueError:
        pass  # a port, or a name, that is none
    raise AdminError(f"{name}: {LEGAL}, got {url!r}")
