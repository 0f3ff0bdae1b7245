"""Scenarios: what happens to the PoPs of a simulated world, and which goals must hold then. Owns the stories and the goals.

Each is a function that runs one simulation and returns its outcome; SCENARIOS names them. Must not know how a simulation works.
Unless its story says otherwise: 1,000 requests a second of all the clients alike, one gateway, four endpoints a PoP.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.steering import policies
from bench.steering.best_split import best_split
from bench.steering.configuration import address_of, config_of
from bench.steering.data import Floats, Place, Setting
from bench.steering.names import RESOLVED_S, rotate
from bench.steering.outcome import Goal, Outcome, first_time, panels_of, shares_of
from bench.steering.servers import Server, Work
from bench.steering.simulator import Simulation, known_of, middle_of
from gateway.control.sources.world import Origin
from geoip.countries import COUNTRIES
from k8s import State

PER_S = 1000.0
ROOMY = 16  # slots of an endpoint: no queue in any PoP
USUAL = (5.0, 20.0)  # before anything happens
HAPPENS_S = 20.0


def pop_dies(setting: Setting) -> Outcome:
    """The PoP with most of the traffic refuses and resets everything for 40 s, then is back. How fast does traffic leave, who is hurt, how
    does it return?"""
    back_s, end_s = 60.0, 180.0
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_slots=ROOMY)
    victim = busiest(setting)
    simulation.events.at(HAPPENS_S, simulation.sites[victim].each, Server.die)
    simulation.events.at(back_s, simulation.sites[victim].each, Server.rise)
    records = simulation.run(end_s)
    usual, dead = records.between(*USUAL), records.between(HAPPENS_S, back_s)
    # Requests that began after the death and still tried the dead PoP: until the first refusal is back at the gateway nobody can know.
    late = dead.at_s[(dead.decided == victim) & (dead.attempts > 1)] - HAPPENS_S
    path_s = simulation.edges[0].paths_s[simulation.names[victim]]
    share = usual.share_of(victim)
    back = first_time(records, lambda part: part.share_of(victim) >= 0.9 * share, back_s, end_s, 5.0)
    figures = {
        "share_before": share,
        "mean_before_ms": usual.mean_ms,
        "mean_while_dead_ms": records.between(HAPPENS_S + 1, back_s).mean_ms,
        "failed": records.n_failed,
        "tried_the_dead": len(late),
        "last_tried_the_dead_s": float(late.max()) if len(late) else 0.0,
        "path_to_the_dead_s": path_s,
        "nine_tenths_back_s": back - back_s,
    }
    goals = (
        Goal("requests that failed", figures["failed"], 0),
        # One refusal for each request that is on its way, and one for each of its endpoints: two paths, and the next request after that.
        Goal("s from the death to the last request that tried the dead PoP", figures["last_tried_the_dead_s"], 2 * path_s + 0.05),
    )
    marks = ((HAPPENS_S, "dies"), (back_s, "is back"))
    return Outcome("the busiest PoP dies and returns", figures, goals, panels_of(setting, records, end_s, "dies, returns", marks))


def pop_slows(setting: Setting) -> Outcome:
    """The busiest PoP takes five times as long for everything, for 60 s. Of the traffic that ends up elsewhere nine tenths must be gone
    after 12 s, and stay gone; and when it is well again, they must come back."""
    return _slows(setting, "the busiest PoP slows to a fifth", "slows x5", rotates=False)


def name_slows(setting: Setting) -> Outcome:
    """The same, and it is given by a name of which each look-up, every 30 s, gives four other addresses: what is known of the PoP is not
    known of them, and must not go with them."""
    return _slows(setting, "the busiest PoP, a name that rotates, slows to a fifth", "slows x5, rotates", rotates=True)


def _slows(setting: Setting, title: str, short: str, rotates: bool) -> Outcome:
    over_s, end_s = 80.0, 140.0
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_slots=ROOMY)
    victim = busiest(setting)
    if rotates:
        rotate(simulation, victim, 0.5 * RESOLVED_S, end_s, 4, -60.0)
    for at, slowness in ((HAPPENS_S, 5.0), (over_s, 1.0)):
        simulation.events.at(at, simulation.sites[victim].each, lambda server, slowness=slowness: setattr(server, "slowness", slowness))
    records = simulation.run(end_s)
    usual, slow = records.between(*USUAL).share_of(victim), records.between(over_s - 30, over_s).share_of(victim)
    after_12 = records.between(HAPPENS_S + 11, HAPPENS_S + 13).share_of(victim)
    swing = float(np.ptp(shares_of(records, victim, HAPPENS_S + 20, over_s, 5.0)))
    figures = {
        "share_before": usual,
        "share_while_slow": slow,
        "gone_after_12_s": (usual - after_12) / (usual - slow),
        "swing_while_slow": swing,
        "mean_before_ms": records.between(*USUAL).mean_ms,
        "mean_while_slow_ms": records.between(HAPPENS_S + 20, over_s).mean_ms,
        "share_60_s_after": records.between(end_s - 5, end_s).share_of(victim),
        "failed": records.n_failed,
    }
    goals = (
        Goal("of what leaves: still there after 12 s", 1 - figures["gone_after_12_s"], 0.1),
        Goal("swing of its share after 20 s", swing, 0.05),
        Goal("of its usual share: missing 60 s after it is well again", 1 - figures["share_60_s_after"] / usual, 0.1),
        Goal("requests that failed", figures["failed"], 0),
    )
    marks = ((HAPPENS_S, "x5"), (over_s, "as before"))
    return Outcome(title, figures, goals, panels_of(setting, records, end_s, short, marks))


def many_gateways(setting: Setting) -> Outcome:
    """Twenty gateways that know nothing of each other. No herd: every PoP's share stays where it is."""
    return _gateways(setting, "20 gateways that share nothing", 2)


