"""Offline: from a configuration to a table without a gateway that runs, for `isochrone explain -c FILE`.

Owns what is assumed where nobody has asked: every endpoint admits, no PoP is drained, nothing was measured. Endpoints given as
addresses are in the table; names and Kubernetes Services are stood for by placeholders, so that their PoP counts as available.
Contacts nothing: no name is resolved, no cluster asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.control.operator.explanation import Situation
from gateway.control.operator.pools import Source, kind_of
from gateway.control.sources.geo import Geo, Prepared
from gateway.control.sources.world import Identity, Known, Origin, World
from gateway.control.table.affinity import FILE, LEAST_BYTES
from gateway.control.table.builder import build
from gateway.control.table.rows import Rows
from gateway.model import Backend, Config
from k8s import State
from routing_core import Figures, Table

NOT_ASKED = "not asked: this is the file alone; --admin asks a running gateway"
# RFC 6666's discard-only prefix: no endpoint can be there.
PLACEHOLDER = "100::"


def situation_of(config: Config) -> tuple[Situation, list[str]]:
    """What a gateway with this configuration would decide from, all being well; and why databases can't be used, a line each."""
    geo = Geo(config, lambda: 0.0)
    geo.files.check(0.0)
    locator = Prepared(geo.files, config).locator()
    sources = {}
    placeholders = set()
    for service in config.services:
        for backend in service.backends:
            pool = (service.name, backend.pop)
            known = list(_endpoints(service.name, backend))
            placeholders |= {str(one.identity) for one in known if one.identity.address == PLACEHOLDER}
            kind = kind_of(backend)
            sources[pool] = Source(kind) if kind == "addresses" else Source(kind, None, NOT_ASKED)
    situation = Situation(table_of(config, _affinity_key(config)), locator, 0.0, sources, frozenset(placeholders), config)
    return situation, [status.error for status in geo.statuses if status.error is not None]


def table_of(config: Config, affinity_key: bytes = b"") -> Table:
    """ValueError when none can be built."""
    figures, world = Figures(1), World()
    for service in config.services:
        for backend in service.backends:
            world.describe((service.name, backend.pop), _endpoints(service.name, backend))
    return Table(build(config, world, Rows(figures), 0, affinity_key).spec, figures)


def _affinity_key(config: Config) -> bytes:
    """The one a gateway would take, where it is there and may be read; empty otherwise: then cookies can't be judged. Makes none."""
    folder = config.state_dir
    path = config.affinity_key or (None if folder is None else folder / FILE)
    try:
        key = b"" if path is None else path.read_bytes()
    except OSError:
        return b""
    return key if len(key) >= LEAST_BYTES else b""


def _endpoints(service: str, backend: Backend) -> Iterator[Known]:
    """One each for an address and for a name; one for a whole Kubernetes Service."""
    for number, one in enumerate(backend.endpoints or (None,), 1):
        is_known = one is not None and (one.ip is not None or one.is_unix)
        address, port = (one.host, one.port) if one is not None and is_known else (PLACEHOLDER, number)
        yield Known(Identity(service, backend.pop, "", address, port), State.READY, Origin.STATIC)
