"""Rows of one kind lie in blocks of ROWS: their gates side by side, then their columns. Row = block * ROWS + place.

Over 400 lines: one layout of rows, and what control reads and writes of it."""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from routing_core._atomic cimport load_relaxed, store_release
from routing_core._memory cimport FIGURES, give, take

cdef enum:
    ROWS = 16                   # a block: small, so that a sidecar with two pools stays small
    OTHER_CODES = 58            # first slot of the codes without one of their own

cdef enum RowKind:
    ENDPOINT_ROW
    POOL_ROW
    SERVICE_ROW
    POP_ROW

globals()["MAX_WORKERS"] = MAX_WORKERS      # an enum of the .pxd is not seen from Python
KINDS = ("endpoint", "pool", "service", "pop")
GATE_STATES = ("admitting", "probing", "shut", "silent")
RETRY_OUTCOMES = ("good", "bad", "no_budget", "no_tries", "unsafe")
cdef const char *REASON_TEXTS[10]       # index is Reason
REASON_TEXTS = ["none", "fastest", "window", "affinity", "spill", "failover", "panic", "order", "ramp", "explore"]
REASONS = tuple([text.decode() for text in REASON_TEXTS])
BUCKETS_MS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0)
# RFC 9110, the WebDAV codes that proxies meet, 425, 429, 431, 451, 511, and 499: the client went away (nginx).
CODES = (
    *range(100, 104), *range(200, 208), *range(300, 306), 307, 308, *range(400, 418), *range(421, 427), 428, 429, 431, 451, 499,
    *range(500, 508), 511,
)
CODE_LABELS = (*map(str, CODES), "1xx", "2xx", "3xx", "4xx", "5xx", "other")


cdef signed char slots[600]
cdef int64_t bounds_us[<int>N_BUCKETS - 1]


cdef int fill_constants() except -1:
    """Once, at import: what workers read."""
    cdef int code, slot
    assert len(CODES) == OTHER_CODES and len(CODE_LABELS) == N_CODES and len(BUCKETS_MS) == N_BUCKETS - 1
    for code in range(100, 600):
        slots[code] = OTHER_CODES + code // 100 - 1
    for slot, code in enumerate(CODES):
        slots[code] = slot
    for slot, bound in enumerate(BUCKETS_MS):
        bounds_us[slot] = int(bound * 1000)
    return 0


fill_constants()


cdef int slot_of_code(int code) noexcept nogil:
    return slots[code] if 100 <= code < 600 else N_CODES - 1


cdef const char *reason_text(int reason) noexcept nogil:
    return REASON_TEXTS[reason]


cdef int bucket_of_us(int64_t us) noexcept nogil:
    cdef int bucket = 0
    while bucket < N_BUCKETS - 1 and us > bounds_us[bucket]:
        bucket += 1
    return bucket


cdef bint is_forgiven(const EndpointGate *gate, const EndpointColumn *columns, int n_workers) noexcept nogil:
    return sum_cells(&columns.connect_failures, ENDPOINT_CELLS, n_workers) <= load_relaxed(&gate.forgiven)


cdef bint is_admitting(const EndpointGate *gate, const EndpointColumn *columns, int n_workers) noexcept nogil:
    return load_relaxed(&gate.state) == ADMITTING and is_forgiven(gate, columns, n_workers)


cdef bint is_answering(const EndpointGate *gate, const EndpointColumn *columns, int n_workers) noexcept nogil:
    return (load_relaxed(&gate.state) == ADMITTING or load_relaxed(&gate.has_answered)) and is_forgiven(gate, columns, n_workers)


# Sum over the workers of the cell that lies `offset` cells from `first` (a cell of worker 0), `stride` cells from worker to worker.
cdef int64_t sum_cells(const int64_t *first, int stride, int n_workers) noexcept nogil:
    cdef int64_t total = 0
    cdef int worker
    for worker in range(n_workers):
        total += load_relaxed(first + worker * stride)
    return total


