"""Fetches MaxMind's own test and bad databases, which maxminddb's source distribution carries, into a cache outside the tree.

usage: python tests/fetch_maxmind.py      prints the folder; status 1, with the reason in one line, when they can't be had
Owns where they lie: ~/.cache/isochrone/maxmind-test-data/VERSION (XDG_CACHE_HOME is honoured). Asks the package registry
by pip, for exactly the version and hashes of requirements.lock, once a version.
They are not copied into the tree: they are another project's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
TIMEOUT_S = 120


class NotFetched(Exception):
    """Why the data can't be had, in one line."""


def locked() -> tuple[str, str]:
    """Version, and the requirement with its hashes as pip wants it."""
    found = re.search(r"^maxminddb==(\S+)(?: \\\n +--hash=\S+)+", LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise NotFetched("maxminddb is not in requirements.lock")
    return found[1], found[0]


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isochrone", "maxmind-test-data")


def fetch() -> Path:
    """The folder with test-data/ and bad-data/. NotFetched says why not."""
    version, requirement = locked()
    folder = cache_folder() / version
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        Path(work, "wanted.txt").write_text(requirement + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
        # Without isolation pip needs nothing else from the registry: setuptools is in the environment.
        command += ["--no-build-isolation", "--require-hashes", "--dest", work, "--requirement", str(Path(work, "wanted.txt"))]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise NotFetched(f"pip took over {TIMEOUT_S} s to download maxminddb {version}") from None
        if ran.returncode:
            last = (ran.stderr.strip() or "no message").splitlines()[-1]
            raise NotFetched(f"pip can't download maxminddb {version}'s source: {last}")
        unpack(next(Path(work).glob("*.tar.gz")), Path(work, "data"))
        try:
            Path(work, "data").rename(folder)
        except OSError:  # another run was faster: its copy is the same
            if not folder.is_dir():
                raise
    return folder


def unpack(archive: Path, to: Path) -> None:
    """The databases alone."""
    with tarfile.open(archive) as tar:
        for member in tar:
            found = re.search(r"/tests/data/((?:test-data|bad-data)/.+\.mmdb)$", member.name)
            content = tar.extractfile(member) if found and member.isfile() else None
            if found and content:
                target = to / found[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    shutil.copyfileobj(content, out)
    if not (to / "test-data").is_dir() or not (to / "bad-data").is_dir():
        raise NotFetched(f"{archive.name} has no databases under tests/data")


if __name__ == "__main__":
    try:
        print(fetch())
    except NotFetched as error:
        sys.exit(f"MaxMind's test databases: {error}")
