"""Both ends of a gateway as raw sockets: an upstream whose every byte is the test's, and clients that send what no library would.

The upstream reads with h11, which knows nothing of the gateway: what it could not read, or what two readers could take apart in two ways,
is kept as a fault. Knows no expectation: what should have come is the test's to say.
"""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h11

from tests.io.serving import eventually

PATIENCE_S = 10.0
BLOCK = 1 << 16
# Fields that end at a hop (RFC 9110 7.6.1); the gateway's own framing and upgrade are looked at apart.
HOP_BY_HOP = {b"keep-alive", b"proxy-connection", b"te"}


@dataclass
class Seen:
    """One request, as the upstream read it."""

    method: str
    target: str
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    is_whole: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    def ambiguities(self) -> list[str]:
        """What another server might read otherwise than h11 did."""
        found = []
        if len(self.values(b"host")) != 1:
            found.append(f"hosts {self.values(b'host')}")
        lengths, codings = self.values(b"content-length"), self.values(b"transfer-encoding")
        if (
            len(lengths) + len(codings) > 1
            or any(not value.isdigit() for value in lengths)
            or any(value != b"chunked" for value in codings)
        ):
            found.append(f"framing {lengths} {codings}")
        connection = self.values(b"connection")
        if connection not in ([], [b"upgrade"]) or bool(connection) != bool(self.values(b"upgrade")):
            found.append(f"connection {connection}")
        for name, value in self.fields:
            if name in HOP_BY_HOP or b"_" in name or not name.strip() or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                found.append(f"field {name!r}: {value!r}")
        if re.search(r"[\s#\\\x7f-\U0010ffff]", self.target):
            found.append(f"target {self.target!r}")
        return found


@dataclass
class Answer:
    """What the upstream says, byte by byte; before that, when it has the head, `interim`; and how the connection ends."""

    text: bytes
    interim: bytes = b""
    at_head: bool = False  # all of it without waiting for the body
    closes: bool = False
    resets: bool = False


OK = Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
Script = Callable[[Seen], Answer]


@dataclass
class RawUpstream:
    """One endpoint on a port of its own; each connection has a thread."""

    script: Script = lambda seen: OK
    seen: list[Seen] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    n_connections: int = 0  # that said something
    n_open: int = 0

    def __post_init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._met: set[tuple[str, int]] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._door.getsockname()[1]}"

    def take(self) -> list[Seen]:
        """What was seen since the last call."""
        with self._lock:
            taken, self.seen = self.seen, []
        return taken

    def wait_quiet(self) -> None:
        """Until all that was sent has been seen and every connection to it has ended, those too that still stood in its queue: a
        connection of our own goes through the same queue behind them."""
        with socket.create_connection(self._door.getsockname(), PATIENCE_S) as last:
            ours = last.getsockname()
            eventually(lambda: ours in self._met, "the queue is empty")
        eventually(lambda: self.n_open == 0, "no connection to the upstream is left")

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE_S)
        self._door.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._door.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._threads = [one for one in self._threads if one.is_alive()] + [thread]
                self._connections.add(connection)
                self._met.add(peer)
                self.n_open += 1
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(PATIENCE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._exchanges(connection)
        except OSError:
            pass  # the gateway may leave whenever it likes
        finally:
            with self._lock:
                self._connections.discard(connection)
                self.n_open -= 1

    def _exchanges(self, connection: socket.socket) -> None:
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 18)
        seen: Seen | None = None
        answer = OK
        received = b""
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError as error:
                # The end of the connection in the middle of a request is the gateway giving up, and no fault.
                if not reader.trailing_data[1]:
                    self._fault(f"{error}: {received[-2000:]!r}")
                return
            if event is h11.NEED_DATA:
                data = connection.recv(BLOCK)
                if data and not received:
                    with self._lock:
                        self.n_connections += 1
                received = (received + data)[-(1 << 17) :]
                reader.receive_data(data)
            elif isinstance(event, h11.Request):
                seen = Seen(
                    event.method.decode(), event.target.decode("latin-1"), [(bytes(name), bytes(value)) for name, value in event.headers]
                )
                with self._lock:
                    self.seen.append(seen)
                    self.faults += (f"{fault} in {received[-2000:]!r}" for fault in seen.ambiguities())
                answer = self.script(seen)
                connection.sendall(answer.interim)
                if answer.at_head:
                    self._say(connection, answer)
            elif isinstance(event, h11.Data):
                assert seen is not None
                seen.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert seen is not None
                seen.is_whole = True
                if not answer.at_head:
                    self._say(connection, answer)
                if answer.closes or answer.resets:
                    return
                if b" 101 " in answer.text:
                    self._read_on(connection, seen)
                    return
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                if reader.our_state is not h11.DONE:
                    return
                reader.start_next_cycle()
            else:
                return

    def _say(self, connection: socket.socket, answer: Answer) -> None:
        connection.sendall(answer.text)
        if answer.resets:
            reset_on_close(connection)

    def _read_on(self, connection: socket.socket, seen: Seen) -> None:
        """In a tunnel: everything that still comes belongs to that request."""
        while data := connection.recv(BLOCK):
            seen.body += data
            if not seen.values(b"upgrade"):
                self._fault(f"behind a request that asked for no tunnel: {data!r}")

    def _fault(self, text: str) -> None:
        with self._lock:
            self.faults.append(text)


