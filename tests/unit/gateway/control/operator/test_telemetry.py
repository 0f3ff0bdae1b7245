import gc
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from gateway.control.life.lifecycle import Event
from gateway.control.life.listeners import Listeners
from gateway.parts import access_log, telemetry_of
from routing_core import BUCKETS_MS
from routing_core._testing import add_to_pop
from tests.unit.gateway.control.helpers import TWO_POPS
from tests.unit.gateway.control.operating import admit, fail_connects, gateway_of, pool_row, serve_some

OPEN = "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"
# DESIGN section 5: fixed, dashboards rely on them.
NAMES = {
    "isochrone_requests_total": {"service", "pop", "code"},
    "isochrone_request_duration_seconds_bucket": {"service", "pop", "le"},
    "isochrone_upstream_first_byte_seconds_bucket": {"service", "pop", "le"},
    "isochrone_decisions_total": {"service", "pop", "reason"},
    "isochrone_endpoints": {"service", "pop", "state"},
    "isochrone_pop_availability": {"service", "pop"},
    "isochrone_in_flight": {"service", "pop"},
    "isochrone_pop_admit": {"service", "pop"},
    "isochrone_pop_penalty_seconds": {"service", "pop"},
    "isochrone_pop_shed": {"service", "pop"},
    "isochrone_pop_in_flight": {"pop"},
    "isochrone_endpoint_ejections_total": {"service", "pop", "cause"},
    "isochrone_connections": {"listener", "state"},
    "isochrone_retries_total": {"service", "outcome"},
    "isochrone_rejected_total": {"cause"},
    "isochrone_bad_answers_total": {"cause"},
    "isochrone_drain_state": set(),
    "isochrone_drain_forced_total": {"kind"},
    "isochrone_geoip_lookups_total": {"result"},
    "isochrone_geoip_age_seconds": {"database"},
    "isochrone_table_generation": set(),
    "isochrone_build_info": {"version", "python"},
}


class Served:
    """Figures in which every pool has served: what only C code counts."""

    def __init__(self, figures):
        self.figures = figures

    def __getattr__(self, name):
        return getattr(self.figures, name)

    def read_pool(self, row):
        seen = self.figures.read_pool(row)
        seen |= {"durations": 6, "duration_us": 3_000_000, "duration_buckets": [1, 2, 3] + [0] * (len(BUCKETS_MS) - 2)}
        return {**seen, "first_bytes": 3, "first_byte_us": 1500, "first_byte_buckets": [3] + [0] * len(BUCKETS_MS)}


def scrape(gateway, accept=""):
    body, content_type = telemetry_of(gateway).read().render(accept)
    parse = parse_open if "openmetrics" in content_type else parse_plain
    return list(parse(body.decode()))


def samples(families):
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def value(families, name, **labels):
    return samples(families)[(name, *sorted(labels.items()))]


@pytest.fixture
def gateway(tmp_path):
    one = gateway_of(parts=(access_log,), geoip=f"{{city: {tmp_path}/none.mmdb}}")
    one.publisher.figures = Served(one.figures)
    one.listeners.all += Listeners.open((listener.name, listener.bind) for listener in one.config.listeners).all
    yield one
    one.listeners.close()


@pytest.mark.parametrize("accept", ["", "text/plain", OPEN])
def test_every_promised_name_is_there_with_its_labels_and_a_help_text(gateway, accept):
    serve_some(gateway, code=200, reason=1)
    families = scrape(gateway, accept)
    labels = {}
    for family in families:
        assert family.type == "unknown" or family.documentation.endswith("."), family.name
        assert not family.name.startswith("isochrone") or len(family.documentation) > 10
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    missing = {name for name, wanted in NAMES.items() if labels.get(name) != wanted}
    assert missing == {"isochrone_geoip_age_seconds"}  # the configured database is not there: see below
    assert "isochrone_geoip_age_seconds" in {family.name for family in families}


