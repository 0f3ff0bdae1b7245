import asyncio

import pytest

from gateway.control.process.tasks import Tasks
from gateway.control.sources import clusters
from gateway.control.sources.clusters import families, new_cluster
from gateway.model import KubernetesAccess
from k8s import IPV4_FIRST, IPV6_FIRST, AccessError
from tests.unit.gateway.control.following import KEY, TEXT
from tests.unit.gateway.control.helpers import config_of
from tests.unit.gateway.control.sources.test_sharing import kubeconfig


@pytest.mark.parametrize("text", ["{", "{}"])
def test_the_real_cluster_takes_a_kubeconfig_that_is_broken_for_a_fault_to_tell(tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    access = config_of(TEXT.replace("context: fra", f"kubeconfig: {path}")).pops[0].kubernetes

    async def scenario():
        changed = asyncio.Event()
        tasks = Tasks()
        cluster = new_cluster("fra", access, [KEY], lambda cluster, keys: changed.set())
        tasks.start("cluster", cluster.run())
        async with asyncio.timeout(10):
            while cluster.error is None:
                await changed.wait()
                changed.clear()
        await tasks.stop(5)
        return cluster.error

    assert str(path) in asyncio.run(scenario())


def test_contexts_that_part_lead_nobody_elsewhere(tmp_path):
    """Until a reload looks anew: the way is that of all of them, or none."""
    file = kubeconfig(tmp_path / "config")
    access = KubernetesAccess(context="a", in_cluster=False, kubeconfig=file, also=("b",))
    load = new_cluster("fra, nyc", access, [KEY], lambda cluster, keys: None)._api._load
    assert load().server == "http://127.0.0.1:1"
    for parted in ({"cluster": "two", "user": "me"}, {"cluster": "one", "user": "you"}):
        kubeconfig(file, a=parted)
        with pytest.raises(AccessError, match="the contexts a, b no longer have the same cluster and user: reload"):
            load()


@pytest.mark.parametrize(
    ("has_ipv4", "has_ipv6", "expected"),
    [(True, True, IPV4_FIRST), (True, False, IPV4_FIRST), (False, True, IPV6_FIRST), (False, False, IPV4_FIRST)],
)
def test_of_a_dual_stack_pod_the_family_is_taken_that_this_machine_has(monkeypatch, has_ipv4, has_ipv6, expected):
    monkeypatch.setattr(clusters, "has_ipv4", lambda: has_ipv4)
    monkeypatch.setattr(clusters, "has_ipv6", lambda: has_ipv6)
    assert families() == expected
    assert new_cluster("fra", config_of(TEXT).pops[0].kubernetes, [KEY], lambda cluster, keys: None)._families == expected
