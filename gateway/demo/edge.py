"""Edge: the demo's gateway, a real `isochrone serve` with a configuration file of its own. Owns that file, and what is asked of its
admin API. Must not know what the demo does with it.

Times that a person would have to wait for are shorter than the defaults: `SHORTENED` says which, for the screen.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.demo import children
from gateway.demo import client as http
from gateway.demo.places import Client, Pop
from gateway.errors import StartError

START_S = 30.0
POLL_S = 0.03
ADMIN_S = 10.0
DRAIN_S = 5  # to finish what runs at a PoP
SHORTENED = "probes each 1 s instead of 10 s, a change confirmed each 0.2 s instead of 1 s, ramp of what returns 2 s instead of 30 s"

CONFIG = """\
# The configuration of this demo.
gateway: {{name: demo}}
listeners:
  - {{name: web, bind: "127.0.0.1:{port}"}}

# Behind a hop that is trusted to say who the client is: that is how one machine speaks for clients of two dozen countries.
client_ip:
  trusted_proxies: [127.0.0.0/8]

geoip:
{geoip}

pops:
{pops}

services:
  - name: demo
    # A demo has no time: the defaults are 10s, 1s, 3 and 30s.
    health: {{path: /healthz, interval: 1s, timeout: 1s, confirm_interval: 200ms, up_after: 2}}
    slow_start: 2s
    pop_ramp: 2s
    backends:
{backends}

routes:
  - {{name: demo, service: demo}}

drain: {{lameduck: 0s, deadline: 2s}}
admin: {{bind: "127.0.0.1:{admin}"}}
debug_headers: true   # answers say which PoP they came from, and why
"""


@dataclass(frozen=True, slots=True)
class Database:
    """A city database of this machine."""

    path: Path
    built: datetime


def find_database() -> Database | None:
    """The one that the package maxminddb-geolite2 brings (of July 2018, for development only); None where it is not installed."""
    try:
        from geolite2 import geolite2
    except ImportError:
        return None
    with geolite2:
        return Database(Path(geolite2.filename), datetime.fromtimestamp(geolite2.reader().metadata().build_epoch, UTC))


def configuration(
    pops: Sequence[Pop], clients: Sequence[Client], ports: Mapping[str, int], port: int, admin: int, database: Database | None
) -> str:
    """The file's text. `ports`: of the PoPs, by name."""
    if database is not None:
        geoip = [f"  city: {json.dumps(str(database.path))}"]
    else:
        geoip = ["  overrides:"]
        geoip += [f"    - {{prefix: {one.address}, lat: {one.lat}, lon: {one.lon}, country: {json.dumps(one.country)}}}" for one in clients]
    return CONFIG.format(
        port=port,
        admin=admin,
        geoip="\n".join(geoip),
        pops="\n".join(f"  - {{name: {one.name}, lat: {one.lat}, lon: {one.lon}, country: {one.country}}}   # {one.city}" for one in pops),
        backends="\n".join(f'      - {{pop: {one.name}, endpoints: ["127.0.0.1:{ports[one.name]}"]}}' for one in pops),
    )


class Edge:
    """The running gateway."""

    def __init__(self, folder: Path, text: str, port: int, admin: int) -> None:
        self.port = port
        self.admin = admin
        self.config = folder / "demo.yaml"
        self.log = folder / "gateway.log"
        self.config.write_text(text)
        self._child: subprocess.Popen[bytes] | None = None
        self._http = http.Client(admin, ADMIN_S)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"

    async def start(self) -> None:
        """Returns when it is ready. StartError with the end of its log when it can't be."""
        self._child = children.start("serve", "-c", str(self.config), log=self.log)
        end = asyncio.get_running_loop().time() + START_S
        while not await self._is_ready():
            if self._child.poll() is not None or asyncio.get_running_loop().time() > end:
                said = self.log.read_text(errors="replace").splitlines()[-5:]
                raise StartError("the demo's gateway does not start:\n" + "\n".join(said))
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        self._http.close()
        if self._child is not None:
            children.end(self._child)

    async def explain(self, client: str) -> dict[str, Any]:
        """The decision for a client, PoP by PoP."""
        return await self._ask("GET", "/explain?" + urllib.parse.urlencode({"client": client, "path": "/"}))

    async def pops(self) -> dict[str, dict[str, Any]]:
        """What the gateway knows of each PoP, by name."""
        return {one["pop"]: one for one in (await self._ask("GET", "/pops"))["pops"]}

    async def drain(self, pop: str) -> None:
        """Returns when every worker knows and nothing runs there any more."""
        said = await self._ask("POST", f"/pops/{pop}/drain?wait={DRAIN_S}s")
        if not said["done"]:
            raise StartError(f"{pop} is not drained after {DRAIN_S} s: {said}")

    async def undrain(self, pop: str) -> None:
        await self._ask("POST", f"/pops/{pop}/undrain")

    async def _is_ready(self) -> bool:
        try:
            return (await self._http.ask("GET", "/readyz")).status == 200
        except http.Fault:
            return False

    async def _ask(self, method: str, path: str) -> dict[str, Any]:
        try:
            answer = await self._http.ask(method, path)
        except http.Fault as fault:
            raise StartError(f"{method} {self.admin_url}{path}: {fault}") from fault
        if answer.status != 200:
            raise StartError(f"{method} {self.admin_url}{path}: {answer.status} {answer.body.decode(errors='replace').strip()}")
        body: dict[str, Any] = json.loads(answer.body)
        return body
