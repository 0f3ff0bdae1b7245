"""Stopping: whether a process that was sent SIGSTOP stands still. kill(2) comes back before: a thread stops at its next way back from the
kernel, and till then it may take and answer a request."""

from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Every thread of it stands still, or there is none any more."""
    return all(state in "TtZX" for state in _states(pid))


def _states(pid: int) -> list[str]:
    """Letters as of proc(5)."""
    found = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            found.append(stat.read_text().rpartition(")")[2].split()[0])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found
