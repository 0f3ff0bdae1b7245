"""The maxminddb package as the oracle of the hot reader: over a real city database, MaxMind's own files, and broken ones."""

import importlib.metadata
import io
import ipaddress
import math
import os
import random
import time
import zlib
from pathlib import Path

import maxminddb
import pytest

from geoip import Database, DatabaseError, Locator
from geoip._locator import packed_address
from geoip._testing import CacheHandle, locate_one, read
from tests.fetch_maxmind import NotFetched, fetch
from tests.unit.geoip.mmdb import city, write

FUZZ_S = float(os.environ.get("FUZZ_S", "2"))
HOSTILE = [
    "0.0.0.0", "0.0.0.1", "1.0.0.0", "9.255.255.255", "10.0.0.0", "127.0.0.1", "169.254.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.9",
    "223.255.255.255", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::2", "::1.2.3.4", "64:ff9b::8.8.8.8", "100::", "2000::",
    "2001::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002::", "2002:808:808::1", "3fff:ffff::", "fe80::1", "fc00::1",
    "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "8000::",
    "::fffe:ffff:ffff", "::1:0:0:0",
]  # fmt: skip


@pytest.fixture(scope="module")
def real():
    """A city database of July 2018: (path, ours, theirs)."""
    path = Path(importlib.metadata.distribution("maxminddb-geolite2").locate_file("_maxminddb_geolite2/GeoLite2-City.mmdb"))
    with maxminddb.open_database(path) as theirs:
        yield path, Database(path.read_bytes(), path.name), theirs


@pytest.fixture(scope="module")
def maxmind():
    """The folder of MaxMind's files."""
    try:
        return fetch()
    except NotFetched as error:
        pytest.skip(f"MaxMind's test databases can't be had: {error}")


