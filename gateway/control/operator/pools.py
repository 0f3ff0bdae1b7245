"""Pools: what is known of each PoP and pool, in the words of operators: `/pops`, metrics, `explain`. Reads, and changes nothing.

Owns the names of endpoints' and PoPs' states and what is said of a source. Must not know HTTP or the formats of metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import Gate, State
from gateway.control.life.drains import PopDrains, UnknownPop
from gateway.control.sources.endpoints import Sources
from gateway.control.sources.wanted import key_of
from gateway.control.sources.world import Identity, Known, PoolKey, World
from gateway.control.steering.headroom import headroom, least_headroom
from gateway.control.steering.refresh import Refresh
from gateway.control.table.capacity import capacity_of
from gateway.control.table.publisher import Publisher
from gateway.control.table.settings import name_of
from gateway.model import Backend, Capacity, Config, Pop, Service
from routing_core import PoolFigures, PoolSpec

# Each endpoint is in exactly one. The first four are gates of endpoints that may be chosen; the last is of what is none.
ENDPOINT_STATES = ("admitting", "probing", "shut", "ejected", "unready", "terminating", "refused")


@dataclass(frozen=True, slots=True)
class Source:
    """Who says which endpoints a pool has, and how far that can be believed."""

    kind: str  # "addresses" (of the configuration), "names" (resolved), "kubernetes"
    age_s: float | None = None  # since it was last heard; None: never, or addresses
    error: str | None = None  # what is wrong with it now, in one line
    kept: bool = False  # it has not answered this process: what it said to the last one, from `state_dir`


def kind_of(backend: Backend) -> str:
    if backend.kubernetes is not None:
        return "kubernetes"
    return "names" if any(one.ip is None and not one.is_unix for one in backend.endpoints or ()) else "addresses"


def endpoint_state(known: Known, is_selectable: bool, gate: Gate | None) -> str:
    if not is_selectable:
        return "terminating" if known.is_terminating else "unready"
    if gate is None:
        return "probing"
    if gate.is_taking:
        return "admitting"
    return {State.SHUT: "shut", State.EJECTED: "ejected"}.get(gate.state, "probing")


def endpoint_states(world: World, gates: Mapping[Identity, Gate], pool: PoolKey) -> list[tuple[Known, str]]:
    """Every endpoint of a pool with its state."""
    selectable = {known.identity for known in world.selectable(pool)}
    return [(one, endpoint_state(one, one.identity in selectable, gates.get(one.identity))) for one in world.pools.get(pool, ())]


def tally(states: list[tuple[Known, str]], n_refused: int) -> dict[str, int]:
    """How many there are in each state, those with none included."""
    counts = dict.fromkeys(ENDPOINT_STATES, 0) | {"refused": n_refused}
    for _, state in states:
        counts[state] += 1
    return counts


def rounded(seconds: float) -> float:
    """To whole milliseconds, and never below 0: two clocks' reads may cross."""
    return max(0.0, round(seconds, 3))


class InPop(NamedTuple):
    """What is under way in a PoP: all services in it, those of older tables too."""

    in_flight: int = 0
    tunnels: int = 0  # of these: nothing of its capacity


def pool_headroom(pop: Pop, in_pop: InPop, backend: Backend, seen: PoolFigures) -> float | None:
    """The share of the tighter capacity that is free, as the decision sees it now. None: neither has one."""
    in_pool = seen["in_flight"] - seen["tunnels"] - seen["spared"]
    return least_headroom(
        (in_pool, capacity_of(backend.capacity)),
        (in_pop.in_flight - in_pop.tunnels - seen["spared_in_pop"], capacity_of(pop.capacity)),
    )


