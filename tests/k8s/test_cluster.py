"""Clusters against fake API servers: what is delivered, how soon, and what a broken one costs (nothing)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from typing import Any

import pytest

from k8s import AccessError, Cluster, ClusterAccess, Endpoint, ServiceKey, State, Timing, select
from tests.k8s.fake_api import SERVICES, SLICES, FakeApi, body, event, flood, hang, lines, piece, refuse, service

PATH, SERVICE_PATH = SLICES.format("shop"), SERVICES.format("shop")
WEB = ServiceKey("shop", "web", "http")
BY_NUMBER = ServiceKey("shop", "web", 80)
API = ServiceKey("shop", "api", "http")
# Waits of seconds become milliseconds: the loops are the real ones, their clock runs 1000 times as fast.
TIMING = Timing(short_watch_s=0.01, read_s=(60.0, 60.0))


def run(main: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(main, 10.0)
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("k8s ")]

    asyncio.run(whole())


def fast_clock() -> float:
    return time.monotonic() * 1000.0


async def fast_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / 1000.0)


async def until(is_reached: Callable[[], bool]) -> None:
    """The deadline is the test's."""
    while not is_reached():
        await asyncio.sleep(0.001)


def addresses(cluster: Cluster, key: ServiceKey = WEB) -> list[str]:
    return [e.address for e in cluster.endpoints(key)]


def versioned(obj: dict[str, Any], version: int) -> dict[str, Any]:
    obj["metadata"]["resourceVersion"] = str(version)
    return obj


class Watched:
    """A running cluster and the calls of its callback."""

    def __init__(self, loader: Callable[[], ClusterAccess], services: Collection[ServiceKey], name: str = "fra", **kwargs: Any) -> None:
        self.calls: list[list[tuple[Endpoint, ...]]] = []
        self.changed: list[Collection[ServiceKey]] = []
        self.cluster = Cluster(
            name,
            loader,
            services,
            self._changed,
            **{"timing": TIMING, "clock": fast_clock, "sleep": fast_sleep, "rng": random.Random(3), **kwargs},
        )

    def _changed(self, cluster: Cluster, keys: Collection[ServiceKey]) -> None:
        assert cluster is self.cluster
        self.changed.append(keys)
        self.calls.append([cluster.endpoints(key) for key in (WEB, API)])

    async def __aenter__(self) -> Cluster:
        self.task = asyncio.ensure_future(self.cluster.run())
        return self.cluster

    async def __aexit__(self, *_: object) -> None:
        assert not self.task.done(), self.task
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@contextlib.asynccontextmanager
async def one(
    services: Collection[ServiceKey] = (WEB,), token: str | None = None, **kwargs: Any
) -> AsyncIterator[tuple[FakeApi, Cluster, Watched]]:
    async with FakeApi(token=token) as api:
        await api.put(PATH, piece("web-1", ["10.0.0.1", "10.0.0.2"]))
        await api.put(PATH, piece("api-1", ["10.0.1.1"], service="api"))
        await api.put(SERVICE_PATH, service("web", [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]))
        watched = Watched(lambda: ClusterAccess(api.url), services, **kwargs)
        async with watched as cluster:
            yield api, cluster, watched


def test_endpoints_arrive_and_follow() -> None:
    async def main() -> None:
        async with one() as (api, cluster, watched):
            assert not cluster.synced
            assert cluster.endpoints(WEB) == ()
            assert cluster.age_s(fast_clock()) is None
            await until(lambda: bool(watched.calls))
            assert cluster.synced
            assert cluster.endpoints(WEB) == tuple(Endpoint(f"10.0.0.{n}", 8080, f"uid-10.0.0.{n}", "z1", State.READY) for n in (1, 2))
            await api.put(PATH, piece("web-1", ["10.0.0.1"], ready=False, serving=True, terminating=True))
            await until(lambda: [e.state for e in cluster.endpoints(WEB)] == [State.SERVING_TERMINATING])
            assert select(cluster.endpoints(WEB)) == cluster.endpoints(WEB)
            await api.put(PATH, piece("web-2", ["10.0.0.3"]))
            await until(lambda: [e.address for e in select(cluster.endpoints(WEB))] == ["10.0.0.3"])

    run(main())


