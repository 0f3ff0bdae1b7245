"""Nanoseconds a located address, on the city database of July 2018: the loops run in C, Python's part is one call a thousand or more.

Goals: a miss under 2 us, a hit under 0.05 us. pytest-benchmark shows the time of a round; `ns_per_address` is in its extra info.
"""

import importlib.metadata
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from geoip import Database, Locator, Override
from geoip._testing import CacheHandle, locate_all

N_MISSES = 100_000
N_CLIENTS = 1000  # networks of a busy gateway that come again and again


def block_of(count: int, seed: int) -> bytes:
    rng = random.Random(seed)
    return b"".join(bytes(10) + b"\xff\xff" + rng.randbytes(4) for _ in range(count))


@pytest.fixture(scope="module")
def city() -> Database:
    path = Path(str(importlib.metadata.distribution("maxminddb-geolite2").locate_file("_maxminddb_geolite2/GeoLite2-City.mmdb")))
    return Database(path.read_bytes(), path.name)


def measure(benchmark: BenchmarkFixture, run: Callable[[], list[int]], n_addresses: int) -> None:
    counts = benchmark.pedantic(run, rounds=10, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it carries no types
    assert sum(counts) == n_addresses
    assert counts[0] > n_addresses // 2
    times = sorted(benchmark.stats.stats.data) if benchmark.stats else []  # none when benchmarks are switched off
    names = {"min": times[:1], "median": times[len(times) // 2 :][:1], "max": times[-1:]}
    benchmark.extra_info["ns_per_address"] = {name: round(time * 1e9 / n_addresses, 1) for name, of in names.items() for time in of}


def test_miss(benchmark: BenchmarkFixture, city: Database) -> None:
    """Random addresses of all of IPv4, each once: the worst case for the processor's caches."""
    locator, block = Locator([city]), block_of(N_MISSES, 1)
    measure(benchmark, lambda: locate_all(locator, block), N_MISSES)


def test_miss_with_ten_thousand_overrides(benchmark: BenchmarkFixture, city: Database) -> None:
    overrides = [Override(f"{20 + i // 256}.{i % 256}.0.0/24", 50, 8) for i in range(10_000)]
    locator, block = Locator([city], overrides=overrides), block_of(N_MISSES, 1)
    measure(benchmark, lambda: locate_all(locator, block), N_MISSES)


def test_hit(benchmark: BenchmarkFixture, city: Database) -> None:
    locator, cache, block = Locator([city]), CacheHandle(), block_of(N_CLIENTS, 2)
    cache.locate_all(locator, block)
    measure(benchmark, lambda: cache.locate_all(locator, block, 100), N_CLIENTS * 100)


def test_cold_cache(benchmark: BenchmarkFixture, city: Database) -> None:
    """Every address another network: what the cache adds to a miss."""
    locator, cache, block = Locator([city]), CacheHandle(), block_of(N_MISSES, 3)
    measure(benchmark, lambda: cache.locate_all(locator, block), N_MISSES)
