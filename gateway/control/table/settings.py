"""Settings: the part of the configuration that a worker reads for each request, in the data plane's terms. Pure translation."""

from __future__ import annotations

import secrets

from gateway.control.process.allowance import memory_bytes, n_cpus
from gateway.dataplane import Settings
from gateway.model import Config, Size
from routing_core import MAX_WORKERS

MIN_BUFFERS = 16 << 20
BUFFERS_PART = 4  # of the memory that this process may have: tables, connections and what the system holds in sockets need some too

# One for as long as this process serves, reloads and all. No machine's name: two gateways of one machine may stand in one another's way.
_MADE_UP_NAME = f"isochrone-{secrets.token_hex(8)}"


def settings_of(config: Config) -> Settings:
    timeouts, limits, retries, client = config.timeouts, config.limits, config.retries, config.client_ip
    return Settings(
        request_head_ms=timeouts.request_head.ms,
        keep_alive_idle_ms=timeouts.keep_alive_idle.ms,
        body_progress_ms=timeouts.body_progress.ms,
        connect_ms=timeouts.connect.ms,
        first_byte_ms=timeouts.first_byte.ms,
        upstream_idle_ms=timeouts.upstream_idle.ms,
        queue_ms=timeouts.queue.ms,
        tunnel_idle_ms=timeouts.tunnel_idle.ms,
        linger_ms=max(timeouts.linger.ms, 1),  # 0s: the next tick
        head_bytes=limits.head_bytes,
        max_fields=limits.fields,
        underscores=config.requests.underscores,
        takes_non_ascii=config.requests.non_ascii == "pass",
        body_bytes=limits.body_bytes,
        body_rate=limits.body_rate,
        connections_per_listener=limits.connections,
        connections_per_endpoint=limits.connections_per_endpoint,
        queue_per_endpoint=limits.queue_per_endpoint,
        buffer_bytes=buffer_bytes(config),
        v4_bits=limits.per_client.v4,
        v6_bits=limits.per_client.v6,
        client_connections=limits.per_client.connections,
        client_exchanges=limits.per_client.exchanges,
        max_retries=retries.max,
        budget_share=retries.budget_share,
        budget_floor_per_s=retries.budget_floor,
        trusted=tuple(str(prefix) for prefix in client.trusted_proxies),
        forwarded_hops=client.forwarded_hops,
        forwarded_header=client.header,
        debug_headers=config.debug_headers,
        log_share=config.access_log.sample if config.access_log is not None else 0.0,
        name=name_of(config),
    )


def name_of(config: Config) -> str:
    """Of this gateway: as configured, or one of this process alone."""
    return config.gateway.name or _MADE_UP_NAME


def n_workers(config: Config) -> int:
    if config.gateway.workers != "auto":
        return config.gateway.workers
    return min(MAX_WORKERS, n_cpus())


def buffer_bytes(config: Config) -> Size:
    if config.limits.buffers != "auto":
        return config.limits.buffers
    return Size(max(MIN_BUFFERS, memory_bytes() // BUFFERS_PART >> 20 << 20))
