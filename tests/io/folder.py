"""A second source of objects, for tests: a folder in which each JSON file is one, `KIND-NAME.json`. It is looked at every 20 ms, and says
all of it as soon as the folder is there and whenever anything changed. A file that can't be used is refused, and no other for it."""

import json
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.model import (
    Address,
    Backend,
    Identity,
    Jurisdiction,
    Match,
    Objects,
    Refused,
    Route,
    Rule,
    Service,
    Steering,
    Target,
    refused_route,
)

NAME = "folder"


def service_of(name: str, said: dict[str, Any]) -> Service:
    backends = [Backend(pop=pop, endpoints=(Address("127.0.0.1", int(port)),)) for pop, port in said["ports"].items()]
    return Service(name=name, source=NAME, backends=tuple(backends), pop_ramp=0)  # type: ignore[arg-type]  # a duration is a float


def match_of(said: dict[str, Any]) -> tuple[Match, ...]:
    paths = said.get("paths", ["/"])
    if not all(isinstance(path, str) and path.startswith("/") for path in paths):
        raise ValueError(f"paths: must begin with /, got {paths!r}")
    return tuple(Match(hosts=tuple(said.get("hosts", ())), path_prefix=path) for path in paths)


def route_of(name: str, said: dict[str, Any]) -> Objects:
    identity = Identity(NAME, "", name)
    try:
        match = match_of(said)
    except ValueError as error:
        return refused_route(identity, str(error), None, tuple(said.get("hosts", ())))
    try:
        steering = Steering(rules=(Rule(pops=Jurisdiction(countries=tuple(said["countries"]))),)) if "countries" in said else Steering()
        targets = (Target(said["service"], 1),)
    except (KeyError, TypeError) as error:
        return refused_route(identity, f"is broken: {error}", match)
    return Objects(routes=(Route(name=name, source=NAME, match=match, targets=targets, steering=steering),))


def object_of(kind: str, name: str, text: str) -> Objects:
    try:
        said = json.loads(text)
        return route_of(name, said) if kind == "route" else Objects(services=(service_of(name, said),))
    except (ValueError, KeyError) as error:
        identity = Identity(NAME, "", name)
        return refused_route(identity, str(error), None) if kind == "route" else Objects(refused=(Refused(kind, identity, str(error)),))


def joined(some: list[Objects]) -> Objects:
    return Objects(
        services=tuple(service for one in some for service in one.services),
        routes=tuple(route for one in some for route in one.routes),
        refused=tuple(refused for one in some for refused in one.refused),
    )


class Folder:
    """A part of the gateway."""

    def __init__(self, gateway: Gateway, path: Path) -> None:
        self.gateway, self.path = gateway, path
        self._say = gateway.merge.add(NAME)
        self._said: Objects | None = None

    async def start(self) -> None:
        self.gateway.tasks.repeat(NAME, self.turn, 0.02)

    async def stop(self) -> None:
        """Its task ends with the others."""

    async def turn(self) -> None:
        if not self.path.is_dir():
            return
        found = joined([object_of(*one.stem.split("-", 1), one.read_text()) for one in sorted(self.path.glob("*.json"))])
        if found != self._said:
            self._said = found
            self._say(found)


def put(folder: Path, **files: Any) -> None:
    """`kind_name`: an object, or the text of the file. Each is there whole or not at all."""
    folder.mkdir(exist_ok=True)
    for key, said in files.items():
        path = folder / f"{key.replace('_', '-', 1)}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(said if isinstance(said, str) else json.dumps(said))
        fresh.replace(path)
