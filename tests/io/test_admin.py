import contextlib
import json
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from gateway.cli import main
from gateway.control.operator.access_log import FIELDS
from tests.io.serving import AMERICAN, CONFIG, GERMAN, Load, backends, eventually, free_port, served

pytestmark = pytest.mark.slow

MORE = CONFIG + "access_log: {{path: access.log}}\nstatus: {{bind: '127.0.0.1:{status}'}}\n"


@contextlib.contextmanager
def operated(folder, pops, text=MORE, **more):
    with served(folder, text, fra=pops[0].address, nyc=pops[1].address, status=str(free_port()), **more) as one:
        one.admin = f"http://127.0.0.1:{one.admin_port}"
        yield one


@pytest.fixture
def gateway(tmp_path, pops):
    with operated(tmp_path, pops) as one:
        yield one


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """One for all tests that change nothing in it."""
    with backends("fra", "nyc") as two, operated(tmp_path_factory.mktemp("undisturbed"), two) as one:
        yield one


def ask(url, method="GET", **headers):
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask_json(url, method="GET", **headers):
    status, text = ask(url, method, **headers)
    return status, json.loads(text)


def samples(gateway, parse=parse_plain, accept=""):
    _, text = ask(f"{gateway.admin}/metrics", Accept=accept)
    return {(s.name, *sorted(s.labels.items())): s.value for family in parse(text) for s in family.samples}


def log_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_file_and_running_gateway_explain_alike(undisturbed, capsys):
    for client in ("10.1.0.1", "10.2.0.1", "8.8.8.8"):
        assert main(["explain", "-c", str(undisturbed.config), "--client", client, "--json"]) == 0
        from_file = json.loads(capsys.readouterr().out)
        assert main(["explain", "--admin", undisturbed.admin, "--client", client, "--json"]) == 0
        running = json.loads(capsys.readouterr().out)
        assert ask_json(f"{undisturbed.admin}/explain?client={client}")[1] | {"table": 0} == running | {"table": 0}
        assert (from_file.pop("table"), running.pop("table")["generation"] > 0) == ({"generation": 0, "age_s": 0.0}, True)
        assert from_file == running  # nothing has been measured yet


def test_what_explain_says_is_what_traffic_does(undisturbed):
    for headers in (GERMAN, AMERICAN):
        said = ask_json(f"{undisturbed.admin}/explain?client={headers['x-forwarded-for']}")[1]
        assert said["decision"]["pop"] == undisturbed.get("/", headers)[1]


def test_traffic_shows_in_metrics(gateway):
    for _ in range(7):
        gateway.get("/", GERMAN)
    gateway.get("/", AMERICAN)
    fra = (("pop", "fra"), ("service", "shop"))
    key = ("isochrone_requests_total", ("code", "200"), *fra)
    eventually(lambda: samples(gateway).get(key) == 7, "seven requests in the metrics")
    for seen in (samples(gateway), samples(gateway, parse_open, "application/openmetrics-text; version=1.0.0")):
        assert seen[key] == 7
        assert seen["isochrone_request_duration_seconds_count", *fra] == 7
        assert seen["isochrone_upstream_first_byte_seconds_bucket", ("le", "+Inf"), *fra] == 7
        assert 0 < seen["isochrone_upstream_first_byte_seconds_sum", *fra] < 7
        assert seen["isochrone_decisions_total", ("pop", "fra"), ("reason", "fastest"), ("service", "shop")] == 7
        assert seen["isochrone_endpoints", *fra, ("state", "admitting")] == 1
        assert seen["isochrone_geoip_lookups_total", ("result", "overridden")] >= 8
        assert seen["isochrone_bad_transitions_total",] == 0


