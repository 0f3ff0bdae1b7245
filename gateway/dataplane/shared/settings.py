"""Settings: what the operator configured for requests, in Python's terms. Control fills it, CompiledSettings compiles it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in ms; limits are of the whole gateway. The defaults are those of the configuration."""

    request_head_ms: int = 10_000
    keep_alive_idle_ms: int = 75_000
    body_progress_ms: int = 30_000
    connect_ms: int = 2_000
    first_byte_ms: int = 60_000
    upstream_idle_ms: int = 4_000
    queue_ms: int = 1_000
    tunnel_idle_ms: int = 3_600_000
    linger_ms: int = 1_000
    head_bytes: int = 32_768  # at most 60 KiB: a head must fit a large buffer
    max_fields: int = 100
    underscores: str = "drop"  # in names of requests' fields: refuse, drop or pass
    takes_non_ascii: bool = False  # raw, in a request's target
    body_bytes: int = 0  # of a request; 0: no limit
    body_rate: int = 240  # bytes a second that a client must send or read in the long run; 0: any
    connections_per_listener: int = 50_000
    connections_per_endpoint: int = 1_024
    queue_per_endpoint: int = 128
    buffer_bytes: int = 256 << 20  # of all workers; half of it is for what is new
    v4_bits: int = 32  # of an address that are one client's
    v6_bits: int = 64
    client_connections: int = 0  # of one client; 0: no cap
    client_exchanges: int = 0
    max_retries: int = 2
    budget_share: float = 0.2
    budget_floor_per_s: float = 10.0  # in the mean of a minute
    trusted: tuple[str, ...] = ()  # prefixes of trusted hops
    forwarded_hops: int = 1
    forwarded_header: str = "x-forwarded-for"  # or "forwarded"
    debug_headers: bool = False
    log_share: float = 0.0  # of the exchanges
    name: str = "isochrone"  # of this gateway, in Via
