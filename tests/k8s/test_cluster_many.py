"""Clusters with ports that are renamed or lead nowhere, with many Services, and many in a thread: what is asked, and what stays."""

from __future__ import annotations

import asyncio

import pytest

from k8s import Budget, ClusterAccess, ServiceKey, Timing
from k8s.cluster import MANY
from tests.k8s.fake_api import FakeApi, piece, refuse, service
from tests.k8s.test_cluster import API, BY_NUMBER, PATH, SERVICE_PATH, WEB, Watched, addresses, fast_clock, one, run, until

PORTS = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]


def test_a_port_that_is_renamed_holds_its_endpoints_until_the_slices_follow() -> None:
    async def main() -> None:
        async with one([BY_NUMBER]) as (api, cluster, _):
            await api.put(PATH, piece("web-2", ["10.0.0.3"]))
            await until(lambda: len(addresses(cluster, BY_NUMBER)) == 3 and api.watching == 2)
            await api.put(SERVICE_PATH, service("web", [{**PORTS[0], "name": "web"}]))
            await until(lambda: cluster.problem(BY_NUMBER) is not None)
            assert len(addresses(cluster, BY_NUMBER)) == 3
            assert "no TCP port named 'web' in its EndpointSlices; they have: 'http'" in (cluster.problem(BY_NUMBER) or "")
            # What happens meanwhile is followed, and the controller writes one slice after the other.
            await api.put(PATH, piece("web-2", ["10.0.0.4"]))
            await until(lambda: addresses(cluster, BY_NUMBER) == ["10.0.0.1", "10.0.0.2", "10.0.0.4"])
            await api.put(PATH, piece("web-1", ["10.0.0.1", "10.0.0.2"], port_name="web", port=9090))
            await until(lambda: [e.port for e in cluster.endpoints(BY_NUMBER)] == [9090, 9090, 8080])
            assert cluster.problem(BY_NUMBER) is None
            await api.put(PATH, piece("web-2", ["10.0.0.4"], port_name="web", port=9090))
            await until(lambda: [e.port for e in cluster.endpoints(BY_NUMBER)] == [9090] * 3)
            # The old name means nothing any more: a slice that has it is of somebody else's port.
            await api.put(PATH, piece("web-3", ["10.0.0.9"], port_name="http"))
            await api.put(PATH, piece("web-2", ["10.0.0.5"], port_name="web", port=9090))
            await until(lambda: addresses(cluster, BY_NUMBER) == ["10.0.0.1", "10.0.0.2", "10.0.0.5"])

    run(main())


def test_a_service_that_is_gone_has_no_endpoints_however_its_port_was_named() -> None:
    async def main() -> None:
        async with one([BY_NUMBER]) as (api, cluster, _):
            await until(lambda: len(addresses(cluster, BY_NUMBER)) == 2 and api.watching == 2)
            await api.delete(SERVICE_PATH, "web")
            await until(lambda: addresses(cluster, BY_NUMBER) == [])
            await api.put(SERVICE_PATH, service("web", PORTS))
            await until(lambda: len(addresses(cluster, BY_NUMBER)) == 2)

    run(main())


@pytest.mark.parametrize("ports", [[], [{"name": "http"}], [{"name": "http", "port": 0}]], ids=["none", "without a number", "0"])
def test_endpoints_that_nobody_can_connect_to_are_said(ports: list[dict[str, object]]) -> None:
    """As the controller writes them where a targetPort names a port that no pod has."""

    async def main() -> None:
        async with one() as (api, cluster, _):
            await until(lambda: len(addresses(cluster)) == 2)
            await api.put(PATH, {**piece("web-1", ["10.0.0.1", "10.0.0.2"]), "ports": ports})
            await until(lambda: not addresses(cluster))
            assert cluster.problem(WEB) == (
                "shop/web: its EndpointSlices have endpoints, but no number for the TCP port 'http': "
                "does its targetPort name one that pods have?"
            )

    run(main())


def many(count: int) -> list[ServiceKey]:
    return [ServiceKey("shop", f"s{n}", "http") for n in range(count)]


async def put_many(api: FakeApi, n: int) -> list[ServiceKey]:
    """As many Services with an endpoint each."""
    keys = many(n)
    for number in range(n):
        await api.put(PATH, piece(f"s{number}-1", [f"10.0.{number}.1"], service=f"s{number}"))
    return keys