cdef int64_t sum_levels(const int64_t *first, int stride, const Crew *crew) noexcept nogil:
    cdef int64_t hung = load_relaxed(&crew.hung)
    cdef int64_t total = 0
    cdef int worker
    for worker in range(<int>crew.n_workers):
        if not hung >> worker & 1:
            total += load_relaxed(first + worker * stride)
    return total


cdef enum:
    ENDPOINT_CELLS = sizeof(EndpointColumn) // sizeof(int64_t)
    POOL_CELLS = sizeof(PoolColumn) // sizeof(int64_t)
    SERVICE_CELLS = sizeof(ServiceColumn) // sizeof(int64_t)
    DEBT_CELLS = sizeof(ServiceDebt) // sizeof(int64_t)
    POP_CELLS = sizeof(PopColumn) // sizeof(int64_t)
    ENDPOINT_GATE_CELLS = sizeof(EndpointGate) // sizeof(int64_t)
    POOL_GATE_CELLS = sizeof(PoolGate) // sizeof(int64_t)
    MAX_US = 0x7FFFFFFF         # half of a version's cell, 35 minutes

cdef const char *MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"     # of an address of 16 bytes that is one of IPv4: RFC 4291 2.5.5.2
cdef uint64_t ODD = 0x9E3779B97F4A7C15u     # spreads the bits of a number: 2**64 over the golden ratio


cdef int group_of(const uint8_t *client) noexcept nogil:
    # In steps that are a load each: of twelve bytes, or of so many as it turns out, memcmp() and memcpy() are calls.
    cdef uint64_t network = 0
    if memcmp(client, MAPPED, 8) == 0 and memcmp(client + 8, <const char *>MAPPED + 8, 4) == 0:
        memcpy(&network, client + 12, 3)
    else:
        memcpy(&network, client, 6)
    network *= ODD
    return <int>((network ^ network >> 32) * ODD >> 61)


# What add_to_group() has counted in all columns, as one number: 32 bits a group.
cdef object sum_groups(const int64_t *first, int stride, int n_workers):
    cdef uint32_t totals[GROUPS]
    cdef uint64_t cell
    cdef int worker, i
    memset(totals, 0, sizeof(totals))
    for worker in range(n_workers):
        for i in range(GROUP_CELLS):
            cell = <uint64_t>load_relaxed(first + worker * stride + i)
            totals[2 * i] += <uint32_t>cell
            totals[2 * i + 1] += <uint32_t>(cell >> 32)
    return int.from_bytes((<const char *>totals)[:sizeof(totals)], "little")


# A number that is another one as soon as any of what control asks of a pool ten times a second is.
cdef uint64_t pool_print(const PoolColumn *columns, const Crew *crew) noexcept nogil:
    cdef int n_workers = <int>crew.n_workers
    cdef uint64_t found = <uint64_t>sum_levels(&columns.in_flight, POOL_CELLS, crew) * ODD
    cdef int i
    found = (found ^ <uint64_t>sum_levels(&columns.waiting, POOL_CELLS, crew)) * ODD
    for i in range(4):
        found = (found ^ <uint64_t>sum_cells(&columns.connect_us + i, POOL_CELLS, n_workers)) * ODD
    found = (found ^ <uint64_t>sum_cells(&columns.lay_us, POOL_CELLS, n_workers)) * ODD
    for i in range(5):
        found = (found ^ <uint64_t>sum_cells(&columns.attempts + i, POOL_CELLS, n_workers)) * ODD
    return found


cdef list read_cells(const int64_t *first, int n, int stride, int n_workers):
    cdef int i
    return [sum_cells(first + i, stride, n_workers) for i in range(n)]


cdef int64_t fixed_point(object value, str name) except -1:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: must be from 0 to 1, got {value!r}")
    return round(value * SCALE)


cdef int64_t whole(object value, str name) except -1:
    if not 0 <= value < 1 << 62:
        raise ValueError(f"{name}: must be a number from 0, got {value!r}")
    return round(value)


