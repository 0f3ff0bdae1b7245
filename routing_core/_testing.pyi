from collections.abc import Sequence
from typing import final

from routing_core._figures import Figures
from routing_core._table import Table

AVAILABILITIES: tuple[str, ...]

def take_block(size: int) -> int: ...
def give_block(address: int) -> None: ...
def label_of_code(code: int) -> str: ...
def bucket(us: int) -> int: ...
def group(client: bytes) -> int: ...
def add_to_endpoint(
    figures: Figures,
    row: int,
    worker: int,
    *,
    in_flight: int = 0,
    connections: int = 0,
    connect_failures: int = 0,
    answers: int = 0,
    errors: int = 0,
    first_bytes: int = 0,
    first_byte_us: int = 0,
    attempts: int = 0,
    tunnels: int = 0,
    bad_by: bytes = b"",
    good_by: bytes = b"",
    slow_by: bytes = b"",
    awaiting: int = 0,
    n_open: int = 0,
) -> None: ...
def add_to_pool(
    figures: Figures,
    row: int,
    worker: int,
    *,
    in_flight: int = 0,
    code: int = 0,
    reason: int = 0,
    attempts: int = 0,
    failures: int = 0,
    first_bytes: int = 0,
    first_byte_us: int = 0,
    waiting: int = 0,
    lay_us: int = 0,
    answered_by: bytes = b"",
    limited_by: bytes = b"",
    bad_by: bytes = b"",
    held: int = 0,
    held_by: int = 0,
    served_us: int = -1,
    served_by: int = -1,
    served_n: int = 1,
) -> None: ...
def add_to_pop(figures: Figures, row: int, worker: int, in_flight: int) -> None: ...
def add_to_service(figures: Figures, row: int, worker: int, outcome: int) -> None: ...
def hang(figures: Figures, worker: int, hangs: bool = True) -> None:
    """As workers say it of one another."""

def observe(figures: Figures, row: int, worker: int, us: int, now_ms: int) -> int: ...
def enter_service(figures: Figures, row: int, share_milli: int, worker: int = 0) -> None:
    """A request begins."""

def leave_service(figures: Figures, row: int, worker: int = 0) -> None: ...
def spend_retry(figures: Figures, row: int, now_ms: int, floor_per_s: int) -> bool: ...
def choose(
    table: Table,
    service: int,
    pool: int,
    n: int = 1,
    *,
    worker: int = 0,
    now_ms: int = 0,
    tried: Sequence[int] = (),
    ignore_gates: bool = False,
    seed: int = 1,
    max_open: int = ...,
) -> dict[tuple[str, int], int]: ...
def choose_many(table: Table, service: int, pool: int, n: int) -> None: ...

@final
class KeptShortlists: ...

def decide_one(
    table: Table,
    route: int,
    location: tuple[float, float, float] | None,
    seed: int,
    shortlists: KeptShortlists | None = None,
    **facts: object,
) -> tuple[int | None, str, tuple[int, ...], tuple[float, ...], int]:
    """(PoP or None, reason, fallbacks, the estimate and its parts, how many PoPs were looked at)."""

def decide_many(
    table: Table,
    route: int,
    locations: Sequence[tuple[float, float, float] | None],
    n: int,
    shortlists: KeptShortlists | None = None,
    **facts: object,
) -> None: ...
def match_many(table: Table, hosts: list[bytes], path: bytes, n: int) -> int: ...
def address_of(table: Table, service: int, pool: int, endpoint: int) -> bytes: ...
def endpoints_of(table: Table, service: int, pool: int) -> list[tuple[bytes, bytes, int, int, int, int]]:
    """All that is compiled of each: name, sockaddr, row, weight, and where its figures are."""

def block_of(table: Table) -> tuple[list[tuple[str, int]], bytes]:
    """A table's block: its words, and the bytes behind the last. What points into the block is how far from its beginning; what is in it
    by chance and looks like that is the same in a copy."""
