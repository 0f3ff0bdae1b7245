"""Telemetry: the figures as metrics. Owns names, labels and help texts; counts nothing itself, so a request costs nothing here.

    reading = telemetry.read()                      # in control's thread: copies the figures, 10 us a pool
    body, content_type = reading.render(accept)     # in any thread: the text, which may be megabytes

Two steps, because text for 6,000 pools takes a while. Must not know HTTP. A label's value comes from the configuration or
from a fixed list, never from a request: nobody outside can make series. Series of a pool that has served nothing yet are left out
where they would all be zero (histograms, codes, reasons).
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.control.access_log import AccessLog
from gateway.control.ejections import RULE_NAMES
from gateway.control.exposition import family, histogram, join, label_text
from gateway.control.lifecycle import Phase
from gateway.control.pools import InPop, endpoint_states, in_flight_by_pop, is_kept, pool_headroom, pools_in_use, source_age_s, tally
from gateway.control.settings import buffer_bytes
from routing_core import BUCKETS_MS, PoolFigures

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.dataplane._counters import Counted

DRAIN_STATES = {Phase.HELD: 1, Phase.LAMEDUCK: 1, Phase.CLOSING: 2, Phase.ABORTING: 3, Phase.EXIT: 3}
BOUNDS = (*(repr(ms / 1000) for ms in BUCKETS_MS), "+Inf")  # as OpenMetrics and Go write floats


@dataclass(frozen=True, slots=True)
class PoolReading:
    service: str
    pop: str
    figures: PoolFigures
    endpoints: dict[str, int]  # by state
    ejections: dict[str, int]  # of its endpoints since the start, by rule
    headroom: float | None  # None: no capacity
    source_age_s: float | None
    is_kept: bool | None  # see Source.kept; None: its source is no cluster
    fails_more: bool  # than the service's other PoPs


@dataclass(frozen=True, slots=True)
class Reading:
    """All figures of one moment."""

    pools: list[PoolReading]
    retries: list[tuple[str, dict[str, int]]]  # of each service, by outcome
    counted: Counted
    listeners: list[str]
    drained: dict[str, bool]  # by PoP: the operator's word
    in_pops: dict[str, InPop]
    databases: dict[str, tuple[float | None, bool]]  # age in seconds; whether the file that is there now was refused
    log_dropped: dict[str, int]  # access log records, by cause
    silences_s: list[float]  # of each worker: since it last turned
    buffer_bytes: int  # the bound
    drain_state: int
    is_ready: bool
    generation: int
    table_age_s: float
    build_s: float
    probes_late_s: float
    reloads: dict[str, int]  # by result
    reload_times: dict[str, float]  # by result: of the last, Unix time; 0: none yet

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its Content-Type: OpenMetrics when `accept` asks for it, else Prometheus' own."""
        encode, content_type = choose_encoder(accept)
        text = encode(_Families([*self._of_gateway(), *ProcessCollector(registry=None).collect()]))
        return join(text, self._of_pools(content_type.startswith("application/openmetrics-text"))), content_type

    def _of_pools(self, is_open: bool) -> Iterator[str]:
        pools = [(label_text(service=pool.service, pop=pool.pop), pool, pool.figures) for pool in self.pools]
        used = [(labels, figures) for labels, _, figures in pools if figures["durations"]]
        yield from family(
            "isochrone_requests",
            "counter",
            "Exchanges that ended, by the status sent to the client.",
            ((f'{labels},code="{code}"', count) for labels, _, figures in pools for code, count in figures["codes"].items()),
            is_open,
        )
        yield from histogram(
            "isochrone_request_duration_seconds",
            "From a request's first byte to the end of its answer.",
            BOUNDS,
            ((labels, figures["duration_buckets"], figures["duration_us"] / 1e6) for labels, figures in used),
        )
        yield from histogram(
            "isochrone_upstream_first_byte_seconds",
            "From the last byte sent to a PoP to the first byte of its answer.",
            BOUNDS,
            ((labels, figures["first_byte_buckets"], figures["first_byte_us"] / 1e6) for labels, figures in used),
        )
        yield from family(
            "isochrone_decisions",
            "counter",
            "PoPs chosen, by why; counted when the exchange ends.",
            ((f'{labels},reason="{reason}"', count) for labels, _, figures in pools for reason, count in figures["reasons"].items()),
            is_open,
        )
        yield from family(
            "isochrone_bytes",
            "counter",
            "Body bytes moved; up: from clients to PoPs.",
            (
                (f'{labels},direction="{direction}"', count)
                for labels, figures in used
                for direction, count in (("up", figures["bytes_up"]), ("down", figures["bytes_down"]))
            ),
            is_open,
        )
        yield from family(
            "isochrone_endpoints",
            "gauge",
            "Endpoints by state. admitting take traffic; probing wait for a probe; shut failed theirs; ejected answered badly; unready and"
            " terminating are their source's word.",
            ((f'{labels},state="{state}"', count) for labels, pool, _ in pools for state, count in pool.endpoints.items()),
            is_open,
        )
        yield from family(
            "isochrone_endpoint_ejections",
            "counter",
            "Endpoints left out for a while for what they answered, by the rule that found them.",
            (
                (f'{labels},cause="{cause}"', count)
                for labels, pool, figures in pools
                if figures["durations"] or any(pool.ejections.values())
                for cause, count in pool.ejections.items()
            ),
            is_open,
        )
        yield from family(
            "isochrone_pop_availability",
            "gauge",
            "Share of its traffic that a PoP can take, 0 to 1: 1.4 * ready / total.",
            ((labels, figures["availability"]) for labels, _, figures in pools),
            is_open,
        )
        yield from family(
            "isochrone_pop_admit",
            "gauge",
            "Share of requests that consider the PoP: availability * shed * ramp; 0 while available: drained by itself.",
            ((labels, figures["admit"]) for labels, _, figures in pools),
            is_open,
        )
        yield from family(
            "isochrone_pop_headroom",
            "gauge",
            "Share of the capacity, the PoP's or the service's own there, that is free.",
            ((labels, pool.headroom) for labels, pool, _ in pools if pool.headroom is not None),
            is_open,
        )
        yield from family(
            "isochrone_pop_penalty_seconds",
            "gauge",
            "What failures, refusals and a backlog add to every estimate of the PoP.",
            ((labels, figures["penalty_ms"] / 1000) for labels, _, figures in pools),
            is_open,
        )
        yield from family(
            "isochrone_pop_fails_more",
            "gauge",
            "1 while answers of 5xx count in the PoP's penalty because the service's other PoPs give far fewer of them.",
            ((labels, int(pool.fails_more)) for labels, pool, _ in pools),
            is_open,
        )
        yield from family(
            "isochrone_pop_shed",
            "gauge",
            "Share of requests that the PoP's capacities leave it; below 1 a part is passed on to others.",
            ((labels, figures["shed"]) for labels, _, figures in pools),
            is_open,
        )
        yield from family(
            "isochrone_pop_path_seconds",
            "gauge",
            "This gateway's own path to the PoP: a round trip, as measured. Without a series: not measured yet.",
            ((labels, figures["path_ms"] / 1000) for labels, _, figures in pools if figures["path_ms"] >= 0),
            is_open,
        )
        yield from family(
            "isochrone_pop_service_seconds",
            "gauge",
            "What the PoP itself takes to a first byte, as measured. Without a series: not measured yet.",
            ((labels, figures["service_ms"] / 1000) for labels, _, figures in pools if figures["samples"] > 0),
            is_open,
        )
        yield from family(
            "isochrone_in_flight",
            "gauge",
            "Exchanges under way.",
            ((labels, figures["in_flight"]) for labels, _, figures in pools),
            is_open,
        )
        yield from family(
            "isochrone_source_age_seconds",
            "gauge",
            "Since a pool's Kubernetes API was last heard. Bookmarks come each minute.",
            ((labels, pool.source_age_s) for labels, pool, _ in pools if pool.source_age_s is not None),
            is_open,
        )
        yield from family(
            "isochrone_source_kept",
            "gauge",
            "1 while a pool's endpoints are those that its Kubernetes API named to the last process, for it has not answered this one.",
            ((labels, float(pool.is_kept)) for labels, pool, _ in pools if pool.is_kept is not None),
            is_open,
        )

    def _of_gateway(self) -> Iterator[Metric]:
        figures, counted = self.counted["figures"], self.counted
        connections = _gauge("isochrone_connections", "Clients' connections now: idle between requests, or active.", "listener", "state")
        for number, listener in enumerate(self.listeners):
            connections.add_metric((listener, "idle"), counted["idle"][number])
            connections.add_metric((listener, "active"), counted["active"][number])
        yield connections
        yield _counter("isochrone_accepted", "Clients' connections accepted.", value=figures["accepted"])
        evicted = (
            "Clients' connections closed to make room for another client's. connections: limits.connections or descriptors were used up;"
            " buffers: limits.buffers, and this client held most."
        )
        causes = {"connections": figures["evicted"], "buffers": figures["evicted_for_buffers"]}
        yield _counted("isochrone_evicted", evicted, "cause", causes)
        yield _gauge("isochrone_buffered_bytes", "Memory taken for buffers, of clients and endpoints.", value=counted["buffered"])
        yield _gauge("isochrone_buffered_limit_bytes", "The most it may be (limits.buffers).", value=self.buffer_bytes)
        waits = "Requests that waited in their sockets, since what is new had its half of limits.buffers."
        yield _counter("isochrone_buffer_waits", waits, value=figures["buffer_waits"])
        dropped = "Fields of requests that were left out for an underscore in their names (requests.underscores)."
        yield _counter("isochrone_fields_dropped", dropped, value=figures["fields_dropped"])
        yield _counted("isochrone_upstream_connections", "Attempts by the connection they got.", "use", {
            "opened": figures["upstream_opened"], "reused": figures["upstream_reused"],
        })  # fmt: skip
        retries = _counter("isochrone_retries", "Further attempts (good, bad), and why there was none.", "service", "outcome")
        for service, outcomes in self.retries:
            for outcome, count in outcomes.items():
                retries.add_metric((service, outcome), count)
        yield retries
        causes = {cause: count for cause, count in counted["causes"].items() if cause != "none"}
        yield _counted("isochrone_rejected", "Requests and connections refused by the gateway itself, by cause.", "cause", causes)
        yield _gauge("isochrone_drain_state", "0 not draining, 1 lameduck, 2 closing, 3 cutting what is left.", value=self.drain_state)
        yield _counted("isochrone_drain_forced", "What the deadline of a drain cut.", "kind", counted["forced"])
        drained = _gauge("isochrone_pop_drained", "1 where the operator drained the PoP.", "pop")
        for pop, is_drained in self.drained.items():
            drained.add_metric((pop,), float(is_drained))
        yield drained
        in_flight = _gauge(
            "isochrone_pop_in_flight", "Exchanges under way in a PoP, all services; its capacity bounds those that are no tunnels.", "pop"
        )
        for pop, under_way in self.in_pops.items():
            in_flight.add_metric((pop,), under_way.in_flight)
        yield in_flight
        yield _counted("isochrone_geoip_lookups", "Clients located, by what was found.", "result", counted["lookups"])
        yield from self._of_databases()
        yield _gauge("isochrone_table_generation", "Of the table that routes; it grows with each change.", value=self.generation)
        yield _gauge("isochrone_table_age_seconds", "Since the table was built.", value=self.table_age_s)
        yield _gauge("isochrone_table_build_seconds", "What the last build took.", value=self.build_s)
        late = "How long the probe waits that waits longest for its turn; some places are each PoP's own."
        yield _gauge("isochrone_probes_late_seconds", late, value=self.probes_late_s)
        yield _counted("isochrone_config_reloads", "Configurations read again, by what came of it.", "result", self.reloads)
        last = "Of the last configuration put in use (the first one by the start) or refused, Unix time; 0: none yet."
        times = _gauge("isochrone_config_reload_timestamp_seconds", last, "result")
        for result, at in self.reload_times.items():
            times.add_metric((result,), at)
        yield times
        yield _gauge("isochrone_ready", "1 where /readyz says 200.", value=float(self.is_ready))
        silences = _gauge("isochrone_worker_silence_seconds", "Since a worker last turned; over 2 it hangs.", "worker")
        for number, silence_s in enumerate(self.silences_s):
            silences.add_metric((str(number),), silence_s)
        yield silences
        shares = _gauge("isochrone_worker_connections", "Clients' connections that a worker has now.", "worker")
        for number, count in enumerate(counted["n_open"]):
            shares.add_metric((str(number),), count)
        yield shares
        lost = "Access log records lost. full: the memory was, the writer being slow; failed: the file could not be written."
        yield _counted("isochrone_access_log_dropped", lost, "cause", self.log_dropped)
        bugs = "State machines asked for what is not listed. Not 0 means a bug: please report."
        yield _counter("isochrone_bad_transitions", bugs, value=figures["bad_transitions"])
        yield InfoMetricFamily("isochrone_build", "The program.", {"version": version(), "python": platform.python_version()})

    def _of_databases(self) -> Iterator[Metric]:
        age = _gauge("isochrone_geoip_age_seconds", "Since a database in use was built by its maker.", "database")
        refused = _gauge("isochrone_geoip_refused", "1 where the file there now can't be used; the last good one stays.", "database")
        for path, (age_s, is_refused) in self.databases.items():
            if age_s is not None:
                age.add_metric((path,), age_s)
            refused.add_metric((path,), float(is_refused))
        yield from (age, refused)