def test_eight_of_ten_changes_are_delivered_within_100_ms_and_a_burst_as_few() -> None:
    async def main() -> None:
        async with one() as (api, cluster, watched):
            await until(lambda: cluster.synced and bool(api.watching))
            took = []
            for n in range(10):
                started = time.monotonic()
                await api.put(PATH, piece("web-1", [f"10.0.1.{n}"]))
                await until(lambda n=n: addresses(cluster) == [f"10.0.1.{n}"])  # type: ignore[misc]  # a default binds the loop's variable
                took.append(time.monotonic() - started)
            assert sorted(took)[7] < 0.1, took  # another process may take the machine for two of them
            before, started = len(watched.calls), time.monotonic()
            for n in range(100):
                await api.put(PATH, piece("web-1", [f"10.0.2.{n}"]))
            await until(lambda: addresses(cluster) == ["10.0.2.99"])
            took_s = time.monotonic() - started
            assert len(watched.calls) - before <= 2 + took_s / 0.01

    run(main())


def test_events_of_one_moment_are_one_delivery() -> None:
    async def main() -> None:
        async with one() as (api, cluster, watched):
            await until(lambda: cluster.synced and bool(api.watching))
            before = len(watched.calls)
            burst = b"".join(event("MODIFIED", versioned(piece("web-1", [f"10.0.2.{n}"]), 500 + n)) for n in range(50))
            api.fault(lines(burst, then="hang"), watch=True, times=1)
            await api.listen(await api.stop_listening())
            await until(lambda: addresses(cluster) == ["10.0.2.49"])
            assert len(watched.calls) == before + 1
            cluster._changed()
            pending = cluster._publishing
            cluster._changed()
            assert cluster._publishing is pending

    run(main())


def test_what_changes_nothing_for_us_is_not_delivered() -> None:
    async def main() -> None:
        async with one() as (api, cluster, watched):
            await until(lambda: cluster.synced and api.watching == 1)
            kept, before = cluster.endpoints(WEB), len(watched.calls)
            version = await api.put(PATH, piece("web-1", ["10.0.0.1", "10.0.0.2"]))  # only its version moves
            await until(lambda: cluster._slices[WEB.source].objects["web-1"].metadata.resource_version == str(version))
            await asyncio.sleep(0.03)
            assert len(watched.calls) == before
            assert cluster.endpoints(WEB) is kept

    run(main())


def test_a_hint_alone_is_delivered() -> None:
    async def main() -> None:
        async with one() as (api, cluster, watched):
            await until(lambda: cluster.synced and api.watching == 1)
            before, identities = len(watched.calls), [e.identity for e in cluster.endpoints(WEB)]
            hinted = piece("web-1", ["10.0.0.1", "10.0.0.2"])
            for found in hinted["endpoints"]:
                found["hints"] = {"forZones": [{"name": "z2"}, {"name": "z1"}]}
            await api.put(PATH, hinted)
            await until(lambda: [e.hint_zones for e in cluster.endpoints(WEB)] == [("z1", "z2")] * 2)
            assert len(watched.calls) == before + 1
            assert [e.identity for e in cluster.endpoints(WEB)] == identities

    run(main())


def test_a_confirmed_empty_list_empties() -> None:
    async def main() -> None:
        async with one() as (api, cluster, _):
            await until(lambda: len(addresses(cluster)) == 2)
            await api.put(PATH, piece("web-1", []))
            await until(lambda: addresses(cluster) == [])
            assert cluster.problem(WEB) is None
            await api.delete(PATH, "web-1")
            await until(lambda: "no EndpointSlices" in (cluster.problem(WEB) or ""))

    run(main())


FLOOD_OF_EVENTS = flood(event("MODIFIED", piece("web-1", ["10.0.0.1", "10.0.0.2"])))


