"""Settings: what the operator configured for requests, compiled. Immutable, part of a snapshot.

Must not know the configuration file's form.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from gateway.dataplane.http1._words cimport Manners
from routing_core._budget cimport BudgetTerms

cdef enum:
    MAX_ATTEMPTS = 4        # connections tried for one exchange, the first included; those apart that other PoPs refused
    MAX_TRUSTED = 64
    MAX_VIA = 128

cdef struct Prefix:
    uint8_t address[16]     # IPv4 as ::ffff:a.b.c.d
    int32_t bits            # of the 128

cdef struct Settings:
    # deadlines
    int64_t request_head_ms     # from the head's first byte to its end
    int64_t keep_alive_idle_ms  # between exchanges
    int64_t body_progress_ms    # longest pause while a body moves, either side, either way
    int64_t connect_ms
    int64_t first_byte_ms       # from the request's last byte sent to the answer's first
    int64_t upstream_idle_ms
    int64_t queue_ms
    int64_t tunnel_idle_ms
    int64_t linger_ms           # after the last answer: wait for the client's end
    # limits, of the whole gateway
    uint32_t head_bytes
    int32_t max_fields
    Manners manners
    int64_t body_bytes          # 0: none
    int64_t body_rate           # bytes a second that a client must send or read in the long run; 0: any
    int32_t max_connections     # per listener
    int32_t max_upstream        # connections per endpoint
    int64_t buffers_for_new     # bytes of buffers, of all workers, beyond which nothing new gets any
    int32_t v4_bits             # of an address that are one client's
    int32_t v6_bits
    int64_t client_connections  # of one client; 0: no cap
    int64_t client_exchanges
    int32_t max_queue           # exchanges waiting per endpoint
    # retries
    int32_t max_retries
    BudgetTerms budget
    # who the client is
    int32_t n_trusted
    Prefix trusted[MAX_TRUSTED]
    int32_t forwarded_hops
    bint reads_forwarded        # Forwarded (RFC 7239) instead of X-Forwarded-For
    # what is added
    bint has_debug_fields
    uint32_t log_share          # of 1 << 20: exchanges that are logged
    uint32_t via_length
    char via[MAX_VIA]           # "1.1 edge-1"

cdef class CompiledSettings:
    cdef Settings settings
