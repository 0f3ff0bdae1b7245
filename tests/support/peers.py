"""Peers of a gateway, as processes: `-m tests.support.peers backend`, `-m tests.support.peers client PORT SECONDS CONNECTIONS PAUSE_S`.

A backend prints its port and answers until it is killed, or its standard input ends. A client asks on all its connections in turn,
compares each answer, and prints one line of JSON: n, bad, and times in ms.
"""

import asyncio
import json
import selectors
import socket
import sys
import time

import uvloop

from gateway.demo.client import Answer, Connection, Fault, Request

BODY = b"x" * 100
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY
REQUEST = Request("GET", "/", {"Host": "a.example"})


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


async def client(port: int, seconds: float, n_connections: int, pause_s: float) -> None:
    connections = [await Connection.open("127.0.0.1", port) for _ in range(n_connections)]
    took: list[float] = []
    bad = 0
    print("started", flush=True)

    async def ask(connection: Connection) -> None:
        nonlocal bad
        begin = time.monotonic()
        bad += await connection.exchange(REQUEST) != Answer(200, {"content-length": "100"}, bytearray(BODY))
        took.append(time.monotonic() - begin)

    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            for group in [[one] for one in connections] if pause_s else [connections]:  # else all at once, as many clients would
                await asyncio.gather(*map(ask, group))
                await asyncio.sleep(pause_s)
    except Fault:
        bad += 1
    took = sorted(took) or [0.0]  # cut off before the first answer
    times = {f"p{percent}_ms": round(took[int(len(took) * percent / 100)] * 1000, 3) for percent in (50, 99)}
    print(json.dumps({"n": len(took), "bad": bad, "max_ms": round(took[-1] * 1000, 3), **times}))


if __name__ == "__main__":
    if sys.argv[1] == "backend":
        backend()
    else:
        uvloop.run(client(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
