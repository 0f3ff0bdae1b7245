"""Sequences of events that nobody listed: what operators, clients and machines do to a gateway at the wrong moment. Real processes.

Each test is one story with one claim: clients notice nothing, or exactly what is said. Bodies, drains and broken bytes have their own.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.io.serving import AMERICAN, CONFIG, GERMAN, Backend, Load, Served, eventually, free_port, served
from tests.support.forked import Forked
from tests.support.raw import dial, reset_on_close

pytestmark = pytest.mark.slow

UPLOAD = {"method": "POST", "path": "/up", "body": b"u" * 50_000}


def admin(gateway: Served, path: str, method: str = "GET") -> tuple[int, str]:
    asked = urllib.request.Request(f"http://127.0.0.1:{gateway.admin_port}{path}", method=method)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def reload(gateway: Served, text: str) -> None:
    gateway.config.write_text(text)
    assert admin(gateway, "/reload", "POST")[0] == 200


def metric(gateway: Served, series: str) -> float:
    lines = admin(gateway, "/metrics")[1].splitlines()
    return next(float(line.removeprefix(series)) for line in lines if line.startswith(f"{series} "))


def everyone(gateway: Served) -> Load:
    """All kinds of clients."""
    load = Load(gateway.port).keep_alive(6).one_shot(3).keep_alive(1, path="/?slow=20", length=20_000).keep_alive(2, **UPLOAD)
    load.wait_answers(100)
    return load


def descriptors(gateway: Served) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


# --- Reloads ---


def test_every_endpoint_is_new_to_its_pool_and_nobody_is_refused(gateway, pops):
    """Whoever is new takes nothing until its first probe; when all are, somebody must all the same."""
    load = everyone(gateway)
    fra, nyc = (pop.address for pop in pops)
    for n in range(6):
        here, there = (nyc, fra) if n % 2 == 0 else (fra, nyc)  # the endpoints change places
        reload(gateway, CONFIG.format(port=gateway.port, admin=gateway.admin_port, fra=here, nyc=there))
        load.wait_answers(60)
    load.stop()
    assert load.faults == []


def test_a_service_is_renamed_under_load_and_nobody_is_refused(gateway):
    load = everyone(gateway)
    text = gateway.config.read_text()
    for n in range(6):
        reload(gateway, text.replace("shop", f"shop-{n}"))
        load.wait_answers(60)
    load.stop()
    assert load.faults == []


def test_fifty_hangups_while_a_pop_flaps_and_clients_pipeline(gateway, pops):
    load = Load(gateway.port).keep_alive(4).one_shot(2)
    load.wait_answers(50)
    with dial(gateway.port) as client:
        for n in range(50):
            gateway.signal(signal.SIGHUP)
            if n % 10 == 0:
                (pops[0].die if n % 20 == 0 else pops[0].revive)()
            client.sendall(b"GET /piped HTTP/1.1\r\nhost: x\r\n\r\n" * 4)
        text = b""
        while text.count(b"HTTP/1.1 200 OK") < 200:
            text += (piece := client.recv(1 << 16))
            assert piece, text[-1000:]
    gateway.wait_log('"reloaded"')  # signals that come together are one
    load.stop()
    assert load.faults == []
    assert text.count(b"HTTP/1.1 ") == 200


def test_a_flood_of_hangups_is_one_reload_more(gateway, tmp_path):
    good = gateway.config.read_text()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    gateway.config.unlink()
    gateway.config.symlink_to(pipe)  # a file that is being written: reading it lasts until somebody has
    gateway.signal(signal.SIGHUP)
    with pipe.open("w") as writer:  # opened: the first is reading
        for _ in range(200):
            gateway.signal(signal.SIGHUP)
            admin(gateway, "/healthz")  # an answer: the loop has turned since, so this signal is one of its own
        gateway.config.unlink()
        gateway.config.write_text(good.replace("debug_headers: true", "debug_headers: false"))
        writer.write(good)
    applied = 'isochrone_config_reloads_total{result="applied"}'
    eventually(lambda: metric(gateway, applied) == 2, "the first, and one for all others")
    assert "debug_headers: false" in admin(gateway, "/config")[1]  # what was there when the last came
    assert admin(gateway, "/reload", "POST")[0] == 200
    eventually(lambda: metric(gateway, applied) == 3, "nothing is left of it")
    assert metric(gateway, 'isochrone_config_reload_timestamp_seconds{result="applied"}') > 1e9
    assert metric(gateway, 'isochrone_config_reload_timestamp_seconds{result="refused"}') == 0


def test_a_route_goes_while_its_requests_run(gateway):
    load = Load(gateway.port).keep_alive(4, path="/?slow=40", length=40_000)
    eventually(lambda: 'state="active"} 4' in admin(gateway, "/metrics")[1], "four downloads run")
    reload(gateway, gateway.config.read_text().replace("[{service: shop}]", "[{match: {hosts: [other]}, service: shop}]"))
    assert gateway.get("/")[0] == 404
    reload(gateway, gateway.config.read_text().replace("[{match: {hosts: [other]}, service: shop}]", "[{service: shop}]"))
    load.stop()
    assert load.faults == []


def test_whatever_lies_where_the_configuration_was_it_is_refused_and_service_goes_on(gateway):
    path, good = gateway.config, gateway.config.read_text()
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    cases = {
        "Is a directory": path.mkdir,
        "No such file": lambda: None,
        "symbolic links": lambda: path.symlink_to(path),
        "must be UTF-8": lambda: path.write_bytes(good.encode("utf-16")),
        "must have at least one item": lambda: path.write_text(""),
        "500000 values": lambda: path.write_text(bomb + good),
        "nested deeper": lambda: path.write_text("[" * 20_000),
        "at most 16MiB": lambda: path.write_text(good + "#" * (17 << 20)),
        "-90 to 90": lambda: path.write_text(good.replace("50.11", "9" * 10_000)),
    }
    for words, make in cases.items():
        path.unlink()
        make()
        status, said = admin(gateway, "/reload", "POST")
        assert (status, words in said) == (409, True), (words, said[:500])
        assert gateway.get("/", GERMAN) == (200, "fra")
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        path.touch()
    reload(gateway, good)


def test_a_reload_that_never_ends_does_not_hold_the_end(gateway):
    reload(gateway, gateway.config.read_text().replace("lameduck: 1s", "lameduck: 0s"))
    gateway.config.unlink()
    os.mkfifo(gateway.config)  # reading it waits for a writer who does not come
    gateway.signal(signal.SIGHUP)
    gateway.signal(signal.SIGHUP)
    assert gateway.get("/", GERMAN) == (200, "fra")
    assert admin(gateway, "/healthz")[0] == 200
    gateway.signal(signal.SIGTERM)
    gateway.signal(signal.SIGHUP)
    assert gateway.wait_exit(8) == 0


@pytest.mark.alone
def test_ten_thousand_endpoints_are_read_and_used_at_once(gateway, pops):
    text = gateway.config.read_text()
    more = ", ".join(f'"127.{n // 250}.{n % 250}.1:{pops[0].port}"' for n in range(1, 10_000))  # nobody listens there
    load = Load(gateway.port).keep_alive(2)
    began = time.monotonic()
    reload(gateway, text.replace(f'"{pops[0].address}"', f'"{pops[0].address}", {more}'))
    assert time.monotonic() - began < 5  # half a second on an idle machine
    load.wait_answers(50)
    reload(gateway, text)
    load.stop()
    assert load.faults == []


# --- PoPs ---


def test_a_drained_pop_whose_last_endpoint_dies_stays_drained(gateway, pops):
    load = Load(gateway.port).keep_alive(4).one_shot(2)
    assert admin(gateway, "/pops/fra/drain", "POST")[0] == 200
    pops[0].die()
    gateway.wait_log("endpoint is shut")
    pops[0].revive()
    gateway.wait_log("endpoint is ramping")
    load.wait_answers(50)
    assert gateway.get("/", GERMAN) == (200, "nyc")
    load.stop()
    assert load.faults == []
    assert admin(gateway, "/pops/nyc/drain", "POST")[0] == 200
    assert gateway.get("/", GERMAN)[0] == 503  # the operator's word, whatever health says
    assert admin(gateway, "/pops/fra/undrain", "POST")[0] == 200
    eventually(lambda: gateway.get("/", AMERICAN) == (200, "fra"), "the one that may serve does")


def test_a_unix_socket_backend_is_removed_replaced_by_a_file_and_made_anew(tmp_path, pops):
    path = tmp_path / "up"
    backend = Backend("fra", str(path))
    try:
        with served(tmp_path, fra=backend.address, nyc=pops[1].address) as gateway:
            load = Load(gateway.port).keep_alive(4).one_shot(2)
            assert gateway.get("/", GERMAN) == (200, "fra")
            backend.die()
            path.unlink(missing_ok=True)
            assert gateway.get("/", GERMAN) == (200, "nyc")
            path.write_text("no socket")
            gateway.wait_log("endpoint is shut")
            assert gateway.get("/", GERMAN) == (200, "nyc")
            path.unlink()
            backend.revive()
            eventually(lambda: gateway.get("/", GERMAN) == (200, "fra"), "traffic returns")
            load.stop()
            assert load.faults == []
    finally:
        backend.close()


def test_an_upstream_that_never_reads_costs_its_own_clients_a_504_and_no_memory(tmp_path, pops):
    door = socket.create_server(("127.0.0.1", 0))
    health = CONFIG[CONFIG.index("{{path: /healthz") : CONFIG.index("    slow_start")]
    text = CONFIG.replace(health, "{{type: tcp}}\n").replace("drain:", "timeouts: {{body_progress: 500ms}}\ndrain:")
    with door, served(tmp_path, text, fra=f"127.0.0.1:{door.getsockname()[1]}", nyc=pops[1].address) as gateway:
        head = b"POST /up HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 10.1.0.1\r\ncontent-length: 100000000\r\n\r\n"
        statuses = []

        def upload() -> None:
            with dial(gateway.port) as client:
                client.sendall(head)
                with contextlib.suppress(OSError):
                    while True:
                        client.sendall(b"u" * 100_000)
                with contextlib.suppress(OSError):
                    statuses.append(client.recv(4096)[:12])

        before = resident_kib(gateway)
        clients = [threading.Thread(target=upload, daemon=True) for _ in range(10)]
        for client in clients:
            client.start()
        assert gateway.get("/", AMERICAN) == (200, "nyc")
        for client in clients:
            client.join(15)
            assert not client.is_alive()
        assert set(statuses) <= {b"HTTP/1.1 504"}  # a reset may overtake it: the client is still sending
        assert resident_kib(gateway) - before < 8 << 10 or "san" in os.environ.get("LD_PRELOAD", "")  # sanitizers keep what was freed
        assert "504" in admin(gateway, "/metrics")[1]


def resident_kib(gateway: Served) -> int:
    with open(f"/proc/{gateway.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * (resource.getpagesize() >> 10)


# --- Clients ---


def test_thousands_that_connect_and_go_leave_nothing(gateway):
    reload(gateway, gateway.config.read_text().replace("drain:", "timeouts: {upstream_idle: 200ms}\ndrain:"))
    before = descriptors(gateway)
    for n in range(3000):
        client = dial(gateway.port)
        client.send(b"G")
        if n % 2:
            reset_on_close(client)
        client.close()
    crowd = []
    try:
        for _ in range(400):
            client = dial(gateway.port)
            crowd.append(client)
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    finally:
        for client in crowd:
            client.close()
    assert gateway.get("/", GERMAN)[0] == 200  # by either PoP: fra is slow after such a crowd
    eventually(lambda: 'state="idle"} 0' in admin(gateway, "/metrics")[1], "no client is left")
    eventually(lambda: descriptors(gateway) < before + 20, "descriptors are given back")


def test_a_hundred_thousand_chunks_of_one_byte(gateway, pops):
    body = b"1\r\nu\r\n" * 100_000 + b"0\r\n\r\n"
    with dial(gateway.port) as client:
        client.sendall(b"POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + body)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert gateway.get("/")[0] == 200


# --- The machine ---


def test_a_pause_of_the_whole_process_is_no_reason_to_fail_anyone(gateway):
    load = everyone(gateway)
    gateway.signal(signal.SIGSTOP)
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 2.5, "longer than a connect may take, and than a worker may be silent")
    gateway.signal(signal.SIGCONT)
    load.wait_answers(100)
    load.stop()
    assert load.faults == []
    assert "endpoint is shut" not in gateway.log


def test_descriptors_run_out_and_come_back(gateway):
    pid = gateway.process.pid
    assert gateway.get("/", GERMAN) == (200, "fra")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(gateway) + 6, hard))
    crowd: list[socket.socket] = []

    def is_crowded() -> bool:
        """One client more each time: what a probe or an upstream connection leaves free is taken again."""
        if len(crowd) < 500:
            crowd.append(dial(gateway.port))
            with contextlib.suppress(OSError):  # turned away, or moved out for another
                crowd[-1].sendall(b"GET /crowd HTTP/1.1\r\nhost: x\r\n\r\n")
        return "probes can't judge" in gateway.log

    try:
        eventually(is_crowded, "no descriptor is left for a probe")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for client in crowd:
            client.close()
    eventually(lambda: gateway.get("/", GERMAN) == (200, "fra") and gateway.get("/", AMERICAN) == (200, "nyc"), "all as before")
    assert "endpoint is shut" not in gateway.log  # the lack was our own


def test_a_log_reader_that_hangs_holds_nobody(tmp_path, pops):
    reader, writer = os.pipe()
    port, admin_port = free_port(), free_port()
    path = tmp_path / "isochrone.yaml"
    path.write_text(CONFIG.format(port=port, admin=admin_port, fra=pops[0].address, nyc=pops[1].address))
    gateway = object.__new__(Served)
    gateway.port, gateway.config, gateway.log_path = port, path, tmp_path / "none"
    gateway.admin_port = admin_port  # type: ignore[attr-defined]  # for tests that speak to the admin API
    gateway.log_path.touch()
    gateway.process = Forked(["serve", "-c", str(path)], writer)
    os.close(writer)
    try:
        gateway.wait_serving()
        good = path.read_text()
        path.write_text("listeners: [{name: " + "x" * 3000 + "}]\n" * 2)
        for _ in range(30):  # more than a pipe holds
            assert admin(gateway, "/reload", "POST")[0] == 409
        pops[0].die()
        assert gateway.get("/", GERMAN) == (200, "nyc")
        reload(gateway, good.replace("lameduck: 1s", "lameduck: 0s"))
        pops[0].revive()
        eventually(lambda: gateway.get("/", GERMAN) == (200, "fra"), "probes go on")
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit(8) == 0
    finally:
        gateway.close()
        os.close(reader)


def test_the_folder_of_the_access_log_goes(tmp_path, pops):
    folder = tmp_path / "logs"
    folder.mkdir()
    text = CONFIG + f"access_log: {{{{path: {folder}/access}}}}\n"
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway:
        assert gateway.get("/one", GERMAN)[0] == 200
        eventually(lambda: (folder / "access").exists() and (folder / "access").read_text().count("\n") == 1, "one line")
        (folder / "access").unlink()
        folder.rmdir()
        gateway.wait_log("access log can't be written")
        assert gateway.get("/two", GERMAN)[0] == 200
        other = tmp_path / "other"  # the same file would be tried again after 5 s
        reload(gateway, gateway.config.read_text().replace(f"{folder}/access", str(other)))
        assert gateway.get("/three", GERMAN)[0] == 200
        eventually(lambda: other.exists() and "/three" in other.read_text(), "it goes on elsewhere")
        assert all(json.loads(line)["status"] == 200 for line in other.read_text().splitlines())


def test_two_gateways_start_at_once_on_one_unix_socket(tmp_path, pops):
    path = tmp_path / "s"
    text = CONFIG.replace("127.0.0.1:{port}", f"unix:{path}")
    starting = []
    try:
        for n in range(2):
            folder = tmp_path / str(n)
            folder.mkdir()
            starting.append(Served(folder, text.format(port=0, admin=free_port(), fra=pops[0].address, nyc=pops[1].address), 0))
        eventually(lambda: sum(one.process.poll() is None and '"started"' in one.log for one in starting) == 1, "one serves")
        eventually(lambda: [one.process.poll() for one in starting].count(1) == 1, "the other ends")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        for one in starting:
            one.close()
