"""A program under test: one process with a log file, started, paused and ended by the test. Knows nothing of what the program is."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.stopping import is_stopped

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.02


def wait_until(check: Callable[[], object], timeout_s: float, what: str) -> None:
    """Polls `check` until it is true. AssertionError naming `what` after `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(POLL_S)


class Program:
    """One process, started in the project's root folder, that writes to one log file (appended to over restarts)."""

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name, self.command, self.log = name, command, log
        self.environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process. AssertionError when it isn't started."""
        assert self.process is not None, f"{self.name} isn't started"
        return self.process.pid

    def start(self) -> None:
        assert not self.is_running(), f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the test's to handle, not its programs'
            )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, check: Callable[[], object], timeout_s: float) -> None:
        """Polls `check`; a program that ends meanwhile is an AssertionError with the end of its log."""

        def is_ready() -> bool:
            assert self.is_running(), f"{self.name} ended with status {self.process and self.process.returncode}:\n{self.tail()}"
            return bool(check())

        try:
            wait_until(is_ready, timeout_s, f"{self.name} ready")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.tail()}") from None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Stops it in its tracks: its sockets stay open and answer nothing."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(self.pid), 10.0, f"{self.name} stands still")

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, timeout_s: float) -> int:
        """Its exit status (negative: the signal that ended it)."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after `timeout_s`. Nothing happens when it runs no more."""
        if self.is_running():
            self.signal(signal.SIGTERM)
            try:
                self.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, which ends a paused process as well."""
        if self.is_running():
            self.signal(signal.SIGKILL)
            self.wait(5.0)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