def overrun_gateways(setting: Setting) -> Outcome:
    """The same, and endpoints serve one request at a time: the busiest PoPs have less room than there is traffic for them, nobody said so,
    and whoever leaves makes them fast again."""
    return _gateways(setting, "20 gateways, PoPs overrun, without capacities", 1)


def _gateways(setting: Setting, title: str, n_slots: int) -> Outcome:
    end_s = 120.0
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_slots=n_slots, n_gateways=20)
    records = simulation.run(end_s)
    later = records.between(30, end_s)
    shares = [shares_of(records, pop, 30, end_s, 2.0) for pop in range(len(setting.pops))]
    largest = max(shares, key=lambda share: float(share.mean()))
    figures = {
        "largest_share": float(largest.mean()),
        "swing": float(np.ptp(largest)),
        "worst_swing": max(float(np.ptp(share)) for share in shares),
        "mean_ms": later.mean_ms,
        "p99_ms": later.quantile_ms(99),
        "failed": records.n_failed,
    }
    goals = (Goal("swing of any PoP's share after 30 s", figures["worst_swing"], 0.10),)
    return Outcome(title, figures, goals, panels_of(setting, records, end_s, title.replace(" that share nothing", ""), ()))


def region_doubles(setting: Setting) -> Outcome:
    """Clients in Europe ask twice as often for 60 s. Endpoints serve two requests at a time, and each PoP's capacity says what it can serve
    without a queue, by four fifths: what is more than that has to go further, at once and to several."""
    return _region(setting, "a region's traffic doubles", room_for(setting, 0.8 * 4 * 2 / Work().mean_ms * 1000), 1.5)


def region_unbounded(setting: Setting) -> Outcome:
    """The same, and nobody said what the PoPs can take: only the latency that a queue makes tells the gateway."""
    return _region(setting, "a region's traffic doubles, without capacities", None, 1.5)


