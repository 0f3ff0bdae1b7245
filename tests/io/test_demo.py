import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo import places
from tests.io.serving import eventually

pytestmark = pytest.mark.slow
DEADLINE_S = 120  # it takes ten
WIDEST_MS = 20.0  # a vague location widens the window of 5 ms to four times that at most
CLIENTS = places.clients()
ROW = re.compile(
    r"^ ?(?P<address>[\d.]+) +(?P<city>\S.*?) +(?P<country>[A-Z]{2}) +(?P<pop>[a-z]{3}) +(?P<estimate>[\d.]+) +(?P<measured>[\d.]+) +"
    r"(?P<alternative>[a-z]{3}) (?P<alternative_ms>[\d.]+) +(?P<reason>[a-z]+)",
    re.MULTILINE,
)


def demo(*arguments, path=None, **more):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "gateway", "demo", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **more)


def children_of(process):
    """Those that the demo started, by the number it gave them of itself."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
            if b"gateway.demo.children" in words and str(process.pid).encode() in words:
                found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two demos at once, one as in a bare wheel; the pictures, too. Each ended, with what it said."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "geolite2.py").write_text("raise ImportError('not installed')\n")
    processes = [demo("--once", "--record", str(folder / "demo.svg")), demo("--once", path=str(folder))]
    try:
        said = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [error for _, error in said] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0], said
    assert not any(children_of(process) for process in processes)
    return [out for out, _ in said], folder / "demo.svg"


def scenes(text):
    """The tables' rows, by the first word of the scene."""
    opening, up, dead, back, drained = re.split(r"^(?=All six|fra is killed|fra is back|sin is drained)", text, flags=re.MULTILINE)
    return opening, *([match.groupdict() for match in ROW.finditer(part)] for part in (up, dead, back, drained))


@pytest.mark.alone
@pytest.mark.parametrize("number", [0, 1])
def test_the_demo_shows_what_it_promises(two, number):
    text = two[0][number]
    opening, up, dead, back, drained = scenes(text)
    assert ("July 2018" if number == 0 else "no database is installed") in opening
    assert "instead of 30 s" in opening
    assert re.search(r"config +/\S+/demo.yaml", opening)

    assert [(row["address"], row["city"], row["country"]) for row in up] == [(c.address, c.city, c.country) for c in CLIENTS]
    for row in up:
        assert float(row["estimate"]) <= float(row["alternative_ms"]) + WIDEST_MS, row
        assert row["reason"] in ("fastest", "window")
    trips = places.round_trips()
    for row in (*up, *back):
        assert float(row["measured"]) >= trips[row["city"], row["pop"]] - 1, row

    home = [row["address"] for row in up if row["pop"] == "fra"]
    assert len(home) >= 5
    assert [row["address"] for row in dead] == [row["address"] for row in back] == home
    assert all(row["pop"] != "fra" and row["alternative"] != "fra" and row["reason"] == "failover" for row in dead)
    assert all(row["pop"] == "fra" or row["reason"] == "window" for row in back)
    assert len(drained) >= 4
    assert all(row["pop"] != "sin" and row["alternative"] != "sin" for row in drained)
    assert "requests since then 0 went there" in " ".join(text.split())

    assert re.search(r"errors +0\b", text)
    assert int(re.search(r"requests +(\d+)  ", text)[1]) > 400
    saved = re.search(r"saved +([\d.]+) ms  a request, against always iad.*?([\d.]+) ms  a request, against round robin", text, re.DOTALL)
    assert float(saved[1]) > 50
    assert float(saved[2]) > 80
    assert "FAULT" not in text


@pytest.mark.alone
def test_the_picture_is_saved(two):
    text = two[1].read_text()
    assert text.startswith("<svg")
    assert len(text) < 300_000
    assert "Summary" in text
    assert all(client.address in text for client in CLIENTS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_nothing_is_left(number, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = demo("--once")
    try:
        eventually(lambda: len(children_of(process)) == 7, "six PoPs and the gateway")
        process.send_signal(number)
        _, error = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert error == ""
    eventually(lambda: not children_of(process), "an end of all")
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_a_terminal_keeps_it_up_until_it_is_told():
    """No picture of a terminal, only that it is one: the rest is as above."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "gateway", "demo"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"})
    os.close(theirs)
    said = b""
    try:
        while b"/metrics" not in said:
            said += os.read(ours, 65536)
        lines = [line.strip() for line in re.sub(rb"\x1b\[[\d;?]*[A-Za-z]", b"", said).decode().split("To try:")[1].splitlines()]
        admin = next(line for line in lines if line.endswith("/pops")).split()[-1]
        asked = subprocess.run(["curl", "-s", admin], capture_output=True, text=True, timeout=20)
        assert asked.stdout.count('"state": "active"') == 6
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        os.close(ours)
    assert not children_of(process)
