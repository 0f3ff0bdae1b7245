"""From a pod's readiness in the Kubernetes API to the gateway's traffic: `make bench NAME=k8s`, or `python -m bench.k8s --rolls 30`.

A real control plane, a gateway and one client that asks without a pause, while a Deployment of three is rolled. A watch of the test's own
notes when each change of an endpoint arrives from the API server; the client notes when it began each request and which pod answered.
- out: from "not ready any more" to the begin of the last request that still went to that pod; 0 when none began after the change. Only
  pods that were asked within the last 5 ms before it count: the others would look quick by chance;
- in: from "ready" to the begin of the first request that went to it (slow start off).
The other watch has a delay of its own, so 0 means: the gateway was not slower. Both figures include the client's step between two requests.
"""

import argparse
import http.client
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.e2e import sandboxed  # noqa: E402  # the path comes first
from tests.e2e.assets import build  # noqa: E402  # as above
from tests.e2e.cluster import Clusters, write_kubeconfig  # noqa: E402  # as above
from tests.e2e.gateway import Gateway, two_pops  # noqa: E402  # as above
from tests.e2e.kubeapi import Api, EndpointRecorder  # noqa: E402  # as above
from tests.e2e.processes import wait_until  # noqa: E402  # as above
from tests.e2e.rollout import deploy, roll  # noqa: E402  # as above

HOST = "10.244.240.1"
SETTLE_S = 0.5
LATELY_S = 0.005


class TimedRecorder(EndpointRecorder):
    """The same, with the time of each state's arrival."""

    def __init__(self, api: Api, service: str) -> None:
        self.times: list[float] = []
        super().__init__(api, service)

    def record(self) -> None:
        self.times.append(time.time())
        super().record()

    def changes(self) -> list[tuple[float, str, bool]]:
        """When, which pod, whether it is ready now."""
        found = []
        for at, old, new in zip(self.times[1:], self.states, self.states[1:], strict=False):
            before, after = ({one.pod for one in state if one.ready and one.pod} for state in (old, new))
            found += [(at, pod, True) for pod in after - before] + [(at, pod, False) for pod in before - after]
        return found


def ask(address: str, file: Path) -> None:
    """One client, until it is killed: a line for each request, when it began and who answered."""
    connection = http.client.HTTPConnection(address, timeout=5)
    with file.open("w") as lines:
        while True:
            began = time.time()
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            lines.write(f"{began} {(answer.getheader('x-pod') or '').partition('/')[2]}\n")
            lines.flush()


def measure(folder: Path, rolls: int) -> tuple[list[float], list[float], float]:
    """Milliseconds out and in, and the client's step."""
    assets = build.locate()
    if assets is None:
        sys.exit("bench: run `make kube-assets` first")
    with Clusters(folder / "clusters", assets) as clusters:
        (plane,) = clusters.start("fra")
        deploy(plane, "web", environment={"SLOW_STOP_S": "2"})
        kubeconfig = folder / "kubeconfig"
        write_kubeconfig(kubeconfig, [plane])
        config = two_pops(kubeconfig, "web")
        del config["pops"][1], config["services"][0]["backends"][1]
        config["services"][0]["slow_start"] = "0s"
        seen = folder / "seen"
        with Gateway("gateway", HOST, folder, config) as gateway:
            gateway.start()
            recorder = TimedRecorder(plane.api, "web")
            client = subprocess.Popen([sys.executable, __file__, "--ask", gateway.address, str(seen)])
            try:
                wait_until(lambda: seen.exists() and seen.stat().st_size > 10_000, 10, "answers")
                for _ in range(rolls):
                    roll(plane, "web")
                time.sleep(SETTLE_S)
                assert client.poll() is None, "the client saw an error"
            finally:
                client.kill()
                client.wait()
            recorder.close()
    answers = [line.split() for line in seen.read_text().splitlines()[:-1]]
    starts: dict[str, list[float]] = {}
    for began, pod in answers:
        starts.setdefault(pod, []).append(float(began))
    steps = [float(later[0]) - float(sooner[0]) for sooner, later in itertools.pairwise(answers)]
    out, came = [], []
    for at, pod, is_ready in recorder.changes():
        if is_ready:
            came.append((starts[pod][0] - at) * 1000)
        elif any(0 <= at - began < LATELY_S for began in starts[pod]):
            out.append(max(0.0, starts[pod][-1] - at) * 1000)
    return out, came, statistics.median(steps) * 1000


def show(name: str, figures: list[float]) -> None:
    ordered = sorted(figures)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    print(f"{name:4} {len(ordered):4} changes: p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  max {ordered[-1]:6.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="from readiness in the Kubernetes API to the gateway's traffic")
    parser.add_argument("--rolls", type=int, default=15)
    parser.add_argument("--ask", nargs=2, metavar=("ADDRESS", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        ask(given.ask[0], Path(given.ask[1]))
    if not sandboxed.is_inside():
        os.execv(sys.executable, [sys.executable, str(ROOT / "tests/e2e/sandboxed.py"), sys.executable, *sys.argv])
    os.chdir(ROOT)
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; {given.rolls} rolls of a Deployment of three")
    with tempfile.TemporaryDirectory() as folder:
        out, came, step_ms = measure(Path(folder), given.rolls)
    show("out", out)
    show("in", came)
    print(f"between two requests: {step_ms:.2f} ms")


if __name__ == "__main__":
    main()
