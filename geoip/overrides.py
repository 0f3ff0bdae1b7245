"""Overrides and pins: the operator's words on whose location is what, checked and laid out for the locator.

Owns what such a word may be, its faults, and which place each range of addresses, AS and country leads to. Must not know databases,
nor how a locator keeps a place. Runs once a configuration.

Precedence is the locator's: prefix (the longest), then AS, then country, then the databases. Pins are a list of their own: a
pinned prefix needs no location, and a prefix with a location no pin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple, TypeVar

from geoip.countries import COUNTRIES
from geoip.ranges import MAPPED_BITS, NOWHERE, combined, disjoint

KeyT = TypeVar("KeyT")

MOST_ASN = 2**32 - 1
MOST_PIN = 2**31 - 1


class Override(NamedTuple):
    """Where clients are: those of a prefix, those of an AS, or, with a country alone, those that a database puts in that country.

    lat, lon: degrees. `country` replaces what the databases say, which stays when there is none; a prefix without it has that of the
    next larger one that is named with one. The continent follows from a country that is set.
    """

    prefix: str | None  # "10.1.0.0/16", "2001:db8::/32"
    lat: float
    lon: float
    country: str | None = None  # ISO 3166 alpha-2
    asn: int | None = None


class Pin(NamedTuple):
    """A number, from 1, that all clients of a prefix carry. What it means is the caller's."""

    prefix: str
    pin: int


class Place(NamedTuple):
    """What the locator takes over. Without coordinates: a pin alone, and where the client is must be looked up."""

    lat: float | None
    lon: float | None
    country: str | None
    pin: int


@dataclass(slots=True)
class Plan:
    """Places, and what leads to them by their index."""

    places: list[Place] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)  # as of ranges.disjoint()
    asns: list[tuple[int, int]] = field(default_factory=list)  # (AS number, place), ascending
    countries: dict[str, int] = field(default_factory=dict)


def plan(overrides: Iterable[Override] = (), home: tuple[float, float] | None = None, pins: Iterable[Pin] = ()) -> Plan:
    """All words in one. `home`: (lat, lon) of private clients that no prefix names. ValueError names the first that is bad."""
    made = Plan()
    located: list[tuple[IPv4Network | IPv6Network, int]] = []
    asns: dict[int, int] = {}
    countries: dict[tuple[int, int, int], str] = {}  # by what `_wider` gives
    for override in overrides:
        whose = _whose(override)
        _check_place(whose, override.lat, override.lon)
        if override.country is not None and override.country not in COUNTRIES:
            raise ValueError(f"{whose}: country must be a code of ISO 3166 such as DE, got {override.country!r}")
        number = len(made.places)
        # A country that was only looked for stays as the databases say it, as does its continent.
        is_by_country = override.prefix is None and override.asn is None
        made.places.append(Place(override.lat, override.lon, None if is_by_country else override.country, 0))
        if override.prefix is not None:
            located.append((network := _network(whose, override.prefix), number))
            if override.country is not None:
                countries[next(_wider(network))] = override.country
        elif override.asn is not None:
            _put(asns, override.asn, number, whose)
        elif override.country is not None:
            _put(made.countries, override.country, number, whose)
    for network, number in located:
        if countries and made.places[number].country is None:
            country = next((countries[one] for one in _wider(network) if one in countries), None)
            made.places[number] = made.places[number]._replace(country=country)
    if home is not None:
        _check_place("home", *home)
        made.places.append(Place(*home, None, 0))
    made.asns = sorted(asns.items())
    made.ranges = _with_pins(made.places, disjoint(located, None if home is None else len(made.places) - 1), _pinned(pins))
    return made


def _pinned(pins: Iterable[Pin]) -> list[tuple[IPv4Network | IPv6Network, int]]:
    found = []
    for pin in pins:
        whose = f"pin {pin.prefix!r}"
        if type(pin.pin) is not int or not 1 <= pin.pin <= MOST_PIN:
            raise ValueError(f"{whose}: must be a whole number from 1, got {pin.pin!r}")
        found.append((_network(whose, pin.prefix), pin.pin))
    return found


def _with_pins(
    places: list[Place], located: list[tuple[int, int]], pinned: list[tuple[IPv4Network | IPv6Network, int]]
) -> list[tuple[int, int]]:
    """Both lists of ranges as one, so that a lookup is one search: a place for each pair of location and pin that occurs."""
    numbers: dict[tuple[int, int], int] = {}
    ranges = []
    for start, place, pin in combined(located, disjoint(pinned)):
        number = place
        if pin != NOWHERE:
            number = numbers.setdefault((place, pin), len(places))
            if number == len(places):
                where = places[place] if place != NOWHERE else Place(None, None, None, 0)
                places.append(where._replace(pin=pin))
        ranges.append((start, number))
    return ranges


def _whose(override: Override) -> str:
    """Whom an override is of, in the words of its faults."""
    named = f"override {override.prefix!r}"
    if override.asn is not None:
        if override.prefix is not None:
            raise ValueError(f"{named}: must have a prefix or an asn, not both")
        if type(override.asn) is not int or not 1 <= override.asn <= MOST_ASN:
            raise ValueError(f"override: asn must be a whole number from 1 to {MOST_ASN}, got {override.asn!r}")
        return f"override AS {override.asn}"
    if override.prefix is not None:
        return named
    if override.country is None:
        raise ValueError("override: must have a prefix, an asn or a country")
    return f"override {override.country!r}"


def _network(whose: str, prefix: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(prefix)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{whose}: must be a prefix such as 10.1.0.0/16 or 2001:db8::/32 ({error})") from error
    if network.version == 6 and network.prefixlen >= MAPPED_BITS and (mapped := network.network_address.ipv4_mapped):
        return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
    return network


def _wider(network: IPv4Network | IPv6Network) -> Iterator[tuple[int, int, int]]:
    """The network and all that hold it, the longest prefix first: version, length, the prefix's bits."""
    bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    for length in range(network.prefixlen, -1, -1):
        yield network.version, length, bits >> (network.prefixlen - length)


def _check_place(whose: str, lat: object, lon: object) -> None:
    for name, value, most in (("lat", lat, 90), ("lon", lon, 180)):
        # Comparisons are false for NaN.
        if not isinstance(value, (int, float)) or not -most <= value <= most:
            raise ValueError(f"{whose}: {name} must be a number from -{most} to {most}, got {value!r}")


def _put(numbers: dict[KeyT, int], key: KeyT, number: int, whose: str) -> None:
    if numbers.setdefault(key, number) != number:
        raise ValueError(f"{whose} occurs twice")