def _capacity(capacity: Capacity | None) -> dict[str, Any] | None:
    """As configured; low and high are shares."""
    if capacity is None:
        return None
    return {"requests_in_flight": capacity.requests_in_flight, "low": capacity.low, "high": capacity.high}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """The pools of the table in use, by those who know of them."""

    publisher: Publisher
    sources: Sources
    ejections: Ejections
    refresh: Refresh
    drains: PopDrains

    def source_of(self, service: Service, backend: Backend) -> Source:
        kind = kind_of(backend)
        if kind == "kubernetes":
            return self._cluster(service, backend)
        if kind == "addresses":
            return Source(kind)
        known = self.sources.resolver.answers
        names = [one.host for one in backend.endpoints or () if one.ip is None and not one.is_unix]
        answers = {host: known[host] for host in names if host in known}
        heard = [answer.answered_at for answer in answers.values()]
        oldest = min((at for at in heard if at is not None), default=None)
        age_s = None if oldest is None or None in heard else rounded(self.publisher.clock() - oldest)
        errors = [f"{host}: {answer.error}" for host, answer in answers.items() if answer.error is not None]
        return Source(kind, age_s, "; ".join(errors) or None)

    def source_age_s(self, service: Service, backend: Backend) -> float | None:
        """Seconds since the Kubernetes API behind a pool was heard; None: never, or there is none."""
        return None if key_of(backend) is None else self.sources.age_s((service.name, backend.pop))

    def is_kept(self, service: Service, backend: Backend) -> bool | None:
        """Whether a cluster's endpoints are those that it named to the last process; None: the source is no cluster."""
        return None if key_of(backend) is None else self.sources.is_kept((service.name, backend.pop))

    def _cluster(self, service: Service, backend: Backend) -> Source:
        cluster, key = self.sources.cluster(backend.pop), key_of(backend)
        if cluster is None or key is None:
            return Source("kubernetes", None, "not followed yet")
        age_s = self.source_age_s(service, backend)
        error = cluster.error_of(key) or cluster.problem(key) or (None if cluster.is_synced(key) else "no answer yet")
        return Source("kubernetes", None if age_s is None else rounded(age_s), error, bool(self.is_kept(service, backend)))

    @property
    def config(self) -> Config:
        """The one in use."""
        return self.publisher.config

    def in_use(self) -> Iterator[tuple[Service, Backend, PoolSpec]]:
        """The pools of the table in use: it is built of the configuration in use, and in its order."""
        for service, spec in zip(self.config.services, self.publisher.table.spec.services, strict=True):
            for backend, pool in zip(service.backends, spec.pools, strict=True):
                yield service, backend, pool

    def describe(self) -> dict[str, Any]:
        """All PoPs, in the order of the configuration: the answer to `GET /pops`."""
        publisher = self.publisher
        pools, in_flight = self._by_pop(), self.in_flight()
        return {
            "gateway": name_of(publisher.config),
            "table": {"generation": publisher.generation, "age_s": rounded(publisher.clock() - publisher.built_at)},
            "pops": [self._pop(pop, in_flight[pop.name], pools.get(pop.name, []), has_endpoints=False) for pop in publisher.config.pops],
        }

    def describe_one(self, name: str) -> dict[str, Any]:
        """One PoP with each of its endpoints: the answer to `GET /pops/NAME`. UnknownPop when there is none of that name."""
        pops = {pop.name: pop for pop in self.config.pops}
        if name not in pops:
            raise UnknownPop(f"there is no PoP {name!r}; there is: {', '.join(pops)}")
        return self._pop(pops[name], self.in_flight()[name], self._by_pop().get(name, []), has_endpoints=True)

    def in_flight(self) -> dict[str, InPop]:
        read = self.publisher.figures
        return {
            pop.name: InPop() if pop.row is None else InPop(read.read_pop(pop.row), read.read_pop_tunnels(pop.row))
            for pop in self.publisher.table.spec.pops
        }

    def _by_pop(self) -> dict[str, list[tuple[Service, Backend, PoolSpec]]]:
        found: dict[str, list[tuple[Service, Backend, PoolSpec]]] = {}
        for service, backend, pool in self.in_use():
            found.setdefault(backend.pop, []).append((service, backend, pool))
        return found

    def _pop(self, pop: Pop, in_pop: InPop, pools: list[tuple[Service, Backend, PoolSpec]], has_endpoints: bool) -> dict[str, Any]:
        """A PoP is as well as the worst of its pools."""
        # Only of those drained: it looks through every pool.
        progress = self.drains.progress(pop.name) if pop.name in self.publisher.world.drained else None
        described = [self._pool(pop, in_pop, service, backend, pool, has_endpoints) for service, backend, pool in pools]
        availability = min((pool["availability"] for pool in described), default=0.0)
        # Those of which all that is left is going away are as good as gone for the others' sake, and serve where nobody else can.
        is_down = not described or any(pool["availability"] <= 0 and not pool["endpoints"]["admitting"] for pool in described)
        estimates = [pool["estimate_ms"] for pool in described if pool["estimate_ms"] is not None]
        ages = [pool["source"]["age_s"] for pool in described if pool["source"]["age_s"] is not None]
        spared = max((pool["spared_in_pop"] for pool in described), default=0)
        if progress is not None:
            state = "drained" if progress.is_done else "draining"
        elif is_down:
            state = "down"
        else:
            state = "active" if availability >= 1 else "degraded"
        return {
            "pop": pop.name,
            "state": state,
            "drained": progress is not None,
            "since_s": None if progress is None or progress.since_s is None else rounded(progress.since_s),
            "in_flight": in_pop.in_flight,
            "tunnels": in_pop.tunnels,
            "capacity": _capacity(pop.capacity),
            "availability": availability,
            "headroom": _rounded(headroom(in_pop.in_flight - in_pop.tunnels - spared, capacity_of(pop.capacity))),
            "estimate_ms": max(estimates, default=None),
            "age_s": max(ages, default=None),
            "services": described,
        }

    def _pool(self, pop: Pop, in_pop: InPop, service: Service, backend: Backend, pool: PoolSpec, has_endpoints: bool) -> dict[str, Any]:
        seen = self.publisher.figures.read_pool(pool.row)
        states = endpoint_states(self.publisher.world, self.publisher.gates.all, (service.name, backend.pop))
        refused = self.publisher.world.refused.get((service.name, backend.pop), {})
        path_ms = None if seen["path_ms"] < 0 else seen["path_ms"]
        is_served = seen["samples"] > 0 or seen["service_ms"] > 0
        described: dict[str, Any] = {
            "service": service.name,
            "availability": round(seen["availability"], 4),
            "admit": round(seen["admit"], 4),
            "shed": round(seen["shed"], 4),
            "ramp": round(seen["ramp"], 4),
            "headroom": _rounded(pool_headroom(pop, in_pop, backend, seen)),
            "capacity": _capacity(backend.capacity),
            "endpoints": tally(states, len(refused)),
            "in_flight": seen["in_flight"],
            "tunnels": seen["tunnels"],
            # What is not counted of these: of one client network beyond its part, the gateway waits for its clients.
            "spared": seen["spared"],
            "spared_in_pop": seen["spared_in_pop"],
            "attempts": seen["attempts"],
            "failures": seen["failures"] + seen["server_errors"],
            "server_errors": seen["server_errors"],
            # This gateway's own leg; what a client's request is expected to take depends on the client: `explain`.
            "estimate_ms": None if path_ms is None else round(path_ms + seen["service_ms"], 3),
            "path_ms": None if path_ms is None else round(path_ms, 3),
            # Where there are no samples of its own, what the others of its service take.
            "service_ms": round(seen["service_ms"], 3) if is_served else None,
            "spread_ms": round(seen["spread_ms"], 3) if is_served else None,
            "penalty_ms": round(seen["penalty_ms"], 3),
            "fails_more": self.refresh.fails_more((service.name, backend.pop)),
            "samples": seen["samples"],
            "source": asdict(self.source_of(service, backend)),
        }
        if has_endpoints:
            described["each"] = [self._endpoint(known, state) for known, state in states]
            described["refused"] = [{"endpoint": str(one), "cause": cause} for one, cause in refused.items()]
        return described

    def _endpoint(self, known: Known, state: str) -> dict[str, Any]:
        gate = self.publisher.gates.all.get(known.identity)
        row = self.publisher.rows.find("endpoint", known.identity)
        seen = None if row is None else self.publisher.figures.read_endpoint(row)
        return {
            "endpoint": str(known.identity),
            "state": state,
            "source_state": known.state.value,
            "gate": None if gate is None else gate.state.value,
            "since_s": None if gate is None else rounded(self.ejections.clock() - gate.since),
            "last_probe": (gate.detail or None) if gate is not None else None,
            "ejected": self._ejected(known.identity),
            "weight": None if gate is None else round(gate.weight, 3),
            "in_flight": 0 if seen is None else seen["in_flight"],
            "connections": 0 if seen is None else seen["connections"],
            "attempts": 0 if seen is None else seen["attempts"],
            "connect_failures": 0 if seen is None else seen["connect_failures"],
            "failures": 0 if seen is None else seen["errors"] + seen["server_errors"],  # who got no answer, or one of 5xx
            "server_errors": 0 if seen is None else seen["errors"] + seen["server_errors"] - seen["failures"],
        }

    def _ejected(self, identity: Identity) -> dict[str, Any] | None:
        """Why an endpoint is left out, and how much longer."""
        pool = self.ejections.pools.get((identity.service, identity.pop))
        ejection = None if pool is None else pool.ejections.get(identity)
        return None if ejection is None else {"cause": ejection.cause, "left_s": rounded(ejection.until - self.ejections.clock())}