def _region(setting: Setting, title: str, capacity: list[int] | None, limit: float) -> Outcome:
    over_s, end_s = 80.0, 120.0
    simulation = Simulation(setting, config_of(setting.pops, capacity=capacity), per_s=PER_S, n_slots=2)
    is_there = [COUNTRIES[place.country].continent == "EU" for place in setting.clients]
    for at, factor in ((HAPPENS_S, 2.0), (over_s, 0.5)):
        simulation.events.at(at, simulation.set_rates, lambda client, factor=factor: factor if is_there[client] else 1.0)
    records = simulation.run(end_s)
    usual, more = records.between(*USUAL), records.between(HAPPENS_S, over_s)
    elsewhere = ~np.isin(more.client, np.flatnonzero(is_there))
    figures = {
        "mean_before_ms": usual.mean_ms,
        "mean_meanwhile_ms": more.mean_ms,
        "p99_before_ms": usual.quantile_ms(99),
        "p99_meanwhile_ms": more.quantile_ms(99),
        "mean_elsewhere_meanwhile_ms": float(np.nanmean(more.latency_ms[elsewhere])),
        "failed": records.n_failed,
    }
    goals = (
        Goal("requests that failed", figures["failed"], 0),
        Goal("p99 meanwhile, times the usual", figures["p99_meanwhile_ms"] / figures["p99_before_ms"], limit),
    )
    marks = ((HAPPENS_S, "x2"), (over_s, "as before"))
    return Outcome(title, figures, goals, panels_of(setting, records, end_s, "Europe x2" if capacity else "no capacities", marks))


def crunch_12(setting: Setting) -> Outcome:
    """The busiest PoP has 1.2 times the traffic that its capacity is for; every other one has twice as much room."""
    return _crunch(setting, 1.2)


def crunch_15(setting: Setting) -> Outcome:
    """The same with 1.5 times."""
    return _crunch(setting, 1.5)


def _crunch(setting: Setting, factor: float) -> Outcome:
    """Nobody is sent above a high watermark while there is room elsewhere, and what has to go further goes where that costs least: against
    the best possible split of the same clients over the same rooms. The one that counts knows what the gateway knows, the prior's
    estimates; beside it stands the one that knows every round trip, which is no matter of capacity but of knowledge."""
    end_s = 80.0
    victim = busiest(setting)
    per_s = PER_S * float(policies.ours(setting)[:, victim].mean()) / factor  # what it has room for
    capacity = [own if number == victim else 2 * own for number, own in enumerate(room_for(setting, per_s))]
    simulation = Simulation(setting, config_of(setting.pops, capacity=capacity), per_s=PER_S, n_slots=ROOMY)
    records = simulation.run(end_s)
    settled = records.between(USUAL[1], end_s)
    room = np.array(capacity) / seconds_in_flight(setting)
    rates = np.full(len(setting.clients), PER_S / len(setting.clients))
    best_ms, known_ms = (
        float((best_split(cost, rates, room) * setting.rtt_ms).sum() / PER_S) + Work().mean_ms
        for cost in (setting.rtt_ms, policies.estimates_ms(setting))
    )
    high = np.array(capacity)[np.maximum(settled.served, 0)]
    figures = {
        "share_of_the_busiest": settled.share_of(victim),
        "its_room": float(room[victim] / PER_S),
        "most_in_flight_of_high": float((settled.in_flight / high).max()),
        "above_high": float((settled.in_flight > high).mean()),
        "mean_ms": settled.mean_ms,
        "best_mean_by_estimates_ms": known_ms,
        "best_mean_by_round_trips_ms": best_ms,
        "p99_ms": settled.quantile_ms(99),
        "failed": records.n_failed,
    }
    goals = (
        Goal("requests above the high watermark + 5 %", float((settled.in_flight > np.ceil(1.05 * high)).sum()), 0),
        Goal("mean latency, times that of the best split by the same estimates", settled.mean_ms / known_ms, 1.10),
        Goal("requests that failed", figures["failed"], 0),
    )
    title = f"{factor:g} x capacity"
    return Outcome(f"the busiest PoP at {factor:g} times its capacity", figures, goals, panels_of(setting, records, end_s, title, ()))


