"""Families: every metric, one row each: name, kind, help text, labels, and of which figure it is. Dashboards rely on the names.

A figure is a number; None where there is no series; with labels a number for each value of the label (a tuple, where there are two).
A histogram's are its buckets and its sum. Must not know how figures are read, nor how a scrape is written.
docs/operations.md has each of them.

Over 400 lines: one row a metric.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Generic, Literal, NamedTuple, TypeVar

from gateway.control.operator.readings import PoolReading, Reading

Of = TypeVar("Of")
Kind = Literal["counter", "gauge", "histogram", "info"]


class Histogram(NamedTuple):
    buckets: list[int]  # not cumulative
    total: float  # in the unit of the name


Figure = float | None | Mapping[str, float] | Mapping[tuple[str, str], float] | Histogram


@dataclass(frozen=True, slots=True)
class Family(Generic[Of]):
    name: str
    kind: Kind
    documentation: str
    labels: tuple[str, ...]
    figure: Callable[[Of], Figure]

    @property
    def sample(self) -> str:
        """As its series are called; those of a histogram have more endings than one."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")

    def numbers(self, seen: Of) -> Iterator[tuple[tuple[str, ...], float]]:
        """Each with the values of the labels it is by; none of a histogram."""
        figure = self.figure(seen)
        if isinstance(figure, Mapping):
            for value, number in figure.items():
                yield value if isinstance(value, tuple) else (value,), number
        elif figure is not None and not isinstance(figure, Histogram):
            yield (), figure


