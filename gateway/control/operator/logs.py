"""Logs: the program's own log, on standard error: text for people on a terminal, else JSON, one object a line.

Owns the form of a line and how many there may be. Modules log with the standard library, a fixed text and `extra` fields; must not
know which. A line that comes too often is left out and counted, by its logger and text, so that no flood fills a disk; the count
is said with the next line of its kind, or on its own once it is quiet.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from gateway.control.life.reload import Reload
from gateway.control.process.tasks import Tasks
from gateway.errors import escaped
from gateway.model import Config, Log

BURST = 100  # lines of one kind at once; as many faults as a person reads
LINES_PER_S = 1.0  # of one kind after that
MAX_KINDS = 1000  # remembered: texts are fixed, but other people's libraries may make theirs
UPKEEP_S = 5.0
STUCK_S = 0.1  # a reader that takes nothing for so long is stuck: nobody waits for it again until it reads
PIECE_BYTES = 4096  # PIPE_BUF: a pipe that polls as writable takes so much without blocking
OWN = "isochrone"  # the name of all our loggers begins so
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def time_of(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, milliseconds."""
    at = datetime.fromtimestamp(record.created, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = {"time": time_of(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        # A field never takes the place of these four.
        said |= {key: value for key, value in fields_of(record).items() if key not in said}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix(f"{OWN}.")
        fields = "".join(f"  {key}={_word(value)}" for key, value in fields_of(record).items())
        # A client's text must neither forge a line nor reach the terminal as an escape sequence.
        line = escaped(f"{time_of(record)} {record.levelname:<7} {name}: {record.getMessage()}{fields}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _word(value: Any) -> str:
    text = str(value)
    return text if text and " " not in text and '"' not in text else json.dumps(text, ensure_ascii=False)


@dataclass(slots=True)
class _Kind:
    tokens: float
    at: float  # of the last look
    left_out: int = 0


class RateLimit:
    """How many lines of one kind pass: a bucket each. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def admit(self, record: logging.LogRecord) -> int | None:
        """None: left out. Else how many of its kind were left out before it."""
        # "%s" alone is no kind: what it stands for is.
        text = record.msg if isinstance(record.msg, str) and record.msg.strip("%s") else record.getMessage()
        now = self.clock()
        kind = self._kinds.pop((record.name, text), None) or _Kind(BURST, now)
        self._kinds[record.name, text] = kind  # last of all: the first is the one not seen for longest
        if len(self._kinds) > MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        kind.tokens = min(BURST, kind.tokens + (now - kind.at) * LINES_PER_S)
        kind.at = now
        if kind.tokens < 1:
            kind.left_out += 1
            return None
        kind.tokens -= 1
        left_out, kind.left_out = kind.left_out, 0
        return left_out

    def quiet(self, quiet_s: float) -> list[tuple[str, str, int]]:
        """Logger, text and count of kinds whose left-out lines nobody has told of and that have been quiet for so long."""
        now = self.clock()
        found = []
        for (name, text), kind in self._kinds.items():
            if kind.left_out and now - kind.at >= quiet_s:
                found.append((name, text, kind.left_out))
                kind.left_out = 0
        return found


class Lines(logging.StreamHandler[IO[str]]):
    """Writes what the limit lets through. A stream that can't be written costs lines, never more: a collector of logs that hangs, its
    pipe full, must not hold the thread that probes, drains and answers operators."""

    def __init__(self, stream: IO[str], limit: RateLimit | None = None) -> None:
        super().__init__(stream)
        self.limit = limit or RateLimit()
        self.lost = 0
        self._terminal = _terminal_of(stream)  # owned for good; None: it is none
        self._is_stuck = False
        self._is_torn = False  # the last write ended within a line

    def apply(self, log: Log) -> None:
        is_text = log.format == "text" or (log.format == "auto" and self.stream.isatty())
        self.setFormatter(TextLines() if is_text else JsonLines())
        logging.getLogger(OWN).setLevel(log.level.upper())

    def emit(self, record: logging.LogRecord) -> None:
        left_out = self.limit.admit(record)
        if left_out is None:
            return
        if left_out:
            record.left_out = left_out
        self._put(record)

    def tell(self) -> None:
        """Say what was left out of kinds that have become quiet."""
        for name, text, left_out in self.limit.quiet(UPKEEP_S):
            record = logging.LogRecord(name, logging.WARNING, "", 0, "lines left out", None, None)
            record.text, record.left_out = text, left_out
            self.acquire()
            try:
                self._put(record)
            finally:
                self.release()

    def _put(self, record: logging.LogRecord) -> None:
        try:
            fd = self.stream.fileno()
        except io.UnsupportedOperation:  # in memory
            super().emit(record)
            return
        except ValueError:  # closed
            self.lost += 1
            return
        try:
            self._send(
                fd if self._terminal is None else self._terminal,
                f"{self.format(record)}{self.terminator}".encode(errors="backslashreplace"),
            )
        except Exception:
            self.handleError(record)

    def _send(self, fd: int, data: bytes) -> None:
        writable = select.poll()  # select() knows no descriptor above 1023
        writable.register(fd, select.POLLOUT)
        if self._is_torn:
            data = b"\n" + data
        at = 0
        while at < len(data):
            if not writable.poll(0 if self._is_stuck else STUCK_S * 1000):
                self._is_stuck = True
                raise BlockingIOError(errno.EAGAIN, "its reader takes nothing")
            try:
                at += os.write(fd, data[at : at + PIECE_BYTES])
            except BlockingIOError:
                self._is_stuck = True
                raise
            self._is_stuck = False
            self._is_torn = at < len(data)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the standard library's name
        if isinstance(sys.exc_info()[1], OSError | ValueError):  # a full disk, a closed pipe: there is nowhere to say so
            self.lost += 1
        else:
            super().handleError(record)


def _terminal_of(stream: IO[str]) -> int | None:
    """The stream's terminal, opened anew so that a write does not wait: a terminal calls itself writable when it has room for one byte, and
    waits for the rest. O_NONBLOCK on the stream's own descriptor would be the shell's too."""
    try:
        if stream.isatty():
            return os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # one that has gone, or of another user; a closed stream
        pass
    return None


def set_up(log: Log, stream: IO[str] | None = None) -> Lines:
    """From here on everything is logged in this form, to standard error. Called again it takes the place of the first call."""
    lines = Lines(stream if stream is not None else sys.stderr)
    lines.apply(log)
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, Lines)]:
        root.removeHandler(handler)
    root.addHandler(lines)
    root.setLevel(logging.WARNING)  # other people's libraries; ours have a level of their own
    return lines


class Logs:
    """A part of the gateway (see gateway.app.Part): a reload's level and format, and the counts of what was left out."""

    def __init__(self, reloader: Reload, tasks: Tasks) -> None:
        self.reloader, self.tasks = reloader, tasks
        self._lines = [one for one in logging.getLogger().handlers if isinstance(one, Lines)]

    async def start(self) -> None:
        self.reloader.on_config.append(self._on_config)
        self.tasks.repeat("logs", self.turn, UPKEEP_S)

    async def stop(self) -> None:
        for lines in self._lines:
            lines.tell()

    async def turn(self) -> None:
        for lines in self._lines:
            lines.tell()

    def _on_config(self, config: Config) -> None:
        for lines in self._lines:
            lines.apply(config.log)
