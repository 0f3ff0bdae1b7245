"""DatabaseFiles: paths of MaxMind DB files -> databases in memory, kept current.

Owns watching (by polling: it sees a rename over the file, an overwrite in place and a link that moved, on any file system), the
second opinion of the maxminddb package on a sample, and what to do on failure: the last good database stays.
Must not know clocks, tasks or logging: the caller runs `check(now)` every few seconds, in a thread (a city file is 60 MB to
read, and takes some 0.3 s of which a third holds the GIL), one call at a time, and makes a new Locator when it says that something changed.
Or that of each of `watched`, each in a thread: a disk that hangs then holds up its own file alone.

    files = DatabaseFiles(cities=["GeoLite2-City.mmdb"], asns=["GeoLite2-ASN.mmdb"])
    if files.check(now):
        locator = Locator(files.cities, files.asns, overrides, home)
    for status in files.statuses: ...   # for log lines, /metrics, /readyz

A file is read whole, never mapped: an overwrite in place would be a SIGBUS. It is read when its signature (device, inode, size, times)
has been the same in two calls running, so that a copy under way is left alone; the first call reads at once.
"""

from __future__ import annotations

import io
import math
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from stat import S_ISREG
from typing import Any

import maxminddb

from geoip._locator import Found, Locator
from geoip._reader import Database, DatabaseError

MAX_BYTES = 1 << 30  # the largest that are sold have a third of that; what lies there by mistake must not take the memory
N_OPINIONS = 64  # addresses a family that both readers look up: 20 ms of Python
Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One configured file, as of the last check. Times: build_epoch seconds since 1970, loaded_at as the caller's `now`."""

    path: str
    role: str  # "city", "asn"
    kind: str | None = None  # "city", "country", "asn"; None: never loaded
    build_epoch: int | None = None
    loaded_at: float | None = None
    error: str | None = None  # why the file that is there now is not the one in use: one line; None: it is in use

    def age_s(self, wall_s: float) -> float | None:
        """Seconds since it was built, by the wall clock (seconds since 1970); None when there is none. A build to come has age 0."""
        return None if self.build_epoch is None else max(0.0, wall_s - self.build_epoch)


class WatchedFile:
    """One of them. `check` is that of DatabaseFiles, for this file."""

    def __init__(self, path: str, role: str) -> None:
        self.status = FileStatus(path, role)
        self.database: Database | None = None
        self.tried: Signature | None = None  # what was read last, good or bad
        self.seen: Signature | None = None  # at the last check
        self.is_first = True

    @property
    def is_awaited(self) -> bool:
        """None was ever loaded, or what the last check saw has not been read yet: it may have been in the middle of a write."""
        return self.database is None or (self.seen is not None and self.seen != self.tried)

    def check(self, now: float) -> bool:
        """True: the database is another one now."""
        before, self.seen, is_first, self.is_first = self.seen, None, self.is_first, False
        try:
            signature = self.seen = _signature_of(os.stat(self.status.path))
        except OSError as error:
            self.tried = None
            return self._refuse(f"{self.status.path}: {error.strerror}")
        if signature is None:
            self.tried = None
            return self._refuse(f"{self.status.path}: not a regular file")
        if (size := signature[2]) > MAX_BYTES:
            self.tried = None
            return self._refuse(f"{self.status.path}: must have at most {MAX_BYTES >> 20} MiB, got {size >> 20}")
        is_stable = is_first or signature == before
        if signature == self.tried or not is_stable:
            return False
        return self._load(now)

    def _load(self, now: float) -> bool:
        path = self.status.path
        try:
            content, self.tried = _read(path)
            if self.tried is None:  # read again when it is stable
                return self._refuse(f"{path}: it changed while it was read")
            database = Database(content, path)
            _check_role(database, self.status.role)
            compare(database, content)
        except OSError as error:
            return self._refuse(f"{path}: {error.strerror}")
        except MemoryError:
            return self._refuse(f"{path}: not enough memory to load it")
        except DatabaseError as error:
            return self._refuse(str(error))
        self.database = database
        self.status = replace(self.status, kind=database.kind, build_epoch=database.build_epoch, loaded_at=now, error=None)
        return True

    def _refuse(self, why: str) -> bool:
        self.status = replace(self.status, error=why)
        return False