OF_GATEWAY: tuple[Family[Reading], ...] = (
    Family(
        "isochrone_connections",
        "gauge",
        "Clients' connections now: idle between requests, or active.",
        ("listener", "state"),
        # Of one name there may be two: one that was removed, with connections left, and its successor.
        lambda seen: {
            (name, state): sum(count for one, count in zip(seen.listeners, seen.counted[state], strict=False) if one == name)
            for name in seen.listeners
            for state in ("idle", "active")
        },
    ),
    Family(
        "isochrone_accepted",
        "counter",
        "Clients' connections accepted.",
        (),
        lambda seen: seen.counted["figures"]["accepted"],
    ),
    # All values of a label are there from the start, so that a first event is a rise and not a new series.
    Family(
        "isochrone_evicted",
        "counter",
        "Clients' connections closed to make room for another client's. connections: limits.connections or descriptors were used up;"
        " buffers: limits.buffers, and this client held most.",
        ("cause",),
        lambda seen: {"connections": seen.counted["figures"]["evicted"], "buffers": seen.counted["figures"]["evicted_for_buffers"]},
    ),
    Family(
        "isochrone_buffered_bytes",
        "gauge",
        "Memory taken for buffers, of clients and endpoints.",
        (),
        lambda seen: seen.counted["buffered"],
    ),
    Family(
        "isochrone_buffered_limit_bytes",
        "gauge",
        "The most it may be (limits.buffers).",
        (),
        lambda seen: seen.buffer_bytes,
    ),
    Family(
        "isochrone_buffer_waits",
        "counter",
        "Requests that waited in their sockets, since what is new had its half of limits.buffers.",
        (),
        lambda seen: seen.counted["figures"]["buffer_waits"],
    ),
    Family(
        "isochrone_fields_dropped",
        "counter",
        "Fields of requests that were left out for an underscore in their names (requests.underscores).",
        (),
        lambda seen: seen.counted["figures"]["fields_dropped"],
    ),
    Family(
        "isochrone_upstream_connections",
        "counter",
        "Attempts by the connection they got.",
        ("use",),
        lambda seen: {"opened": seen.counted["figures"]["upstream_opened"], "reused": seen.counted["figures"]["upstream_reused"]},
    ),
    Family(
        "isochrone_retries",
        "counter",
        "Further attempts (good, bad), and why there was none.",
        ("service", "outcome"),
        lambda seen: {(service, outcome): count for service, outcomes in seen.retries for outcome, count in outcomes.items()},
    ),
    Family(
        "isochrone_rejected",
        "counter",
        "Requests and connections refused by the gateway itself, by cause.",
        ("cause",),
        lambda seen: {cause: count for cause, count in seen.counted["causes"].items() if cause != "none"},
    ),
    Family(
        "isochrone_bad_answers",
        "counter",
        "Answers of endpoints that were not taken, or were cut off, by what was wrong with them.",
        ("cause",),
        lambda seen: seen.counted["bad_answers"],
    ),
    Family(
        "isochrone_drain_state",
        "gauge",
        "0 not draining, 1 lameduck, 2 closing, 3 cutting what is left.",
        (),
        lambda seen: seen.drain_state,
    ),
    Family(
        "isochrone_drain_forced",
        "counter",
        "What the deadline of a drain cut.",
        ("kind",),
        lambda seen: seen.counted["forced"],
    ),
    Family(
        "isochrone_pop_drained",
        "gauge",
        "1 where the operator drained the PoP.",
        ("pop",),
        lambda seen: seen.drained,
    ),
    Family(
        "isochrone_pop_in_flight",
        "gauge",
        "Exchanges under way in a PoP, all services; its capacity bounds those that are no tunnels.",
        ("pop",),
        lambda seen: {pop: under_way.in_flight for pop, under_way in seen.in_pops.items()},
    ),
    Family(
        "isochrone_geoip_lookups",
        "counter",
        "Clients located, by what was found.",
        ("result",),
        lambda seen: seen.counted["lookups"],
    ),
    Family(
        "isochrone_geoip_age_seconds",
        "gauge",
        "Since a database in use was built by its maker.",
        ("database",),
        lambda seen: {path: age_s for path, (age_s, _) in seen.databases.items() if age_s is not None},
    ),
    Family(
        "isochrone_geoip_refused",
        "gauge",
        "1 where the file there now can't be used; the last good one stays.",
        ("database",),
        lambda seen: {path: is_refused for path, (_, is_refused) in seen.databases.items()},
    ),
    Family(
        "isochrone_table_generation",
        "gauge",
        "Of the table that routes; it grows with each change.",
        (),
        lambda seen: seen.generation,
    ),
    Family(
        "isochrone_table_age_seconds",
        "gauge",
        "Since the table was built.",
        (),
        lambda seen: seen.table_age_s,
    ),
    Family(
        "isochrone_table_build_seconds",
        "gauge",
        "What the last build took.",
        (),
        lambda seen: seen.build_s,
    ),
    Family(
        "isochrone_probes_late_seconds",
        "gauge",
        "How long the probe waits that waits longest for its turn; some places are each PoP's own.",
        (),
        lambda seen: seen.probes_late_s,
    ),
    Family(
        "isochrone_config_reloads",
        "counter",
        "Configurations read again, or changed by another source than the file, by what came of it.",
        ("result",),
        lambda seen: seen.reloads,
    ),
    Family(
        "isochrone_config_reload_timestamp_seconds",
        "gauge",
        "Of the last file put in use (the first one by the start) or refused, Unix time; 0: none yet.",
        ("result",),
        lambda seen: seen.reload_times,
    ),
    Family(
        "isochrone_config_refused_objects",
        "gauge",
        "Objects of the configuration in use that do not serve, for they are broken or lack what they name; by their source.",
        ("source",),
        lambda seen: seen.refused,
    ),
    Family(
        "isochrone_ready",
        "gauge",
        "1 where /readyz says 200.",
        (),
        lambda seen: seen.is_ready,
    ),
    Family(
        "isochrone_worker_silence_seconds",
        "gauge",
        "Since a worker last turned; over 2 it hangs.",
        ("worker",),
        lambda seen: {str(number): silence_s for number, silence_s in enumerate(seen.silences_s)},
    ),
    Family(
        "isochrone_worker_connections",
        "gauge",
        "Clients' connections that a worker has now.",
        ("worker",),
        lambda seen: {str(number): count for number, count in enumerate(seen.counted["n_open"])},
    ),
    Family(
        "isochrone_access_log_dropped",
        "counter",
        "Access log records lost. full: the memory was, the writer being slow; failed: the file could not be written.",
        ("cause",),
        lambda seen: seen.log_dropped,
    ),
    Family(
        "isochrone_bad_transitions",
        "counter",
        "State machines asked for what is not listed. Not 0 means a bug: please report.",
        (),
        lambda seen: seen.counted["figures"]["bad_transitions"],
    ),
    Family(
        "isochrone_build",
        "info",
        "The program.",
        ("version", "python"),
        lambda _: {(version(), platform.python_version()): 1},
    ),
)

POOL = ("service", "pop")  # labels of each of the following

