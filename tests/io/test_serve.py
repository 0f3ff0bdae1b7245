import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.io.serving import AMERICAN, CONFIG, GERMAN, Backend, Load, Served, backends, eventually, free_port, served

pytestmark = pytest.mark.slow


def test_clients_get_their_nearest_pop(gateway):
    assert gateway.get("/", GERMAN) == (200, "fra")
    assert gateway.get("/", AMERICAN) == (200, "nyc")
    assert gateway.get("/", method="POST", body=b"x" * 100_000)[0] == 200


def test_a_dead_pop_costs_no_get_and_it_comes_back(gateway, pops):
    load = Load(gateway.port).keep_alive(4).one_shot(2)
    load.wait_answers(200)
    pops[0].die()
    assert gateway.get("/", GERMAN) == (200, "nyc")
    load.wait_answers(200)
    gateway.wait_log("endpoint is shut")
    pops[0].revive()
    gateway.wait_log("endpoint is ramping")
    eventually(lambda: gateway.get("/", GERMAN) == (200, "fra"), "traffic returns")
    load.stop()
    assert load.faults == []


def test_an_endpoint_that_says_it_is_unwell_is_left_alone(gateway, pops):
    pops[0].status = 500
    gateway.wait_log("endpoint is shut")
    eventually(lambda: gateway.get("/", GERMAN) == (200, "nyc"), "traffic moves")
    assert "status 500" in gateway.log


def test_reload_moves_traffic_and_cuts_nothing(gateway, pops):
    with backends("new") as (new,):
        load = Load(gateway.port).keep_alive(4).keep_alive(1, path="/?slow=20", length=20_000)
        load.wait_answers(100)
        for n in range(1, 4):
            address = new.address if n % 2 else pops[0].address
            text = CONFIG.format(port=gateway.port, admin=gateway.admin_port, fra=address, nyc=pops[1].address)
            gateway.config.write_text(text)
            gateway.signal(signal.SIGHUP)
            gateway.wait_log('"reloaded"', n)
            eventually(lambda n=n: gateway.get("/", GERMAN) == (200, "new" if n % 2 else "fra"), "the new endpoint serves")
        load.wait_answers(100)
        load.stop()
    assert load.faults == []


def test_a_broken_configuration_at_reload_changes_nothing(gateway):
    good = gateway.config.read_text()
    gateway.config.write_text(good.replace("lat: 50.11", "lat: 500"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_log("pops.fra.lat")
    assert gateway.get("/", GERMAN) == (200, "fra")
    gateway.config.write_text(good.replace("name: web", "name: other"))
    gateway.signal(signal.SIGHUP)
    gateway.wait_log("listeners: changed; a restart is needed")
    assert gateway.get("/", GERMAN) == (200, "fra")
    assert '"reloaded"' not in gateway.log


def run_serve(folder, text):
    """The status with which it ended, and what it said."""
    gateway = Served(folder, text, 0)
    try:
        return gateway.wait_exit(), gateway.log
    finally:
        gateway.close()


def test_a_broken_configuration_at_start_says_what_check_says(tmp_path):
    status, said = run_serve(tmp_path, "listeners: [{name: web, bind: nowhere}]\npops: []\n")
    path = tmp_path / "isochrone.yaml"
    check = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "-c", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert status == check.returncode == 2
    assert said == check.stderr
    assert f"{path}:1: listeners" in said


def test_an_address_in_use_is_one_line(tmp_path, pops):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = run_serve(tmp_path, CONFIG.format(port=port, admin=free_port(), fra=pops[0].address, nyc=pops[1].address))
    assert status == 1
    assert said.splitlines()[-1] == f"isochrone: listener web: 127.0.0.1:{port} is already in use"
    assert "Traceback" not in said


def test_unix_sockets_on_both_sides(tmp_path):
    backend = Backend("fra", str(tmp_path / "up"))
    try:
        path = tmp_path / "down"
        text = CONFIG.replace("127.0.0.1:{port}", f"unix:{path}")
        gateway = Served(tmp_path, text.format(port=0, admin=free_port(), fra=backend.address, nyc="127.0.0.1:9"), 0)
        try:
            gateway.wait_log('"serving"')
            client = http.client.HTTPConnection("localhost", timeout=5)
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.connect(str(path))
            client.request("GET", "/")
            assert client.getresponse().read() == b"fra"
            client.close()
            gateway.signal(signal.SIGTERM)
            assert gateway.wait_exit() == 0
            assert not path.exists()
        finally:
            gateway.close()
    finally:
        backend.close()


def test_a_broken_database_is_said_and_clients_are_served_all_the_same(tmp_path, pops):
    (tmp_path / "city.mmdb").write_bytes(b"not a database")
    text = CONFIG.replace("  check_interval: 1s", "  check_interval: 1s\n  city: city.mmdb")
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway:
        gateway.wait_log("database refused")
        assert "city.mmdb" in gateway.log
        assert gateway.get("/", GERMAN) == (200, "fra")  # an override needs none
        assert gateway.get("/", {"x-forwarded-for": "8.8.8.8"})[0] == 200  # unknown: the order of the PoPs
        os.remove(tmp_path / "city.mmdb")
        gateway.wait_log("No such file")


def test_a_broken_kubeconfig_and_an_api_server_that_is_gone_cost_the_other_pops_nothing(tmp_path, pops):
    (tmp_path / "gone").write_text(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}],"
        f" clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{free_port()}'}}}}], users: [{{name: a, user: {{token: t}}}}]}}"
    )
    (tmp_path / "broken").write_text("{")
    text = CONFIG.replace("pops:\n", "kubernetes: {{sync_deadline: 1s}}\npops:\n", 1)
    text = text.replace("country: DE", "country: DE, kubernetes: {{kubeconfig: gone}}").replace('endpoints: ["{fra}"]', K8S)
    text = text.replace("  - {{name: nyc", "  - {{name: lon, lat: 51.5, lon: 0, kubernetes: {{kubeconfig: broken}}}}\n  - {{name: nyc", 1)
    text = text.replace("      - {{pop: nyc", f"      - {{{{pop: lon, {K8S}}}}}\n      - {{{{pop: nyc")
    with served(tmp_path, text, nyc=pops[1].address) as gateway:
        assert gateway.log.count("cluster stale") == 2
        assert gateway.get("/", GERMAN) == (200, "nyc")
        gateway.wait_log("kubeconfig")


