import asyncio
import itertools

import pytest

from gateway.demo import places, story
from gateway.demo.story import DRAINED, KILLED, Story, row_of
from gateway.demo.traffic import Flow, Sample

POPS, CLIENTS, TRIPS = places.pops(), places.clients(), places.round_trips()


class World(Flow):
    """Flow, gateway and processes in one, without a socket: every look at the clock sends each client's request to its nearest PoP
    that is there. `spoil` may change what becomes of one."""

    def __init__(self, spoil=lambda world, sample: sample):
        super().__init__(0, CLIENTS)
        self.gone = set()
        self.drained = set()
        self.log = []
        self.spoil = spoil
        self.is_going = False
        self.ticks = itertools.count()
        self.clock = self.look

    def look(self):
        now = next(self.ticks) * 0.05
        if self.is_going:
            for client in CLIENTS:
                pop = min((p.name for p in POPS if p.name not in self.gone | self.drained), key=lambda name: TRIPS[client.city, name])
                self.samples.append(self.spoil(self, Sample(client, now, TRIPS[client.city, pop], pop, "fastest")))
        return now

    def start(self):
        self.is_going = True

    async def stop(self):
        self.is_going = False

    def kill(self, pop):
        self.log.append(f"kill {pop}")
        self.gone.add(pop)

    async def revive(self, pop):
        self.log.append(f"revive {pop}")
        self.gone.discard(pop)

    async def drain(self, pop):
        self.log.append(f"drain {pop}")
        self.drained.add(pop)

    async def undrain(self, pop):
        self.log.append(f"undrain {pop}")
        self.drained.discard(pop)

    async def explain(self, address):
        client = next(client for client in CLIENTS if client.address == address)
        order = sorted((TRIPS[client.city, pop.name], pop.name) for pop in POPS)
        best = next(name for _, name in order if name not in self.gone | self.drained)
        return {
            "location": {"country": client.country},
            "candidates": [
                {
                    "pop": name,
                    "permitted": True,
                    "available": name not in self.gone,
                    "drained": name in self.drained,
                    "estimate_ms": ms,
                    "share": float(name == best),
                }
                for ms, name in order
            ],
        }


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch):
    monkeypatch.setattr(story, "LOOK_S", 0)
    monkeypatch.setattr(story, "FOLLOW_S", 0)


def told(world, **more):
    shown = []
    one = Story(
        world, world, world, POPS, TRIPS, lambda scene: shown.append(scene.title), lambda scene: shown.append(len(scene.rows)), **more
    )
    return one, asyncio.run(one.run()), shown


@pytest.mark.parametrize("is_watched", [False, True])
def test_the_whole_story(is_watched):
    world = World()
    one, summary, shown = told(world, is_watched=is_watched)
    assert world.log == [f"kill {KILLED}", f"revive {KILLED}", f"drain {DRAINED}", f"undrain {DRAINED}"]
    assert not world.is_going
    assert one.is_good
    assert (summary.n_errors, summary.missed) == (0, ())
    assert summary.n_requests == len(world.samples)
    all_up, death, back, drain = one.scenes
    assert [row.client for row in all_up.rows] == list(CLIENTS)
    assert shown == [all_up.title, 24, death.title, len(death.rows), back.title, len(back.rows), drain.title, len(drain.rows)]
    home = [row.client for row in all_up.rows if row.pop == KILLED]
    assert [row.client for row in death.rows] == [row.client for row in back.rows] == home
    assert len(home) > 3
    assert all(row.pop != KILLED and row.alternative != KILLED for row in death.rows)
    assert all(row.pop == KILLED for row in back.rows)
    assert [row.client for row in drain.rows] == [row.client for row in all_up.rows if row.pop == DRAINED]
    assert all(row.pop != DRAINED and row.alternative != DRAINED for row in drain.rows)


def changed(sample, **more):
    return Sample(**{name: getattr(sample, name) for name in Sample.__slots__} | more)


def test_a_failed_request_is_no_good_story():
    world = World(lambda world, sample: changed(sample, error="cut") if len(world.samples) == 100 else sample)
    one, summary, _ = told(world)
    assert not one.is_good
    assert summary.n_errors == 1


@pytest.mark.parametrize(
    ("spoil", "scene", "fault"),
    [
        (lambda world, sample: changed(sample, pop="jnb") if sample.client.city == "London" else sample, 0, "London is sent to jnb"),
        (lambda world, sample: changed(sample, pop=KILLED) if KILLED in world.gone else sample, 1, "which was dead"),
        (lambda world, sample: changed(sample, pop=DRAINED) if world.drained else sample, 3, "while it was drained"),
    ],
)
def test_traffic_where_none_may_be_is_a_fault(spoil, scene, fault):
    one, summary, _ = told(World(spoil))
    assert not one.is_good
    assert summary.n_errors == 0
    assert fault in " ".join(one.scenes[scene].faults)
    assert sum(bool(each.faults) for each in one.scenes) == 1


def test_what_does_not_happen_ends_the_story():
    class Stubborn(World):
        async def revive(self, pop):
            """Says so, and stays dead."""

    world = Stubborn()
    with pytest.raises(TimeoutError, match=f"the clients of {KILLED} at {KILLED} again"):
        told(world)
    assert not world.is_going


def candidate(pop, ms, **more):
    return {"pop": pop, "permitted": True, "available": True, "drained": False, "estimate_ms": ms, "share": 0.0} | more


def test_a_row_names_what_served_last_and_the_best_that_could():
    samples = [
        Sample(CLIENTS[0], 0, ms, pop, reason) for ms, pop, reason in [(9, "sin", "window"), (30, "nrt", "window"), (11, "sin", "window")]
    ]
    explained = {
        "location": {"country": None},
        "candidates": [
            candidate("fra", 1, available=False),
            candidate("iad", 2, drained=True),
            candidate("gru", 3, permitted=False),
            candidate("nrt", 60),
            candidate("sin", 56, share=0.8),
            candidate("jnb", 50),
        ],
    }
    row = row_of(samples, explained)
    assert (row.pop, row.measured_ms, row.reason, row.estimate_ms) == ("sin", 10, "window", 56)
    assert (row.alternative, row.alternative_ms, row.country, row.is_in_window) == ("jnb", 50, "?", True)
    alone = row_of(samples, explained | {"candidates": explained["candidates"][:1]})
    assert (alone.alternative, alone.estimate_ms, alone.is_in_window) == (None, None, False)
