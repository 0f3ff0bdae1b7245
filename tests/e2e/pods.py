"""Process pods: scheduler and kubelet of one test cluster. Each pod is a real process on an address of its own.

    python -m tests.e2e.pods --server URL --certificates FOLDER --cluster NAME --block 10.244.0.0/20 --logs FOLDER

Owns what a kubelet does that a Service's clients can notice: binding, start, readiness probes (httpGet), restart of what dies, pod status,
the order of a deletion (SIGTERM, the grace period with readiness still probed, SIGKILL, then the object goes). Knows nothing of what pods
serve.
The API server may go away and come back: running pods run on, and what changed meanwhile is reported then.
"""

import argparse
import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp

Json = dict[str, Any]

RETRY_S = 0.3
CALL_TIMEOUT = aiohttp.ClientTimeout(total=10)
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_read=120)  # bookmarks come every minute
# A kubelet probes once a second at the most; while a pod isn't ready yet, tests would only wait for that.
STARTING_PERIOD_S = 0.1
RESTART_S = 1.0
STRATEGIC = "application/strategic-merge-patch+json"
DEFAULT_PROGRAM = [sys.executable, "-m", "tests.e2e.backend"]


def log(text: str) -> None:
    print(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S.%f} {text}", flush=True)


def timestamp() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


class Server:
    """The API server, asynchronously. Network trouble is aiohttp.ClientError or TimeoutError."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def call(self, method: str, path: str, body: Json | None = None, content_type: str = "application/json") -> tuple[int, Json]:
        data, fields = json.dumps(body) if body is not None else None, {"content-type": content_type}
        async with self.session.request(method, self.url + path, data=data, headers=fields, timeout=CALL_TIMEOUT) as answer:
            return answer.status, await answer.json()

    async def insist(self, method: str, path: str, body: Json, content_type: str = "application/json") -> int:
        """Calls until the server has answered; a refusal that isn't about overload or its own trouble is final. The status."""
        while True:
            try:
                status, answer = await self.call(method, path, body, content_type)
            except (aiohttp.ClientError, TimeoutError, ValueError) as trouble:
                log(f"{method} {path}: {trouble!r}")
            else:
                if status < 400 or status in (404, 409):
                    return status
                log(f"{method} {path}: {status} {answer.get('message')}")
                if status < 500 and status != 429:
                    return status
            await asyncio.sleep(RETRY_S)

    async def watch(self, path: str, version: str) -> AsyncIterator[Json]:
        """The events after `version`, until the server ends the stream."""
        query = f"?watch=true&allowWatchBookmarks=true&resourceVersion={version}"
        async with self.session.get(self.url + path + query, timeout=WATCH_TIMEOUT) as answer:
            async for line in answer.content:
                yield json.loads(line)


