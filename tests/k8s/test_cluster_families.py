"""Which family of dual-stack pods a cluster names, as the network of this machine comes and goes."""

from __future__ import annotations

from functools import partial

from k8s import IPV4_FIRST, IPV6_FIRST, Cluster, ClusterAccess
from tests.k8s.fake_api import FakeApi, piece
from tests.k8s.test_cluster import PATH, WEB, Watched, addresses, run, until


def is_all(cluster: Cluster, address: str) -> bool:
    return addresses(cluster) == [address]


def test_of_a_dual_stack_pod_the_other_family_is_taken_when_the_network_is_another() -> None:
    async def main() -> None:
        async with FakeApi() as api:
            for name, address, family in (("v4", "10.0.0.1", "IPv4"), ("v6", "fd00::1", "IPv6")):
                both = piece(name, [address], family=family)
                both["endpoints"][0]["targetRef"]["uid"] = "pod-1"
                await api.put(PATH, both)
            watched = Watched(lambda: ClusterAccess(api.url), [WEB], families=IPV6_FIRST)
            async with watched as cluster:
                await until(lambda: addresses(cluster) == ["fd00::1"])
                for families, address in ((IPV4_FIRST, "10.0.0.1"), (IPV6_FIRST, "fd00::1")):
                    cluster.prefer(families)
                    await until(partial(is_all, cluster, address))
                    assert watched.changed[-1] == [WEB]
                n_told = len(watched.changed)
                cluster.prefer(IPV6_FIRST)
                await api.put(PATH, piece("v4", ["10.0.0.2"]))
                await until(lambda: addresses(cluster) == ["10.0.0.2", "fd00::1"])
                assert len(watched.changed) == n_told + 1

    run(main())
