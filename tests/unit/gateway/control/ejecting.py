"""A pool whose endpoints answer as a test of ejections counts, with its table and gates."""

import random
from collections import defaultdict

from gateway.control.health.ejections import Ejections
from gateway.control.health.gates import State
from gateway.control.sources.world import Known, Origin
from k8s import State as SourceState
from tests.unit.gateway.control.helpers import Clock, config_of, identity, publisher_of

SET = [identity(f"192.0.2.{number}") for number in range(1, 11)]
BAD, *GOOD = SET
POOL = ("shop", "fra")
SERVICE = '{{name: shop, {}backends: [{{pop: fra, endpoints: ["192.0.2.1:80"]}}]}}'


def text(**outliers):
    rules = f"outliers: {{{', '.join(f'{key}: {value}' for key, value in outliers.items())}}}, " if outliers else ""
    return f"""
listeners: [{{name: web, bind: "127.0.0.1:0"}}]
pops: [{{name: fra, lat: 50.11, lon: 8.68}}]
services: [{SERVICE.format(rules)}]
routes: [{{service: shop}}]
"""


class Counted:
    """Real figures, but for what only workers count: by row and worker."""

    def __init__(self, figures):
        self.figures = figures
        self.endpoints = defaultdict(lambda: [[0] * 8, [0] * 8])
        self.pool = [0] * 5
        self.n_looks = 0

    def __getattr__(self, name):
        return getattr(self.figures, name)

    def read_endpoint_outcomes(self, row):
        self.n_looks += 1
        return tuple(map(sum, zip(*self.endpoints[row], strict=True)))

    def read_pool_outcomes(self, row):
        return tuple(self.pool)


class Stage:
    """A pool of endpoints in a table, gates and ejections over it; serving, all found good."""

    def __init__(self, *members, config=None):
        self.clock = Clock()
        self.publisher = publisher_of(config or config_of(text()), self.clock)
        self.gates = self.publisher.gates
        self.figures = Counted(self.publisher.figures)
        self.ejections = Ejections(self.figures, self.gates, self.clock, random.Random(7))
        self.have(*members)
        for one in members:
            self.probe(one, True)
        self.gates.begin()
        self.turn()

    def have(self, *members):
        """A table of these endpoints."""
        self.publisher.world.describe(POOL, [Known(one, SourceState.READY, Origin.STATIC) for one in members])
        self.publisher.publish()

    def probe(self, one, *results):
        for is_good in results:
            self.gates.judge(one, is_good, 0)

    def count(self, one, answers=0, errors=0, worker=0, first_byte_ms=10, server_errors=0, bad_by=0, good_by=0, slow_by=1):
        """What a worker counted, as it does: an attempt each, and of the endpoint what came of it. Where nothing is said of networks, all
        is of one."""
        if not (bad_by or good_by):
            bad_by, good_by = int(errors + server_errors > 0), int(answers > server_errors)
        row = self.gates.all[one].row
        for place, grown in enumerate((answers, errors, answers, answers * first_byte_ms * 1000, server_errors, bad_by, good_by, slow_by)):
            self.figures.endpoints[row][worker][place] += grown
        self.figures.pool[0] += answers + errors
        self.figures.pool[1] += errors
        self.figures.pool[2] += server_errors

    def turn(self, seconds=0.1):
        self.clock.advance(seconds)
        self.gates.turn()
        self.ejections.turn(self.publisher.config, self.publisher.table.spec)

    def eject(self, one=BAD):
        """Its ejection's length in seconds."""
        self.count(one, errors=5)
        self.turn()
        assert self.state(one) is State.EJECTED
        return self.ejections.pools[POOL].ejections[one].until - self.clock.now

    def state(self, one=BAD):
        return self.gates.all[one].state

    @property
    def ejected(self):
        return {one for one, gate in self.gates.all.items() if gate.state is State.EJECTED}
