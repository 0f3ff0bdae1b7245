"""Peers of a gateway, as processes: `peers.py backend`, `peers.py client PORT SECONDS CONNECTIONS PAUSE_S`.

A backend prints its port and answers until it is killed, or its standard input ends.
A client asks on all its connections in turn, checks each answer
byte by byte, and prints one line of JSON: n, bad, and times in ms. Needs nothing but the standard library.
"""

import json
import selectors
import socket
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def backend() -> None:
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)  # its end: whoever started this is gone
    print(listener.getsockname()[1], flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            assert isinstance(key.fileobj, socket.socket)
            if key.fileobj is listener:
                connection = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
            except ConnectionError:
                data = b""
            if data:
                key.fileobj.send(ANSWER * data.count(b"\r\n\r\n"))
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def ask(connection: socket.socket) -> bool:
    """Whether the answer to what was sent is right."""
    answer = b""
    while len(answer) < len(ANSWER):
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("ended")
        answer += data
    return answer == ANSWER


def client(port: int, seconds: float, n_connections: int, pause_s: float) -> None:
    connections = [connect(port) for _ in range(n_connections)]
    took: list[float] = []
    bad = 0
    print("started", flush=True)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            for group in [[one] for one in connections] if pause_s else [connections]:  # else all at once, as many clients would
                begin = time.monotonic()
                for connection in group:
                    connection.send(REQUEST)
                for connection in group:
                    bad += not ask(connection)
                    took.append(time.monotonic() - begin)
                time.sleep(pause_s)
    except ConnectionError:
        bad += 1
    took = sorted(took) or [0.0]  # cut off before the first answer
    times = {f"p{percent}_ms": round(took[int(len(took) * percent / 100)] * 1000, 3) for percent in (50, 99)}
    print(json.dumps({"n": len(took), "bad": bad, "max_ms": round(took[-1] * 1000, 3), **times}))


if __name__ == "__main__":
    if sys.argv[1] == "backend":
        backend()
    else:
        client(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