def pop_flaps(setting: Setting) -> Outcome:
    """The busiest PoP dies and is back every 7 s. Nobody's request may fail for it, and traffic must not run to and fro: it stays away for
    the most part."""
    over_s, end_s = 118.0, 150.0
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_slots=ROOMY)
    victim = busiest(setting)
    for number, at in enumerate(np.arange(HAPPENS_S, over_s, 7.0)):
        simulation.events.at(float(at), simulation.sites[victim].each, Server.rise if number % 2 else Server.die)
    records = simulation.run(end_s)
    usual, flaps = records.between(*USUAL), records.between(HAPPENS_S + 7, over_s)
    figures = {
        "share_before": usual.share_of(victim),
        "share_meanwhile": flaps.share_of(victim),
        "more_than_one_attempt": int((flaps.attempts > 1).sum()),
        "mean_before_ms": usual.mean_ms,
        "mean_meanwhile_ms": flaps.mean_ms,
        "failed": records.n_failed,
    }
    goals = (
        Goal("requests that failed", figures["failed"], 0),
        Goal("its share meanwhile, of the usual", figures["share_meanwhile"] / figures["share_before"], 0.25),
    )
    return Outcome("health that flaps", figures, goals, panels_of(setting, records, end_s, "flaps", ((HAPPENS_S, "every 7 s"),)))


def scale_up(setting: Setting) -> Outcome:
    """The busiest PoP grows from two pods to ten: eight appear at once, not ready, and become ready one every 3 s. That is no outage: its
    share must not sink."""
    end_s = 90.0
    victim = busiest(setting)
    counts = [2 if number == victim else 4 for number in range(len(setting.pops))]
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_endpoints=counts, n_slots=ROOMY, origin=Origin.KUBERNETES)
    site, name = simulation.sites[victim], simulation.names[victim]
    old, new = list(site.servers), [address_of(victim, 2 + number) for number in range(8)]
    for address in new:
        site.add(address)
    for ready in range(len(new) + 1):
        known = known_of(name, [*old, *new[:ready]]) + known_of(name, new[ready:], state=State.UNREADY)
        simulation.events.at(HAPPENS_S + 3.0 * ready, simulation.describe, victim, known)
    records = simulation.run(end_s)
    usual, grows = records.between(*USUAL), records.between(HAPPENS_S, HAPPENS_S + 40)
    lowest = float(shares_of(records, victim, HAPPENS_S, HAPPENS_S + 40, 4.0).min())
    figures = {
        "share_before": usual.share_of(victim),
        "lowest_share_meanwhile": lowest,
        "p99_before_ms": usual.quantile_ms(99),
        "p99_meanwhile_ms": grows.quantile_ms(99),
        "more_than_one_attempt": int((grows.attempts > 1).sum()),
        "failed": records.n_failed,
    }
    goals = (
        Goal("requests that failed", figures["failed"], 0),
        Goal("share lost meanwhile, of the usual", 1 - lowest / figures["share_before"], 0.1),
    )
    return Outcome("from 2 pods to 10", figures, goals, panels_of(setting, records, end_s, "scale-up", ((HAPPENS_S, "8 more"),)))


def rolling_update(setting: Setting) -> Outcome:
    """A hundred pods of the busiest PoP are replaced, ten every 4 s: new ones appear, are ready 2 s later, then as many old ones
    terminate, serve on for 5 s and are killed."""
    end_s, step_s = 100.0, 4.0
    victim = busiest(setting)
    counts = [100 if number == victim else 20 for number in range(len(setting.pops))]
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_endpoints=counts, n_slots=2, origin=Origin.KUBERNETES)
    site, name = simulation.sites[victim], simulation.names[victim]
    old, new = list(site.servers), [address_of(victim, 100 + number) for number in range(100)]
    for address in new:
        site.add(address)

    def tell(at: float, n_new: int, n_ready: int, n_ending: int, n_gone: int) -> None:
        known = known_of(name, [*old[n_ending:], *new[:n_ready]]) + known_of(name, new[n_ready:n_new], state=State.UNREADY)
        known += known_of(name, old[n_gone:n_ending], state=State.SERVING_TERMINATING)
        simulation.events.at(at, simulation.describe, victim, known)

    for number in range(10):
        at, done = HAPPENS_S + step_s * number, 10 * number
        gone = max(0, done - 10)
        tell(at, done + 10, done, done, gone)
        tell(at + 2, done + 10, done + 10, done + 10, gone)
        for address in old[done : done + 10]:
            simulation.events.at(at + 2 + 5, site.servers[address].die)
    tell(HAPPENS_S + step_s * 12, 100, 100, 100, 100)
    records = simulation.run(end_s)
    usual, rolls = records.between(*USUAL), records.between(HAPPENS_S, HAPPENS_S + 50)
    shares = shares_of(records, victim, HAPPENS_S, HAPPENS_S + 50, 5.0)
    figures = {
        "share_before": usual.share_of(victim),
        "swing_meanwhile": float(np.ptp(shares)),
        "p99_before_ms": usual.quantile_ms(99),
        "p99_meanwhile_ms": rolls.quantile_ms(99),
        "more_than_one_attempt": int((rolls.attempts > 1).sum()),
        "failed": records.n_failed,
    }
    goals = (
        Goal("requests that failed", figures["failed"], 0),
        Goal("requests that needed a second attempt", figures["more_than_one_attempt"], 0),
        Goal("swing of its share", figures["swing_meanwhile"], 0.05),
    )
    return Outcome(
        "a rolling update of 100 pods", figures, goals, panels_of(setting, records, end_s, "rolling update", ((HAPPENS_S, "begins"),))
    )


