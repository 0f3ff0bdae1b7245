"""Readings: all figures of one moment, of which metrics are made. Declarations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.control.operator.pools import InPop
from routing_core import PoolFigures

if TYPE_CHECKING:
    from gateway.dataplane.shared._counters import Counted


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

    @property
    def is_used(self) -> bool:
        """Whether it has served anybody."""
        return bool(self.figures["durations"])


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
    refused: dict[str, int]  # objects of the configuration, by source
    reload_times: dict[str, float]  # by result: of the last, Unix time; 0: none yet