@pytest.mark.parametrize("accept", ["", OPEN])
def test_no_series_comes_twice(gateway, accept):
    gateway.listeners.all.append(gateway.listeners.all[0])  # one that was removed, and its successor
    body, _ = telemetry_of(gateway).read().render(accept)
    series = [line.rsplit(" ", 1)[0] for line in body.decode().splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_what_was_counted_is_what_is_said(gateway):
    serve_some(gateway, code=200, reason=1)
    serve_some(gateway, code=200, reason=1)
    serve_some(gateway, "nyc", code=503, reason=5, in_flight=4)
    families = scrape(gateway)
    assert value(families, "isochrone_requests_total", service="shop", pop="fra", code="200") == 2
    assert value(families, "isochrone_requests_total", service="shop", pop="nyc", code="503") == 1
    assert value(families, "isochrone_decisions_total", service="shop", pop="fra", reason="fastest") == 2
    assert value(families, "isochrone_in_flight", service="shop", pop="nyc") == 4
    assert value(families, "isochrone_connections", listener="web", state="idle") == 0
    name = "isochrone_request_duration_seconds"
    assert value(families, f"{name}_bucket", service="shop", pop="fra", le="0.0005") == 1
    assert value(families, f"{name}_bucket", service="shop", pop="fra", le="+Inf") == 6
    assert value(families, f"{name}_count", service="shop", pop="fra") == 6
    assert value(families, f"{name}_sum", service="shop", pop="fra") == 3.0
    assert value(families, "isochrone_upstream_first_byte_seconds_sum", service="shop", pop="nyc") == 0.0015


def test_endpoints_are_counted_by_what_workers_do_with_them(gateway):
    admit(gateway, "192.0.2.2", "192.0.2.3")
    fail_connects(gateway, "192.0.2.3")
    gateway.gates.turn()
    families = scrape(gateway)
    assert value(families, "isochrone_endpoints", service="shop", pop="fra", state="probing") == 1
    assert value(families, "isochrone_endpoints", service="shop", pop="nyc", state="admitting") == 1
    assert value(families, "isochrone_endpoints", service="shop", pop="nyc", state="probing") == 1
    assert value(families, "isochrone_endpoints", service="shop", pop="nyc", state="shut") == 0


def test_headroom_has_a_series_only_where_there_is_a_capacity():
    gateway = gateway_of(TWO_POPS.replace("country: US}", "country: US, capacity: {requests_in_flight: 40}}"))
    gateway.publisher.figures = Served(gateway.figures)
    add_to_pop(gateway.figures, gateway.publisher.table.spec.pops[1].row, 0, 10)
    gateway.figures.set_pool(pool_row(gateway, "fra"), penalty_ms=250.0, admit=0.5)
    for accept in ("", OPEN):
        found = samples(scrape(gateway, accept))
        headrooms = {key: number for key, number in found.items() if key[0] == "isochrone_pop_headroom"}
        assert headrooms == {("isochrone_pop_headroom", ("pop", "nyc"), ("service", "shop")): 0.75}
        assert found["isochrone_pop_in_flight", ("pop", "nyc")] == 10
        assert found["isochrone_pop_in_flight", ("pop", "fra")] == 0
        assert found["isochrone_pop_penalty_seconds", ("pop", "fra"), ("service", "shop")] == 0.25
        assert found["isochrone_pop_penalty_seconds", ("pop", "nyc"), ("service", "shop")] == 0
        assert found["isochrone_pop_admit", ("pop", "fra"), ("service", "shop")] == 0.5


def test_path_and_service_time_have_series_only_where_they_were_measured(gateway):
    row = pool_row(gateway, "fra")
    gateway.figures.set_pool(row, path_ms=12.5, service_ms=250.0, spread_ms=40.0, samples=3, shed=0.75)
    # One that is unknown has its service's level, with a spread: nothing of its own.
    gateway.figures.set_pool(pool_row(gateway, "nyc"), service_ms=250.0, spread_ms=90.0, samples=0)
    for accept in ("", OPEN):
        found = {key: number for key, number in samples(scrape(gateway, accept)).items() if key[0].startswith("isochrone_pop_")}
        fra = (("pop", "fra"), ("service", "shop"))
        assert (found["isochrone_pop_path_seconds", *fra], found["isochrone_pop_service_seconds", *fra]) == (0.0125, 0.25)
        assert found["isochrone_pop_service_spread_seconds", *fra] == 0.04
        assert found["isochrone_pop_shed", *fra] == 0.75
        assert found["isochrone_pop_shed", ("pop", "nyc"), ("service", "shop")] == 1
        assert ("isochrone_pop_path_seconds", ("pop", "nyc"), ("service", "shop")) not in found
        assert ("isochrone_pop_service_seconds", ("pop", "nyc"), ("service", "shop")) not in found
        assert ("isochrone_pop_service_spread_seconds", ("pop", "nyc"), ("service", "shop")) not in found


def test_ejections_are_counted_by_rule(gateway):
    causes = ("consecutive_errors", "success_rate", "latency")
    gateway.ejections.counts["shop", "nyc", "latency"] += 2
    families = scrape(gateway)
    found = {cause: value(families, "isochrone_endpoint_ejections_total", service="shop", pop="nyc", cause=cause) for cause in causes}
    assert found == {"consecutive_errors": 0, "success_rate": 0, "latency": 2}
    gateway.publisher.figures = gateway.figures  # nothing served: no series but of what was ejected all the same
    names = [key for key in samples(scrape(gateway)) if key[0] == "isochrone_endpoint_ejections_total"]
    assert {dict(key[1:])["pop"] for key in names} == {"nyc"}


def test_a_database_that_is_not_there_and_the_operators_word(gateway):
    gateway.geo.files.check(0.0)
    gateway.publisher.figures = gateway.figures  # of which the next table is built
    gateway.drains.drain("nyc")
    families = scrape(gateway)
    assert value(families, "isochrone_geoip_refused", database=gateway.geo.statuses[0].path) == 1
    assert value(families, "isochrone_pop_drained", pop="nyc") == 1
    assert value(families, "isochrone_pop_drained", pop="fra") == 0
    assert value(families, "isochrone_table_generation") == gateway.publisher.generation


def test_drain_state_follows_the_lifecycle(gateway):
    assert value(scrape(gateway), "isochrone_drain_state") == 0
    states = []
    for event in (Event.STARTED, Event.DRAIN, Event.TERMINATE, Event.ANNOUNCED, Event.DEADLINE):
        gateway.lifecycle.handle(event)
        states.append(value(scrape(gateway), "isochrone_drain_state"))
    assert states == [0, 1, 1, 2, 3]
    assert value(scrape(gateway), "isochrone_ready") == 0


def test_lost_access_log_records_show(gateway):
    gateway.parts[0].file.dropped = 7
    assert value(scrape(gateway), "isochrone_access_log_dropped_total", cause="failed") == 7


def test_labels_with_quotes_and_backslashes_are_escaped(gateway):
    gateway.geo.files.watched[0].status = type(gateway.geo.statuses[0])('C:\\x "y"\n', "city")
    assert value(scrape(gateway), "isochrone_geoip_refused", database='C:\\x "y"\n') == 0


@pytest.mark.slow
def test_a_scrape_of_300_pops_and_20_services_takes_no_seconds():
    pops = ", ".join(f"{{name: p{n}, lat: {n % 80}, lon: {n % 170}}}" for n in range(300))
    backends = ", ".join(f'{{pop: p{n}, endpoints: ["192.0.2.1:{n + 1}"]}}' for n in range(300))
    services = ", ".join(f"{{name: s{n}, backends: [{backends}]}}" for n in range(20))
    text = f'listeners: [{{name: web, bind: "127.0.0.1:0"}}]\npops: [{pops}]\nservices: [{services}]\nroutes: [{{service: s0}}]'
    gateway = gateway_of(text)
    gateway.publisher.figures = Served(gateway.figures)
    telemetry = telemetry_of(gateway)
    gc.collect()
    gc.freeze()  # what thousands of tests have left is not walked through on this one's time
    began = time.process_time()
    reading = telemetry.read()
    read_s = time.process_time() - began
    body, _ = reading.render()
    all_s = time.process_time() - began
    gc.unfreeze()
    assert body.count(b"\n") > 6000 * 2 * 18
    # Measured: 0.05 s in control's thread, 0.2 s in all; the bounds are for a machine that is busy.
    assert read_s < 0.5
    assert all_s < 1.5
    assert any(b'"p299"' in line and b'"s19"' in line for line in body.splitlines()), "to the last pool"
