"""Random good and bad reloads, drains, undrains and words of clusters: what is served is what a model of ten lines says."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.control.life.drains import PopDrains
from gateway.control.life.reload import Outcome
from gateway.errors import ConfigError, Fault
from k8s import ServiceKey
from routing_core import _memory
from tests.unit.gateway.control.following import FakeCluster, pod
from tests.unit.gateway.control.helpers import config_of
from tests.unit.gateway.control.life.test_reload import Scene

KEY = ServiceKey("shop", "web", "http")
PLACES = {"fra": "lat: 50.11, lon: 8.68", "nyc": "lat: 40.71, lon: -74.01", "sin": "lat: 1.3, lon: 103.8"}
NAMES = {"old.example.com": "192.0.2.70", "new.example.com": "192.0.2.71"}
# A PoP's pool: None where there is no such PoP, a list of addresses and names, or the context of a cluster.
KINDS = (None, ("192.0.2.1",), ("192.0.2.2", "192.0.2.3"), ("old.example.com",), ("new.example.com", "192.0.2.4"), "alpha", "beta")


def text_of(world):
    pops, backends = [], []
    for pop, kind in world.items():
        if kind is None:
            continue
        if isinstance(kind, str):
            pops.append(f"  - {{name: {pop}, {PLACES[pop]}, kubernetes: {{context: {kind}}}}}")
            backends.append(f"      - {{pop: {pop}, kubernetes: {{namespace: shop, service: web, port: http}}}}")
        else:
            pops.append(f"  - {{name: {pop}, {PLACES[pop]}}}")
            backends.append(f"      - {{pop: {pop}, endpoints: [{', '.join(f'{chr(34)}{one}:80{chr(34)}' for one in kind)}]}}")
    lines = ["pops:", *pops, "services:", "  - name: shop", "    backends:", *backends]
    return 'listeners: [{name: web, bind: "127.0.0.1:0"}]\n' + "\n".join(lines) + "\nroutes: [{service: shop}]\n"


class Model:
    """What must be: the configuration in use, the operator's word, and the last word of the sources that it still names, or that have
    had it on a pool of which whoever is asked now has said nothing."""

    def __init__(self, world):
        self.world, self.drained, self.pools, self.said, self.said_by = {}, set(), {}, {}, {}
        self.use(world)

    def use(self, world):
        said_by = {}
        for pop in PLACES:
            kind = world.get(pop)
            if kind is None:
                self.pools.pop(pop, None)
            elif not isinstance(kind, str):
                self.pools[pop] = {NAMES.get(one, one) for one in kind}
            else:
                self.pools.setdefault(pop, set())  # as it was, until the cluster has spoken
                self.pools[pop] = self.said.get(kind, self.pools[pop])
                said_by[pop] = kind if kind in self.said else self.said_by.get(pop)
        self.world, self.said_by = world, said_by
        self.forget()

    def say(self, kind, addresses):
        self.said[kind] = set(addresses)
        for pop, its in self.world.items():
            if kind in (its, self.said_by.get(pop)):
                self.pools[pop], self.said_by[pop] = set(addresses), kind
        self.forget()

    def forget(self):
        """PoPs with the same way to the API have one cluster, for as long as one of them has it."""
        asked = {kind for kind in self.world.values() if isinstance(kind, str)} | set(self.said_by.values())
        self.said = {kind: said for kind, said in self.said.items() if kind in asked}


class Trial(Scene):
    def __init__(self):
        self.made = []
        super().__init__()
        self.sources.make_cluster = self.make
        self.reload.hear_s = 0.0  # nobody here speaks unless a test has him
        self.publisher.on_collect = self.forget
        self.drains = PopDrains(self.publisher, self.publisher.figures, self.clock)

    def forget(self, gone):
        for kind, identity in gone:
            if kind == "endpoint":
                self.publisher.gates.forget(identity)

    def make(self, *args):
        self.made.append(FakeCluster(*args))
        return self.made[-1]

    async def ask(self, name):
        return (NAMES[name],)

    def served(self):
        spec = self.publisher.table.spec
        pools = {spec.pops[pool.pop].name: {one.address for one in pool.endpoints} for pool in spec.services[0].pools}
        return pools, {pop.name for pop in spec.pops if pop.is_drained}

    def everything(self):
        """All that a refused reload could have changed."""
        publisher, world = self.publisher, self.publisher.world
        return (
            publisher.config, publisher.table, publisher.locator, publisher.settings, publisher.snapshots.generation, publisher.build_s,
            dict(world.pools), set(world.drained), set(world.counted), dict(self.resolver.answers),
            {pop: (one.cluster, tuple(one.cluster.services), one.cluster.is_running) for pop, one in self.sources.clusters.items()},
            {identity: (gate.state, gate.is_parked) for identity, gate in publisher.gates.all.items()},
            publisher.rows.rows.keys() - publisher.rows.retired.keys(), self.geo.config, len(self.told),
        )  # fmt: skip


async def settle():
    for _ in range(6):
        await asyncio.sleep(0)


async def refuse(trial, how, world):
    trial.next = config_of(text_of(world))
    if how == "faults":
        trial.next = ConfigError([Fault("x.yaml", 1, "", "wrong")])
    elif how == "frozen":
        trial.next = config_of(text_of(world).replace("name: web, bind", "name: other, bind"))
    elif how == "locator":
        trial.next = replace(trial.next, geoip=CLASHING)
    elif how.startswith("memory"):
        _memory.refuse(True, int(how.removeprefix("memory")))
    try:
        outcome = await trial.reload.run()
    finally:
        _memory.refuse(False)
    await settle()  # whom it had begun to follow is followed no longer
    assert {id(one) for one in trial.made if one.is_running} == {id(one.cluster) for one in trial.sources._running.values()}
    return outcome


# `parse` may refuse it; a locator does for certain.
CLASHING = config_of(geoip="{overrides: [{prefix: 10.0.0.0/8, lat: 1, lon: 1}]}").geoip
CLASHING = replace(CLASHING, overrides=CLASHING.overrides * 2)

worlds = st.fixed_dictionaries({pop: st.sampled_from(KINDS) for pop in PLACES}).filter(lambda world: any(world.values()))
pops = st.sampled_from(list(PLACES))
steps = st.one_of(
    st.tuples(st.just("reload"), worlds),
    st.tuples(st.just("refused"), st.sampled_from(["faults", "frozen", "locator", "memory0", "memory1", "memory2"]), worlds),
    st.tuples(st.just("drain"), pops),
    st.tuples(st.just("undrain"), pops),
    st.tuples(st.just("say"), pops, st.sets(st.sampled_from(["192.0.2.81", "192.0.2.82", "192.0.2.83"]))),
)


async def step(trial, model, kind, *what):
    if kind == "reload":
        trial.next = config_of(text_of(what[0]))
        assert (await trial.reload.run()).is_done
        model.use(what[0])
    elif kind == "refused":
        before = trial.everything()
        outcome = await refuse(trial, *what)
        if outcome.is_done:  # it needed less memory than there was
            assert what[0].startswith("memory")
            model.use(what[1])
        else:
            assert outcome.lines
            assert trial.everything() == before
            trial.publisher.publish()  # nothing that waits below shows up later
    elif kind in ("drain", "undrain") and model.world.get(what[0]) is not None:
        getattr(trial.drains, kind)(what[0])
        getattr(model.drained, "add" if kind == "drain" else "discard")(what[0])
    elif kind == "say" and isinstance(model.world.get(what[0]), str):
        trial.sources.clusters[what[0]].cluster.say(KEY, *(pod(one, uid=one) for one in sorted(what[1])))
        trial.publisher.publish()
        model.say(model.world[what[0]], what[1])
    await settle()
    trial.clock.advance(1)
    trial.publisher.collect()


BEFORE = {"fra": ("192.0.2.1",), "nyc": ("192.0.2.2", "192.0.2.3")}  # what a scene begins with
FIRST = {"fra": ("192.0.2.1",), "nyc": "alpha", "sin": ("old.example.com",)}


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=1, max_size=12))
@example([("say", "nyc", {"192.0.2.81"}), ("reload", {"fra": "alpha", "nyc": "beta", "sin": None}), ("say", "fra", {"192.0.2.82"})])
def test_what_is_served_follows_from_good_reloads_and_the_operators_word_alone(played):
    async def whole():
        trial = Trial()
        model = Model(BEFORE)
        try:
            await step(trial, model, "reload", FIRST)
            for one in played:
                await step(trial, model, *one)
                known = {pop for pop, kind in model.world.items() if kind is not None}
                assert trial.served() == ({pop: model.pools[pop] for pop in known}, model.drained & known)
                assert trial.resolver.answers.keys() == {one for kind in model.world.values() for one in kind or () if one in NAMES}
        finally:
            await trial.tasks.stop(1)

    asyncio.run(whole())


def run(scenario):
    async def whole():
        trial, model = Trial(), Model(BEFORE)
        try:
            await step(trial, model, "reload", FIRST)
            await scenario(trial)
        finally:
            await trial.tasks.stop(1)

    asyncio.run(whole())


@pytest.mark.parametrize("how", ["memory0", "locator"])
def test_a_refused_reload_neither_drops_a_drain_nor_empties_a_pop_whose_api_is_silent(how):
    async def scenario(trial):
        cluster = trial.sources.clusters["nyc"].cluster
        cluster.say(KEY, pod("192.0.2.81"))
        trial.drains.drain("sin")
        outcome = await refuse(trial, how, {"fra": ("192.0.2.9",), "nyc": "beta", "sin": None})
        assert not outcome.is_done
        await settle()
        trial.publisher.publish()
        assert trial.served() == ({"fra": {"192.0.2.1"}, "nyc": {"192.0.2.81"}, "sin": {"192.0.2.70"}}, {"sin"})
        assert trial.sources.clusters["nyc"].cluster is cluster
        assert cluster.is_running

    run(scenario)


def test_a_pop_that_comes_back_is_as_drained_as_it_was():
    async def scenario(trial):
        trial.drains.drain("sin")
        for world, drained in (({**FIRST, "sin": None}, set()), (FIRST, {"sin"})):
            trial.next = config_of(text_of(world))
            assert (await trial.reload.run()).is_done
            assert trial.served()[1] == drained
        trial.next = config_of(text_of({**FIRST, "sin": None}))
        assert (await trial.reload.run()).is_done
        assert not trial.drains.undrain("sin").is_drained  # also while it is away
        trial.next = config_of(text_of(FIRST))
        assert (await trial.reload.run()).is_done
        assert trial.served()[1] == set()

    run(scenario)


def test_rows_of_a_table_that_was_not_built_are_given_back():
    async def scenario(trial):
        world = {"fra": tuple(f"192.0.2.{n}" for n in range(100, 200)), "nyc": None, "sin": None}
        before = len(trial.publisher.rows.rows)
        most = 0
        for after in range(20):
            if (await refuse(trial, f"memory{after}", world)).is_done:
                break
            most = max(most, len(trial.publisher.rows.rows))
            trial.publisher.collect()
            assert len(trial.publisher.rows.rows) == before
        assert most >= before + 100  # it had come as far as that
        assert len(trial.served()[0]["fra"]) == 100

    run(scenario)


def test_a_reload_waits_for_the_first_word_of_who_is_new_and_serves_from_it_at_once():
    async def scenario(trial):
        trial.reload.hear_s = 30.0
        trial.next = config_of(text_of({**FIRST, "sin": "beta"}))
        reload = asyncio.ensure_future(trial.reload.run())
        async with asyncio.timeout(10):
            while len(trial.made) < 2:
                await asyncio.sleep(0)
        cluster = trial.made[1]
        assert (cluster.name, cluster.services, trial.served()[0]["sin"]) == ("sin", [KEY], {"192.0.2.70"})
        cluster.say(KEY, pod("192.0.2.90"))
        assert await reload == Outcome(True, warnings=WAITING_FOR_ALPHA)
        assert trial.served()[0]["sin"] == {"192.0.2.90"}
        assert (len(trial.made), cluster.is_running) == (2, True)

    run(scenario)


WAITING_FOR_ALPHA = ("services.shop, nyc: shop/web not heard of yet (no answer in time); its endpoints stay those that were last known",)
NEW = """  - name: new
    backends: [{pop: nyc, kubernetes: {namespace: shop, service: web, port: http}}]
routes:"""


def test_whoever_does_not_speak_in_time_is_said_with_what_it_means():
    async def scenario(trial):
        trial.sources.clusters["nyc"].cluster.say(KEY, pod("192.0.2.81"))
        trial.publisher.publish()
        make = trial.make

        def gone(*args):
            cluster = make(*args)
            cluster.error = "cannot connect"
            return cluster

        trial.sources.make_cluster = gone
        trial.next = config_of(text_of({"fra": None, "nyc": "beta", "sin": None}).replace("routes:", NEW))
        outcome = await trial.reload.run()
        said = "nyc: shop/web not heard of yet (cannot connect)"
        kept, none = "its endpoints stay those that were last known", "it has no endpoints until then"
        assert outcome == Outcome(True, warnings=(f"services.shop, {said}; {kept}", f"services.new, {said}; {none}"))
        assert trial.served()[0] == {"nyc": {"192.0.2.81"}}

    run(scenario)