def test_requests_are_logged_with_the_fields_of_the_contract_through_a_rotation(gateway, tmp_path):
    path = tmp_path / "access.log"
    gateway.get("/first?q=1", AMERICAN)
    eventually(lambda: path.exists() and len(log_lines(path)) == 1, "one line")
    path.rename(tmp_path / "access.log.1")
    gateway.signal(signal.SIGHUP)  # as logrotate does; the gateway looks anyway
    eventually(path.exists, "a new file")
    gateway.get("/second", GERMAN)
    eventually(lambda: len(log_lines(path)) == 1, "one line in the new file")
    (first,), (second,) = log_lines(tmp_path / "access.log.1"), log_lines(path)
    assert list(first) == list(second) == list(FIELDS)
    assert (first["client"], first["path"], first["status"], first["pop"], first["reason"]) == (
        "10.2.0.1",
        "/first?q=1",
        200,
        "nyc",
        "fastest",
    )
    assert (second["client"], second["path"], second["pop"], second["attempts"]) == ("10.1.0.1", "/second", "fra", 1)


def test_no_record_is_lost_at_the_end(gateway, tmp_path):
    for n in range(20):
        gateway.get(f"/{n}", GERMAN)
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    assert {line["path"] for line in log_lines(tmp_path / "access.log")} == {f"/{n}" for n in range(20)}


def test_a_full_disk_for_the_log_is_said_once_counted_and_service_goes_on(tmp_path, pops):
    with operated(tmp_path, pops, MORE.replace("access.log", "/dev/full")) as gateway:
        for n in range(1, 4):
            assert gateway.get("/", GERMAN) == (200, "fra")
            eventually(
                lambda n=n: samples(gateway)["isochrone_access_log_dropped_total", ("cause", "failed")] == n, f"{n} dropped records counted"
            )
        assert gateway.log.count("access log can't be written") == 1
        assert "No space left on device" in gateway.log


def test_a_pop_is_drained_under_load_and_taken_back(gateway, pops, capsys):
    load = Load(gateway.port).keep_alive(4).one_shot(2).keep_alive(1, path="/?slow=20", length=20_000)
    load.wait_answers(100)
    assert main(["drain", "--admin", gateway.admin, "--pop", "fra"]) == 0
    assert "fra: drained after" in capsys.readouterr().out
    before = pops[0].seen["GET /"]
    load.wait_answers(100)
    assert pops[0].seen["GET /"] == before  # not one that began after it was called drained
    assert ask_json(f"{gateway.admin}/pops/fra")[1]["state"] == "drained"
    assert gateway.get("/", GERMAN) == (200, "nyc")
    ask(f"{gateway.admin}/reload", "POST")
    assert ask_json(f"{gateway.admin}/pops/fra")[1]["state"] == "drained"  # the operator's word outlives a reload
    assert main(["undrain", "--admin", gateway.admin, "--pop", "fra"]) == 0
    eventually(lambda: gateway.get("/", GERMAN) == (200, "fra"), "traffic returns")
    load.stop()
    assert load.faults == []


def test_the_table_of_pops_is_that_of_the_gateway(gateway, pops, capsys):
    assert gateway.get("/", GERMAN) == (200, "fra")
    pops[1].die()
    eventually(lambda: ask_json(f"{gateway.admin}/pops/nyc")[1]["state"] == "down", "the dead PoP is known")
    assert main(["pops", "--admin", gateway.admin]) == 0
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert gateway.admin in title and "serving" in title
    assert [line.split()[:4] for line in lines] == [["fra", "active", "shop", "100%"], ["nyc", "down", "shop", "0%"]]
    assert lines[1].endswith("1 shut")


def test_the_last_pop_of_a_route_is_drained_only_by_force(gateway, pops, capsys):
    assert main(["drain", "-c", str(gateway.config), "--pop", "nyc"]) == 0
    assert gateway.admin in capsys.readouterr().out.splitlines()[0]  # whom it was that was drained
    load = Load(gateway.port).keep_alive(4)
    load.wait_answers(50)
    assert main(["drain", "-c", str(gateway.config), "--pop", "fra"]) == 1
    assert "all clients: service shop can be served in no other PoP" in capsys.readouterr().err
    load.wait_answers(50)
    load.stop()
    assert load.faults == []
    assert main(["drain", "-c", str(gateway.config), "--pop", "fra", "--force"]) == 0
    assert gateway.get("/", GERMAN)[0] == 503


