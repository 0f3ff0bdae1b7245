"""Stopping: a process that is to stand still does. kill(2) comes back before: a thread stops at its next way back from the kernel, and
till then it may take and answer a request."""

import time
from pathlib import Path

DEADLINE_S = 10.0
POLL_S = 0.001


def wait_stopped(pid: int) -> None:
    """After a SIGSTOP, until every thread stands still, or there is none any more. AssertionError after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while moving := [state for state in _states(pid) if state not in "TtZX"]:
        assert time.monotonic() < end, f"{pid}: stopped {DEADLINE_S:g} s ago, and threads are {moving}"
        time.sleep(POLL_S)


def _states(pid: int) -> list[str]:
    """Letters as of proc(5)."""
    found = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            found.append(stat.read_text().rpartition(")")[2].split()[0])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found
