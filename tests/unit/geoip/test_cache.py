"""The one thing a cache may not do is to answer otherwise than what it caches."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoip import Database, Locator, Override, Pin
from geoip._locator import packed_address
from geoip._testing import CacheHandle, locate_one
from routing_core._memory import refuse
from tests.unit.geoip.mmdb import city, write

# Networks in one another, around the widths that share an entry (/24 and /48), and at the edges of ::ffff:0:0/96.
NETWORKS = [
    "1.0.0.0/8", "1.2.0.0/16", "1.2.3.0/24", "1.2.3.64/26", "1.2.3.77/32", "1.2.4.0/23", "0.0.0.0/6",
    "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:8000::/49", "2001:db8:1:8000::/64", "2001:db8:1:8000::7/128", "::/16", "8000::/1",
]  # fmt: skip
ADDRESSES = [
    "1.2.3.4", "1.2.3.64", "1.2.3.77", "1.2.3.78", "1.2.3.128", "1.2.4.1", "1.2.5.1", "1.3.0.1", "0.0.0.0", "3.255.255.255", "4.0.0.0",
    "255.255.255.255", "2001:db8::1", "2001:db8:1::1", "2001:db8:1:7fff::1", "2001:db8:1:8000::1", "2001:db8:1:8000::7",
    "2001:db8:1:8001::1", "::1", "::ffff:0:0:0", "::fffe:ffff:ffff", "::", "ffff::", "9000::1", "2001:db8:1:8000::6",
]  # fmt: skip


COUNTRIES = ["DE", "FR", "US"]


def databases_of(names, record):
    return [Database(write({name: record(i) for i, name in enumerate(names)}))] if names else []


def locator_of(in_database, in_overrides, home, in_asns=(), in_pins=()):
    cities = databases_of(in_database, lambda i: city(float(i + 1), 2.0, COUNTRIES[i % 3]))
    asns = databases_of(in_asns, lambda i: {"asn": i % 3 + 1})
    overrides = [Override(name, -i - 1, 2) for i, name in enumerate(in_overrides)]
    if in_asns:
        overrides += [Override(None, 70, 1, "GB", 1), Override(None, 71, 1, None, 2), Override(None, 72, 1, "US")]
    pins = [Pin(name, i + 1) for i, name in enumerate(in_pins)]
    return Locator(cities, asns, overrides, (80, 80) if home else None, pins)


NAMES = st.lists(st.sampled_from(NETWORKS), unique=True, max_size=5)


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans(), NAMES, NAMES), min_size=1, max_size=3), st.data())
def test_a_cached_answer_is_the_uncached_one(kinds, data):
    locators = [locator_of(*kind) for kind in kinds]
    cache = CacheHandle()
    for _ in range(4):
        locator = data.draw(st.sampled_from(locators))
        sequence = data.draw(st.lists(st.sampled_from(ADDRESSES), max_size=40))
        assert cache.differences(locator, b"".join(map(packed_address, sequence))) == 0


def test_many_addresses_that_push_one_another_out():
    locator = locator_of(NETWORKS[:7], NETWORKS[7:], True)
    rng = random.Random(3)
    near = [b"".join(bytes(10) + b"\xff\xff" + bytes([1, 2, rng.randrange(2, 6), rng.randrange(256)]) for _ in range(3000))]
    far = [b"".join(bytes(10) + b"\xff\xff" + rng.randbytes(4) for _ in range(40_000))]
    six = [b"".join(bytes.fromhex("20010db8000180") + rng.randbytes(1) + bytes(7) + rng.randbytes(1) for _ in range(3000))]
    cache = CacheHandle()
    for block in (near + far + six + near) * 2:
        assert cache.differences(locator, block) == 0


def test_a_network_shares_an_entry_as_far_as_that_is_true():
    """The bits a locator names: equal for all that share them, which is what the cache relies on."""
    for locator in (locator_of(NETWORKS, [], False), locator_of(NETWORKS[:3], NETWORKS[8:9], True, NETWORKS[3:], NETWORKS[1::2])):
        for text in ADDRESSES:
            address = int.from_bytes(packed_address(text), "big")
            fields, bits = locate_one(locator, packed_address(text))
            rest = (1 << 128 - bits) - 1
            for other in (address & ~rest, address | rest, address ^ (rest & 0x5555)):
                assert locate_one(locator, other.to_bytes(16, "big")) == (fields, bits)


def test_a_new_locator_empties_it_even_at_the_same_place_in_memory():
    cache = CacheHandle()
    address = packed_address("1.2.3.4")
    for lat in range(1, 60):
        # The one before is freed first, so the allocator gives its block to the next.
        locator = Locator(overrides=[Override("1.0.0.0/8", lat, 0)])
        assert cache.locate_one(locator, address)[4] == lat
        assert cache.locate_one(locator, address)[4] == lat
        del locator


def test_two_locators_in_turn():
    cache = CacheHandle()
    one, two = (Locator(overrides=[Override("1.0.0.0/8", lat, 0)]) for lat in (1, 2))
    for _ in range(3):
        assert [cache.locate_one(locator, packed_address("1.2.3.4"))[4] for locator in (one, two)] == [1, 2]


def test_a_pin_is_kept_as_well():
    cache = CacheHandle()
    locator = Locator(pins=[Pin("1.2.3.64/26", 7), Pin("1.2.0.0/16", 8)])
    for _ in range(2):
        assert [cache.locate_one(locator, packed_address(text))[-1] for text in ("1.2.3.4", "1.2.3.65", "1.2.9.9", "1.3.0.0")] == [
            8,
            7,
            8,
            0,
        ]


def test_results_are_kept_as_well(nothing_left):
    locator = Locator([Database(write({"1.0.0.0/8": city(1.0, 2.0)}))], overrides=[Override("2.0.0.0/8", 1, 2)])
    cache = CacheHandle()
    block = b"".join(map(packed_address, ("1.2.3.4", "2.2.3.4", "3.2.3.4")))
    for _ in range(2):
        assert cache.locate_all(locator, block) == [1, 1, 1, 0]


def test_no_memory():
    refuse(True)
    try:
        with pytest.raises(MemoryError):
            CacheHandle()
    finally:
        refuse(False)
