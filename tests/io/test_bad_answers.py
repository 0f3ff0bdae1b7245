"""An operator whose upstream is behind a strict gateway for the first time: log and metrics say what is wrong, and where."""

import contextlib
import json
import urllib.request
from http.client import IncompleteRead

import pytest

from tests.io.serving import eventually
from tests.io.test_interim import ALONE, standing

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "/lf": (b"HTTP/1.1 200 OK\ncontent-length: 0\n\n", 502, "line_end"),
    "/fold": (OK + b"x: y\r\n z\r\ncontent-length: 0\r\n\r\n", 502, "fold"),
    "/lengths": (OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok", 502, "content_length"),
    "/switch": (b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: w\r\n\r\n", 502, "switch"),
    "/body": (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\n", 200, "body"),
    "/silent": (b"", 504, None),
    "/fine": (OK + b"content-length: 0\r\n\r\n", 200, None),
}
TEXT = ALONE + "access_log: {{path: {folder}/access.log}}\n"


def test_log_and_metrics_say_what_was_wrong_with_an_answer_and_whose_it_was(tmp_path):
    """Before: 502, with cause and endpoint null, and no metric."""

    def handler(connection, head):
        connection.sendall(ANSWERS[head.split()[1].decode()][0])

    with standing(tmp_path, TEXT.replace("{folder}", str(tmp_path)), fra=handler, nyc=handler) as gateway:
        for path, (_, status, _) in ANSWERS.items():
            with pytest.raises(IncompleteRead) if path == "/body" else contextlib.nullcontext():
                assert gateway.get(path)[0] == status
        log = tmp_path / "access.log"
        eventually(lambda: log.exists() and log.read_text().count("\n") == len(ANSWERS), "a line for each")
        lines = {line["path"]: line for line in map(json.loads, log.read_text().splitlines())}
        assert {path: (line["status"], line["cause"]) for path, line in lines.items()} == {
            path: (status, cause) for path, (_, status, cause) in ANSWERS.items()
        }
        assert len({line["endpoint"] for line in lines.values()}) == 1 and lines["/fine"]["endpoint"].startswith("127.0.0.1:")
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/metrics") as answer:
            text = answer.read().decode()
        for cause in ("line_end", "fold", "content_length", "switch", "body"):
            assert f'isochrone_bad_answers_total{{cause="{cause}"}} 1.0\n' in text
