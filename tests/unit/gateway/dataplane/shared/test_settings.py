"""Settings, compiled: what is refused, what is split, what takes effect."""

import dataclasses

import pytest

from gateway.dataplane import CompiledSettings, Settings
from tests.support.dataplane import REQUEST, received


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("head_bytes", 255, "head_bytes: must be from 256 to 61440, got 255"),
        ("head_bytes", 61441, "head_bytes: must be from 256 to 61440, got 61441"),
        ("name", "n" * 125, "name: must be at most 124 bytes, got 125"),
        ("trusted", ("10.0.0.0/8",) * 65, "trusted: must be at most 64 prefixes, got 65"),
        ("trusted", ("nowhere",), "nowhere"),
        ("v4_bits", 0, "v4_bits: must be from 1 to 32, got 0"),
        ("v6_bits", 129, "v6_bits: must be from 1 to 128, got 129"),
        ("max_retries", 4, "max_retries: must be from 0 to 3, got 4"),
        ("max_retries", -1, "max_retries: must be from 0 to 3, got -1"),
        *((f.name, 0, f"{f.name}: must be at least 1, got 0") for f in dataclasses.fields(Settings) if f.name.endswith("_ms")),
    ],
)
def test_refused(field, value, words):
    with pytest.raises(ValueError, match=words):
        CompiledSettings(Settings(**{field: value}), 1)


def test_the_largest_of_everything():
    CompiledSettings(Settings(head_bytes=61440, name="n" * 124, trusted=("10.0.0.0/8",) * 64, max_retries=3, log_share=7.0), 1)
    CompiledSettings(Settings(trusted=("0.0.0.0/0", "::/0", "192.0.2.7", "2001:db8::/33"), log_share=-1.0), 64)


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_retries(make_bench, retries, attempts):
    bench = make_bench(Settings(max_retries=retries), endpoints=(tuple((f"127.0.0.{i}", 9) for i in range(1, 7)), ()))
    client = bench.client()
    client.send(REQUEST)
    bench.turn(turns=8)
    assert received(client).startswith(b"HTTP/1.1 502 ")
    assert sum(bench.figures.read_endpoint(row)["attempts"] for row in bench.rows[0]) == attempts
    assert bench.figures.read_service(bench.service_row)["no_tries"] == 1
