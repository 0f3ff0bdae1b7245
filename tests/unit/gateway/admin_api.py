"""A fake admin API in a thread: answers with what a test queued, and keeps what it was asked."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class AdminApi:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []  # method and path with query
        self.answers: list[tuple[int, Any]] = []  # status and body, each given once; the last one again and again
        self.headers: list[dict[str, str]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append((self.command, self.path))
                api.headers.append(dict(self.headers))
                status, body = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET  # noqa: N815  the same

            def log_message(self, *_: object) -> None:
                """Not on the test's standard error."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def admin_api() -> Iterator[AdminApi]:
    api = AdminApi()
    thread = threading.Thread(target=api.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        api.server.server_close()
        thread.join()
