"""`isochrone serve` as a process under test: its configuration, start, admin API, log and end. Knows nothing of load and of clusters."""

import http.client
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Self

import yaml

from tests.e2e.processes import Program

Json = dict[str, Any]

PORT, ADMIN_PORT = 8080, 9901
START_TIMEOUT_S = 20.0
DRAIN = {"lameduck": "2s", "deadline": "20s"}
# Beside one of the two PoPs of `two_pops`.
NEAR_FRA, NEAR_NYC = {"lat": 48.14, "lon": 11.58}, {"lat": 42.36, "lon": -71.06}


def two_pops(kubeconfig: Path, service: str, **changes: Any) -> Json:
    """A configuration like the README's second one: two clusters, a PoP each, all else left to defaults but the drain's length.

    The load's clients have private addresses, so they stand where the gateway does: near fra, unless `gateway` says otherwise.
    """
    config: Json = {
        "gateway": {"location": NEAR_FRA},
        "pops": [
            {"name": "fra", "lat": 50.11, "lon": 8.68, "kubernetes": {"kubeconfig": str(kubeconfig), "context": "fra"}},
            {"name": "nyc", "lat": 40.71, "lon": -74.01, "kubernetes": {"kubeconfig": str(kubeconfig), "context": "nyc"}},
        ],
        "services": [
            {
                "name": "web",
                "health": {"path": "/healthz"},
                "backends": [{"pop": pop, "kubernetes": {"service": service, "port": "http"}} for pop in ("fra", "nyc")],
            }
        ],
        "routes": [{"service": "web"}],
        "drain": DRAIN,
    }
    return config | changes


class Gateway:
    """One process on an address of its own (of 10.244.240.0/20). It ends with `with`, at the latest."""

    def __init__(self, name: str, address: str, folder: Path, config: Json) -> None:
        """Files go to `folder`, which must exist; `config` without listeners and admin, which are this address's."""
        self.name, self.host = name, address
        self.admin = f"127.{address.partition('.')[2]}"  # loopback, and of this gateway alone
        self.address = f"{address}:{PORT}"
        listening = {"listeners": [{"name": "web", "bind": self.address}], "admin": {"bind": f"{self.admin}:{ADMIN_PORT}"}}
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config | listening))
        self.program = Program(name, [sys.executable, "-m", "gateway", "serve", "-c", str(file)], folder / f"{name}.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Starts it and waits until it is ready."""
        self.program.start()
        self.program.wait_ready(self.is_ready, timeout_s)
        return self

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, PORT)) == 0

    def ask(self, method: str, path: str, timeout_s: float = 5.0) -> tuple[int, Json]:
        """The admin API's status and JSON. OSError when nobody answers."""
        connection = http.client.HTTPConnection(self.admin, ADMIN_PORT, timeout=timeout_s)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        found = json.loads(text) if answer.getheader("content-type", "").startswith("application/json") else {"text": text.decode()}
        return answer.status, found

    def command(self, method: str, path: str) -> Json:
        """The admin API's answer, which must be 2xx."""
        status, found = self.ask(method, path)
        assert 200 <= status < 300, f"{method} {path}: {status} {found}"
        return found

    def requests(self) -> int:
        """How many it has answered, by its own count."""
        lines = self.ask("GET", "/metrics")[1]["text"].splitlines()
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("isochrone_requests_total{"))

    def terminate(self) -> None:
        """SIGTERM: its drain begins."""
        self.program.signal(signal.SIGTERM)

    def wait_drained(self, timeout_s: float = 25.0) -> None:
        """Until it has ended by itself, within its deadline, and said each of its steps."""
        assert self.program.wait(timeout_s) == 0, self.program.tail()
        steps = [event["message"] for event in self.events() if event["logger"] == "isochrone.drain"]
        assert steps[-3:] == ["lameduck", "closing", "exit"], steps

    def events(self) -> list[Json]:
        """Its log."""
        return [json.loads(line) for line in self.program.log.read_text().splitlines()]
