from array import array
from typing import Literal, final

from routing_core._readings import EndpointFigures, PoolFigures

_Kind = Literal["endpoint", "pool", "service", "pop"]

BUCKETS_MS: tuple[float, ...]  # upper bounds; one more bucket, infinity, follows
CODE_LABELS: tuple[str, ...]  # label of each slot: "200", ..., "4xx" for the others of a class
GATE_STATES: tuple[str, ...]  # "admitting", "probing", "shut", "silent": index is GateState
KINDS: tuple[str, ...]  # "endpoint", "pool", "service", "pop"
CODES: tuple[int, ...]  # those with a slot of their own
# "none", "fastest", "window", "affinity", "spill", "failover", "panic", "order", "ramp", "explore": index is Reason
REASONS: tuple[str, ...]
RETRY_OUTCOMES: tuple[str, ...]  # "good", "bad", "no_budget", "no_tries", "unsafe"
MAX_WORKERS: int

@final
class Figures:
    """Live figures of the whole gateway. For one control thread; workers use the C side."""
    def __new__(cls, n_workers: int) -> Figures: ...
    @property
    def n_workers(self) -> int: ...
    def acquire(self, kind: _Kind) -> int:
        """A fresh row, all zero but its gate: admitting, weight 1, admit 1, availability 1, shed 1, ramp 1, path unknown."""
    def release(self, row: int) -> None:
        """Give a row back. The caller has seen every worker on a table without it, and nothing is in use there. ValueError when something
        still is, IndexError when it is no row."""
    def in_use(self, row: int) -> int:
        """What is in flight at a row, and an endpoint's connections: of all workers, those that hang among them."""
    def read_endpoint(self, row: int) -> EndpointFigures:
        """EndpointFigures: sums over the workers; each exact, a sum is of slightly different moments. What workers have that hang is left
        out here as in all that follows: what is in flight, and connections."""
    def read_pool_times(self, row: int) -> tuple[int, int, int, int, int, int, int]:
        """What is asked of every pool ten times a second: in_flight, connect_us, connects, first_byte_us, first_bytes, waiting,
        lay_us of read_pool()."""
    def read_pool(self, row: int) -> PoolFigures: ...
    def read_pool_served(self, row: int) -> tuple[int, ...]:
        """Service times in us: by groups of client networks their sums (8), then their counts (8), then the sum of all squares, in us^2."""
    def read_pool_outcomes(self, row: int) -> tuple[int, int, int, int, int]:
        """attempts, failures, server_errors, rate_limited, retry_after_ms of read_pool()."""
    def read_pool_groups(self, row: int) -> tuple[int, int, int]:
        """By groups of client networks, a byte each which begins anew after 255: all answers, those of 429, failures and server errors."""
    def read_waiting(self, row: int) -> tuple[int, ...]:
        """By groups of client networks: how many wait for this pool's answer."""
    def read_held(self, rows: array[int]) -> tuple[int, ...]:
        """Of these pools together, by groups of client networks: of those in flight, how many go on for as long as their client likes."""
    def read_endpoint_outcomes(self, row: int) -> tuple[int, int, int, int, int, int, int, int]:
        """answers, errors, first_bytes, first_byte_us, server_errors of read_endpoint(); and by groups of client networks, 32 bits
        each, those that were bad (errors and server errors), those that were good, and of both those that were slow."""
    def failed_connects(self, rows: array[int], seen: array[int]) -> list[int]:
        """Places in `rows`, of endpoints, where connect_failures of read_endpoint() is other than in `seen`, which then has it."""
    def moved(self, rows: array[int], seen: array[int]) -> list[int]:
        """Places in `rows` where something is other than at the last call with this `seen`, which has as many items and starts as zeros: of
        a pool's row what read_pool_times() and read_pool_outcomes() answer, of an endpoint's whether it admits, and whether
        it answers. Types "i" and "Q"."""
    def count_admitting(self, rows: array[int]) -> int:
        """How many of these endpoints admit."""
    def count_answering(self, rows: array[int]) -> int:
        """How many of these endpoints admit, or would but for what probes were answered or outliers were judged by."""
    def begin_version(self, rows: array[int], version: int) -> None:
        """Of each of these pools: the version of that number begins as the one before."""
    def read_pop(self, row: int) -> int:
        """In flight, all services together."""
    def read_pop_tunnels(self, row: int) -> int:
        """Tunnels among these: nothing of a capacity."""
    def read_pool_tunnels(self, row: int) -> int:
        """The same of a pool."""
    def read_service(self, row: int) -> dict[str, int]:
        """Retries by outcome."""
    def set_endpoint(
        self,
        row: int,
        *,
        state: str | None = None,
        forgiven: int | None = None,
        weight: float | None = None,
        has_answered: bool | None = None,
    ) -> None: ...
    def set_pool(
        self,
        row: int,
        *,
        admit: float | None = None,
        availability: float | None = None,
        shed: float | None = None,
        ramp: float | None = None,
        penalty_ms: float | None = None,
        service_ms: float | None = None,
        path_ms: float | None = None,
        samples: int | None = None,
        version: int | None = None,
        answering: int | None = None,
        spared: int | None = None,
        spared_in_pop: int | None = None,
        all_zones: float | None = None,
        spread_ms: float | None = None,
        hope_ms: float | None = None,
        most_ms: float | None = None,
        usual: int | None = None,
    ) -> None:
        """Writes what is given into the gate; service_ms 0, path_ms -1 and hope_ms -1 mean unknown, most_ms 0 no bound. The times, given
        together, go into the version of that number, into all of them without one. ValueError: nothing was written."""
    def set_phase(self, phase: int) -> None:
        """Of the pace, in 1/1024 of a version's time; never falls. The version that begins is written before."""