def number(value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and abs(value) < 2**64 else None


def code(value):
    return value.upper() if isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha() else None


def inner(value, key):
    return value.get(key) if isinstance(value, dict) else value


def asn(value):
    if isinstance(value, str) and value.isascii():
        digits = value[2:] if value[:2].upper() == "AS" else value
        value = int(digits) if digits.isdigit() and len(value) <= 12 else None
    value = number(value)
    return int(value) if value is not None and 1 <= value < 2**32 else None


def expected_of(record):
    """What the reader's rules make of a whole record: a naive model of _data."""
    if not isinstance(record, dict):
        return {}
    found = {}
    for at in (record, record.get("location")):
        if isinstance(at, dict):
            lat, lon, radius = (number(at.get(key)) for key in ("latitude", "longitude", "accuracy_radius"))
            if lat is not None and lon is not None and abs(lat) <= 90 and abs(lon) <= 180 and (lat or lon):
                found.update(lat=lat, lon=lon)
                if radius is not None and 0 < radius <= 20040:
                    found["accuracy_km"] = radius
    found["country"] = code(inner(record.get("country"), "iso_code")) or code(record.get("country_code"))
    found["country"] = found["country"] or code(inner(record.get("registered_country"), "iso_code"))
    found["continent"] = code(inner(record.get("continent"), "code")) or code(record.get("continent_code"))
    found["asn"] = asn(record.get("autonomous_system_number")) or asn(record.get("asn"))
    if not found["asn"] and isinstance(record.get("traits"), dict):
        found["asn"] = asn(record["traits"].get("autonomous_system_number"))
    return {key: value for key, value in found.items() if value is not None}


def check(ours, theirs, address, ip_version=6):
    """The same record and the same network."""
    parsed = ipaddress.ip_address(address)
    result, fields, bits = read(ours, packed_address(address))
    if parsed.version > ip_version:
        assert (result, fields) == ("absent", {}), address
        return result
    record, length = theirs.get_with_prefix_len(address)
    expected = expected_of(record)
    assert fields == expected, address
    assert result == ("found" if expected else "absent"), address
    # A file may answer for all of IPv4 by a prefix of IPv6; ours then says ::ffff:0:0/96.
    assert bits == (max(length, 0) + 96 if parsed.version == 4 else length), address
    return result


def addresses(rng, count):
    """IPv4 all over; IPv6 around what is given out, and anywhere."""
    for _ in range(count):
        yield str(ipaddress.IPv4Address(rng.getrandbits(32)))
        yield str(ipaddress.IPv6Address(rng.choice([0x2A00, 0x2001, 0x2400, 0x2600, 0x2800, 0x2C00]) << 112 | rng.getrandbits(112)))
        yield str(ipaddress.IPv6Address(rng.getrandbits(128) >> rng.randrange(128)))


def test_random_and_hostile_addresses_on_a_real_database(real):
    _, ours, theirs = real
    results = [check(ours, theirs, address) for address in [*HOSTILE, *addresses(random.Random(7), 4000)] if ":ffff:" not in address]
    assert results.count("found") > 3000
    assert results.count("absent") > 3000


def test_located_networks_of_ipv6(real):
    """Random addresses of IPv6 hit little, so real networks, at their edges."""
    _, ours, theirs = real
    rng = random.Random(8)
    found = 0
    for base in (0x2001_0200, 0x2400_0000, 0x2600_0000, 0x2A00_0000, 0x2A02_0000):
        for _ in range(300):
            text = str(ipaddress.IPv6Address((base + rng.getrandbits(15)) << 96))
            network = ipaddress.ip_network((text, theirs.get_with_prefix_len(text)[1]), strict=False)
            for edge in (network[0], network[-1]):
                found += check(ours, theirs, str(edge)) == "found"
    assert found > 300


def test_cached_and_uncached_agree_on_a_real_database(real):
    _, ours, _ = real
    locator, cache = Locator([ours]), CacheHandle()
    rng = random.Random(9)
    block = b"".join(packed_address(address) for address in addresses(rng, 5000))
    near = b"".join(bytes(10) + b"\xff\xff\x51\x02" + rng.randbytes(2) for _ in range(20_000))
    for part in (block, near, near, block):
        assert cache.differences(locator, part) == 0


def test_a_location_is_the_record_in_other_units(real):
    _, ours, theirs = real
    locator = Locator([ours])
    for address in addresses(random.Random(10), 500):
        (_, x, y, z, lat, lon, accuracy_km, _, country, continent, source, _), _ = locate_one(locator, packed_address(address))
        record = expected_of(theirs.get(address))
        if "lat" in record:
            assert (lat, lon) == (pytest.approx(record["lat"], abs=2e-5), pytest.approx(record["lon"], abs=2e-5))
            assert math.degrees(math.asin(z)) == pytest.approx(record["lat"], abs=1e-9)
            assert math.degrees(math.atan2(y, x)) == pytest.approx(record["lon"], abs=1e-9)
            assert accuracy_km == record.get("accuracy_km", 0)
        assert (source == 1) == ("lat" in record or country is not None)
        assert (country, continent if "continent" in record else None) == (record.get("country"), record.get("continent"))


def mmdb_files(folder):
    return sorted(folder.rglob("*.mmdb"))


def test_maxminds_test_databases(maxmind):
    """Those that hold something of ours are read as maxminddb reads them, network by network; the others say that they don't."""
    used, refused = set(), {}
    for path in mmdb_files(maxmind / "test-data"):
        try:
            ours = Database(path.read_bytes(), path.name)
        except DatabaseError as error:
            refused[path.name] = str(error)
            continue
        used.add(path.name)
        with maxminddb.open_database(path) as theirs:
            for network, record in theirs:
                for address in (network[0], network[-1]):
                    if not (address.version == 6 and address.ipv4_mapped):
                        check(ours, theirs, str(address), ours.ip_version)
                assert record is not None
            for address in [*HOSTILE, *addresses(random.Random(1), 100)]:
                if not (":" in address and ipaddress.IPv6Address(address).ipv4_mapped):
                    check(ours, theirs, address, ours.ip_version)
    wanted = {f"GeoLite2-{kind}-Test.mmdb" for kind in ("City", "Country", "ASN")}
    wanted |= {f"GeoIP2-{kind}-Test.mmdb" for kind in ("City", "Country", "Enterprise", "ISP", "Precision-Enterprise")}
    assert wanted <= used
    assert "GeoIP2-City-Test-Broken-Double-Format.mmdb" in refused
    assert "GeoIP2-City-Test-Invalid-Node-Count.mmdb" in refused
    assert all("\n" not in why and why.startswith(name) for name, why in refused.items())


def look_around(database, rng):
    """Lookups all over a file that may be broken: none may crash, hang, or raise."""
    for address in [*HOSTILE, *addresses(rng, 20)]:
        result, fields, bits = read(database, packed_address(address))
        assert result in ("found", "absent", "broken")
        assert bool(fields) == (result == "found")
        assert 0 <= bits <= 128


def test_maxminds_bad_databases(maxmind):
    bad = mmdb_files(maxmind / "bad-data")
    assert len(bad) >= 20
    for path in bad:
        content = path.read_bytes()
        for cut in (len(content), len(content) // 2, len(content) - 1):
            started = time.monotonic()
            why = ""
            try:
                look_around(Database(content[:cut], path.name), random.Random(2))
            except DatabaseError as error:
                why = str(error)
            assert not why or why.startswith(path.name)
            assert "\n" not in why
            assert time.monotonic() - started < 5


def mutated(content, rng):
    """One to four faults: bytes changed, cut out, put in twice; mostly in the tree and the data, which are the larger part anyway."""
    content = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        at, size = rng.randrange(len(content)), rng.choice([1, 1, 1, 2, 4, 16])
        match rng.randrange(4):
            case 0:
                content[at : at + size] = rng.randbytes(size)
            case 1:
                content[at : at + 1] = rng.choice([b"\x00", b"\xff", b"\x20", b"\x3f", b"\xe1", b"\x1f", b"\x7f"])
            case 2:
                del content[at : at + size]
            case 3:
                content[at:at] = content[at : at + size]
    return bytes(content)


def seeds():
    records = {
        "1.0.0.0/8": city(1.0, 2.0),
        "1.2.3.0/24": {"country_code": "DE", "latitude": 5.0, "longitude": 6.0},
        "8.8.8.0/24": {"asn": 7},
    }
    return [write({**records, **more}, record_bits=bits, ip_version=4 if not more else 6)
            for bits in (24, 28, 32) for more in ({}, {"2001:db8::/32": city(3.0, 4.0), "2002::/16": {"country": "FR"}})]  # fmt: skip


def compare_mutated(content, rng):
    """Whatever both can read must be the same; True when ours opened it."""
    try:
        ours = Database(content, "mutated")
    except DatabaseError:
        return False
    look_around(ours, rng)
    try:
        theirs = maxminddb.open_database(io.BytesIO(content), maxminddb.MODE_FD)
    except Exception:  # it raises errors of many types
        return True
    for address in ["1.2.3.4", "1.9.9.9", "8.8.8.8", "2001:db8::1", "2002::1", "200.1.1.1"]:
        if ":" in address and ours.ip_version == 4:
            continue
        result, fields, _ = read(ours, packed_address(address))
        try:
            record = theirs.get(address)
        except Exception:
            continue
        # Ours may be stricter: a type or size that the format forbids is broken, where maxminddb lets it pass.
        if result != "broken":
            assert fields == expected_of(record), (address, content.hex())
    return True


@pytest.mark.fuzz
@pytest.mark.slow
def test_random_mutations_of_small_files():
    """FUZZ_S seconds, from seeds that differ only with the time given, so a failure comes again."""
    end, opened, tried = time.monotonic() + FUZZ_S, 0, 0
    contents = seeds()
    while time.monotonic() < end:
        rng = random.Random(tried)
        opened += compare_mutated(mutated(contents[tried % len(contents)], rng), rng)
        tried += 1
    assert tried > 20  # thousands on a quiet machine
    assert opened > 0


@pytest.mark.fuzz
@pytest.mark.slow
def test_random_mutations_of_maxminds_files(maxmind):
    end = time.monotonic() + FUZZ_S
    contents = [(maxmind / "test-data" / f"GeoLite2-{kind}-Test.mmdb").read_bytes() for kind in ("City", "Country", "ASN")]
    tried = 0
    while time.monotonic() < end:
        rng = random.Random(tried)
        compare_mutated(mutated(contents[tried % 3], rng), rng)
        tried += 1
    assert tried > 20


@pytest.mark.slow
def test_a_real_database_cut_short_or_overwritten_is_refused_at_open(real):
    path, _, _ = real
    content = path.read_bytes()
    for size in (len(content) // 3, len(content) - 1000):
        with pytest.raises(DatabaseError):
            Database(content[:size], path.name)
    # A hole of zeros, as a download that did not finish leaves it: in the tree it is nodes that lead to the root, in the data it is broken.
    holed = bytearray(content)
    holed[len(content) // 2 : len(content) // 2 + 4_000_000] = bytes(4_000_000)
    with pytest.raises(DatabaseError):
        Database(bytes(holed), path.name)
    assert zlib.crc32(path.read_bytes()) == zlib.crc32(content)