def slow_endpoint(_setting: Setting) -> Outcome:
    """Buoyant's test ("Beyond Round Robin", 2016): 11 endpoints with a median of 167 ms, 1,000 requests a second, one of them pinned at 2 s
    for 30 s; an answer after 1 s is a failure. Theirs: 95 % success by round robin, 99 % by least loaded, 99.9 % by peak EWMA. An eleventh
    of all for 30 s makes 95 % when 55 s are looked at, so these are. (How wide their
    times were is not given: sigma 0.4 here, by which four in a million take over 1 s anyway.)"""
    over_s, end_s = 50.0, 78.0
    here = Place("0", "here", "DE", 50.0, 8.0, 1)
    setting = Setting("one PoP", (here,), (here,), np.array([[1.0]]))
    sigma = 0.4
    work = Work(167 * float(np.exp(sigma**2 / 2)), sigma)
    simulation = Simulation(setting, config_of(setting.pops), per_s=PER_S, n_endpoints=11, n_slots=64, work=work)
    one = next(iter(simulation.sites[0].servers.values()))
    for at, pinned_s in ((HAPPENS_S, 2.0), (over_s, None)):
        simulation.events.at(at, setattr, one, "pinned_s", pinned_s)
    records = simulation.run(end_s)
    pinned = records.between(HAPPENS_S, HAPPENS_S + 55)
    late = float((~(pinned.latency_ms <= 1000)).mean())
    figures = {"success": 1 - late, "p50_ms": pinned.quantile_ms(50), "p99_ms": pinned.quantile_ms(99)}
    goals = (Goal("share that took over 1 s", late, 0.001),)
    return Outcome(
        "one endpoint of 11 pinned at 2 s", figures, goals, panels_of(setting, records, end_s, "one pinned", ((HAPPENS_S, "2 s"),))
    )


SCENARIOS: dict[str, Callable[[Setting], Outcome]] = {
    "pop-dies": pop_dies,
    "pop-slows": pop_slows,
    "name-slows": name_slows,
    "many-gateways": many_gateways,
    "overrun-gateways": overrun_gateways,
    "crunch-1.2": crunch_12,
    "crunch-1.5": crunch_15,
    "region-doubles": region_doubles,
    "region-unbounded": region_unbounded,
    "pop-flaps": pop_flaps,
    "scale-up": scale_up,
    "rolling-update": rolling_update,
    "slow-endpoint": slow_endpoint,
}


def busiest(setting: Setting) -> int:
    """The PoP that is the best of most clients."""
    return int(np.bincount(setting.rtt_ms.argmin(axis=1)).argmax())


def seconds_in_flight(setting: Setting) -> Floats:
    """How long a request to each PoP is in flight at the one gateway, without a queue."""
    return np.asarray((setting.rtt_ms[middle_of(setting)] + Work().mean_ms) / 1000)


def room_for(setting: Setting, per_s: float) -> list[int]:
    """Requests in flight at the one gateway, of each PoP, when it serves so many a second."""
    return [max(1, round(per_s * seconds)) for seconds in seconds_in_flight(setting)]
