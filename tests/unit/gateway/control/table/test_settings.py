import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.control.table import settings
from gateway.control.table.settings import n_workers, settings_of
from gateway.dataplane import CompiledSettings, Settings
from routing_core import MAX_WORKERS
from tests.unit.gateway.control.helpers import TWO_POPS, config_of

MORE = {
    "gateway": "{name: edge-7, workers: 3, location: {lat: 1, lon: 2}}",
    "client_ip": "{trusted_proxies: [10.0.0.0/8, 2001:db8::/32], forwarded_hops: 2, header: forwarded}",
    "geoip": "{overrides: [{prefix: 10.1.0.0/16, lat: 48.1, lon: 11.6, country: DE}]}",
    "timeouts": (
        "{request_head: 1s, body_progress: 2s, keep_alive_idle: 3s, connect: 400ms, first_byte: 5s, upstream_idle: 6s, queue: 7ms,"
        " tunnel_idle: 8s, linger: 9ms}"
    ),
    "limits": (
        "{head_bytes: 2KiB, fields: 11, body_bytes: 12B, body_rate: 19B, connections: 13, connections_per_endpoint: 14,"
        " queue_per_endpoint: 15, buffers: 21MiB, per_client: {v4: 24, v6: 56, connections: 17, exchanges: 18}}"
    ),
    "requests": "{underscores: refuse, non_ascii: pass}",
    "retries": "{max: 1, budget_share: 50%, budget_floor: 16}",
    "access_log": "{sample: 0.25}",
    "debug_headers": "true",
}


def test_every_setting_is_taken_from_the_configuration():
    found = settings_of(config_of(**MORE))
    assert found == Settings(
        request_head_ms=1000, body_progress_ms=2000, keep_alive_idle_ms=3000, connect_ms=400, first_byte_ms=5000, upstream_idle_ms=6000,
        queue_ms=7, tunnel_idle_ms=8000, linger_ms=9, head_bytes=2048, max_fields=11, body_bytes=12, body_rate=19,
        connections_per_listener=13, connections_per_endpoint=14, queue_per_endpoint=15, buffer_bytes=21 << 20, v4_bits=24, v6_bits=56,
        underscores="refuse", takes_non_ascii=True, client_connections=17, client_exchanges=18, max_retries=1,
        budget_share=0.5, budget_floor_per_s=16,
        trusted=("10.0.0.0/8", "2001:db8::/32"), forwarded_hops=2, forwarded_header="forwarded", debug_headers=True, log_share=0.25,
        name="edge-7",
    )  # fmt: skip
    same = [one.name for one in fields(Settings) if getattr(found, one.name) == getattr(Settings(), one.name)]
    assert same == []  # each differs from its default here, so each is seen to be passed on
    CompiledSettings(found, 2)


def test_defaults_of_both_sides_agree():
    assert replace(settings_of(config_of()), name="isochrone", buffer_bytes=Settings().buffer_bytes) == Settings()


def ends() -> list[tuple[str, str, str]]:
    """Section, key, and the least or most that docs/config.md (which is written from the models) calls legal."""
    page = Path("docs/config.md").read_text()
    found = []
    for section in ("timeouts", "limits", "retries", "gateway", "client_ip", "access_log"):
        rows = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        for key, low, high, more in re.findall(r"^\| `(\w+)` \| [a-z ]+ from (\w+) to (\w+)([^|]*)\|", rows, re.MULTILINE):
            found += [(section, key, end) for end in (low, high, *(["0"] if "or 0 for no limit" in more else []))]
    return found


def test_the_ends_are_those_of_the_page():
    assert len(ends()) > 35
    assert {("timeouts", "linger", "0s"), ("limits", "head_bytes", "60KiB"), ("retries", "max", "3")} <= set(ends())


@pytest.mark.parametrize(("section", "key", "end"), ends())
def test_what_check_calls_legal_can_be_served(section, key, end):
    CompiledSettings(settings_of(config_of(**{section: f"{{{key}: {end}}}"})), 2)


@pytest.mark.parametrize(("section", "text"), [("gateway", f"{{name: {'n' * 63}}}"), ("retries", "{budget_share: 0}")])
def test_other_extremes_can_be_served(section, text):
    CompiledSettings(settings_of(config_of(**{section: text})), 64)


def test_workers_are_as_said_or_as_many_as_this_process_may_use(monkeypatch):
    assert n_workers(config_of(**MORE)) == 3
    monkeypatch.setattr(settings, "n_cpus", lambda: 200)
    assert n_workers(config_of()) == MAX_WORKERS
    monkeypatch.setattr(settings, "n_cpus", lambda: 4)
    assert n_workers(config_of()) == 4


@pytest.mark.parametrize(("allowed", "expected"), [(8 << 30, 2 << 30), ((256 << 20) + 5, 64 << 20), (10 << 20, 16 << 20)])
def test_buffers_may_be_a_quarter_of_what_this_process_may_have(monkeypatch, allowed, expected):
    monkeypatch.setattr(settings, "memory_bytes", lambda: allowed)
    assert settings.buffer_bytes(config_of()) == settings_of(config_of()).buffer_bytes == expected


def test_a_gateway_without_a_name_has_one_that_no_other_process_has():
    name = settings_of(config_of(TWO_POPS)).name
    assert name == settings_of(config_of(TWO_POPS)).name, "reloads keep it"
    other = subprocess.run(
        [sys.executable, "-c", "from gateway.control.table.settings import _MADE_UP_NAME; print(_MADE_UP_NAME)"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    assert re.fullmatch("isochrone-[0-9a-f]{16}", name) and re.fullmatch("isochrone-[0-9a-f]{16}", other) and name != other