def test_a_pops_drain_outlives_the_process_that_is_killed_and_a_reload_without_the_pop(tmp_path, pops):
    state = f"state_dir: {tmp_path / 'state'}\n"
    with operated(tmp_path, pops, MORE + state) as one:
        assert ask_json(f"{one.admin}/pops/fra/drain", "POST")[1]["kept"] is True
        one.process.kill()
        one.wait_exit()
    with operated(tmp_path, pops, MORE + state) as one:
        assert {one.get("/", GERMAN)[1] for _ in range(20)} == {"nyc"}
        whole = one.config.read_text()
        one.config.write_text("\n".join(line for line in whole.splitlines() if "fra" not in line))
        status, said = ask_json(f"{one.admin}/reload", "POST")
        assert (status, [line for line in said["warnings"] if line.startswith("pops: fra is drained and no longer")] != []) == (200, True)
        one.config.write_text(whole)
        assert ask_json(f"{one.admin}/reload", "POST")[0] == 200
        assert ask_json(f"{one.admin}/pops/fra")[1]["drained"] is True
        assert {one.get("/", GERMAN)[1] for _ in range(20)} == {"nyc"}
        assert ask_json(f"{one.admin}/pops/fra/undrain", "POST")[1]["kept"] is True
        one.process.kill()
        one.wait_exit()
    with operated(tmp_path, pops, MORE + state) as one:
        eventually(lambda: one.get("/", GERMAN)[1] == "fra", "the nearest PoP is back")


def test_a_start_says_who_is_drained_by_a_name_that_nobody_has_any_more(tmp_path, pops):
    state = f"state_dir: {tmp_path / 'state'}\n"
    with operated(tmp_path, pops, MORE + state) as one:
        assert ask_json(f"{one.admin}/pops/fra/drain", "POST")[1]["kept"] is True
        one.config.write_text(one.config.read_text().replace("fra", "fra1"))
        warnings = ask_json(f"{one.admin}/reload", "POST")[1]["warnings"]
        assert [line for line in warnings if line.endswith("that name; new in it, not drained: fra1")]
        assert "no longer in the configuration" in one.log
        one.process.kill()
        one.wait_exit()
    with operated(tmp_path, pops, MORE.replace("fra,", "fra1,") + state) as one:
        one.wait_log("pops: fra is drained and no longer in the configuration: the drain waits for that name", 2)  # the first by the reload


def test_a_drain_that_the_disk_could_not_take_is_said_and_written_when_it_can(tmp_path, pops, capsys):
    folder, away = tmp_path / "state", tmp_path / "away"
    state = f"state_dir: {folder}\n"
    with operated(tmp_path, pops, MORE + state) as one:
        folder.rename(away)
        assert main(["drain", "--admin", one.admin, "--pop", "fra"]) == 0
        assert "fra: a restart would forget this: No such file or directory" in capsys.readouterr().err
        away.rename(folder)
        eventually(lambda: ask_json(f"{one.admin}/pops/fra/drain")[1]["kept"], "it is written down")
        one.process.kill()
        one.wait_exit()
    with operated(tmp_path, pops, MORE + state) as one:
        assert ask_json(f"{one.admin}/pops/fra")[1]["drained"] is True


def test_a_gateway_is_drained_and_taken_back(gateway, capsys):
    load = Load(gateway.port).keep_alive(4)
    load.wait_answers(50)
    done = []
    waiting = threading.Thread(target=lambda: done.append(main(["drain", "--admin", gateway.admin])))
    waiting.start()
    eventually(lambda: ask(f"{gateway.admin}/readyz")[0] == 503, "unready")
    load.wait_answers(50)  # everyone is still served
    assert ask_json(f"{gateway.admin}/healthz")[1]["state"] == "lameduck"
    load.stop()
    waiting.join(30)
    assert done == [0]
    assert "no connection left" in capsys.readouterr().out
    assert main(["undrain", "--admin", gateway.admin]) == 0
    assert ask(f"{gateway.admin}/readyz")[0] == 200
    assert load.faults == []


