"""Worker: what the data plane does around a decision: where a request goes next, what is counted, and what is waited for.

Decisions are `draw` and `explain` of routing_core, endpoints are chosen by its own choice. Written down here, as `proxy/_attempts` and
`proxy/_elsewhere` have it: go on to the next endpoint, then the next PoP, then to whom it is decided for anew without those; heed less
where all of that is a panic; wait for a connect or a first byte until its deadline; leave an endpoint that has fallen silent. Every request
may be repeated. A new connection takes no time of its own where somebody accepts it; of those that were kept the latest is used first. Not
here: clients that give up, bounds on connections, and that who leaves a silent endpoint waits on where nobody takes him at once.
"""

from __future__ import annotations

import enum
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.steering.counting import Counting, Rows
from bench.steering.data import Place, facts_of, point_of
from bench.steering.events import Events
from bench.steering.servers import Hole, Server, Site
from gateway.control.steering.refresh import PANIC_BELOW
from gateway.model import Config
from routing_core import Explained, Figures, Table, draw, explain
from routing_core._testing import choose, enter_service, leave_service, spend_retry

MAX_LEFT_OUT = 24  # PoPs of a request that is decided anew
MAX_TRIED = 24  # endpoints of a request
MAX_ATTEMPTS = 4  # those apart that other PoPs refused


class Heed(enum.Enum):
    """Of what is known of endpoints, by the request that looks for one."""

    ADMITTING = "all"
    ANSWERING = "who refused"  # a panic: what probes were answered is ignored
    ANYBODY = "nothing"  # nobody is left who answers; these still come first


@dataclass(slots=True)
class Ask:
    """One request, and how it went."""

    client: int
    place: Place
    seed: int
    began: float
    on_end: Callable[[Ask], None]
    pop: str = ""  # where it is, or ended
    first: str = ""  # what was decided; "": nothing could be
    n_attempts: int = 0
    in_flight: int = 0  # this gateway's at its PoP when it joined, itself included
    is_answered: bool = False
    heed: Heed = Heed.ADMITTING
    following: list[str] | None = None  # fallbacks not tried yet; None: nobody has asked for them
    been: list[str] = field(default_factory=list)  # of this decision
    left_out: list[str] = field(default_factory=list)  # by it: those it had been to before
    tried: list[int] = field(default_factory=list)  # rows of endpoints
    n_refused: int = 0
    n_refused_before: int = 0  # of these, those in PoPs before this one

    def enter(self, pop: str) -> None:
        self.pop = pop
        self.been.append(pop)
        self.n_refused_before = self.n_refused

    def take(self, found: Explained, left_out: list[str]) -> None:
        """A decision made anew."""
        assert found.pop is not None
        self.following, self.been, self.left_out = list(found.fallbacks), [], left_out
        self.enter(found.pop)


@dataclass(slots=True, eq=False)
class Attempt:
    """A request at an endpoint."""

    ask: Ask
    pop: str
    rows: Rows
    server: Server
    began: float
    is_reaching: bool  # for a connection of its own


