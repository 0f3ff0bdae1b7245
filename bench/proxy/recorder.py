"""Is what the proxies pass on the same? A recorder stands behind /record of each; heads are kept as they came and compared.

Owns the check of requests at the backend and of answers at the client. Must not know how fast anything is.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Sequence

from bench.proxy.configurations import HOST

CLIENT = "81.2.69.142"  # an address in London, as a trusted hop in front would name it
# The hop has given the request its ids, so none of the proxies has to make some.
IDS = {"X-Request-ID": "5f2c1b1e-3b0a-4c56-9c55-2f6d3b1a7e10", "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}
SENT = {"Host": HOST, "X-Forwarded-For": CLIENT, "Accept": "*/*", **IDS}
FIELDS = "".join(f"{name}: {value}\r\n" for name, value in SENT.items())
EXPECTED = {
    "host": re.escape(HOST),
    "accept": r"\*/\*",
    "x-forwarded-for": re.escape(CLIENT) + r", ?[0-9.]+",  # for a peer on loopback Envoy writes an address of this machine
    "x-forwarded-proto": "http",
    "x-forwarded-host": re.escape(HOST),
    "x-request-id": re.escape(IDS["X-Request-ID"]),
    "traceparent": r"00-4bf92f3577b34da6a3ce929d0e0e4736-(?!0{16})[0-9a-f]{16}-00",  # the span may be the hop's, or our own
    "via": r"1\.1 \w+",
}
ALLOWED = {"connection", "accept-encoding", "content-length"}  # of the hop, or harmless, in one proxy or another
TIMEOUT_S = 5.0


class Recorder:
    """A thread that keeps the head of each request it is sent, and answers."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, name="recorder", daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return  # closed
            with connection, contextlib.suppress(OSError):  # a probe comes and goes without a word
                connection.settimeout(TIMEOUT_S)
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                if head:
                    self.heads.append(head.decode("latin-1"))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nrecorded")


def fields_of(head: str) -> list[tuple[str, str]]:
    lines = head.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def faults_of(heads: Sequence[str]) -> list[str]:
    """What two requests through one proxy lack, have twice, or say otherwise than the others."""
    faults = []
    for head in heads:
        fields = fields_of(head)
        for name, pattern in EXPECTED.items():
            values = [value for key, value in fields if key == name]
            if len(values) != 1 or not re.fullmatch(pattern, values[0]):
                faults.append(f"{name}: {values}")
        faults += (f"{name}: not expected" for name, _ in fields if name not in EXPECTED and name not in ALLOWED)
        if not head.startswith("GET /record HTTP/1.1\r\n"):
            faults.append(f"request line: {head.splitlines()[0]}")
    return faults


def ask(port: int, path: str, close: bool = False) -> tuple[int, bytes]:
    """One GET: the answer's bytes with its head, and its body. AssertionError unless it is a 200 with a length."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        return ask_on(connection, path, close)


def ask_on(connection: socket.socket, path: str, close: bool = False) -> tuple[int, bytes]:
    """The same on an open connection."""
    end = "Connection: close\r\n\r\n" if close else "\r\n"
    connection.sendall(f"GET {path} HTTP/1.1\r\n{FIELDS}{end}".encode())
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(1 << 20)
        assert piece, f"{path}: ended in the head: {got!r}"
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    fields = dict(fields_of(f"{head.decode('latin-1')}\r\n\r\n"))
    assert head.startswith(b"HTTP/1.1 200 ") and "content-length" in fields, head
    length = int(fields["content-length"])
    while len(body) < length:
        piece = connection.recv(1 << 20)
        assert piece, f"{path}: {len(body)} of {length} bytes"
        body += piece
    assert len(body) == length, f"{path}: {len(body)} bytes instead of {length}"
    return len(head) + 4 + length, body


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def check(recorder: Recorder, name: str, port: int) -> dict[str, str]:
    """Two requests through a proxy: the fields that came out, or the end of the bench."""
    del recorder.heads[:]
    for _ in range(2):
        assert ask(port, "/record")[1] == b"recorded", name
    faults = faults_of(recorder.heads)
    if faults:
        raise SystemExit(f"bench/proxy: {name} does not pass on what it should:\n  " + "\n  ".join(faults))
    return dict(fields_of(recorder.heads[0]))