class DatabaseFiles:
    """All configured files. No file at all is legal; one that can't be used is left out, with its error in `statuses`."""

    def __init__(self, cities: Iterable[str | os.PathLike[str]] = (), asns: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.watched = [WatchedFile(os.fspath(path), "city") for path in cities]
        self.watched += [WatchedFile(os.fspath(path), "asn") for path in asns]

    def check(self, now: float) -> bool:
        """One turn of watching: loads what is new and stable. True: `cities` or `asns` changed. Never raises for what a file holds.

        `now` (seconds, any clock) becomes `loaded_at`. Blocks while it reads: call it in a thread, never two at once.
        """
        changed = [file.check(now) for file in self.watched]  # all of them, also when the first has changed
        return any(changed)

    @property
    def cities(self) -> tuple[Database, ...]:
        """Those loaded, in the order of configuration, for Locator(cities=...)."""
        return self._loaded("city")

    @property
    def asns(self) -> tuple[Database, ...]:
        return self._loaded("asn")

    @property
    def statuses(self) -> tuple[FileStatus, ...]:
        """One a configured file, cities first. Immutable, so they can be compared with those of the last turn to log a change once."""
        return tuple(file.status for file in self.watched)

    def _loaded(self, role: str) -> tuple[Database, ...]:
        return tuple(file.database for file in self.watched if file.database is not None and file.status.role == role)


def _signature_of(stat: os.stat_result) -> Signature | None:
    # None: reading a pipe would wait for ever, reading a device would never end.
    if not S_ISREG(stat.st_mode):
        return None
    # ctime as well: a copy that keeps times (cp -p, rsync) may put size and mtime back to what they were.
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _read(path: str) -> tuple[bytes, Signature | None]:
    """Content, and the signature that holds for all of it; None when the file changed meanwhile."""
    with open(path, "rb") as file:
        before = _signature_of(os.fstat(file.fileno()))
        content = file.read(MAX_BYTES)
        after = _signature_of(os.fstat(file.fileno()))
    return content, after if after == before and after is not None and after[2] == len(content) else None


def _check_role(database: Database, role: str) -> None:
    try:
        Locator(cities=(database,)) if role == "city" else Locator(asns=(database,))
    except ValueError as error:
        raise DatabaseError(str(error)) from error


def compare(database: Database, content: bytes) -> None:
    """DatabaseError when the maxminddb package reads some address otherwise. Raises nothing else, whatever the content."""
    locator = Locator((database,)) if database.kind != "asn" else Locator(asns=(database,))
    try:
        with maxminddb.open_database(io.BytesIO(content), maxminddb.MODE_FD) as reader:
            for address in sample_addresses(database.ip_version):
                ours, theirs = locator.locate(str(address)), reader.get(address)
                if not agree(ours, theirs if isinstance(theirs, dict) else {}):
                    raise DatabaseError(f"{database.name}: two readers differ on {address}: {ours} and {theirs!s:.200}")
    except DatabaseError:
        raise
    except Exception as error:  # its errors are of many types: InvalidDatabaseError, but struct.error and RecursionError as well
        raise DatabaseError(f"{database.name}: maxminddb can't read it: {type(error).__name__}: {error}") from error


def sample_addresses(ip_version: int) -> Sequence[IPv4Address | IPv6Address]:
    """Some of each family that the file may know; always the same."""
    rng = random.Random(20180703)
    sample: list[IPv4Address | IPv6Address] = [IPv4Address(rng.getrandbits(32)) for _ in range(N_OPINIONS)]
    if ip_version == 6:
        # 2000::/6 holds what is given out; half of the sample near the starts of regional blocks, where networks are dense.
        sample += [IPv6Address(0x20 << 120 | rng.getrandbits(122)) for _ in range(N_OPINIONS // 2)]
        sample += [IPv6Address(0x2A00 << 112 | rng.getrandbits(20) << 92 | rng.getrandbits(92)) for _ in range(N_OPINIONS // 2)]
    return sample


def agree(ours: Found, theirs: dict[str, Any]) -> bool:
    """Does the record say what we found? Only of what it says plainly; the rest is our own rules (centroids, fallbacks)."""
    nested = theirs.get("location")
    lat, lon = _place_of(nested) or _place_of(theirs) or (None, None)
    if lat is not None and not (_is_close(ours.lat, lat) and _is_close(ours.lon, lon)):
        return False
    country = theirs.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else theirs.get("country_code")
    if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha() and ours.country != code.upper():
        return False
    asn = theirs.get("autonomous_system_number")
    return not (isinstance(asn, int) and 0 < asn < 2**32) or ours.asn == asn


def _place_of(record: object) -> tuple[float, float] | None:
    lat, lon = (record.get("latitude"), record.get("longitude")) if isinstance(record, dict) else (None, None)
    if not (isinstance(lat, (int, float)) and isinstance(lon, (int, float))):
        return None
    # False for NaN.
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 and (lat, lon) != (0, 0) else None


def _is_close(ours: float | None, theirs: float | None) -> bool:
    return ours is not None and theirs is not None and math.isclose(ours, theirs, abs_tol=1e-3)