class Worker:
    """One gateway's. `paths_s`: its round trip to each PoP; `sites`: the PoPs. Both by name."""

    def __init__(
        self, events: Events, figures: Figures, paths_s: Mapping[str, float], sites: Mapping[str, Site], rng: random.Random
    ) -> None:
        self.events = events
        self.figures = figures
        self.paths_s = paths_s
        self.sites = sites
        self.rng = rng
        self.counting = Counting(figures)
        self._under_way: dict[Attempt, None] = {}
        self._idle: dict[Server, list[float]] = {}  # connections between two requests: since when
        self.lacks_much = False  # whether that is a panic the decision says

    def learn(self, config: Config, table: Table) -> None:
        """A new table: where its rows and numbers lead."""
        (service,) = table.spec.services
        pops = table.spec.pops
        self.config, self._table, self._service_row = config, table, service.row
        self._pools = {pops[pool.pop].name: (number, pool.row) for number, pool in enumerate(service.pools)}
        self._pop_rows = {pop.name: pop.row for pop in pops}
        self._addresses = {endpoint.row: endpoint.address for pool in service.pools for endpoint in pool.endpoints}
        self._endpoint_rows = array("i", self._addresses)

    def ask(self, ask: Ask) -> None:
        """A request arrives."""
        enter_service(self.figures, self._service_row, int(1000 * self.config.retries.budget_share))
        decided = draw(self._table, 0, point_of(ask.place), 1, ask.seed, may_explore=True, **facts_of(ask.place))
        ask.first = next(iter(decided))
        if not ask.first:
            self._end(ask)
            return
        ask.enter(ask.first)
        if self.lacks_much and self._explain(ask, []).reason == "panic":
            ask.heed = Heed.ANSWERING
        self._attempt(ask)

    def tick(self) -> None:
        """Each beat: what is published is looked at, and who has waited for too long gives up."""
        published = (self.figures.read_pool(row)["availability"] for _, row in self._pools.values())
        self.lacks_much = sum(published) < PANIC_BELOW
        timeouts, now = self.config.timeouts, self.events.now
        for attempt in list(self._under_way):
            if attempt.is_reaching and now - attempt.began >= timeouts.connect:
                self._refused(attempt)
            elif not attempt.is_reaching and now - attempt.began >= timeouts.first_byte:
                self._fail(attempt)
                self._end(attempt.ask)

    def leave(self, row: int) -> None:
        """An endpoint is silent: who waits there is asked of others, while it has tries left. There must be others that take them."""
        for attempt in [one for one in self._under_way if one.rows.endpoint == row]:
            ask = attempt.ask
            if self._has_tries(ask) and (attempt.is_reaching or self._may_retry()):
                if attempt.is_reaching:
                    self._end_attempt(attempt)
                    self._note_refusal(attempt)
                else:
                    self._fail(attempt)
                self._repeat(ask, is_refused=attempt.is_reaching)

    def _end(self, ask: Ask) -> None:
        leave_service(self.figures, self._service_row)
        ask.on_end(ask)

    def _may_retry(self) -> bool:
        return spend_retry(self.figures, self._service_row, int(self.events.now * 1000), self.config.retries.budget_floor)

    # --- Where it goes ---

    def _explain(self, ask: Ask, left_out: Sequence[str]) -> Explained:
        """By the draws that decided it."""
        return explain(self._table, 0, point_of(ask.place), ask.seed, may_explore=not left_out, left_out=left_out, **facts_of(ask.place))

    def _choose(self, ask: Ask) -> int:
        """The row of an endpoint of its PoP; -1: there is none for it."""
        number, _ = self._pools[ask.pop]
        found = choose(
            self._table,
            0,
            number,
            now_ms=int(self.events.now * 1000),
            tried=ask.tried,
            ignore_gates=ask.heed is not Heed.ADMITTING,
            seed=self.rng.getrandbits(62),
        )
        ((_, row),) = found
        if row >= 0 and ask.heed is Heed.ANSWERING and not self.figures.count_answering(array("i", [row])):
            return -1
        return row

    def _attempt(self, ask: Ask) -> None:
        while (row := self._choose(ask)) < 0:
            if ask.n_refused > ask.n_refused_before:  # nobody in it could be reached
                self._note_pool_failure(ask)
            if not self._next_pool(ask) and not self._heed_less(ask):
                self._end(ask)
                return
        ask.n_attempts += 1
        ask.tried.append(row)
        rows = Rows(row, self._pools[ask.pop][1], self._pop_rows[ask.pop])
        server = self.sites[ask.pop].servers[self._addresses[row]]
        attempt = Attempt(ask, ask.pop, rows, server, self.events.now, not self._borrow(server))
        self._under_way[attempt] = None
        self.counting.begin(ask.pop, rows, ask.client)
        ask.in_flight = self.counting.in_flight[ask.pop]
        self.events.after(self.paths_s[ask.pop] / 2, self._reach, attempt)

    def _borrow(self, server: Server) -> bool:
        """Whether a connection to it was kept."""
        idle = self._idle.setdefault(server, [])
        if idle and self.events.now - idle.pop() < self.config.timeouts.upstream_idle:
            return True
        idle.clear()  # the others were kept for longer still
        return False

    def _next_pool(self, ask: Ask) -> bool:
        """To the next fallback of its decision, or to whom it is decided for anew. False: there is nobody."""
        if ask.following is None:
            found = self._explain(ask, ())
            # What was refused meanwhile may have changed whom its draws lead to.
            ask.following = [pop for pop in (found.pop, *found.fallbacks) if pop is not None and pop != ask.pop]
        if ask.following:
            ask.enter(ask.following.pop(0))
            return True
        left_out = [*ask.left_out, *ask.been]
        while len(left_out) <= MAX_LEFT_OUT:
            found = self._explain(ask, left_out)
            if found.pop is None:
                return False
            pops = [found.pop, *found.fallbacks]
            # That too little is left without those is no panic. But who has a little is asked.
            if found.reason != "panic" or ask.heed is not Heed.ADMITTING or any(self._is_available(pop) for pop in pops):
                ask.take(found, left_out)
                return True
            left_out = [*left_out, *pops]
        return False

    def _is_available(self, pop: str) -> bool:
        return self.figures.read_pool(self._pools[pop][1])["availability"] > 0

    def _heed_less(self, ask: Ask) -> bool:
        """Nobody is left who admits: where that is a panic all is decided once more for those who answer, then for whoever there is."""
        if ask.heed is Heed.ANYBODY:
            return False
        found = self._explain(ask, ())
        is_refused = ask.heed is Heed.ADMITTING and found.reason != "panic" and self.figures.count_admitting(self._endpoint_rows) > 0
        if found.pop is None or is_refused:
            return False
        ask.heed = Heed.ANSWERING if ask.heed is Heed.ADMITTING else Heed.ANYBODY
        ask.take(found, [])
        return True

    # --- What becomes of it ---

    def _reach(self, attempt: Attempt) -> None:
        back_s, server = self.paths_s[attempt.pop] / 2, attempt.server
        if not server.is_up:
            self.events.after(back_s, self._refused, attempt)
            return
        if attempt.is_reaching and server.hole is Hole.DEAF:
            return
        attempt.is_reaching = False

        def on_done(is_answered: bool) -> None:
            self.events.after(back_s, self._answered if is_answered else self._reset, attempt)

        server.submit(on_done)

    def _end_attempt(self, attempt: Attempt) -> bool:
        """False: it was given up before."""
        if attempt not in self._under_way:
            return False
        del self._under_way[attempt]
        self.counting.end(attempt.pop, attempt.rows, attempt.ask.client)
        return True

    def _answered(self, attempt: Attempt) -> None:
        if self._end_attempt(attempt):
            took_us = round((self.events.now - attempt.began) * 1e6)
            self.counting.answered(attempt.rows, attempt.ask.client, took_us, int(self.events.now * 1000))
            self._idle[attempt.server].append(self.events.now)
            attempt.ask.is_answered = True
            self._end(attempt.ask)

    def _refused(self, attempt: Attempt) -> None:
        """Or not connected in time. No byte was sent: goes on whatever the budget."""
        if self._end_attempt(attempt):
            self._note_refusal(attempt)
            ask = attempt.ask
            if self._has_tries(ask) or (len(ask.tried) + 1 < MAX_TRIED and self._leave_pool(ask, is_refused=True)):
                self._repeat(ask, is_refused=True)
            else:
                self._note_pool_failure(ask)
                self._end(ask)

    def _reset(self, attempt: Attempt) -> None:
        if attempt in self._under_way:
            self._fail(attempt)
            ask = attempt.ask
            if self._has_tries(ask) and self._may_retry():
                self._repeat(ask, is_refused=False)
            else:
                self._end(ask)

    def _fail(self, attempt: Attempt) -> None:
        """It was sent, and there is no answer."""
        self._end_attempt(attempt)
        self._idle[attempt.server].clear()
        waited_us = round((self.events.now - attempt.began) * 1e6)
        self.counting.failed(attempt.rows, attempt.ask.client, waited_us, int(self.events.now * 1000))

    def _note_refusal(self, attempt: Attempt) -> None:
        self._idle[attempt.server].clear()
        self.counting.refused(attempt.rows)
        attempt.ask.n_refused += 1

    def _note_pool_failure(self, ask: Ask, pop: str | None = None) -> None:
        self.counting.pool_failed(self._pools[pop or ask.pop][1], ask.client)

    def _tries_spent(self, ask: Ask) -> int:
        """Refusals of the PoPs before this one count for none."""
        return ask.n_attempts - 1 - ask.n_refused_before

    def _has_tries(self, ask: Ask) -> bool:
        return (
            self._tries_spent(ask) < self.config.retries.max
            and len(ask.tried) + 1 < MAX_TRIED
            and ask.n_attempts - ask.n_refused_before < MAX_ATTEMPTS
        )

    def _leave_pool(self, ask: Ask, is_refused: bool) -> bool:
        """False: it is asked of nobody else."""
        before = ask.pop
        if not self._next_pool(ask):
            return False
        if is_refused:
            self._note_pool_failure(ask, before)
        return True

    def _repeat(self, ask: Ask, is_refused: bool) -> None:
        """The last try is not spent where the others failed."""
        if ask.n_attempts - ask.n_refused_before == self.config.retries.max:
            self._leave_pool(ask, is_refused)
        self._attempt(ask)