class Pod:
    """One pod from its binding to its end, as the task `run`."""

    def __init__(self, kubelet: "Kubelet", manifest: Json, address: str) -> None:
        meta = manifest["metadata"]
        self.kubelet, self.address = kubelet, address
        self.name, self.uid = meta["name"], meta["uid"]
        self.path = f"/api/v1/namespaces/{meta['namespace']}/pods/{self.name}"
        (self.container,) = manifest["spec"]["containers"]
        self.probe = self.container.get("readinessProbe")
        assert self.probe is None or "httpGet" in self.probe, "only httpGet probes"
        self.ready = False
        self.restarts = 0
        self.started = timestamp()
        self.ready_since = self.started
        self.ending = asyncio.Event()  # somebody wants it to end, within grace_s
        self.grace_s = 0.0
        self.reporting = asyncio.Lock()
        self.process: asyncio.subprocess.Process | None = None

    def end(self, grace_s: float) -> None:
        """Asks for its end. Asked again without grace (a forced deletion), what still runs is killed at once."""
        if not self.ending.is_set():
            log(f"{self.name}: end within {grace_s} s")
            self.grace_s = grace_s
            self.ending.set()
        elif grace_s == 0:
            self.kill()

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            log(f"{self.name}: SIGKILL")
            self.process.kill()

    async def run(self) -> None:
        await self.report()  # has its address, isn't ready
        while not self.ending.is_set():
            await self.live()
        await self.kubelet.server.insist("DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
        self.kubelet.forget(self)

    async def live(self) -> None:
        """One process of this pod, from start to end."""
        with self.kubelet.open_log(self.name) as output:
            self.process = process = await asyncio.create_subprocess_exec(
                *self.command(), stdout=output, stderr=output, env=self.environment()
            )
        log(f"{self.name}: started on {self.address}, pid {process.pid}")
        probing = asyncio.create_task(self.watch_readiness())
        ended, asked = asyncio.create_task(process.wait()), asyncio.create_task(self.ending.wait())
        try:
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.terminate()
                await asyncio.wait({ended}, timeout=self.grace_s)
        finally:
            self.kill()
            for task in (probing, asked):
                task.cancel()
        log(f"{self.name}: ended with {await ended}")
        if not self.ending.is_set():
            self.restarts += 1
            await self.set_ready(False)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), RESTART_S * self.restarts)

    def command(self) -> list[str]:
        """The container's command when it has one; there are no images."""
        named: list[str] = (self.container.get("command") or []) + (self.container.get("args") or [])
        return named or DEFAULT_PROGRAM

    def environment(self) -> dict[str, str]:
        declared = {item["name"]: item.get("value", "") for item in self.container.get("env") or []}
        own = {"POD_NAME": self.name, "POD_IP": self.address, "POD_PORT": str(self.port("http")), "CLUSTER": self.kubelet.cluster}
        return dict(os.environ) | own | declared

    def port(self, wanted: str | int) -> int:
        """A port's number, by number or by name."""
        if isinstance(wanted, int):
            return wanted
        return next(int(port["containerPort"]) for port in self.container["ports"] if port.get("name") == wanted)

    async def watch_readiness(self) -> None:
        """Probes for as long as the process lives, its termination included: that is what an endpoint's `serving` is."""
        if self.probe is None:
            await self.set_ready(True)
            return
        await asyncio.sleep(self.probe.get("initialDelaySeconds", 0))
        streak = 0
        while True:
            good = await self.probe_once()
            streak = streak + 1 if good != self.ready else 0
            if streak and streak >= self.probe.get("successThreshold" if good else "failureThreshold", 1 if good else 3):
                await self.set_ready(good)
                streak = 0
            await asyncio.sleep(self.probe.get("periodSeconds", 10) if self.ready else STARTING_PERIOD_S)

    async def probe_once(self) -> bool:
        target = self.probe["httpGet"]
        url = f"http://{self.address}:{self.port(target['port'])}{target.get('path', '/')}"
        timeout = aiohttp.ClientTimeout(total=self.probe.get("timeoutSeconds", 1))
        try:
            async with self.kubelet.probes.get(url, timeout=timeout, allow_redirects=False) as answer:
                return answer.status < 400
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            log(f"{self.name}: {'ready' if ready else 'not ready'}")
            self.ready, self.ready_since = ready, timestamp()
            await self.report()

    async def report(self) -> None:
        """Writes the state of now; one report at a time, so that an older one can't overtake."""
        async with self.reporting:
            await self.kubelet.server.insist("PATCH", self.path + "/status", self.status(), STRATEGIC)

    def status(self) -> Json:
        word = "True" if self.ready else "False"
        conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": word, "Ready": word}
        running = {
            "name": self.container["name"],
            "image": self.container["image"],
            "imageID": "",
            "ready": self.ready,
            "restartCount": self.restarts,
            "state": {"running": {"startedAt": self.started}},
        }
        return {
            "metadata": {"uid": self.uid},  # refused (409) when another pod has this name by now
            "status": {
                "phase": "Running",
                "podIP": self.address,
                "podIPs": [{"ip": self.address}],
                "hostIP": "10.0.0.1",
                "startTime": self.started,
                "conditions": [{"type": key, "status": value, "lastTransitionTime": self.ready_since} for key, value in conditions.items()],
                "containerStatuses": [running],
            },
        }