@contextlib.contextmanager
def raw_upstream(script: Script = lambda seen: OK) -> Iterator[RawUpstream]:
    upstream = RawUpstream(script)
    try:
        yield upstream
    finally:
        upstream.close()


def reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class Heard:
    """Everything a client was told on one connection."""

    statuses: list[int]
    bodies: list[bytes]
    end: str  # "close", "reset", "open": when all expected answers were there; or "cut": within an answer
    text: bytes

    @property
    def interim(self) -> list[int]:
        return [status for status in self.statuses if status < 200]


def dial(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def read_answers(client: socket.socket, methods: list[str], until_end: bool) -> Heard:
    """As many answers as there are methods, by h11; then, with `until_end`, what follows up to the end, which must be nothing."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 18)
    heard = Heard([], [], "open", b"")
    waiting = list(methods)
    body = b""
    begin(reader, waiting)
    while waiting or until_end:
        event = reader.next_event() if waiting else h11.NEED_DATA
        if event is h11.NEED_DATA:
            try:
                data = client.recv(BLOCK)
            except ConnectionResetError:
                heard.end = "reset"
                return heard
            heard.text += data
            if not data:
                # The end may be what ends the body; anything else half-way is a cut.
                heard.end = "close"
                if waiting:
                    try:
                        reader.receive_data(b"")
                        while isinstance(event := reader.next_event(), h11.Data):
                            body += event.data
                        if isinstance(event, h11.EndOfMessage):
                            heard.bodies.append(body)
                            waiting = []
                    except h11.RemoteProtocolError:
                        heard.end = "cut" if heard.text else "close"
                return heard
            assert waiting, f"after the last answer: {data!r}"
            reader.receive_data(data)
        elif isinstance(event, h11.InformationalResponse):
            heard.statuses.append(event.status_code)
            if event.status_code == 101:
                return heard
        elif isinstance(event, h11.Response):
            heard.statuses.append(event.status_code)
            body = b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            heard.bodies.append(body)
            waiting.pop(0)
            if waiting:
                if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
                    heard.text += reader.trailing_data[0]
                    waiting = []
                else:
                    reader.start_next_cycle()
                    begin(reader, waiting)
            elif until_end:
                rest = reader.trailing_data[0]
                assert not rest, f"after the last answer: {rest!r}"
        else:
            return heard
    return heard


def begin(reader: h11.Connection, methods: list[str]) -> None:
    """Tell h11 what was asked: it decides how an answer is read."""
    if methods:
        fields = [("host", "a"), ("connection", "upgrade"), ("upgrade", "x")] if methods[0] == "UPGRADE" else [("host", "a")]
        reader.send(h11.Request(method="GET" if methods[0] == "UPGRADE" else methods[0], target="/", headers=fields))
        reader.send(h11.EndOfMessage())


def ask_on(door: socket.socket, answers: list[bytes], faults: list[Any], has_ended: threading.Event) -> None:
    """A client that comes to a listener again and again, by a connection for each request, and is answered each time."""
    while not has_ended.is_set():
        with socket.socket(door.family) as client:
            client.settimeout(PATIENCE_S)
            try:
                client.connect(door.getsockname())
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answers.append(client.recv(15))
            except OSError as error:
                faults.append(repr(error))