K8S = "kubernetes: {{namespace: shop, service: web, port: http}}"


def test_without_descriptors_old_clients_make_room_and_service_goes_on(tmp_path, pops):
    with served(tmp_path, descriptors=80, fra=pops[0].address, nyc=pops[1].address) as gateway:
        assert gateway.get("/", GERMAN)[0] == 200
        crowd = []
        try:
            for _ in range(120):
                client = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
                crowd.append(client)
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")  # and stays, idle
                client.recv(4096)
            eventually(lambda: gateway.get("/", GERMAN)[0] == 200, "an answer among the crowd")
        finally:
            for client in crowd:
                client.close()
        eventually(lambda: gateway.get("/", AMERICAN) == (200, "nyc"), "all as before")
        assert gateway.process.poll() is None


def test_when_clients_have_taken_all_descriptors_admin_and_status_answer(tmp_path, pops):
    text, status_port = CONFIG + 'status: {{bind: "127.0.0.1:{status}"}}\n', free_port()
    with served(tmp_path, text, descriptors=120, status=str(status_port), fra=pops[0].address, nyc=pops[1].address) as gateway:
        crowd = []
        try:
            for _ in range(200):
                crowd.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=5))
                crowd[-1].sendall(b"GET / HTTP/1.1\r\n")  # half a head: none of them is idle
            for n in range(40):
                port = gateway.admin_port if n < 20 else status_port
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/metrics" if n % 2 else "/healthz")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200
                connection.close()

            def is_counted() -> bool:  # what is scraped may be a second old
                connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=5)
                connection.request("GET", "/metrics")
                text = connection.getresponse().read().decode()
                connection.close()
                return 'isochrone_rejected_total{cause="no_descriptors"} 0' not in text

            eventually(is_counted, "the lack is counted")
        finally:
            for client in crowd:
                client.close()
        eventually(lambda: gateway.get("/", AMERICAN) == (200, "nyc"), "all as before")


def test_sigterm_before_it_serves_ends_it_at_once(tmp_path):
    (tmp_path / "k").write_text("{")
    text = CONFIG.replace("country: DE", "country: DE, kubernetes: {{kubeconfig: k}}").replace('endpoints: ["{fra}"]', K8S)
    with served(tmp_path, text, wait=False, nyc="127.0.0.1:9") as gateway:
        gateway.wait_log("kubeconfig")
        assert not gateway.is_listening()  # refused, not left waiting in a queue
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit(5) == 0


def test_a_loop_of_two_gateways_without_names_ends_where_it_began(tmp_path):
    there, back = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        gateways = []
        for port, other in ((there, back), (back, there)):
            folder = tmp_path / str(port)
            folder.mkdir()
            text = CONFIG.format(port=port, admin=free_port(), fra=f"127.0.0.1:{other}", nyc=f"127.0.0.1:{other}")
            gateways.append(Served(folder, text.replace("path: /healthz, ", ""), port))
            stack.callback(gateways[-1].close)
        for gateway in gateways:
            gateway.wait_serving()
        eventually(lambda: gateways[0].get("/", GERMAN) == (508, "Loop Detected\n"), "508 instead of going round")
