"""Sources with clusters and a name server under the test's thumb."""

import asyncio

from gateway.control.process.tasks import Tasks
from gateway.control.sources.endpoints import Sources
from gateway.control.sources.resolver import Resolver
from gateway.control.sources.world import World
from k8s import Endpoint, ServiceKey, State
from tests.unit.gateway.control.helpers import Clock, config_of

FRA, NYC = ("shop", "fra"), ("shop", "nyc")
TEXT = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
pops:
  - {name: fra, lat: 50.11, lon: 8.68, kubernetes: {context: fra}}
  - {name: nyc, lat: 40.71, lon: -74.01, kubernetes: {context: nyc}}
  - {name: sin, lat: 1.3, lon: 103.8}
services:
  - name: shop
    backends:
      - {pop: fra, kubernetes: {namespace: shop, service: web, port: http}}
      - {pop: nyc, kubernetes: {namespace: shop, service: web, port: 80}}
      - {pop: sin, endpoints: ["192.0.2.1:80", "web.example.com:81", "unix:/run/x", "[2001:db8::1]:82"]}
routes: [{service: shop}]
"""
KEY = ServiceKey("shop", "web", "http")


class FakeCluster:
    """As k8s.Cluster, driven by the test. The real one's contract is tested in tests/k8s."""

    def __init__(self, name, access, services, on_change):
        self.name, self.access, self.services, self.on_change = name, access, list(services), on_change
        self.known = {}
        self.error, self.errors = None, {}  # of all, and by key
        self.is_running = False
        self.age, self.ages, self.renewed = 1.5, {}, 0  # ages: by key
        self.server = self.listed_from = "one"
        self.is_renewing, self.fault = False, None

    def set_services(self, services):
        self.services = list(services)
        self.known = {key: said for key, said in self.known.items() if key in self.services}

    def endpoints(self, key):
        return self.known.get(key, ())

    def is_synced(self, key):
        return key in self.known

    @property
    def synced(self):
        return all(key in self.known for key in self.services)

    def age_s(self, now, key=None):
        return self.ages.get(key, self.age)

    def error_of(self, key):
        return self.error or self.errors.get(key)

    async def run(self):
        self.is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_running = False

    def renew(self):
        self.renewed += 1

    def prefer(self, families):
        self.families = families

    def said_by(self, key):
        return self.server

    def is_of_another(self, key):
        return key in self.known and self.listed_from != self.server

    def say(self, key, *endpoints):
        self.listed_from = self.server
        self.known[key] = endpoints
        self.on_change(self, [key])


def pod(address, state=State.READY, uid="u1"):
    return Endpoint(address, 8080, uid, None, state)


class Scene:
    def __init__(self, text=TEXT):
        self.clock, self.tasks, self.world, self.changes, self.made = Clock(), Tasks(), World(), [], []
        self.resolver = Resolver(self.tasks, self.clock, self.on_names, self.ask)
        self.answers = {}
        self.sources = Sources(
            world=self.world,
            resolver=self.resolver,
            tasks=self.tasks,
            clock=self.clock,
            on_change=self.changes.append,
            make_cluster=self.make,
        )
        self.config = config_of(text)

    async def ask(self, name):
        if name not in self.answers:
            raise OSError("unknown")
        return self.answers[name]

    def on_names(self):
        self.sources.on_names()

    def make(self, *args):
        self.made.append(FakeCluster(*args))
        return self.made[-1]

    def addresses(self, pop):
        return [str(known.identity) for known in self.world.pools.get(("shop", pop), ())]


def play(scenario):
    async def whole():
        await scenario(Scene())

    asyncio.run(whole())


async def settle():
    for _ in range(6):
        await asyncio.sleep(0)