@pytest.mark.parametrize(
    "answer",
    [
        refuse(403, "Forbidden", "not allowed"),
        refuse(500, "InternalError"),
        refuse(429, "TooManyRequests"),
        refuse(410, "Expired"),
        body(b"<html>sign in</html>"),
        body(b'{"kind":"EndpointSliceList","metadata":{},"items":null}'),
        flood(b"{}\n"),
        flood(b"\n"),
        FLOOD_OF_EVENTS,
        hang,
        None,
    ],
    ids=["403", "500", "429", "410", "page", "empty", "garbage-flood", "newline-flood", "flood", "hang", "gone"],
)
def test_fails_static_and_recovers(answer: Any) -> None:
    async def main() -> None:
        timing = Timing(short_watch_s=0.01, read_s=(0.02, 0.02), list_s=0.05, list_bytes=300_000)
        async with one(timing=timing) as (api, cluster, _):
            await until(lambda: len(addresses(cluster)) == 2)
            port = await api.stop_listening()
            if answer is not None:
                api.fault(answer, watch=True if answer is FLOOD_OF_EVENTS else None)
                await api.listen(port)
            await asyncio.sleep(0.15)
            assert len(addresses(cluster)) == 2
            assert cluster.synced
            age_s = cluster.age_s(fast_clock())
            assert age_s is not None
            # 150 s by the fast clock. Events, even of a server that floods, are contact; nothing else is.
            assert (age_s > 100.0) == (answer is not FLOOD_OF_EVENTS), age_s
            api.heal()
            if answer is not None:
                await api.listen(await api.stop_listening())  # a flood goes on for as long as its watch may
            else:
                assert "cannot connect" in (cluster.error or "")
                await api.listen(port)
            await api.put(PATH, piece("web-2", ["10.0.0.3"]))
            await until(lambda: len(addresses(cluster)) == 3 and cluster.error is None)

    run(main())


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (hang, ["10.0.0.1", "10.0.0.2"]),
        (flood(event("MODIFIED", piece("web-1", ["10.0.0.3"] * 50))), ["10.0.0.3"]),
        (refuse(500, "InternalError"), ["10.0.0.1", "10.0.0.2"]),
    ],
    ids=["hang", "flood", "500"],
)
def test_a_broken_cluster_costs_the_others_nothing(answer: Any, kept: list[str]) -> None:
    async def main() -> None:
        async with one() as (api, good, _), one(name="bad") as (broken, bad, _):
            await until(lambda: good.synced and bad.synced)
            port = await broken.stop_listening()
            broken.fault(answer, watch=True)
            await broken.listen(port)
            slowest_s = 0.0
            for n in range(20):
                started = time.monotonic()
                await api.put(PATH, piece("web-1", [f"10.0.3.{n}"]))
                await until(lambda n=n: addresses(good) == [f"10.0.3.{n}"])  # type: ignore[misc]  # a default binds the loop's variable
                slowest_s = max(slowest_s, time.monotonic() - started)
            assert slowest_s < 0.5
            assert good.error is None
            await until(lambda: addresses(bad) == kept)

    run(main())


def test_a_port_by_number_is_the_services() -> None:
    async def main() -> None:
        async with one((BY_NUMBER,)) as (api, cluster, _):
            await until(lambda: cluster.synced)
            await until(lambda: len(addresses(cluster, BY_NUMBER)) == 2)
            assert {e.port for e in cluster.endpoints(BY_NUMBER)} == {8080}
            # The Service's port gets another name, and slices follow.
            await api.put(SERVICE_PATH, service("web", [{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]))
            await api.put(PATH, piece("web-1", ["10.0.0.1"], port_name="web", port=9090))
            await until(lambda: [e.port for e in cluster.endpoints(BY_NUMBER)] == [9090])
            await api.put(SERVICE_PATH, service("web", [{"name": "web", "port": 81}]))
            await until(lambda: addresses(cluster, BY_NUMBER) == [])
            assert cluster.problem(BY_NUMBER) == "shop/web: the Service has no TCP port 80; it has: 81 (web)"
            await api.delete(SERVICE_PATH, "web")
            await until(lambda: cluster.problem(BY_NUMBER) == "shop/web: the Service does not exist")

    run(main())


def test_a_port_by_number_follows_the_service_alone() -> None:
    async def main() -> None:
        async with one((BY_NUMBER,)) as (api, cluster, _):
            both = piece("web-1", ["10.0.0.1"])
            both["ports"] = [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9100}]
            await api.put(PATH, both)
            await until(lambda: [e.port for e in cluster.endpoints(BY_NUMBER)] == [8080])
            await api.put(SERVICE_PATH, service("web", [{"name": "metrics", "port": 80}]))
            await until(lambda: [e.port for e in cluster.endpoints(BY_NUMBER)] == [9100])

    run(main())


