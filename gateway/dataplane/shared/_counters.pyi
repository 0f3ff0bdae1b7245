from typing import TypedDict, final, type_check_only

FIGURE_NAMES: tuple[str, ...]
LOOKUP_NAMES: tuple[str, ...]
FORCED_NAMES: tuple[str, ...]
CAUSE_NAMES: tuple[str, ...]  # the parser's, then the gateway's own
ANSWER_NAMES: tuple[str, ...]  # the same of answers

@type_check_only
class Counted(TypedDict):
    figures: dict[str, int]  # accepted, closed, turns, log_dropped, bad_transitions, upstream_opened, upstream_reused, evicted, ...
    lookups: dict[str, int]  # geoip lookups by result: found, overridden, not_found, broken
    forced: dict[str, int]  # what a drain's deadline cut: request, tunnel, idle
    causes: dict[str, int]  # refusals by cause
    bad_answers: dict[str, int]  # of endpoints, that were not taken, by cause
    idle: list[int]  # connections now, by listener
    active: list[int]
    beats_ms: list[int]  # by worker: when it last turned, on CLOCK_MONOTONIC
    phases: list[str]  # by worker: the order it last acted on
    versions: list[int]  # by worker: of the listeners' orders, the last that it acted on
    n_open: list[int]  # by worker: clients' connections now
    buffered: int  # bytes in buffers now, all workers'
    generations: list[int]  # by worker: the snapshot it last looked at

@final
class Counters:
    """The figures of all workers about themselves."""
    def __new__(cls, n_workers: int) -> Counters: ...
    @property
    def n_workers(self) -> int: ...
    def read(self) -> Counted: ...
