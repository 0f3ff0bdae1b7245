"""Population: whose requests a simulation makes. From a file, at random over the world, or those of each country.

Owns the file's format and what random means; where an address is, geoip says. Must not know PoPs, tables or decisions.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from gateway.control.operator.explanation import Point, point_of
from gateway.errors import ConfigError, Fault, escaped
from geoip import Found, Locator
from geoip.countries import COUNTRIES

SEED = 1
MAX_CLIENTS = 1_000_000  # a minute to locate
MAX_FILE_BYTES = 256 << 20
MOST_WEIGHT = 1e15  # of a million the sum is a number still
MAX_FAULTS = 20  # a file of another kind has one on every line
# Space that a database can't place has hardly a client in it, so others are drawn instead; this many, then it must do.
DRAWS_EACH = 20
MIN_DRAWS = 1000
ADDRESS_COLUMNS = ("client", "address", "ip")


class ClientsError(ConfigError):
    """A file of clients that can't be used, with every fault found (of many, the first)."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where requests come from, as far as a decision asks, and how many of them in proportion."""

    point: Point | None  # None: the place is unknown
    country: str | None  # ISO 3166 alpha-2
    weight: float = 1.0
    continent: str | None = None
    pin: int = 0  # the pins' number, from 1; 0: none


@dataclass(frozen=True, slots=True)
class Population:
    kind: Literal["file", "world", "countries"]
    about: str  # in words, for a person
    clients: tuple[Client, ...]


def of_file(path: Path, locator: Locator) -> Population:
    """The clients that a file names, each with its weight. ClientsError names every line that is none."""
    clients = _read(path, locator)
    n_weighed = sum(client.weight != 1 for client in clients)
    weighed = ", by their weights" if n_weighed else ""
    return Population("file", f"{len(clients):,} of {escaped(str(path))}{weighed}", clients)


def of_world(locator: Locator, n: int, seed: int = SEED) -> Population:
    """`n` random public IPv4 addresses that the databases place; those of each country when no database places any.

    Every address is as likely as every other: a country counts by the addresses it has, not by its people.
    """
    if not _knows_the_world(locator):
        return of_countries()
    rng = random.Random(seed)
    clients: list[Client] = []
    n_drawn = 0
    while len(clients) < n and n_drawn < max(MIN_DRAWS, DRAWS_EACH * n):
        n_drawn += 1
        found = locator.locate(str(public_address(rng)))
        if found.lat is not None:
            clients.append(_client(found))
    about = f"{len(clients):,} random public IPv4 addresses (seed {seed}) as the database places them"
    if len(clients) < n:
        about += f"; {n:,} were asked for, and of {n_drawn:,} drawn it places no more"
    elif n_drawn > len(clients):
        about += f"; {n_drawn - len(clients):,} more were drawn that it can't place"
    return Population("world", about, tuple(clients))


def of_countries() -> Population:
    """The people of each country who use the internet, all at its central place. Countries of which nobody says how many are left out."""
    clients = tuple(
        Client((one.lat, one.lon, one.radius_km), code, float(one.internet_users), one.continent)
        for code, one in COUNTRIES.items()
        if one.internet_users
    )
    about = (
        f"{len(clients)} countries, each at its central place, by their internet users (CIA World Factbook):"
        " no database places random addresses"
    )
    return Population("countries", about, clients)


def public_address(rng: random.Random) -> IPv4Address:
    """Any that may be a client's: neither private nor reserved nor multicast."""
    while True:
        address = IPv4Address(rng.getrandbits(32))
        if address.is_global and not address.is_multicast:
            return address


def _knows_the_world(locator: Locator) -> bool:
    """By a database: overrides alone would be the operator's own few networks."""
    rng = random.Random(SEED)
    return any(locator.locate(str(public_address(rng))).source == "database" for _ in range(MIN_DRAWS))


def _client(found: Found, weight: float = 1.0) -> Client:
    return Client(point_of(found), found.country, weight, found.continent, found.pin)


def _read(path: Path, locator: Locator) -> tuple[Client, ...]:
    clients: list[Client] = []
    faults: list[Fault] = []
    for number, address, weight_text in _rows(path, _text(path).splitlines()):
        weight = _weight(weight_text)
        found = _locate(locator, address)
        if found is None:
            faults.append(Fault(str(path), number, "", f"must be an IP address, got {address[:100]!r}"))
        if weight is None:
            legal = f"must be a number above 0, {MOST_WEIGHT:g} at most"
            faults.append(Fault(str(path), number, "weight", f"{legal}, got {(weight_text or '')[:100]!r}"))
        if found is not None and weight is not None:
            clients.append(_client(found, weight))
        if len(clients) > MAX_CLIENTS:  # at once: nobody wants to wait for the rest to be located
            raise ClientsError([Fault(str(path), number, "", f"must have at most {MAX_CLIENTS:,} clients, got more")])
    if not clients and not faults:
        faults.append(Fault(str(path), None, "", "must have a client, one address a line, got none"))
    if len(faults) > MAX_FAULTS:
        last = faults[MAX_FAULTS - 1].line
        faults[MAX_FAULTS:] = [Fault(str(path), last, "", f"{len(faults) - MAX_FAULTS:,} more faults follow")]
    if faults:
        raise ClientsError(faults)
    return tuple(clients)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ClientsError([Fault(str(path), None, "", f"must have at most {MAX_FILE_BYTES >> 20} MiB, got more")])
        return content.decode("utf-8-sig")  # spreadsheets begin a file with a mark
    except OSError as error:
        raise ClientsError([Fault(str(path), None, "", f"can't be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise ClientsError([Fault(str(path), None, "", "must be text in UTF-8, one address a line, got other bytes")]) from error


def _rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, str, str | None]]:
    """Line, address and text of the weight, if any. A first line that names its columns says where they are."""
    at_address, at_weight = 0, 1
    is_first = True
    for number, cells in _cells(path, lines):
        names = [cell.lower() for cell in cells]
        named = next((name for name in ADDRESS_COLUMNS if name in names), None)
        if is_first and named is not None:
            at_address = names.index(named)
            at_weight = names.index("weight") if "weight" in names else -1
        else:
            yield number, _at(cells, at_address) or "", _at(cells, at_weight)
        is_first = False


def _cells(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Cells of each line that says something. A line is a row: a quote left open must not swallow the rest of the file."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield number, [cell.strip() for cell in next(csv.reader([line]))]
            except csv.Error as error:
                raise ClientsError([Fault(str(path), number, "", f"must be comma-separated values: {error}")]) from error


def _at(cells: Sequence[str], place: int) -> str | None:
    return cells[place] if 0 <= place < len(cells) else None


def _locate(locator: Locator, address: str) -> Found | None:
    try:
        return locator.locate(address)
    except ValueError:
        return None


def _weight(text: str | None) -> float | None:
    """1 when there is none; None when it is no weight."""
    try:
        weight = float(text) if text else 1.0
    except ValueError:
        return None
    return weight if 0 < weight <= MOST_WEIGHT else None
