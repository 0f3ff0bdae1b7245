"""Splits the limits of the whole gateway over its workers; text becomes prefixes."""
cimport cython

import ipaddress

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from gateway.dataplane.http1._words cimport Underscores
from routing_core._budget cimport FORGIVEN_S

_UNDERSCORES = ("refuse", "drop", "pass")        # in the order of Underscores
_MAX_HEAD_BYTES = 60 * 1024      # a head, and what is added to it, must fit a large buffer


@cython.final
cdef class CompiledSettings:
    """The C form of Settings for one of n_workers."""

    def __cinit__(self, settings not None, int n_workers):
        cdef bytes via = f"1.1 {settings.name}".encode()
        cdef bytes address
        if not 256 <= settings.head_bytes <= _MAX_HEAD_BYTES:
            raise ValueError(f"head_bytes: must be from 256 to {_MAX_HEAD_BYTES}, got {settings.head_bytes}")
        if len(via) > MAX_VIA:
            raise ValueError(f"name: must be at most {MAX_VIA - 4} bytes, got {len(via) - 4}")
        if len(settings.trusted) > MAX_TRUSTED:
            raise ValueError(f"trusted: must be at most {MAX_TRUSTED} prefixes, got {len(settings.trusted)}")
        if not 0 <= settings.max_retries < MAX_ATTEMPTS:
            raise ValueError(f"max_retries: must be from 0 to {MAX_ATTEMPTS - 1}, got {settings.max_retries}")
        if settings.underscores not in _UNDERSCORES:
            raise ValueError(f"underscores: must be one of {', '.join(_UNDERSCORES)}, got {settings.underscores!r}")
        for name in ("request_head_ms", "keep_alive_idle_ms", "body_progress_ms", "connect_ms", "first_byte_ms", "upstream_idle_ms",
                     "queue_ms", "tunnel_idle_ms", "linger_ms"):
            if getattr(settings, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(settings, name)}")
        self.settings.request_head_ms = settings.request_head_ms
        self.settings.keep_alive_idle_ms = settings.keep_alive_idle_ms
        self.settings.body_progress_ms = settings.body_progress_ms
        self.settings.connect_ms = settings.connect_ms
        self.settings.first_byte_ms = settings.first_byte_ms
        self.settings.upstream_idle_ms = settings.upstream_idle_ms
        self.settings.queue_ms = settings.queue_ms
        self.settings.tunnel_idle_ms = settings.tunnel_idle_ms
        self.settings.linger_ms = settings.linger_ms
        self.settings.head_bytes = settings.head_bytes
        self.settings.max_fields = settings.max_fields
        self.settings.manners.underscores = <Underscores><int>_UNDERSCORES.index(settings.underscores)
        self.settings.manners.takes_non_ascii = settings.takes_non_ascii
        self.settings.body_bytes = settings.body_bytes
        self.settings.body_rate = settings.body_rate
        self.settings.max_connections = settings.connections_per_listener
        self.settings.max_upstream = settings.connections_per_endpoint
        self.settings.max_queue = settings.queue_per_endpoint
        for name, most in (("v4_bits", 32), ("v6_bits", 128)):
            if not 1 <= getattr(settings, name) <= most:
                raise ValueError(f"{name}: must be from 1 to {most}, got {getattr(settings, name)}")
        if settings.buffer_bytes < 1 << 20:
            raise ValueError(f"buffer_bytes: must be at least {1 << 20}, got {settings.buffer_bytes}")
        self.settings.buffers_for_new = settings.buffer_bytes // 2
        self.settings.v4_bits = settings.v4_bits
        self.settings.v6_bits = settings.v6_bits
        self.settings.client_connections = settings.client_connections
        self.settings.client_exchanges = settings.client_exchanges
        self.settings.max_retries = settings.max_retries
        self.settings.budget.share_milli = <int64_t>(settings.budget_share * 1000)
        self.settings.budget.floor_milli = round(settings.budget_floor_per_s * 1000 * FORGIVEN_S)
        self.settings.forwarded_hops = settings.forwarded_hops
        self.settings.reads_forwarded = settings.forwarded_header == "forwarded"
        self.settings.has_debug_fields = settings.debug_headers
        self.settings.log_share = <unsigned int>(min(max(settings.log_share, 0.0), 1.0) * (1 << 20))
        memcpy(self.settings.via, <const char *>via, len(via))
        self.settings.via_length = len(via)
        for i, text in enumerate(settings.trusted):
            network = ipaddress.ip_network(text, strict=False)
            is_v4 = network.version == 4
            address = (b"\0" * 10 + b"\xff\xff" if is_v4 else b"") + network.network_address.packed
            memcpy(self.settings.trusted[<int>i].address, <const char *>address, 16)
            self.settings.trusted[<int>i].bits = network.prefixlen + (96 if is_v4 else 0)
            self.settings.n_trusted = <int>i + 1
