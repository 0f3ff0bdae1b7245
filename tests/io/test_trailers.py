"""Trailers of answers, from a raw upstream through a real gateway: what may not go down is left out, and the answer is whole."""

import socket

import pytest

from tests.io.serving import CONFIG
from tests.io.test_interim import standing

pytestmark = pytest.mark.slow

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: etag\r\n\r\n"
BODY = b"5\r\nhello\r\n0\r\n"
# What a head means and a trailer may not say, what only a hop says in a request, and what CGI reads as another name.
BARRED = (
    b"content-length: 5", b"Transfer-Encoding: chunked", b"set-cookie: a=b", b"Date: now", b"cache-control: no-cache", b"age: 1",
    b"vary: a", b"x-original-size: 5", b"X-Envoy-A: 1", b"x-real-ip: 1.2.3.4", b"x_checksum: 1", b"_: 1",
)  # fmt: skip
KEPT = (b"ETag: 1", b"server-timing: db;dur=53", b"x" * 100 + b":", b"\r\n".join(b"a%d: b" % n for n in range(100)))


def whole(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(gateway, path, version=b"1.1"):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as client:
        client.sendall(b"GET /%s HTTP/%s\r\nhost: a\r\nconnection: close\r\n\r\n" % (path, version))
        return whole(client).partition(b"\r\n\r\n")[2]


def test_a_trailer_that_may_not_go_down_is_left_out_and_the_answer_is_whole(tmp_path):
    """Before, the client got all of the body, and an end before its last line: a download that failed each time."""

    def handler(connection, head):
        number, _, step = head.split()[1][1:].partition(b"/")
        trailers = b"ETag: 1\r\n%s\r\nx-last:\r\n\r\n" % (BARRED + KEPT)[int(number)]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(HEAD + BODY[:4])
        rest = BODY[4:] + trailers
        for at in range(0, len(rest), int(step)):
            connection.sendall(rest[at : at + int(step)])

    with standing(tmp_path, CONFIG, fra=handler, nyc=handler) as gateway:
        for step in (1, 7, 100_000):
            for number, name in enumerate(BARRED + KEPT):
                line = b"" if name in BARRED else name + b"\r\n"
                path = b"%d/%d" % (number, step)
                assert ask(gateway, path) == BODY + b"ETag: 1\r\n" + line + b"x-last:\r\n\r\n", (name, step)
                assert ask(gateway, path, b"1.0") == b"hello"
