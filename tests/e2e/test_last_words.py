"""A gateway that starts while its API server is gone: it serves from what that last said to the process before, and says so."""

import http.client
import signal
from pathlib import Path

import pytest

from tests.e2e.cluster import Clusters
from tests.e2e.gateway import PORT, Gateway, two_pops
from tests.e2e.processes import wait_until
from tests.e2e.rollout import deployed, pod_names, ready_addresses

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HOST = "10.244.240.9"


def answered_by(gateway: Gateway) -> tuple[int, str]:
    connection = http.client.HTTPConnection(gateway.host, PORT, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("x-pod") or ""
    finally:
        connection.close()


def kept_metric(gateway: Gateway) -> float:
    lines = gateway.ask("GET", "/metrics")[1]["text"].splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("isochrone_source_kept{"))


@pytest.mark.heavy
def test_a_gateway_restarted_while_the_api_server_is_gone_serves(clusters: Clusters, tmp_path: Path) -> None:
    (plane,) = clusters.start("fra")
    config = two_pops(plane.kubeconfig, "kept", state_dir=str(tmp_path / "state"))
    del config["pops"][1], config["services"][0]["backends"][1]
    file = tmp_path / "state" / "endpoints.json"
    with deployed(plane, "kept", environment={"SLOW_STOP_S": "0"}):
        pods = pod_names(plane, "kept")
        with Gateway("kept", HOST, tmp_path, config) as gateway:
            gateway.start()
            wait_until(lambda: file.exists() and file.read_text().count('"address"') == 3, 20, "endpoints written down")
            assert kept_metric(gateway) == 0
            plane.stop_api()
            gateway.program.signal(signal.SIGKILL)
            gateway.program.wait(10.0)
            try:
                gateway.start()
                assert {answered_by(gateway) for _ in range(50)} == {(200, pod) for pod in pods}
                (pop,) = gateway.command("GET", "/pops")["pops"]
                source = pop["services"][0]["source"]
                assert source["kept"] and source["age_s"] < 120 and "cannot connect" in source["error"]
                assert kept_metric(gateway) == 1
                said = [event for event in gateway.events() if event["message"].startswith("cluster does not answer")]
                assert [event["pop"] for event in said] == ["fra"]
            finally:
                plane.start_api()
            wait_until(lambda: kept_metric(gateway) == 0, 60, "the API server has the word again")
            assert sorted(one["endpoint"] for one in gateway.command("GET", "/pops/fra")["services"][0]["each"]) == ready_addresses(
                plane, "kept"
            )
            assert answered_by(gateway)[0] == 200
