"""Kept: a file of `state_dir`, written whole or not at all, for nobody else to read. Must not know what is in it.

What others may have written is not read: it says where requests go. Nor is a key that others may have read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def read(path: Path, *, is_secret: bool = False) -> bytes:
    """OSError where it can't be read, or somebody else could have written it; or read it, where it is secret. Root and this process's
    user are nobody else; a group is, but for that of a volume's folder."""
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, "it belongs to somebody else")
        others = stat.S_IRWXO if is_secret else stat.S_IWOTH
        if not _is_of_the_volume(found, os.stat(path.parent)):
            others |= stat.S_IRWXG if is_secret else stat.S_IWGRP
        if found.st_mode & others:
            what = "read or write" if is_secret else "write"
            raise PermissionError(errno.EPERM, f"others may {what} it (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600")
        return file.read()


def _is_of_the_volume(file: os.stat_result, folder: os.stat_result) -> bool:
    """Kubernetes gives a volume with `fsGroup` to a group that the pod's processes are in, and lets that group write all in it, at each
    start of a pod: the folder passes its group on (02770)."""
    gid = folder.st_gid
    is_passed_on = folder.st_mode & (stat.S_ISGID | stat.S_IWGRP) == stat.S_ISGID | stat.S_IWGRP and not folder.st_mode & stat.S_IWOTH
    return is_passed_on and file.st_gid == gid and gid in (os.getegid(), *os.getgroups())


def write(path: Path, content: bytes) -> None:
    """In the place of what was there. OSError leaves that as it was. Blocks for as long as the disk does."""
    with _beside(path, content) as name:
        os.replace(name, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name itself
    finally:
        os.close(folder)


def make(path: Path, content: bytes) -> None:
    """Where there is none yet. Of several processes that make it at once one succeeds; whoever loses finds the winner's."""
    with _beside(path, content) as name, contextlib.suppress(FileExistsError):
        os.link(name, path)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process that asks likewise is in here meanwhile. Blocks until then."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(path: Path, content: bytes) -> Iterator[str]:
    """The name of a file with that content in the same folder; it is gone afterwards, if it has that name still."""
    # A name of its own, not one by process id: in a container each start has the same, and one that was killed here would leave it.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # before the name: or a power cut leaves an empty file under it
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