class Kubelet:
    """The node: sees pods come and go, and has a Pod task for each."""

    def __init__(self, server: Server, probes: aiohttp.ClientSession, cluster: str, addresses: Iterator[str], logs: Path) -> None:
        self.server, self.probes, self.cluster, self.addresses, self.logs = server, probes, cluster, addresses, logs
        self.node = f"node-{cluster}"
        self.pods: dict[str, Pod] = {}

    def open_log(self, name: str) -> IO[bytes]:
        return (self.logs / f"pod-{name}.log").open("ab")

    def forget(self, pod: Pod) -> None:
        self.pods.pop(pod.uid, None)

    async def run(self) -> None:
        # The endpointslice controller skips pods whose Node isn't there.
        node = {"metadata": {"name": self.node, "labels": {"topology.kubernetes.io/zone": self.cluster}}}
        await self.server.insist("POST", "/api/v1/nodes", node)
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self.list_and_watch(tasks)
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as trouble:
                    log(f"watch: {trouble!r}")
                await asyncio.sleep(RETRY_S)

    async def list_and_watch(self, tasks: asyncio.TaskGroup) -> None:
        status, found = await self.server.call("GET", "/api/v1/pods")
        if status != 200:
            raise ValueError(f"list of pods: {status}")
        there = {manifest["metadata"]["uid"] for manifest in found["items"]}
        for uid in self.pods.keys() - there:
            self.pods[uid].end(0)
        for manifest in found["items"]:
            await self.see(manifest, tasks)
        log("watching")
        async for event in self.server.watch("/api/v1/pods", found["metadata"]["resourceVersion"]):
            if event["type"] in ("ADDED", "MODIFIED"):
                await self.see(event["object"], tasks)
            elif event["type"] == "DELETED" and (pod := self.pods.get(event["object"]["metadata"]["uid"])):
                pod.end(0)
            elif event["type"] == "ERROR":
                raise ValueError(f"watch: {event['object']}")

    async def see(self, manifest: Json, tasks: asyncio.TaskGroup) -> None:
        """What this state of a pod asks for."""
        meta = manifest["metadata"]
        pod = self.pods.get(meta["uid"])
        if meta.get("deletionTimestamp"):
            if pod is None:  # never ran here: nothing to wait for
                path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
                await self.server.insist("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
            else:
                pod.end(meta.get("deletionGracePeriodSeconds", 30))
        elif not manifest["spec"].get("nodeName"):
            binding = {"metadata": {"name": meta["name"], "uid": meta["uid"]}, "target": {"kind": "Node", "name": self.node}}
            await self.server.insist("POST", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding", binding)
        elif pod is None and manifest.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            pod = self.pods[meta["uid"]] = Pod(self, manifest, next(self.addresses))
            tasks.create_task(pod.run(), name=f"pod {pod.name}")


def endless(block: ipaddress.IPv4Network) -> Iterator[str]:
    """The block's addresses in order, again and again: none is used again soon, which hides no fault of state kept by address alone."""
    while True:
        hosts = block.hosts()
        next(hosts)  # the sandbox has the first one of the first block
        yield from map(str, hosts)


async def main() -> None:
    parser = argparse.ArgumentParser(description="scheduler and kubelet of one test cluster")
    parser.add_argument("--server", required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--block", type=ipaddress.IPv4Network, required=True)
    parser.add_argument("--logs", type=Path, required=True)
    given = parser.parse_args()
    tls = ssl.create_default_context(cafile=given.certificates / "ca.crt")
    tls.load_cert_chain(given.certificates / "admin.crt", given.certificates / "admin.key")
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=0)) as session,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0)) as probes,
    ):
        await Kubelet(Server(session, given.server), probes, given.cluster, endless(given.block), given.logs).run()


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())
