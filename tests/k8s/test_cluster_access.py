"""Clusters whose access leads elsewhere, or nowhere, once it is loaded again."""

from __future__ import annotations

import pytest

from k8s import AccessError, ClusterAccess
from tests.k8s.fake_api import FakeApi, piece, refuse, service
from tests.k8s.test_cluster import BY_NUMBER, PATH, SERVICE_PATH, WEB, addresses, one, run, until


def test_another_server_is_asked_once_the_access_is_renewed_and_until_then_the_old_one_is_who_said_it() -> None:
    async def main() -> None:
        async with one() as (_, cluster, _), FakeApi() as other:
            await until(lambda: len(addresses(cluster)) == 2)
            first = cluster.server
            assert first is not None and cluster.said_by(WEB) == first
            assert not cluster.is_of_another(WEB)
            cluster._api._load = lambda: ClusterAccess(other.url)
            other.fault(refuse(503, "ServiceUnavailable"), path=PATH)
            cluster.renew()
            assert cluster.is_renewing
            await until(lambda: cluster.server != first and "503" in (cluster.error or ""))
            assert (cluster.is_renewing, cluster.fault, cluster.is_of_another(WEB)) == (False, None, True)
            assert len(addresses(cluster)) == 2
            assert cluster.said_by(WEB) == first
            await other.put(PATH, piece("web-1", ["10.9.0.1"]))
            other.heal()
            await until(lambda: addresses(cluster) == ["10.9.0.1"])
            assert cluster.said_by(WEB) == cluster.server != first
            assert not cluster.is_of_another(WEB)

    run(main())


def test_a_watch_that_is_well_goes_along_where_another_one_has_loaded_the_new_way_before() -> None:
    """A failure of its own made it look. Before, no reload brought the others, and half a cluster stayed with the old server."""

    async def main() -> None:
        async with one() as (api, cluster, _), FakeApi() as other:
            await until(lambda: len(addresses(cluster)) == 2 and api.watching == 1)
            await other.put(PATH, piece("web-1", ["10.9.0.1"]))
            cluster._api._load = lambda: ClusterAccess(other.url)
            cluster._api.expire()
            await cluster._api.access()
            assert len(addresses(cluster)) == 2 and api.watching == 1
            cluster.renew()
            await until(lambda: addresses(cluster) == ["10.9.0.1"])
            await until(lambda: api.watching == 0)

    run(main())


def test_slices_of_the_new_server_are_not_read_by_the_service_of_the_old_one() -> None:
    """The same number is a port of another name there. Before, no slice had a port of the old name: every endpoint was gone, for good where
    the new server's Services may not be read."""

    async def main() -> None:
        async with one((BY_NUMBER,)) as (_, cluster, _), FakeApi() as other:
            await until(lambda: len(addresses(cluster, BY_NUMBER)) == 2)
            await other.put(PATH, piece("web-1", ["10.9.0.1"], port_name="web-http", port=9090))
            await other.put(SERVICE_PATH, service("web", [{"name": "web-http", "port": 80}]))
            other.fault(refuse(403, "Forbidden"), path=SERVICE_PATH)
            cluster._api._load = lambda: ClusterAccess(other.url)
            cluster.renew()
            await until(lambda: "403" in (cluster.error or "") and other.watching == 1)
            assert len(addresses(cluster, BY_NUMBER)) == 2 and cluster.is_of_another(BY_NUMBER)
            other.heal()
            await until(lambda: addresses(cluster, BY_NUMBER) == ["10.9.0.1"])
            assert not cluster.is_of_another(BY_NUMBER)

    run(main())


def test_an_access_that_cannot_be_loaded_again_is_said_and_the_old_one_stays(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with one() as (api, cluster, _):
            await until(lambda: cluster.synced and api.watching == 1)

            def broken() -> ClusterAccess:
                raise AccessError("no such context")

            cluster._api._load = broken
            cluster.renew()
            await until(lambda: "no such context" in caplog.text)
            assert (cluster.is_renewing, cluster.fault, cluster.is_of_another(WEB)) == (False, "no such context", False)
            await api.put(PATH, piece("web-1", ["10.0.0.7"]))
            await until(lambda: addresses(cluster) == ["10.0.0.7"])

    run(main())