def test_a_port_by_name_needs_no_sight_of_services() -> None:
    async def main() -> None:
        async with one() as (api, cluster, _):
            await until(lambda: cluster.synced)
            assert {path for path, _ in api.requests} == {PATH}

    run(main())


def test_a_port_name_that_is_not_there_is_said() -> None:
    async def main() -> None:
        key = ServiceKey("shop", "web", "https")
        async with one((key,)) as (_, cluster, _):
            await until(lambda: cluster.problem(key) is not None)
            assert cluster.problem(key) == "shop/web: no TCP port named 'https' in its EndpointSlices; they have: 'http'"
            assert cluster.synced

    run(main())


def test_a_server_that_ignores_the_selector_mixes_nothing() -> None:
    async def main() -> None:
        async with one() as (api, cluster, _):
            await until(lambda: len(addresses(cluster)) == 2)
            stray = piece("web-9", ["10.9.9.9"], service="other")
            stray["metadata"]["resourceVersion"] = "999"
            api.fault(flood(event("ADDED", stray)), watch=True, times=1)
            await api.listen(await api.stop_listening())
            await until(lambda: "web-9" in cluster._slices["shop", "web"].objects)
            await asyncio.sleep(0.02)
            assert addresses(cluster) == ["10.0.0.1", "10.0.0.2"]

    run(main())


def test_reload_leaves_alone_what_stays() -> None:
    async def main() -> None:
        async with one() as (api, cluster, _):
            await until(lambda: cluster.synced and api.watching == 1)
            asked = len(api.requests)
            cluster.set_services([WEB, API, BY_NUMBER])
            assert not cluster.synced
            assert cluster.is_synced(WEB)
            assert len(addresses(cluster)) == 2
            await until(lambda: cluster.synced and addresses(cluster, API) == ["10.0.1.1"] and len(addresses(cluster, BY_NUMBER)) == 2)
            await until(lambda: api.watching == 3)
            # New are the list and watch of the API's slices and of the Service; the slices of `web` are watched already.
            assert len(api.requests) == asked + 4
            cluster.set_services([API])
            await until(lambda: api.watching == 1)
            assert addresses(cluster) == []
            assert not cluster.is_synced(WEB)
            assert len(api.requests) == asked + 4

    run(main())


def test_access_is_tried_until_it_loads() -> None:
    async def main() -> None:
        async with FakeApi() as api:
            await api.put(PATH, piece("web-1", ["10.0.0.1"]))
            faults = [AccessError("kubeconfig /x: no such file"), AccessError("kubeconfig /x: empty"), RuntimeError("bug")]

            def load() -> ClusterAccess:
                assert threading.current_thread() is not threading.main_thread()
                if faults:
                    raise faults[-1]
                return ClusterAccess(api.url)

            async with Watched(load, [WEB]) as cluster:
                while not cluster.synced:
                    if faults and str(faults[-1]) in (cluster.error or ""):  # it is said: mended
                        faults.pop()
                    await asyncio.sleep(0.001)
            assert not faults

    run(main())


