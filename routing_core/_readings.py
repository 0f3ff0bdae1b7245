"""Readings: what Figures answers, key by key. Must not know how it is kept."""

from typing import TypedDict


class EndpointFigures(TypedDict):
    """What read_endpoint() answers."""

    in_flight: int
    connections: int
    awaiting: int
    attempts: int
    connect_failures: int
    failures: int
    latency_us: int
    state: str
    forgiven: int
    weight: float
    is_admitting: bool
    is_answering: bool
    answers: int
    errors: int
    first_bytes: int
    first_byte_us: int
    server_errors: int


class PoolFigures(TypedDict):
    """What read_pool() answers."""

    in_flight: int
    connect_us: int
    connects: int
    first_byte_us: int
    first_bytes: int
    waiting: int
    lay_us: int
    duration_us: int
    durations: int
    bytes_up: int
    bytes_down: int
    codes: dict[str, int]
    reasons: dict[str, int]
    first_byte_buckets: list[int]
    duration_buckets: list[int]
    attempts: int
    failures: int
    server_errors: int
    rate_limited: int
    retry_after_ms: int
    admit: float
    availability: float
    shed: float
    ramp: float
    answering: int
    tunnels: int
    spared: int
    spared_in_pop: int
    all_zones: float  # share of requests
    penalty_ms: float
    service_ms: float
    path_ms: float
    samples: int
    spread_ms: float
    hope_ms: float
    most_ms: float
    usual: int
