"""Relaxed reads and writes: each figure is exact, a sum is of slightly different moments."""
cimport cython

import os

from gateway.dataplane.shared._snapshot import PHASES as _PHASES
from gateway.dataplane.shared._tally cimport close_tally, open_tally
from routing_core._atomic cimport load_acquire, load_relaxed
from routing_core._figures cimport MAX_WORKERS
from routing_core._memory cimport FIGURES, give, take

FIGURE_NAMES = ("accepted", "closed", "turns", "log_dropped", "bad_transitions", "upstream_opened", "upstream_reused",
                "evicted", "fields_dropped", "evicted_for_buffers", "buffer_waits")
LOOKUP_NAMES = ("found", "overridden", "not_found", "broken")
FORCED_NAMES = ("request", "tunnel", "idle")
# The parser's, in the order of RejectCause; then those of Cause.
CAUSE_NAMES = (
    "none", "start_line", "version", "method_unknown", "method_refused", "target", "path", "line_end", "field_name", "field_value",
    "fold", "host_absent", "host_repeated", "host", "content_length", "transfer_encoding", "coding_unknown", "both_lengths",
    "connection", "expect", "target_too_long", "head_too_large", "too_many_fields",
    "slow_head", "slow_body", "body_too_large", "bad_body", "too_many_connections", "no_descriptors", "no_memory",
    "no_route", "route_refused", "no_permitted_pop", "no_endpoint", "queue_full", "queue_timeout",
    "client_connections", "client_exchanges", "loop",
)
# The parser's, in the same order, then those of BadAnswer; those of requests alone are never counted.
ANSWER_NAMES = (*CAUSE_NAMES[:<int>N_CAUSES], "cut", "body", "switch", "interim")
_OF_REQUESTS = ("none", "method_unknown", "method_refused", "target", "path", "host_absent", "host_repeated", "host", "expect",
                "target_too_long")


@cython.final
cdef class Counters:
    """The figures of all workers about themselves."""

    def __cinit__(self, int n_workers):
        if not 0 < n_workers <= MAX_WORKERS:
            raise ValueError(f"n_workers: must be from 1 to {MAX_WORKERS}, got {n_workers}")
        self.columns = <Column *>take(FIGURES, n_workers * sizeof(Column))
        self.tally = open_tally(int.from_bytes(os.urandom(8)))
        self.doors = <Doors *>take(FIGURES, sizeof(Doors))
        self.stock = <Stock *>take(FIGURES, sizeof(Stock))
        if self.columns == NULL or self.tally == NULL or self.doors == NULL or self.stock == NULL:
            raise MemoryError
        self.n_workers = n_workers

    def __dealloc__(self):
        give(FIGURES, self.columns)
        close_tally(self.tally)
        give(FIGURES, self.doors)
        give(FIGURES, self.stock)

    cdef Column *column(self, int worker) except NULL:
        if not 0 <= worker < self.n_workers:
            raise IndexError(f"worker {worker} of {self.n_workers}")
        return &self.columns[worker]

    def read(self) -> dict:
        """Each figure, summed over the workers; beats_ms, generations, phases, versions and n_open one a worker."""
        cdef int worker
        cdef int i
        figures = dict.fromkeys(FIGURE_NAMES, 0)
        lookups = dict.fromkeys(LOOKUP_NAMES, 0)
        forced = dict.fromkeys(FORCED_NAMES, 0)
        causes = dict.fromkeys(CAUSE_NAMES, 0)
        bad_answers = {name: 0 for name in ANSWER_NAMES if name not in _OF_REQUESTS}
        idle = [0] * MAX_LISTENERS
        active = [0] * MAX_LISTENERS
        beats = []
        generations = []
        phases = []
        versions = []
        n_open = []
        for worker in range(self.n_workers):
            for i, name in enumerate(FIGURE_NAMES):
                figures[name] += load_relaxed(&self.columns[worker].figures[i])
            for i, name in enumerate(LOOKUP_NAMES):
                lookups[name] += load_relaxed(&self.columns[worker].lookups[i])
            for i, name in enumerate(FORCED_NAMES):
                forced[name] += load_relaxed(&self.columns[worker].forced[i])
            for i, name in enumerate(CAUSE_NAMES):
                causes[name] += load_relaxed(&self.columns[worker].causes[i])
            for i, name in enumerate(ANSWER_NAMES):
                if name in bad_answers:
                    bad_answers[name] += load_relaxed(&self.columns[worker].bad_answers[i])
            for i in range(MAX_LISTENERS):
                idle[i] += load_relaxed(&self.columns[worker].idle[i])
                active[i] += load_relaxed(&self.columns[worker].active[i])
            beats.append(load_relaxed(&self.columns[worker].beat_ms))
            generations.append(load_relaxed(&self.columns[worker].generation))
            phases.append(_PHASES[load_relaxed(&self.columns[worker].phase)])
            versions.append(load_acquire(&self.columns[worker].version))
            n_open.append(load_relaxed(&self.columns[worker].n_open))
        return {
            "figures": figures, "lookups": lookups, "forced": forced, "causes": causes, "bad_answers": bad_answers,
            "idle": idle, "active": active, "beats_ms": beats, "generations": generations, "phases": phases,
            "versions": versions, "n_open": n_open, "buffered": load_relaxed(&self.stock.held),
        }