def test_many_services_of_a_namespace_are_one_list_and_one_watch() -> None:
    async def main() -> None:
        async with FakeApi() as api:
            keys = await put_many(api, 3 * MANY)
            await api.put(PATH, piece("else-1", ["10.9.0.1"], service="else"))
            watched = Watched(lambda: ClusterAccess(api.url), keys)
            async with watched as cluster:
                await until(lambda: cluster.synced and api.watching == 1)
                assert [addresses(cluster, key) for key in keys] == [[f"10.0.{n}.1"] for n in range(len(keys))]
                assert [query.get("labelSelector") for _, query in api.requests] == ["kubernetes.io/service-name"] * 2
                calls = len(watched.changed)
                await api.put(PATH, piece("else-1", ["10.9.0.2"], service="else"))  # nobody's
                await api.put(PATH, piece("s5-1", ["10.0.5.2"], service="s5"))
                await until(lambda: addresses(cluster, keys[5]) == ["10.0.5.2"])
                assert watched.changed[calls:] == [[keys[5]]]
                # A slice that becomes another Service's leaves the one and joins the other.
                await api.put(PATH, piece("s5-1", ["10.0.5.2"], service="s6"))
                await until(lambda: addresses(cluster, keys[6]) == ["10.0.5.2", "10.0.6.1"])
                assert addresses(cluster, keys[5]) == []
                assert cluster.age_s(fast_clock(), keys[7]) is not None

    run(main())


def test_few_that_become_many_and_few_again_keep_what_is_known() -> None:
    async def main() -> None:
        async with FakeApi() as api:
            keys = await put_many(api, MANY)
            async with Watched(lambda: ClusterAccess(api.url), keys[:-1]) as cluster:
                await until(lambda: cluster.synced and api.watching == MANY - 1)
                cluster.set_services(keys)
                assert [addresses(cluster, key) for key in keys[:-1]] == [[f"10.0.{n}.1"] for n in range(MANY - 1)]
                assert not cluster.is_synced(keys[-1])
                await until(lambda: cluster.synced and api.watching == 1)
                assert addresses(cluster, keys[-1]) == [f"10.0.{MANY - 1}.1"]
                cluster.set_services(keys[:2])
                assert [addresses(cluster, key) for key in keys[:2]] == [["10.0.0.1"], ["10.0.1.1"]]
                await until(lambda: api.watching == 2)
                await api.put(PATH, piece("s1-1", ["10.0.1.9"], service="s1"))
                await until(lambda: addresses(cluster, keys[1]) == ["10.0.1.9"])

    run(main())


def test_a_service_that_is_deleted_while_it_moves_to_another_watch_has_no_endpoints() -> None:
    """The new watch's first list says nothing of it."""

    async def main() -> None:
        async with FakeApi() as api:
            keys = await put_many(api, MANY)
            async with Watched(lambda: ClusterAccess(api.url), keys[:-1]) as cluster:
                await until(lambda: cluster.synced and api.watching == MANY - 1)
                api.fault(refuse(503, "ServiceUnavailable"), watch=False)
                cluster.set_services(keys)
                await api.delete(PATH, "s0-1")
                await until(lambda: cluster.error is not None and not cluster.is_synced(keys[-1]))
                assert addresses(cluster, keys[0]) == ["10.0.0.1"], "nobody has said anything yet"
                api.heal()
                await until(lambda: cluster.synced)
                await until(lambda: addresses(cluster, keys[0]) == [])
                assert addresses(cluster, keys[1]) == ["10.0.1.1"]

    run(main())


def test_first_lists_do_not_come_at_once() -> None:
    async def main() -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.sleep(0)

        async with one((WEB, API, BY_NUMBER), sleep=sleep) as (_, cluster, _):
            await until(lambda: cluster.synced)
        first = waits[:3]
        assert len(set(first)) == 3
        assert all(0.0 <= wait_s <= Timing().first_list_s for wait_s in first)

    run(main())


def test_clusters_of_one_thread_share_what_they_may_decode() -> None:
    """Ten floods, each its own cluster, take no more of the thread than one: the sleeps that are asked for grow with their number."""

    async def main() -> None:
        budget, rests = Budget(), list[float]()

        async def sleep(seconds: float) -> None:
            rests.append(seconds)
            await asyncio.sleep(0)

        budget.rest_s(fast_clock(), fast_clock() + 500.0)  # another one's work
        async with one(budget=budget, sleep=sleep) as (api, cluster, _):
            await until(lambda: cluster.synced and api.watching == 1)
            await api.put(PATH, piece("web-1", ["10.0.0.7"]))
            await until(lambda: addresses(cluster) == ["10.0.0.7"])
            await until(lambda: max(rests) > 100.0)

    run(main())