@cython.final
cdef class Figures:
    """Live figures of the whole gateway. For one control thread; workers use the C side."""

    def __cinit__(self, int n_workers):
        if not 1 <= n_workers <= MAX_WORKERS:
            raise ValueError(f"n_workers: must be from 1 to {MAX_WORKERS}, got {n_workers}")
        self.n_workers = n_workers
        self.pace = <Pace *>take(FIGURES, sizeof(Pace))
        self.crew = <Crew *>take(FIGURES, sizeof(Crew))
        if self.pace == NULL or self.crew == NULL:
            raise MemoryError
        self.crew.n_workers = n_workers
        self.kinds = []
        self.free_rows = [[] for _ in KINDS]

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_blocks):
            give(FIGURES, self.blocks[i])
        give(FIGURES, self.blocks)
        give(FIGURES, self.pace)
        give(FIGURES, self.crew)

    cdef void *row_block(self, int row) except NULL:
        if not 0 <= row < self.n_blocks * ROWS or self.kinds[row] is None:
            raise IndexError(f"row {row}: not in use")
        return self.blocks[row // ROWS]

    cdef int add_block(self, int kind) except -1:
        # The list of blocks is control's alone, so it may move; the blocks never do.
        cdef size_t gate_bytes = 0
        cdef size_t column_bytes
        if kind == ENDPOINT_ROW:
            gate_bytes, column_bytes = sizeof(EndpointGate), sizeof(EndpointColumn)
        elif kind == POOL_ROW:
            gate_bytes, column_bytes = sizeof(PoolGate), sizeof(PoolColumn)
        elif kind == SERVICE_ROW:
            gate_bytes, column_bytes = sizeof(ServiceDebt), sizeof(ServiceColumn)
        else:
            column_bytes = sizeof(PopColumn)
        cdef void **blocks = <void **>take(FIGURES, (self.n_blocks + 1) * sizeof(void *))
        if blocks == NULL:
            raise MemoryError
        cdef void *block = take(FIGURES, ROWS * (gate_bytes + self.n_workers * column_bytes))
        if block == NULL:
            give(FIGURES, blocks)
            raise MemoryError
        if self.n_blocks > 0:
            memcpy(blocks, self.blocks, self.n_blocks * sizeof(void *))
        blocks[self.n_blocks] = block
        give(FIGURES, self.blocks)
        self.blocks = blocks
        first = self.n_blocks * ROWS
        self.n_blocks += 1
        self.kinds += [None] * ROWS
        self.free_rows[kind] += range(first + ROWS - 1, first - 1, -1)
        return 0

    cdef int64_t *columns_of(self, int row, int kind, int gate_cells, int column_cells) except NULL:
        cdef int64_t *block = <int64_t *>self.row_block(row)
        if self.kinds[row] != kind:
            raise IndexError(f"row {row}: is of kind {KINDS[self.kinds[row]]}, not {KINDS[kind]}")
        return block + ROWS * gate_cells + (row % ROWS) * self.n_workers * column_cells

    cdef EndpointGate *endpoint_gate(self, int row) except NULL:
        self.endpoint_columns(row)
        return <EndpointGate *>self.blocks[row // ROWS] + row % ROWS

    cdef EndpointColumn *endpoint_columns(self, int row) except NULL:
        return <EndpointColumn *>self.columns_of(row, ENDPOINT_ROW, ENDPOINT_GATE_CELLS, ENDPOINT_CELLS)

    cdef PoolGate *pool_gate(self, int row) except NULL:
        self.pool_columns(row)
        return <PoolGate *>self.blocks[row // ROWS] + row % ROWS

    cdef PoolColumn *pool_columns(self, int row) except NULL:
        return <PoolColumn *>self.columns_of(row, POOL_ROW, POOL_GATE_CELLS, POOL_CELLS)

    cdef ServiceDebt *service_debt(self, int row) except NULL:
        self.service_columns(row)
        return <ServiceDebt *>self.blocks[row // ROWS] + row % ROWS

    cdef ServiceColumn *service_columns(self, int row) except NULL:
        return <ServiceColumn *>self.columns_of(row, SERVICE_ROW, DEBT_CELLS, SERVICE_CELLS)

    cdef PopColumn *pop_columns(self, int row) except NULL:
        return <PopColumn *>self.columns_of(row, POP_ROW, 0, POP_CELLS)

    def acquire(self, str kind not None) -> int:
        """A fresh row, all zero but its gate: admitting, weight 1, admit 1, availability 1, shed 1, ramp 1, path unknown."""
        if kind not in KINDS:
            raise ValueError(f"kind: must be one of {', '.join(KINDS)}, got {kind!r}")
        cdef int number = KINDS.index(kind)
        if not self.free_rows[number]:
            self.add_block(number)
        cdef int row = self.free_rows[number].pop()
        self.kinds[row] = number
        if number == ENDPOINT_ROW:
            clear(<int64_t *>self.endpoint_gate(row), ENDPOINT_GATE_CELLS)
            clear(<int64_t *>self.endpoint_columns(row), self.n_workers * ENDPOINT_CELLS)
            store_release(&self.endpoint_gate(row).weight, SCALE)
        elif number == POOL_ROW:
            clear(<int64_t *>self.pool_gate(row), POOL_GATE_CELLS)
            clear(<int64_t *>self.pool_columns(row), self.n_workers * POOL_CELLS)
            self.set_pool(row, admit=1, availability=1, shed=1, ramp=1, path_ms=-1, service_ms=0, hope_ms=-1)
        elif number == POP_ROW:
            clear(<int64_t *>self.pop_columns(row), self.n_workers * POP_CELLS)
        else:
            clear(<int64_t *>self.service_debt(row), DEBT_CELLS)
            clear(<int64_t *>self.service_columns(row), self.n_workers * SERVICE_CELLS)
        return row

    def release(self, int row) -> None:
        """Give a row back. The caller has seen every worker on a table without it, and nothing is in use there. ValueError when something
        still is, IndexError when it is no row."""
        cdef int64_t n = self.in_use(row)
        if n:
            raise ValueError(f"row {row}: {n} in use")
        kind = self.kinds[row]
        self.kinds[row] = None
        self.free_rows[kind].append(row)

    def in_use(self, int row) -> int:
        """What is in flight at a row, and an endpoint's connections and who waits for one: of all workers, those that hang among them."""
        self.row_block(row)
        kind = self.kinds[row]
        if kind == ENDPOINT_ROW:
            return (sum(read_cells(&self.endpoint_columns(row).in_flight, 2, ENDPOINT_CELLS, self.n_workers))
                    + load_relaxed(&self.endpoint_gate(row).share.n_waiting))
        if kind == POOL_ROW:
            return sum_cells(&self.pool_columns(row).in_flight, POOL_CELLS, self.n_workers)
        return sum_cells(&self.pop_columns(row).in_flight, POP_CELLS, self.n_workers) if kind == POP_ROW else 0

    def read_endpoint(self, int row) -> dict:
        """EndpointFigures: sums over the workers; each exact, a sum is of slightly different moments. What workers have that hang is left
        out here as in all that follows: what is in flight, and connections."""
        cdef const EndpointColumn *columns = self.endpoint_columns(row)
        cdef const EndpointGate *gate = self.endpoint_gate(row)
        cdef int64_t latency = 0
        cdef int worker
        for worker in range(self.n_workers):
            latency = max(latency, load_relaxed(&columns[worker].latency_us))
        names = ("attempts", "connect_failures", "failures")
        return {
            "in_flight": sum_levels(&columns.in_flight, ENDPOINT_CELLS, self.crew),
            "connections": sum_levels(&columns.connections, ENDPOINT_CELLS, self.crew),
            "awaiting": sum_levels(&columns.awaiting, ENDPOINT_CELLS, self.crew),
            **dict(zip(names, read_cells(&columns.attempts, 3, ENDPOINT_CELLS, self.n_workers), strict=True)),
            **dict(zip(("answers", "errors", "first_bytes", "first_byte_us", "server_errors"), self.read_endpoint_outcomes(row)[:5],
                       strict=True)),
            "latency_us": latency,
            "state": GATE_STATES[load_relaxed(&gate.state)],
            "forgiven": load_relaxed(&gate.forgiven),
            "weight": load_relaxed(&gate.weight) / <double>SCALE,
            "is_admitting": is_admitting(gate, columns, self.n_workers),
            "is_answering": is_answering(gate, columns, self.n_workers),
        }

    def read_pool_times(self, int row) -> tuple:
        """What is asked of every pool ten times a second: in_flight, connect_us, connects, first_byte_us, first_bytes, waiting,
        lay_us of read_pool()."""
        cdef const PoolColumn *columns = self.pool_columns(row)
        return (sum_levels(&columns.in_flight, POOL_CELLS, self.crew), *read_cells(&columns.connect_us, 4, POOL_CELLS, self.n_workers),
                sum_levels(&columns.waiting, POOL_CELLS, self.crew), sum_cells(&columns.lay_us, POOL_CELLS, self.n_workers))

    def read_pool_served(self, int row) -> tuple:
        """Service times in us: by groups of client networks their sums, then their counts, then the sum of all squares, in us^2."""
        cdef const PoolColumn *columns = self.pool_columns(row)
        return (*read_cells(columns.served_us_by, 2 * GROUPS, POOL_CELLS, self.n_workers),
                sum_cells(&columns.served_squares, POOL_CELLS, self.n_workers) << 2 * SQUARE_BITS)

    def read_pool_outcomes(self, int row) -> tuple:
        """attempts, failures, server_errors, rate_limited, retry_after_ms of read_pool()."""
        return tuple(read_cells(&self.pool_columns(row).attempts, 5, POOL_CELLS, self.n_workers))

    def read_pool_groups(self, int row) -> tuple:
        """By groups of client networks, 32 bits each: all answers, those of 429, failures and server errors."""
        cdef const PoolColumn *columns = self.pool_columns(row)
        return (sum_groups(columns.answered_by, POOL_CELLS, self.n_workers), sum_groups(columns.limited_by, POOL_CELLS, self.n_workers),
                sum_groups(columns.bad_by, POOL_CELLS, self.n_workers))

    def read_held(self, const int32_t[::1] rows not None) -> tuple:
        """Of these pools together, by groups of client networks: of those in flight, how many go on for as long as their client likes."""
        cdef int64_t found[GROUPS]
        cdef Py_ssize_t i
        cdef int of
        for of in range(GROUPS):
            found[of] = 0
        for i in range(rows.shape[0]):
            for of in range(GROUPS):
                found[of] += sum_levels(&self.pool_columns(rows[i]).held[of], POOL_CELLS, self.crew)
        return tuple([found[of] for of in range(GROUPS)])

    def read_waiting(self, int row) -> tuple:
        """By groups of client networks: how many wait for this pool's answer."""
        cdef const PoolColumn *columns = self.pool_columns(row)
        cdef int of
        return tuple([sum_levels(&columns.waiting_by[of], POOL_CELLS, self.crew) for of in range(GROUPS)])

    def read_endpoint_outcomes(self, int row) -> tuple:
        """answers, errors, first_bytes, first_byte_us, server_errors of read_endpoint(); and by groups of client networks, 32 bits
        each, those that were bad (errors and server errors), those that were good, and of both those that were slow."""
        cdef const EndpointColumn *columns = self.endpoint_columns(row)
        return (*read_cells(&columns.answers, 5, ENDPOINT_CELLS, self.n_workers),
                sum_groups(columns.bad_by, ENDPOINT_CELLS, self.n_workers), sum_groups(columns.good_by, ENDPOINT_CELLS, self.n_workers),
                sum_groups(columns.slow_by, ENDPOINT_CELLS, self.n_workers))

    def moved(self, const int32_t[::1] rows not None, uint64_t[::1] seen not None) -> list:
        """Places in `rows` where something is other than at the last call with this `seen`, which has as many items and starts as zeros: of
        a pool's row what read_pool_times() and read_pool_outcomes() answer, of an endpoint's whether it admits, and whether it answers."""
        cdef uint64_t found
        cdef Py_ssize_t i
        cdef int row
        cdef bint are_endpoints = rows.shape[0] > 0 and self.kinds[rows[0]] == ENDPOINT_ROW
        if rows.shape[0] != seen.shape[0]:
            raise ValueError(f"seen: must have {rows.shape[0]} items, got {seen.shape[0]}")
        places = []
        for i in range(rows.shape[0]):
            row = rows[i]
            if are_endpoints:
                found = (1 + is_admitting(self.endpoint_gate(row), self.endpoint_columns(row), self.n_workers)
                         + is_answering(self.endpoint_gate(row), self.endpoint_columns(row), self.n_workers))   # who admits answers
            else:
                found = pool_print(self.pool_columns(row), self.crew)
            if found != seen[i]:
                seen[i] = found
                places.append(i)
        return places

    def failed_connects(self, const int32_t[::1] rows not None, uint64_t[::1] seen not None) -> list:
        """Places in `rows`, of endpoints, where connect_failures of read_endpoint() is other than in `seen`, which then has it."""
        cdef uint64_t found
        cdef Py_ssize_t i
        if rows.shape[0] != seen.shape[0]:
            raise ValueError(f"seen: must have {rows.shape[0]} items, got {seen.shape[0]}")
        places = []
        for i in range(rows.shape[0]):
            found = <uint64_t>sum_cells(&self.endpoint_columns(rows[i]).connect_failures, ENDPOINT_CELLS, self.n_workers)
            if found != seen[i]:
                seen[i] = found
                places.append(i)
        return places

    def count_admitting(self, const int32_t[::1] rows not None) -> int:
        """How many of these endpoints admit."""
        cdef Py_ssize_t i
        cdef int count = 0
        for i in range(rows.shape[0]):
            count += is_admitting(self.endpoint_gate(rows[i]), self.endpoint_columns(rows[i]), self.n_workers)
        return count

    def count_answering(self, const int32_t[::1] rows not None) -> int:
        """How many of these endpoints admit, or would but for what probes were answered or outliers were judged by."""
        cdef Py_ssize_t i
        cdef int count = 0
        for i in range(rows.shape[0]):
            count += is_answering(self.endpoint_gate(rows[i]), self.endpoint_columns(rows[i]), self.n_workers)
        return count

    def begin_version(self, const int32_t[::1] rows not None, version) -> None:
        """Of each of these pools: the version of that number begins as the one before."""
        cdef PoolGate *gate
        cdef Py_ssize_t i
        cdef int slot, before
        if type(version) is not int or version < 1:
            raise ValueError(f"version: must be a whole number from 1, got {version!r}")
        slot, before = version % N_VERSIONS, (version - 1) % N_VERSIONS
        for i in range(rows.shape[0]):
            gate = self.pool_gate(rows[i])
            self.put_version(gate, slot, load_relaxed(&gate.versions[before]))

    # What workers keep of versions goes by the counts: they advance once the version is there.
    cdef void put_version(self, PoolGate *gate, int slot, int64_t version) noexcept:
        cdef int64_t was = load_relaxed(&gate.versions[slot])
        if version == was:
            return
        store_release(&gate.versions[slot], version)
        store_release(&self.pace.times, load_relaxed(&self.pace.times) + 1)
        if path_in(version) != path_in(was):
            store_release(&self.pace.paths, load_relaxed(&self.pace.paths) + 1)

    def read_pop(self, int row) -> int:
        """In flight, all services together."""
        return sum_levels(&self.pop_columns(row).in_flight, POP_CELLS, self.crew)

    def read_pop_tunnels(self, int row) -> int:
        """Tunnels among these: nothing of a capacity."""
        return sum_levels(&self.pop_columns(row).tunnels, POP_CELLS, self.crew)

    def read_pool_tunnels(self, int row) -> int:
        """The same of a pool."""
        return sum_levels(&self.pool_columns(row).tunnels, POOL_CELLS, self.crew)

    def read_pool(self, int row) -> dict:
        """PoolFigures: sums over the workers."""
        cdef const PoolColumn *columns = self.pool_columns(row)
        cdef const PoolGate *gate = self.pool_gate(row)
        times = ("in_flight", "connect_us", "connects", "first_byte_us", "first_bytes", "waiting", "lay_us")
        ends = ("duration_us", "durations", "bytes_up", "bytes_down")
        outcomes = ("attempts", "failures", "server_errors", "rate_limited", "retry_after_ms")
        codes = read_cells(columns.codes, N_CODES, POOL_CELLS, self.n_workers)
        reasons = read_cells(columns.reasons, len(REASONS), POOL_CELLS, self.n_workers)
        return {
            **dict(zip(times, self.read_pool_times(row), strict=True)),
            **dict(zip(ends, read_cells(&columns.duration_us, 4, POOL_CELLS, self.n_workers), strict=True)),
            **dict(zip(outcomes, self.read_pool_outcomes(row), strict=True)),
            "codes": {label: count for label, count in zip(CODE_LABELS, codes, strict=True) if count},
            "reasons": {name: count for name, count in zip(REASONS, reasons, strict=True) if count},
            "first_byte_buckets": read_cells(columns.first_byte_buckets, N_BUCKETS, POOL_CELLS, self.n_workers),
            "duration_buckets": read_cells(columns.duration_buckets, N_BUCKETS, POOL_CELLS, self.n_workers),
            "admit": load_relaxed(&gate.admit) / <double>SCALE,
            "availability": load_relaxed(&gate.availability) / <double>SCALE,
            "shed": load_relaxed(&gate.shed) / <double>SCALE,
            "ramp": load_relaxed(&gate.ramp) / <double>SCALE,
            "answering": load_relaxed(&gate.answering),
            "tunnels": self.read_pool_tunnels(row),
            "spared": load_relaxed(&gate.spared),
            "spared_in_pop": load_relaxed(&gate.spared_in_pop),
            "all_zones": load_relaxed(&gate.all_zones) / <double>SCALE,
            "penalty_ms": load_relaxed(&gate.penalty_us) / 1000.0,
            "service_ms": load_relaxed(&gate.service_us) / 1000.0,
            "path_ms": -1.0 if load_relaxed(&gate.path_us) < 0 else load_relaxed(&gate.path_us) / 1000.0,
            "samples": load_relaxed(&gate.samples),
            "spread_ms": load_relaxed(&gate.spread_us) / 1000.0,
            "hope_ms": -1.0 if load_relaxed(&gate.hope_us) < 0 else load_relaxed(&gate.hope_us) / 1000.0,
            "usual": load_relaxed(&gate.usual),
            "most_ms": load_relaxed(&gate.most_us) / 1000.0,
        }

    def read_service(self, int row) -> dict:
        """Retries by outcome."""
        cdef const ServiceColumn *columns = self.service_columns(row)
        return dict(zip(RETRY_OUTCOMES, read_cells(columns.retries, N_RETRY_OUTCOMES, SERVICE_CELLS, self.n_workers), strict=True))

    def set_endpoint(self, int row, *, state=None, forgiven=None, weight=None, has_answered=None) -> None:
        """Writes what is given into the gate. ValueError says what is legal; then nothing was written."""
        cdef EndpointGate *gate = self.endpoint_gate(row)
        if state is not None and state not in GATE_STATES:
            raise ValueError(f"state: must be one of {', '.join(GATE_STATES)}, got {state!r}")
        cdef int64_t forgiven_count = 0 if forgiven is None else whole(forgiven, "forgiven")
        cdef int64_t weight_fixed = 0 if weight is None else fixed_point(weight, "weight")
        # Forgiveness before the state: a gate that opens must not find its old failures.
        if forgiven is not None:
            store_release(&gate.forgiven, forgiven_count)
        if weight is not None:
            store_release(&gate.weight, weight_fixed)
        if has_answered is not None:
            store_release(&gate.has_answered, 1 if has_answered else 0)
        if state is not None:
            store_release(&gate.state, GATE_STATES.index(state))

    def set_pool(self, int row, *, admit=None, availability=None, shed=None, ramp=None, penalty_ms=None, service_ms=None, path_ms=None,
                 samples=None, version=None, answering=None, spared=None, spared_in_pop=None, all_zones=None, spread_ms=None,
                 hope_ms=None, most_ms=None, usual=None) -> None:
        """Writes what is given into the gate; service_ms 0, path_ms -1 and hope_ms -1 mean unknown, most_ms 0 no bound. The times,
        given together, go into the version of that number, into all of them without one. ValueError: nothing was written."""
        cdef PoolGate *gate = self.pool_gate(row)
        cdef int64_t admit_fixed = 0 if admit is None else fixed_point(admit, "admit")
        cdef int64_t availability_fixed = 0 if availability is None else fixed_point(availability, "availability")
        cdef int64_t shed_fixed = 0 if shed is None else fixed_point(shed, "shed")
        cdef int64_t ramp_fixed = 0 if ramp is None else fixed_point(ramp, "ramp")
        cdef int64_t penalty_us = 0 if penalty_ms is None else whole(penalty_ms * 1000, "penalty_ms")
        cdef int64_t service_us = load_relaxed(&gate.service_us) if service_ms is None else whole(service_ms * 1000, "service_ms")
        cdef int64_t path_us = load_relaxed(&gate.path_us)
        cdef int64_t sample_count = 0 if samples is None else whole(samples, "samples")
        cdef int64_t answering_count = 0 if answering is None else whole(answering, "answering")
        cdef int64_t spared_count = 0 if spared is None else whole(spared, "spared")
        cdef int64_t all_zones_fixed = 0 if all_zones is None else fixed_point(all_zones, "all_zones")
        cdef int64_t spared_in_pop_count = 0 if spared_in_pop is None else whole(spared_in_pop, "spared_in_pop")
        cdef int64_t spread_us = 0 if spread_ms is None else whole(spread_ms * 1000, "spread_ms")
        cdef int64_t hope_us = -1 if hope_ms is None or hope_ms == -1 else whole(hope_ms * 1000, "hope_ms")
        cdef int64_t usual_count = 0 if usual is None else whole(usual, "usual")
        cdef int64_t most_us = 0 if most_ms is None else whole(most_ms * 1000, "most_ms")
        cdef int slot
        if path_ms is not None:
            path_us = -1 if path_ms == -1 else whole(path_ms * 1000, "path_ms")
        if version is not None and (type(version) is not int or version < 0):
            raise ValueError(f"version: must be a whole number from 0, got {version!r}")
        if admit is not None:
            store_release(&gate.admit, admit_fixed)
        if availability is not None:
            store_release(&gate.availability, availability_fixed)
        if shed is not None:
            store_release(&gate.shed, shed_fixed)
        if ramp is not None:
            store_release(&gate.ramp, ramp_fixed)
        if penalty_ms is not None:
            store_release(&gate.penalty_us, penalty_us)
        if samples is not None:
            store_release(&gate.samples, sample_count)
        if answering is not None:
            store_release(&gate.answering, answering_count)
        if spared is not None:
            store_release(&gate.spared, spared_count)
        if spared_in_pop is not None:
            store_release(&gate.spared_in_pop, spared_in_pop_count)
        if all_zones is not None:
            store_release(&gate.all_zones, all_zones_fixed)
        if spread_ms is not None:
            store_release(&gate.spread_us, spread_us)
        if hope_ms is not None:
            store_release(&gate.hope_us, hope_us)
        if usual is not None:
            store_release(&gate.usual, usual_count)
        if most_ms is not None:
            store_release(&gate.most_us, most_us)
        if service_ms is None and path_ms is None:
            return
        store_release(&gate.service_us, service_us)
        store_release(&gate.path_us, path_us)
        for slot in range(N_VERSIONS):
            if version is None or version % N_VERSIONS == slot:
                self.put_version(gate, slot, pack_version(min(path_us, <int64_t>MAX_US), min(service_us, <int64_t>MAX_US)))

    def set_phase(self, phase) -> None:
        """Of the pace, in 1/1024 of a version's time; never falls. The version that begins is written before."""
        store_release(&self.pace.phase, whole(phase, "phase"))


cdef void clear(int64_t *cells, int n) noexcept nogil:
    cdef int i
    # Atomically: nothing but relaxed figures told the releaser that the last writer was done.
    for i in range(n):
        store_release(&cells[i], 0)
