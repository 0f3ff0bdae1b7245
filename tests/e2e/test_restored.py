"""An etcd that comes back from a backup: what a real API server does with a version from the future, and that the copy heals."""

import asyncio
import random
import shutil
import time
from pathlib import Path

import pytest

from k8s._api import Api
from k8s.access import ClusterAccess
from k8s.objects import EndpointSlice
from k8s.reflector import Reflector, Timing
from tests.e2e.cluster import ControlPlane
from tests.e2e.kubeapi import Json

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

PATH = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
SELECTOR = {"labelSelector": "kubernetes.io/service-name=web"}


def piece(address: str) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


class Plane(ControlPlane):
    """Its API server and etcd alone, stopped and started as one."""

    def begin(self) -> None:
        self.etcd.start()
        self.start_api()

    def end(self) -> None:
        self.stop_api()
        self.etcd.stop()


@pytest.mark.heavy
def test_a_copy_heals_after_its_server_went_back(assets: Path, tmp_path: Path) -> None:
    plane = Plane("restored", 14, tmp_path / "plane", assets)
    try:
        plane.begin()
        plane.api.apply(piece("10.0.0.1"))
        plane.end()
        shutil.copytree(plane.folder / "etcd", tmp_path / "backup")
        plane.begin()
        for number in range(2, 40):
            plane.api.apply(piece(f"10.0.0.{number}"))
        asyncio.run(asyncio.wait_for(heal(plane, tmp_path / "backup"), 120.0))
    finally:
        plane.stop()


async def heal(plane: Plane, backup: Path) -> None:
    def address() -> str:
        (endpoint,) = reflector.objects["web-1"].endpoints or ()
        return (endpoint.addresses or [""])[0]

    async with Api(lambda: ClusterAccess.load(kubeconfig=str(plane.kubeconfig)), time.monotonic) as api:
        timing = Timing(read_s=(3.0, 3.5))
        reflector = Reflector(api, PATH, EndpointSlice, SELECTOR, lambda _: None, timing=timing, rng=random.Random(1))
        await reflector.turn()
        assert address() == "10.0.0.39"
        await asyncio.to_thread(plane.end)
        shutil.rmtree(plane.folder / "etcd")
        shutil.copytree(backup, plane.folder / "etcd")
        await asyncio.to_thread(plane.begin)

        await reflector.turn()  # the watch, from a version that this server will only reach in time
        assert "nothing was read for too long" in (reflector.error or ""), "the real one accepts it and says nothing"
        assert address() == "10.0.0.39", "not known yet"
        while address() != "10.0.0.1":
            await asyncio.sleep(await reflector.turn())
