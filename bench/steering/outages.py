"""Outages: scenarios in which endpoints are lost otherwise than by a refusal, or nearly all of them: black holes, and panics.

As in `scenarios`: each runs a simulation and returns its outcome. What hurts is in the figures: what the configuration says of deadlines
and probes, as it is by default.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.steering.configuration import config_of
from bench.steering.data import Floats, Place, Setting
from bench.steering.outcome import Goal, Outcome, first_time, panels_of
from bench.steering.scenarios import HAPPENS_S, PER_S, ROOMY, USUAL, busiest
from bench.steering.servers import Hole, Server
from bench.steering.simulator import Records, Simulation
from gateway.model import Config

CALM = (USUAL[0], USUAL[1] - 1)  # what was under way when it happened is no part of it
WAITED_MS = 1000.0  # who is answered later than that has waited for a deadline
BACK_S, END_S = 80.0, 230.0
ENDPOINTS = 11
LOST = 0.001  # share of the requests of the first minute
HURT_S = 5.0  # from then on nobody: twice a connect deadline, and a second
OF_EACH, LEFT = 8, 2  # endpoints: of a PoP, and at last of all of them
DIES_EACH_S = 0.5
FEW_PER_S = 200.0  # one endpoint has room for them


def hole_pop(setting: Setting, hole: Hole) -> Outcome:
    """The busiest PoP of twelve swallows everything for a minute. Deaf: its packets are dropped, probes hear nothing. Mute: connections are
    accepted and nothing is answered; TCP probes find it well."""
    config = config_of(setting.pops)
    simulation = Simulation(setting, config, per_s=PER_S, n_slots=ROOMY)
    victim = busiest(setting)
    simulation.events.at(HAPPENS_S, simulation.sites[victim].each, partial(Server.swallow, hole=hole))
    simulation.events.at(BACK_S, simulation.sites[victim].each, Server.rise)
    records = simulation.run(END_S)
    share = records.between(*CALM).share_of(victim)
    back = first_time(records, lambda part: part.share_of(victim) >= 0.9 * share, BACK_S, END_S - 5, 5.0)
    figures, goals = _swallowed(records, config)
    figures |= {"share_before": share, "nine_tenths_back_s": back - BACK_S}
    marks = ((HAPPENS_S, hole.value), (BACK_S, "is back"))
    title = f"the busiest PoP is a black hole, {hole.value}"
    return Outcome(title, figures, goals, panels_of(setting, records, 150.0, f"black hole, {hole.value}", marks))


def hole_endpoint(_setting: Setting, hole: Hole) -> Outcome:
    """One endpoint of eleven of the only PoP does, for a minute."""
    here = Place("0", "here", "DE", 50.0, 8.0, 1)
    setting = Setting("one PoP", (here,) * 64, (here,), np.ones((64, 1)))
    config = config_of(setting.pops)
    simulation = Simulation(setting, config, per_s=PER_S, n_endpoints=ENDPOINTS, n_slots=ROOMY)
    one = next(iter(simulation.sites[0].servers.values()))
    simulation.events.at(HAPPENS_S, one.swallow, hole)
    simulation.events.at(BACK_S, one.rise)
    records = simulation.run(END_S)
    figures, goals = _swallowed(records, config)
    marks = ((HAPPENS_S, hole.value), (BACK_S, "is back"))
    title = f"one endpoint of {ENDPOINTS} is a black hole, {hole.value}"
    return Outcome(title, figures, goals, panels_of(setting, records, 150.0, f"one of {ENDPOINTS} {hole.value}", marks))


def _swallowed(records: Records, config: Config) -> tuple[dict[str, float], tuple[Goal, ...]]:
    meanwhile = records.between(HAPPENS_S - 1, BACK_S)
    failed = np.isnan(meanwhile.latency_ms)
    waited = meanwhile.latency_ms > WAITED_MS
    hurt = failed | waited
    health, timeouts = config.services[0].health, config.timeouts
    figures: dict[str, float] = {
        "failed": int(failed.sum()),
        "waited_over_1_s": int(waited.sum()),
        "longest_answered_s": float(np.nanmax(meanwhile.latency_ms)) / 1000,
        "last_one_hurt_after_s": float(meanwhile.at_s[hurt].max()) - HAPPENS_S if hurt.any() else 0.0,
        "mean_before_ms": records.between(*CALM).mean_ms,
        "mean_20_s_later_ms": records.between(HAPPENS_S + 20, BACK_S).mean_ms,
        "timeouts.connect_s": timeouts.connect,
        "timeouts.first_byte_s": timeouts.first_byte,
        "health.interval_s": health.interval,
        "health.timeout_s": health.timeout,
        "health.confirm_interval_s": health.confirm_interval,
        "health.down_after": health.down_after,
    }
    goals = (
        Goal("of the requests of that minute: failed", float(failed.mean()), LOST),
        Goal("waited for a deadline, over 1 s", float(waited.mean()), 10 * LOST),
        Goal("s until the last request that was hurt came", figures["last_one_hurt_after_s"], HURT_S),
    )
    return figures, goals


def panic(setting: Setting) -> Outcome:
    """Of 96 endpoints one dies each half second, whichever, until two are left, in two PoPs; a minute later all are back. Nobody's request
    may fail while these have room: PoPs are left as they die, then too little is available, and what is left is shared by all."""
    return _panic(setting, "all endpoints but two die", Server.die)


def panic_deaf(setting: Setting) -> Outcome:
    """The same, and they become black holes: who refuses is known at once, who is silent after a deadline."""
    return _panic(setting, "all endpoints but two fall silent", partial(Server.swallow, hole=Hole.DEAF))


def panic_unwell(setting: Setting) -> Outcome:
    """The same, but only their probes fail, as where the page for probes asks a database that is gone: what they are asked they answer.
    PoPs are left for that, until too little is available: then probes are ignored, and traffic is back with all of them."""
    return _panic(setting, "probes of all endpoints but two fail", _be_unwell, is_gone=False, health={"type": "http", "path": "/healthz"})


def _panic(setting: Setting, title: str, act: Callable[[Server], None], is_gone: bool = True, **service: Any) -> Outcome:
    simulation = Simulation(setting, config_of(setting.pops, service=service), per_s=FEW_PER_S, n_endpoints=OF_EACH, n_slots=ROOMY)
    each = [(number, server) for number, site in enumerate(simulation.sites) for server in site.servers.values()]
    random.Random(1).shuffle(each)
    left = np.array([len(site.servers) for site in simulation.sites])
    times, answering = [0.0], [left > 0]
    for place, (number, server) in enumerate(each[LEFT:]):
        times.append(HAPPENS_S + DIES_EACH_S * place)
        simulation.events.at(times[-1], act, server)
        left[number] -= is_gone
        answering.append(left > 0)
    lost_s = times[-1] + DIES_EACH_S
    back_s, end_s = lost_s + 60, lost_s + 240
    for site in simulation.sites:
        simulation.events.at(back_s, site.each, Server.rise)
    panics: list[float] = []
    simulation.events.at(0.0, _watch, simulation, panics)
    records = simulation.run(end_s + 70)
    regret_ms = _regret_ms(setting, records, [*times, back_s], np.array([*answering, np.ones(len(left), dtype=bool)]))
    figures: dict[str, float] = {"panic_from_s": panics[0] - HAPPENS_S, "panic_until_s_after_return": panics[-1] - back_s}
    stretches = {"before": CALM, "as_they_go": (HAPPENS_S, panics[0]), "in_panic": (panics[0], back_s), "back": (back_s, end_s)}
    for name, (begin_s, end) in stretches.items():
        low, high = np.searchsorted(records.at_s, (begin_s, end))
        part = records.between(begin_s, end)
        figures |= {
            f"failed_{name}": part.n_failed,
            f"waited_over_1_s_{name}": int((part.latency_ms > WAITED_MS).sum()),
            f"regret_{name}_ms": float(np.nanmean(regret_ms[low:high])),
        }
    figures["share_of_second_attempts"] = float((records.between(HAPPENS_S, back_s).attempts > 1).mean())
    whole = records.between(0, end_s)
    goals = (
        Goal("requests that failed", whole.n_failed, 0),
        Goal("waited for a deadline, over 1 s, of all", float((whole.latency_ms > WAITED_MS).mean()), 10 * LOST),
    )
    marks = ((HAPPENS_S, "two a second"), (panics[0], "panic"), (back_s, "back"))
    return Outcome(title, figures, goals, panels_of(setting, records, end_s, title, marks))


def _be_unwell(server: Server) -> None:
    server.is_unwell = True


def _watch(simulation: Simulation, panics: list[float]) -> None:
    """When it panics, each tenth of a second."""
    if simulation.edges[0].worker.lacks_much:
        panics.append(simulation.events.now)
    simulation.events.after(0.1, _watch, simulation, panics)


def _regret_ms(setting: Setting, records: Records, times: Sequence[float], answering: NDArray[np.bool_]) -> Floats:
    """Of each request, against the truth: the nearest PoP in which anybody answered when it came. NaN: it was not answered."""
    at = np.searchsorted(times, records.at_s, side="right") - 1
    best_ms = np.where(answering[at], setting.rtt_ms[records.client], np.inf).min(axis=1)
    found = setting.rtt_ms[records.client, records.served] - best_ms
    return np.where(records.served >= 0, found, np.nan)


SCENARIOS: dict[str, Callable[[Setting], Outcome]] = {
    "hole-pop": partial(hole_pop, hole=Hole.DEAF),
    "hole-pop-mute": partial(hole_pop, hole=Hole.MUTE),
    "hole-endpoint": partial(hole_endpoint, hole=Hole.DEAF),
    "hole-endpoint-mute": partial(hole_endpoint, hole=Hole.MUTE),
    "panic": panic,
    "panic-deaf": panic_deaf,
    "panic-unwell": panic_unwell,
}