def test_reload_is_whole_or_not_at_all(gateway):
    good = gateway.config.read_text()
    gateway.config.write_text(good.replace("lat: 50.11", "lat: 500"))
    status, said = ask_json(f"{gateway.admin}/reload", "POST")
    assert status == 409
    assert any("pops.fra.lat: must be a number from -90 to 90 degrees, got 500" in fault for fault in said["faults"])
    gateway.config.write_text(good.replace("name: web", "name: other"))
    assert ask_json(f"{gateway.admin}/reload", "POST")[1]["faults"] == [
        "listeners: changed; a restart is needed, this reload changes nothing"
    ]
    gateway.config.write_text(good.replace("debug_headers: true", "debug_headers: false"))
    status, said = ask_json(f"{gateway.admin}/reload", "POST")
    assert (status, said["reloaded"]) == (200, True)
    assert "debug_headers: false" in ask(f"{gateway.admin}/config")[1]


def test_the_status_listener_reads_only(undisturbed):
    text = undisturbed.config.read_text()
    url = "http://" + text.rpartition("status: {bind: '")[2].partition("'")[0]
    assert ask_json(f"{url}/healthz")[1]["state"] == "serving"
    assert ask(f"{url}/readyz")[0] == 200
    assert "isochrone_build_info" in ask(f"{url}/metrics", Host="gateway.example.com")[1]
    assert ask(f"{url}/pops")[0] == 404
    assert ask(f"{url}/drain", "POST")[0] == 404


def test_a_page_in_a_browser_can_not_drain(undisturbed):
    assert ask(f"{undisturbed.admin}/drain", "POST", Origin="https://evil.example")[0] == 403
    assert ask(f"{undisturbed.admin}/drain", "POST", Host="evil.example")[0] == 403
    assert ask_json(f"{undisturbed.admin}/healthz")[1]["state"] == "serving"


def test_admin_on_a_unix_socket(tmp_path, pops, capsys):
    text = CONFIG.replace('"127.0.0.1:{admin}"', f'"unix:{tmp_path}/admin.sock"')
    with operated(tmp_path, pops, text) as gateway:
        where = f"unix:{tmp_path}/admin.sock"
        assert main(["explain", "--admin", where, "--client", "10.1.0.1"]) == 0
        assert main(["drain", "--admin", where, "--pop", "nyc"]) == 0
        assert "decision  fra at" in capsys.readouterr().out
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit() == 0
    assert not (tmp_path / "admin.sock").exists()


@pytest.mark.parametrize("which", ["admin", "status"])
def test_an_address_in_use_is_one_line_before_anything_starts(tmp_path, pops, which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        text = MORE.replace(f"{{{which}}}", port)
        with operated(tmp_path, pops, text, wait=False) as gateway:
            assert gateway.wait_exit() == 1
            assert gateway.log.splitlines()[-1] == f"isochrone: listener {which}: 127.0.0.1:{port} is already in use"
            assert not pops[0].seen


NO_REQUESTS = (
    b"GET /<secret> HTTP/9.9\r\n\r\n",
    b"GET /secret\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"\x16\x03\x01secret\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\nsecret",
    b"POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"secret" * 2000 + b"\r\n\r\n",
    b"GET http://[::secret HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
)


def test_what_is_no_request_to_admin_is_not_echoed_and_makes_no_line(gateway):
    def say(text):
        with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=5) as client:
            client.sendall(text)
            return client.makefile("rb").read()

    gateway.wait_log("not_ready")
    for said in NO_REQUESTS:
        answered = say(said)
        assert answered.startswith(b"HTTP/1.0 400 ") and b"must be an HTTP/1.1 request that can be read" in answered, (said, answered)
        assert b"secret" not in answered
    compressed = b"POST /explain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    assert say(compressed).startswith(b"HTTP/1.1 405 ")
    assert '"error"' not in gateway.log
