"""Telemetry: the figures as metrics (which, and of what: `families`). Counts nothing itself, so a request costs nothing here.

    scrape = telemetry.read()                       # in control's thread: copies the figures, 10 us a pool
    body, content_type = scrape.render(accept)      # in any thread: the text, which may be megabytes

Two steps, because text for 6,000 pools takes a while. Must not know HTTP. A label's value comes from the configuration or
from a fixed list, never from a request: nobody outside can make series. Series of a pool that has served nothing yet are left out
where they would all be zero (histograms, codes, reasons).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.control.health.ejections import RULE_NAMES
from gateway.control.life.lifecycle import Phase
from gateway.control.life.listeners import Listeners
from gateway.control.life.ready import Ready
from gateway.control.life.reload import Reload
from gateway.control.operator.exposition import Labels, family, histogram, join, label_text
from gateway.control.operator.families import OF_GATEWAY, OF_POOL, POOL, Family, Histogram
from gateway.control.operator.pools import InPop, Pools, endpoint_states, pool_headroom, tally
from gateway.control.operator.readings import PoolReading, Reading
from gateway.control.table.settings import buffer_bytes
from gateway.dataplane import Counters
from routing_core import BUCKETS_MS

DRAIN_STATES = {Phase.HELD: 1, Phase.LAMEDUCK: 1, Phase.CLOSING: 2, Phase.ABORTING: 3, Phase.EXIT: 3}
BOUNDS = (*(repr(ms / 1000) for ms in BUCKETS_MS), "+Inf")  # as OpenMetrics and Go write floats


Labelled = list[tuple[Labels, PoolReading]]


@dataclass(frozen=True, slots=True)
class Scrape:
    """A reading that is to become text."""

    reading: Reading

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its Content-Type: OpenMetrics when `accept` asks for it, else Prometheus' own."""
        encode, content_type = choose_encoder(accept)
        of_gateway = [_of_library(one, self.reading) for one in OF_GATEWAY]
        text = encode(_Families([*of_gateway, *ProcessCollector(registry=None).collect()]))
        return join(text, self._of_pools(content_type.startswith("application/openmetrics-text"))), content_type

    def _of_pools(self, is_open: bool) -> Iterator[str]:
        pools = [(label_text(service=pool.service, pop=pool.pop), pool) for pool in self.reading.pools]
        for one in OF_POOL:
            if one.kind == "histogram":
                yield from histogram(one.name, one.documentation, BOUNDS, _histograms(one, pools))
            else:
                yield from family(
                    one.name, "counter" if one.kind == "counter" else "gauge", one.documentation, _series(one, pools), is_open
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Reads the figures of one gateway."""

    pools: Pools
    counters: Counters
    listeners: Listeners
    ready: Ready
    reloader: Reload
    n_unwritten: Callable[[], int]  # records of the access log that could not be written

    def read(self) -> Scrape:
        publisher, ready, start = self.pools.publisher, self.ready, self.ready.start
        now = publisher.clock()
        table = publisher.table.spec
        counted = self.counters.read()
        in_flight = self.pools.in_flight()
        reading = Reading(
            pools=list(self._pools(in_flight)),
            retries=[(service.name, publisher.figures.read_service(service.row)) for service in table.services],
            counted=counted,
            listeners=[listener.name for listener in self.listeners.all],
            drained={pop.name: pop.is_drained for pop in table.pops},
            in_pops=in_flight,
            databases=start.geo.by_path(time.time()),
            log_dropped={"full": counted["figures"]["log_dropped"], "failed": self.n_unwritten()},
            silences_s=[max(0.0, now - beat_ms / 1000) if beat_ms else 0.0 for beat_ms in counted["beats_ms"]],
            buffer_bytes=buffer_bytes(publisher.config),
            drain_state=DRAIN_STATES.get(ready.lifecycle.phase, 0),
            is_ready=not ready.reasons(),
            generation=table.generation,
            table_age_s=max(0.0, now - publisher.built_at),
            build_s=publisher.build_s,
            probes_late_s=start.prober.late_s,
            refused=self.reloader.merge.refused(publisher.config),
            reloads=dict(self.reloader.counts),
            reload_times=dict(self.reloader.ended_at),
        )
        return Scrape(reading)

    def _pools(self, in_flight: dict[str, InPop]) -> Iterator[PoolReading]:
        known, world, gates = self.pools, self.pools.publisher.world, self.pools.publisher.gates
        pops = {pop.name: pop for pop in known.config.pops}
        for service, backend, pool in known.in_use():
            states = endpoint_states(world, gates.all, (service.name, backend.pop))
            n_refused = len(world.refused.get((service.name, backend.pop), ()))
            figures = known.publisher.figures.read_pool(pool.row)
            free = pool_headroom(pops[backend.pop], in_flight[backend.pop], backend, figures)
            ejections = {cause: known.ejections.counts[service.name, backend.pop, cause] for cause in RULE_NAMES.values()}
            states_count, age_s = tally(states, n_refused), known.source_age_s(service, backend)
            fails_more = known.refresh.fails_more((service.name, backend.pop)) is not None
            yield PoolReading(
                service.name, backend.pop, figures, states_count, ejections, free, age_s, known.is_kept(service, backend), fails_more
            )


class _Families(Collector):
    """Families that are there already, as the library wants them."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def _of_library(one: Family[Reading], reading: Reading) -> Metric:
    if one.kind == "info":
        info = InfoMetricFamily(one.name, one.documentation, labels=one.labels)
        for values, _ in one.numbers(reading):
            info.add_metric(values, {})
        return info
    found = (CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily)(one.name, one.documentation, labels=one.labels)
    for values, number in one.numbers(reading):
        found.add_metric(values, number)
    return found


def _histograms(one: Family[PoolReading], pools: Labelled) -> Iterator[tuple[Labels, list[int], float]]:
    for labels, pool in pools:
        if isinstance(figure := one.figure(pool), Histogram):
            yield labels, figure.buckets, figure.total


def _series(one: Family[PoolReading], pools: Labelled) -> Iterator[tuple[Labels, float]]:
    """As `Family.numbers`, which costs half a million lines twice the time. Values of a label beside the pool's own are of fixed lists:
    nothing in them has to be escaped."""
    figures = ((labels, one.figure(pool)) for labels, pool in pools)
    if one.labels == POOL:
        yield from ((labels, figure) for labels, figure in figures if isinstance(figure, (float, int)))
        return
    (label,) = one.labels[len(POOL) :]
    for labels, figure in figures:
        if isinstance(figure, dict):
            for value, number in figure.items():
                yield f'{labels},{label}="{value}"', number