def test_a_loader_that_hangs_costs_only_its_own_cluster() -> None:
    async def main() -> None:
        release = threading.Event()
        calls: list[int] = []

        def load() -> ClusterAccess:
            calls.append(1)
            release.wait(5.0)
            raise AccessError("given up")

        async with Watched(load, [WEB, API], name="stuck") as stuck, one() as (_, good, _):
            await until(lambda: good.synced)
            assert not stuck.synced
            assert len(calls) == 1
            release.set()
            await until(lambda: "given up" in (stuck.error or ""))

    run(main())


def test_a_401_loads_the_access_again() -> None:
    async def main() -> None:
        async with FakeApi(token="Bearer one") as api:
            await api.put(PATH, piece("web-1", ["10.0.0.1"]))
            async with Watched(lambda: ClusterAccess(api.url, authorization=api.token), [WEB]) as cluster:
                await until(lambda: cluster.synced and api.watching == 1)
                api.token = "Bearer two"  # rotated; the watch in progress is not asked again
                await api.listen(await api.stop_listening())
                await api.put(PATH, piece("web-1", ["10.0.0.2"]))
                await until(lambda: addresses(cluster) == ["10.0.0.2"])
                assert set(api.authorizations) == {"Bearer one", "Bearer two"}

    run(main())


def test_an_access_that_no_longer_loads_leaves_the_old_one() -> None:
    async def main() -> None:
        async with FakeApi() as api:
            await api.put(PATH, piece("web-1", ["10.0.0.1"]))
            loads: list[int] = []

            def load() -> ClusterAccess:
                loads.append(1)
                if len(loads) > 1:
                    raise AccessError("the file is broken now")
                return ClusterAccess(api.url)

            async with Watched(load, [WEB]) as cluster:
                await until(lambda: cluster.synced)
                port = await api.stop_listening()
                await until(lambda: len(loads) > 1)
                await api.listen(port)
                await api.put(PATH, piece("web-1", ["10.0.0.2"]))
                await until(lambda: addresses(cluster) == ["10.0.0.2"])

    run(main())


def test_age_is_that_of_the_one_silent_longest() -> None:
    async def main() -> None:
        now = [100.0]
        async with one((WEB, API), clock=lambda: now[0]) as (api, cluster, _):
            await until(lambda: cluster.synced and api.watching == 2)
            assert cluster.age_s(105.0) == 5.0
            now[0] = 200.0
            await api.put(PATH, piece("web-1", ["10.0.0.7"]))
            await until(lambda: addresses(cluster) == ["10.0.0.7"])
            assert cluster.age_s(205.0) == 105.0
            assert cluster.age_s(205.0, WEB) == 5.0
            assert cluster.age_s(205.0, API) == 105.0
            assert cluster.age_s(0.0) == 0.0

    run(main())


def test_what_may_not_be_read_is_no_error_of_another_service() -> None:
    async def main() -> None:
        forbidden = ServiceKey("shop", "api", 80)
        async with one([WEB, forbidden]) as (api, cluster, _):
            api.fault(refuse(403, "Forbidden"), path=SERVICE_PATH)
            await until(lambda: cluster.is_synced(WEB) and cluster.error is not None)
            assert cluster.error_of(WEB) is None
            assert "403 Forbidden" in (cluster.error_of(forbidden) or "")

    run(main())


def test_an_error_is_logged_when_it_comes_and_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with one() as (api, cluster, _):
            api.fault(refuse(403, "Forbidden", "not allowed"))
            await until(lambda: cluster.error is not None)
            await asyncio.sleep(0.05)
            api.heal()
            await until(lambda: cluster.synced and cluster.error is None)
            await asyncio.sleep(0.02)

    with caplog.at_level(logging.INFO, "isochrone.k8s"):
        run(main())
    assert [r.getMessage() for r in caplog.records] == [f"cluster fra: {PATH}: 403 Forbidden: not allowed", "cluster fra: watching"]


def test_what_is_known_outlives_the_run() -> None:
    async def main() -> None:
        async with one() as (_, cluster, _):
            await until(lambda: cluster.synced)
        assert cluster.synced
        assert len(addresses(cluster)) == 2

    run(main())