OF_POOL: tuple[Family[PoolReading], ...] = (
    Family(
        "isochrone_requests",
        "counter",
        "Exchanges that ended, by the status sent to the client.",
        (*POOL, "code"),
        lambda pool: pool.figures["codes"],
    ),
    Family(
        "isochrone_request_duration_seconds",
        "histogram",
        "From a request's first byte to the end of its answer.",
        POOL,
        lambda pool: Histogram(pool.figures["duration_buckets"], pool.figures["duration_us"] / 1e6) if pool.is_used else None,
    ),
    Family(
        "isochrone_upstream_first_byte_seconds",
        "histogram",
        "From the last byte sent to a PoP to the first byte of its answer.",
        POOL,
        lambda pool: Histogram(pool.figures["first_byte_buckets"], pool.figures["first_byte_us"] / 1e6) if pool.is_used else None,
    ),
    Family(
        "isochrone_decisions",
        "counter",
        "PoPs chosen, by why; counted when the exchange ends.",
        (*POOL, "reason"),
        lambda pool: pool.figures["reasons"],
    ),
    Family(
        "isochrone_bytes",
        "counter",
        "Body bytes moved; up: from clients to PoPs.",
        (*POOL, "direction"),
        lambda pool: {"up": pool.figures["bytes_up"], "down": pool.figures["bytes_down"]} if pool.is_used else None,
    ),
    Family(
        "isochrone_endpoints",
        "gauge",
        "Endpoints by state. admitting take traffic; probing wait for a probe; shut failed theirs; ejected answered badly; unready and"
        " terminating are their source's word.",
        (*POOL, "state"),
        lambda pool: pool.endpoints,
    ),
    Family(
        "isochrone_endpoint_ejections",
        "counter",
        "Endpoints left out for a while for what they answered, by the rule that found them.",
        (*POOL, "cause"),
        lambda pool: pool.ejections if pool.is_used or any(pool.ejections.values()) else None,
    ),
    Family(
        "isochrone_pop_availability",
        "gauge",
        "Share of its traffic that a PoP can take, 0 to 1: 1.4 * ready / total.",
        POOL,
        lambda pool: pool.figures["availability"],
    ),
    Family(
        "isochrone_pop_admit",
        "gauge",
        "Share of requests that consider the PoP: availability * shed * ramp.",
        POOL,
        lambda pool: pool.figures["admit"],
    ),
    Family(
        "isochrone_pop_headroom",
        "gauge",
        "Share of the capacity, the PoP's or the service's own there, that is free.",
        POOL,
        lambda pool: pool.headroom,
    ),
    Family(
        "isochrone_pop_penalty_seconds",
        "gauge",
        "What failures, refusals and a backlog add to every estimate of the PoP.",
        POOL,
        lambda pool: pool.figures["penalty_ms"] / 1000,
    ),
    Family(
        "isochrone_pop_fails_more",
        "gauge",
        "1 while answers of 5xx count in the PoP's penalty because the service's other PoPs give far fewer of them.",
        POOL,
        lambda pool: pool.fails_more,
    ),
    Family(
        "isochrone_pop_shed",
        "gauge",
        "Share of requests that the PoP's capacities, or without any its queue, leave it; below 1 a part is passed on to others.",
        POOL,
        lambda pool: pool.figures["shed"],
    ),
    Family(
        "isochrone_pop_path_seconds",
        "gauge",
        "This gateway's own path to the PoP: a round trip, as measured. Without a series: not measured yet.",
        POOL,
        lambda pool: pool.figures["path_ms"] / 1000 if pool.figures["path_ms"] >= 0 else None,
    ),
    Family(
        "isochrone_pop_service_seconds",
        "gauge",
        "What the PoP itself takes to a first byte, as measured. Without a series: not measured yet.",
        POOL,
        lambda pool: pool.figures["service_ms"] / 1000 if pool.figures["samples"] > 0 else None,
    ),
    Family(
        "isochrone_pop_service_spread_seconds",
        "gauge",
        "One standard deviation of what that time may be in truth; a difference within four of them moves nobody.",
        POOL,
        lambda pool: pool.figures["spread_ms"] / 1000 if pool.figures["samples"] > 0 else None,
    ),
    Family(
        "isochrone_in_flight",
        "gauge",
        "Exchanges under way.",
        POOL,
        lambda pool: pool.figures["in_flight"],
    ),
    Family(
        "isochrone_source_age_seconds",
        "gauge",
        "Since a pool's Kubernetes API was last heard. Bookmarks come each minute.",
        POOL,
        lambda pool: pool.source_age_s,
    ),
    Family(
        "isochrone_source_kept",
        "gauge",
        "1 while a pool's endpoints are those that its Kubernetes API named to the last process, for it has not answered this one.",
        POOL,
        lambda pool: pool.is_kept,
    ),
)


def version() -> str:
    try:
        return metadata.version("isochrone")
    except metadata.PackageNotFoundError:
        return "unknown"
