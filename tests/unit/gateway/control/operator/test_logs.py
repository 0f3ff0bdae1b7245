import asyncio
import io
import json
import logging
import os
import time

import pytest

from gateway.control.operator.logs import BURST, Lines, RateLimit, set_up
from gateway.model import Log
from gateway.parts import logs
from tests.unit.gateway.control.helpers import Clock
from tests.unit.gateway.control.operating import gateway_of


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def own(clock, monkeypatch):
    """A logger of ours, and what stands behind it: root and level are as before afterwards."""
    root, area = logging.getLogger(), logging.getLogger("isochrone")
    levels, handlers = (root.level, area.level), list(root.handlers)
    yield logging.getLogger("isochrone.health")
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    area.setLevel(levels[1])


def begin(clock, stream=None, **log):
    stream = stream or io.StringIO()
    lines = set_up(Log(**log), stream)
    lines.limit.clock = clock
    return lines, stream


def test_json_has_what_was_said_and_every_field(own, clock):
    _, stream = begin(clock)
    own.warning("endpoint is %s", "shut", extra={"pop": "fra", "message_": 1, "path": {1}})
    said = json.loads(stream.getvalue())
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "warning",
        "logger": "isochrone.health",
        "message": "endpoint is shut",
        "pop": "fra",
        "message_": 1,
        "path": "{1}",
    }


def test_text_on_a_terminal_json_elsewhere_unless_one_is_asked_for(own, clock):
    written = {}
    for format_ in ("auto", "json", "text"):
        for stream in (Terminal(), io.StringIO()):
            begin(clock, stream, format=format_)
            own.info("said", extra={"pop": "fra", "why": "two words", "none": ""})
            written[format_, stream.isatty()] = stream.getvalue().startswith("{")
            if not stream.getvalue().startswith("{"):
                assert stream.getvalue().split(" ", 1)[1] == 'INFO    health: said  pop=fra  why="two words"  none=""\n'
    assert written == {
        ("auto", True): False, ("auto", False): True, ("json", True): True, ("json", False): True,
        ("text", True): False, ("text", False): False,
    }  # fmt: skip


@pytest.mark.parametrize("format_", ["json", "text"])
def test_a_clients_text_forges_no_line_and_no_escape_sequence(own, clock, format_):
    _, stream = begin(clock, format=format_)
    own.info("asked %s", "a\nINFO forged", extra={"host": "x\r\n\x1b[2Jy\u2028z"})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("format_", ["json", "text"])
def test_an_exception_is_told_whole(own, clock, format_):
    _, stream = begin(clock, format=format_)
    try:
        raise ValueError("why")
    except ValueError:
        own.exception("failed")
    assert "Traceback" in stream.getvalue()
    assert "ValueError: why" in stream.getvalue()


def test_level_and_other_peoples_libraries(own, clock):
    _, stream = begin(clock, level="error")
    own.warning("not this")
    own.error("this")
    begin(clock, stream, level="debug")
    own.debug("and this")
    logging.getLogger("aiohttp.server").info("not this either")
    logging.getLogger("aiohttp.server").warning("but this")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["this", "and this", "but this"]


def test_a_flood_is_cut_and_counted_by_its_kind(own, clock):
    lines, stream = begin(clock)
    for n in range(BURST + 50):
        own.warning("bad %d", n)
    own.warning("other")
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["message"] for one in said[-2:]] == [f"bad {BURST - 1}", "other"]
    clock.advance(1)
    own.warning("bad %d", 999)
    assert json.loads(stream.getvalue().splitlines()[-1]) | {"time": ""} == {
        "time": "", "level": "warning", "logger": "isochrone.health", "message": "bad 999", "left_out": 50,
    }  # fmt: skip
    clock.advance(6)
    lines.tell()  # all has been told
    assert len(stream.getvalue().splitlines()) == BURST + 2


def test_what_was_left_out_is_told_when_it_is_quiet(own, clock):
    lines, stream = begin(clock)
    for _ in range(BURST + 7):
        own.warning("bad")
    lines.tell()
    assert "left out" not in stream.getvalue()
    clock.advance(6)
    lines.tell()
    lines.tell()
    said = json.loads(stream.getvalue().splitlines()[-1])
    assert (said["message"], said["text"], said["left_out"], said["logger"]) == ("lines left out", "bad", 7, "isochrone.health")
    assert stream.getvalue().count("left out") == 1


def test_a_bare_place_holder_is_no_kind(own, clock):
    _, stream = begin(clock)
    for n in range(BURST + 10):
        own.warning("%s", f"fault {n}")
    assert len(stream.getvalue().splitlines()) == BURST + 10


def test_kinds_are_forgotten_not_gathered_for_ever(clock):
    limit = RateLimit(clock)
    for n in range(5000):
        limit.admit(logging.LogRecord("other", logging.INFO, "", 0, f"line {n}", None, None))
    assert len(limit._kinds) <= 1000


def test_a_reader_that_hangs_costs_lines_and_one_short_wait(own, clock):
    reader, writer = os.pipe()
    with open(writer, "w", buffering=1) as pipe:
        lines, _ = begin(clock, pipe)
        began = time.monotonic()
        for n in range(60):
            own.warning("long", extra={"n": n, "text": "x" * 3000})
        assert lines.lost > 20
        assert time.monotonic() - began < 2.0
        got = os.read(reader, 1 << 20)
        own.warning("again")
        got += os.read(reader, 1 << 20)
    os.close(reader)
    *whole, last = got.splitlines()
    assert json.loads(last)["message"] == "again"
    assert [json.loads(line)["n"] for line in whole if line.endswith(b"}")] == list(range(60 - lines.lost))


def test_a_terminal_that_nobody_reads_costs_lines_too(own, clock):
    """It polls as writable while it has room for one byte, and a write waits for the rest."""
    reader, shell = os.openpty()
    with open(shell, "w") as stream:
        lines, _ = begin(clock, stream)
        began = time.monotonic()
        for i in range(50):
            own.warning("line %s", i, extra={"long": "x" * 3000})
        assert lines.lost > 0
        assert time.monotonic() - began < 5
        assert os.get_blocking(shell)  # the shell's own is as it was
    os.close(lines._terminal)
    os.close(reader)


def test_a_full_disk_costs_lines_and_nothing_else(own, clock, capsys):
    with open("/dev/full", "w", buffering=1) as full:
        lines, _ = begin(clock, full)
        own.warning("lost")
        assert lines.lost == 1
    own.warning("closed")
    assert lines.lost == 2
    assert capsys.readouterr().err == ""


def test_a_reload_changes_level_and_format(own, clock):
    _, stream = begin(clock, format="json")

    async def scenario():
        gateway = gateway_of(parts=(logs,))
        (part,) = gateway.parts
        await part.start()
        own.info("first")
        for tell in gateway.reloader.on_config:
            tell(gateway_of(log="{format: text, level: warning}").config)
        own.info("not this")
        own.warning("second")
        await part.turn()
        await part.stop()
        await gateway.tasks.stop(5)

    asyncio.run(scenario())
    assert [line.split()[-1].strip('"}') for line in stream.getvalue().splitlines()] == ["first", "second"]
    assert sum(isinstance(one, Lines) for one in logging.getLogger().handlers) == 1