class Telemetry:
    """Reads the figures of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def read(self) -> Reading:
        gateway, now = self.gateway, self.gateway.clock()
        table = gateway.publisher.table.spec
        counted = gateway.counters.read()
        in_flight = in_flight_by_pop(gateway)
        return Reading(
            pools=list(self._pools(in_flight)),
            retries=[(service.name, gateway.figures.read_service(service.row)) for service in table.services],
            counted=counted,
            listeners=[listener.name for listener in gateway.listeners.all],
            drained={pop.name: pop.is_drained for pop in table.pops},
            in_pops=in_flight,
            databases={one.path: (one.age_s(time.time()), one.error is not None) for one in gateway.geo.statuses},
            log_dropped=self._log_dropped(counted),
            silences_s=[max(0.0, now - beat_ms / 1000) if beat_ms else 0.0 for beat_ms in counted["beats_ms"]],
            buffer_bytes=buffer_bytes(gateway.config),
            drain_state=DRAIN_STATES.get(gateway.lifecycle.phase, 0),
            is_ready=not gateway.ready.reasons(),
            generation=table.generation,
            table_age_s=max(0.0, now - gateway.publisher.built_at),
            build_s=gateway.publisher.build_s,
            probes_late_s=gateway.prober.late_s,
            reloads=dict(gateway.reloader.counts),
            reload_times=dict(gateway.reloader.ended_at),
        )

    def _pools(self, in_flight: dict[str, InPop]) -> Iterator[PoolReading]:
        gateway = self.gateway
        pops = {pop.name: pop for pop in gateway.config.pops}
        for service, backend, pool in pools_in_use(gateway):
            states = endpoint_states(gateway.world, gateway.gates.all, (service.name, backend.pop))
            n_refused = len(gateway.world.refused.get((service.name, backend.pop), ()))
            figures = gateway.figures.read_pool(pool.row)
            free = pool_headroom(pops[backend.pop], in_flight[backend.pop], backend, figures)
            ejections = {cause: gateway.ejections.counts[service.name, backend.pop, cause] for cause in RULE_NAMES.values()}
            states_count, age_s = tally(states, n_refused), source_age_s(gateway, backend)
            fails_more = gateway.refresh.fails_more((service.name, backend.pop)) is not None
            yield PoolReading(
                service.name, backend.pop, figures, states_count, ejections, free, age_s, is_kept(gateway, backend), fails_more
            )

    def _log_dropped(self, counted: Counted) -> dict[str, int]:
        logs = [part for part in self.gateway.parts if isinstance(part, AccessLog)]
        return {"full": counted["figures"]["log_dropped"], "failed": sum(log.dropped for log in logs)}


class _Families(Collector):
    """Families that are there already, as the library wants them."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def version() -> str:
    try:
        return metadata.version("isochrone")
    except metadata.PackageNotFoundError:
        return "unknown"


def _counter(name: str, documentation: str, *labels: str, value: float | None = None) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, labels=labels or None, value=value)


def _gauge(name: str, documentation: str, *labels: str, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels or None, value=value)


def _counted(name: str, documentation: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    """A counter with one label. All values are there from the start, so that a first event is a rise and not a new series."""
    family = _counter(name, documentation, label)
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family
