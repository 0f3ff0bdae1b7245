"""Access log: one JSON object a line for each exchange that workers sampled, written by a thread of its own.

Workers put records into rings in memory; every 100 ms this thread takes them out and writes them. A disk that is slow holds up
nobody else: the rings fill, and workers drop and count. A file that can't be written costs one log line, and records that are
counted as dropped, until it can be written again. Owns the file, its fields and its faults; must not know how a record comes to be.

The file is opened anew when another one, or none, stands at its path: after a rotation by renaming no signal is needed. It is
opened for appending, so that a rotation by copying and truncating works too.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.control.life.workers import Workers
from gateway.control.process.blocking import has_ended
from gateway.model import Config

logger = logging.getLogger("isochrone.access_log")

FIELDS = (
    "time", "client", "method", "host", "path", "status", "bytes_in", "bytes_out", "duration_ms", "first_byte_ms", "route", "service",
    "pop", "endpoint", "reason", "attempts", "request_id", "trace_id", "country", "asn",
    "cause", "ended_by",
)  # fmt: skip
INTERVAL_S = 0.1
CHUNK_BYTES = 256 << 10  # of one write
AGAIN_S = 5.0  # after a fault the file is tried again
STOP_S = 3.0
STDOUT = 1

Target = Path | Literal["-"]


def line_of(record: Mapping[str, Any], wall_less_monotonic_us: int) -> bytes:
    """`time` is when the exchange ended, RFC 3339 in UTC. Whatever a client sent, JSON escapes it: one record is one line."""
    ended = datetime.fromtimestamp((record["ended_us"] + wall_less_monotonic_us) / 1e6, UTC)
    said = {"time": ended.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ended.microsecond // 1000:03d}Z"}
    for name in FIELDS[1:]:
        said[name] = record[name]
    return msgspec.json.encode(said) + b"\n"


class LogFile:
    """Where lines go. For one thread; no call raises, and what is lost is counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.dropped = 0  # lines
        self.target: Target | None = None
        self._fd = -1
        self._is_torn = False  # the last write ended within a line
        self._fault: str | None = None
        self._retry_at = 0.0

    def follow(self, target: Target | None) -> None:
        """Have the file of this path open, and no other. None: none at all."""
        if target != self.target:
            self.close()
            self.target, self._fault, self._retry_at, self._is_torn = target, None, 0.0, False
        elif self._fd >= 0 and isinstance(target, Path) and not _is_at(self._fd, target):
            self.close()
            self._is_torn = False
        if self._fd < 0 and target is not None and self.clock() >= self._retry_at:
            self._open(target)

    def write(self, lines: Iterable[bytes]) -> None:
        chunk: list[bytes] = []
        size = 0
        for line in lines:
            chunk.append(line)
            size += len(line)
            if size >= CHUNK_BYTES:
                self._write(chunk)
                chunk, size = [], 0
        if chunk:
            self._write(chunk)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd > STDOUT:
            try:
                os.close(fd)
            except OSError as error:  # a network file system says only now that it had no room
                self._fail(error)

    def _open(self, target: Target) -> None:
        try:
            # Without O_NONBLOCK a named pipe that nobody reads would hold the open, and so every stop, for ever.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._fd = STDOUT if target == "-" else os.open(target, flags, 0o640)
            if target != "-" and not stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.set_blocking(self._fd, True)
        except OSError as error:
            self._fail(error)

    def _write(self, lines: list[bytes]) -> None:
        if self.target is None:
            return  # switched off: what is still under way belongs nowhere
        if self._fd < 0 or self.clock() < self._retry_at:
            self.dropped += len(lines)
            return
        data = memoryview((b"\n" if self._is_torn else b"") + b"".join(lines))
        written = 0
        try:
            while written < len(data):
                try:
                    written += os.write(self._fd, data[written:])
                except BlockingIOError:  # standard output is shared, and whoever shares it may have made it so
                    select.select([], [self._fd], [])
        except OSError as error:
            whole = bytes(data[:written]).count(b"\n") - (1 if self._is_torn and written else 0)
            self.dropped += len(lines) - whole
            if written:
                self._is_torn = data[written - 1] != 0x0A
            self._fail(error)
            return
        self._is_torn = False
        if self._fault is not None:
            self._fault = None
            logger.info("access log is written again", extra={"path": str(self.target), "dropped": self.dropped})

    def _fail(self, error: OSError) -> None:
        self._retry_at = self.clock() + AGAIN_S
        reason = error.strerror or str(error)
        if reason != self._fault:
            self._fault = reason
            logger.error("access log can't be written: records are dropped", extra={"path": str(self.target), "error": reason})


def _is_at(fd: int, path: Path) -> bool:
    """Whether the file that is open is the one at this path."""
    try:
        there = os.stat(path)
    except OSError:
        return False
    return os.path.samestat(os.fstat(fd), there)


class AccessLog:
    """A part of the gateway (see gateway.app.Part). Runs also while the log is off: a reload may switch it on."""

    def __init__(self, config: Callable[[], Config], workers: Workers, interval_s: float = INTERVAL_S) -> None:
        """`config`: the one in use."""
        self.config, self.workers, self.interval_s = config, workers, interval_s
        self.file = LogFile()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Records that could not be written. Those that found no room in memory are the workers' to count."""
        return self.file.dropped

    async def start(self) -> None:
        """A file that can't be opened is no reason not to serve."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Workers have ended: the last records are written, unless the disk takes too long."""
        self._stop.set()
        thread = self._thread
        if thread is not None and not await has_ended([thread], STOP_S):
            logger.error("access log does not end: its last records are lost", extra={"path": str(self.file.target)})

    def turn(self) -> None:
        """Write what there is. For the thread, and for tests."""
        log = self.config().access_log
        self.file.follow(None if log is None else log.path)
        ahead_us = round((time.time() - time.monotonic()) * 1e6)
        for worker in self.workers.all:
            self.file.write(line_of(record, ahead_us) for record in worker.read_log())

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(self.interval_s)
            try:
                self.turn()
            except Exception:  # nothing is above this frame to see it, and the next records are as good as any
                logger.exception("access log failed")
        self.file.close()
