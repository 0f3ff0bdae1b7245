import argparse
import socket
import threading

import pytest

from gateway.cli import main
from gateway.commands._client import AdminClient, AdminError, Unreachable, add_running, running
from gateway.errors import ConfigError
from tests.unit.gateway.admin_api import admin_api
from tests.unit.gateway.control.helpers import TWO_POPS


@pytest.fixture
def api():
    with admin_api() as one:
        yield one


def test_answers_are_json_and_queries_are_escaped(api):
    api.answers = [(200, {"a": 1})]
    client = AdminClient(api.url)
    assert client.get("/explain", client="::1", path="/a?b=c d") == {"a": 1}
    assert client.post("/drain") == {"a": 1}
    assert api.asked == [("GET", "/explain?client=%3A%3A1&path=%2Fa%3Fb%3Dc+d"), ("POST", "/drain")]
    assert "Origin" not in api.headers[1]


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_running(parser)
    return running(parser.parse_args(words))


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ('"127.0.0.1:9999"', "http://127.0.0.1:9999"),
        ('"[::1]:9999"', "http://[::1]:9999"),
        ('"unix:/run/admin.sock"', "unix:/run/admin.sock"),
    ],
)
def test_the_gateway_of_a_configuration(bind, url, tmp_path, monkeypatch):
    file = tmp_path / "isochrone.yaml"
    file.write_text(TWO_POPS + f"admin: {{bind: {bind}}}\n")
    monkeypatch.setenv("ISOCHRONE_ADMIN", "http://192.0.2.1:1")
    assert parsed("-c", str(file)).url == url


@pytest.mark.parametrize(
    "broken",
    [
        TWO_POPS + "limits: {connections: 0}\n",
        TWO_POPS + "log: {level: '${NOT_SET_HERE}'}\n",
        TWO_POPS + "log: {level: '${file:/nowhere/level}'}\n",
        "pops: [{name: fra, lat: 91}]\n",
    ],
    ids=["a fault elsewhere", "a variable of the service's", "a file of the service's", "half written"],
)
def test_of_a_configuration_that_is_faulty_elsewhere_the_gateway_is_known(broken, api, tmp_path):
    """In an incident nobody mends the next configuration before he may speak to the gateway that runs."""
    api.answers = [(200, {})]
    (tmp_path / "token").write_text(TOKEN)
    file = tmp_path / "isochrone.yaml"
    file.write_text(broken + f'admin: {{bind: "{api.url.removeprefix("http://")}", token: token}}\n')
    parsed("-c", str(file)).get("/pops")
    assert api.headers[-1]["Authorization"] == f"Bearer {TOKEN}"
    file.write_text(broken)
    assert parsed("-c", str(file)).url == "http://127.0.0.1:9901"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWO_POPS + "admin: {bind: 9901, tokn: x}\n", ["admin.bind: must be an IP address and port", "admin.tokn: "]),
        (TWO_POPS + "admin: {bind: '${NOT_SET_HERE}'}\n", ["admin.bind: must have the environment variable"]),
        (TWO_POPS + "admin: 7\n", ["admin: must be a mapping with keys among bind, token, got 7"]),
        ("apiVersion: v1\nkind: Config\n", [f": {key}: " for key in ("apiVersion", "kind", "listeners", "pops", "routes", "services")]),
        ("- admin\n", ["must be a mapping"]),
        ("admin: [\n", ["must be YAML"]),
        (None, ["can't be read: No such file"]),
    ],
)
def test_a_configuration_that_does_not_say_which_gateway_is_refused(text, said, tmp_path):
    """What is none at all means no gateway, least of all the one that has the usual address."""
    file = tmp_path / "isochrone.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parsed("-c", str(file))
    lines = sorted(str(caught.value).splitlines())
    assert len(lines) == len(said)
    for words in said:
        (line,) = [line for line in lines if words in line]
        assert line.endswith("; with --admin URL no file is needed")


TOKEN = "0123456789abcdef"


def test_the_token_of_the_environment_and_of_the_configuration(api, tmp_path, monkeypatch):
    """Its file says it, never the command line, which every user of the machine sees."""
    api.answers = [(200, {})]
    (tmp_path / "token").write_text(TOKEN + "\n")
    monkeypatch.setenv("ISOCHRONE_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    AdminClient(api.url).get("/pops")
    assert api.headers[-1]["Authorization"] == f"Bearer {TOKEN}"
    monkeypatch.delenv("ISOCHRONE_ADMIN_TOKEN_FILE")
    AdminClient(api.url).get("/pops")
    assert "Authorization" not in api.headers[-1]
    file = tmp_path / "isochrone.yaml"
    file.write_text(TWO_POPS + f'admin: {{bind: "{api.url.removeprefix("http://")}", token: token}}\n')
    parsed("-c", str(file)).get("/pops")
    assert api.headers[-1]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("content", "url", "words"),
    [
        (b"", "http://127.0.0.1:1", "must have one token"),
        (b"a b", "http://127.0.0.1:1", "must have one token"),
        (b"a\nInjected: b", "http://127.0.0.1:1", "must have one token"),
        (b"\xff", "http://127.0.0.1:1", "must have one token"),
        (TOKEN.encode(), "http://192.0.2.1:1", "for there is no TLS"),
        (TOKEN.encode(), "http://edge.example:1", "for there is no TLS"),
        (None, "http://127.0.0.1:1", "No such file"),
    ],
)
def test_a_token_that_can_not_be_sent(content, url, words, tmp_path, monkeypatch):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    monkeypatch.setenv("ISOCHRONE_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(AdminError, match=words) as caught:
        AdminClient(url)
    assert TOKEN not in str(caught.value)


def test_a_configuration_with_any_free_port_says_nothing(tmp_path):
    file = tmp_path / "isochrone.yaml"
    file.write_text(TWO_POPS + 'admin: {bind: "127.0.0.1:0"}\n')
    with pytest.raises(AdminError, match="any free port: --admin must say which"):
        parsed("-c", str(file))


def test_the_option_then_the_variable_then_the_default(monkeypatch):
    monkeypatch.delenv("ISOCHRONE_ADMIN", raising=False)
    assert parsed().url == "http://127.0.0.1:9901"
    monkeypatch.setenv("ISOCHRONE_ADMIN", "unix:/run/admin.sock")
    assert parsed().url == "unix:/run/admin.sock"
    assert parsed("--admin", "http://127.0.0.1:1").url == "http://127.0.0.1:1"
    monkeypatch.setenv("ISOCHRONE_ADMIN", "nonsense")
    with pytest.raises(AdminError, match=r"^ISOCHRONE_ADMIN: must be http://HOST:PORT or unix:/PATH, got 'nonsense'"):
        parsed()


def test_a_refusal_is_told_in_its_own_words(api):
    api.answers = [(404, {"error": "there is no PoP 'x'; there is: fra"})]
    with pytest.raises(AdminError, match=f"^{api.url} refuses: there is no PoP 'x'; there is: fra$"):
        AdminClient(api.url).post("/pops/x/drain")
    api.answers = [(500, {})]
    with pytest.raises(AdminError, match="refuses: status 500"):
        AdminClient(api.url).get("/pops")
    api.answers = [(400, {"error": "a\x1b[2J\nb"})]
    with pytest.raises(AdminError, match=r"refuses: a \[2J b$"):
        AdminClient(api.url).get("/pops")


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"null", b"[" * 100_000], ids=["page", "list", "null", "deep"])
def test_what_is_no_admin_api(api, said):
    api.answers = [(200, said)]
    with pytest.raises(AdminError, match="is no admin API: status 200, and no JSON object"):
        AdminClient(api.url).get("/pops")


@pytest.mark.parametrize("command", [("drain", "--pop", "fra"), ("undrain",), ("pops",), ("reload",)], ids=lambda words: words[0])
def test_an_answer_of_somebody_else_is_one_line(api, command, capsys):
    api.answers = [(200, {})]
    assert main([*command, "--admin", api.url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isochrone: no admin API that this command knows: its answer has no '")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9901", "https://127.0.0.1:9901", "http://127.0.0.1", "http://h:99999", "http://u@h:1", "unix:run", "", "http://h:1/x",
        "http://a..b:1", f"http://{'a' * 64}.b:1",
    ],
)  # fmt: skip
def test_an_address_that_is_none(url):
    with pytest.raises(AdminError, match=r"--admin: must be http://HOST:PORT or unix:/PATH, got"):
        AdminClient(url)


def test_nobody_there_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Unreachable, match=f"^no admin API at http://127.0.0.1:{port}: Connection refused$"):
        AdminClient(f"http://127.0.0.1:{port}").get("/pops")
    with pytest.raises(Unreachable, match="No such file or directory"):
        AdminClient(f"unix:{tmp_path}/admin.sock").get("/pops")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(Unreachable, match="no answer in time"):
            AdminClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05).get("/pops")


def test_a_unix_socket(tmp_path):
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve():
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        asked = []
        thread = threading.Thread(target=serve)
        thread.start()
        assert AdminClient(f"unix:{path}").get("/readyz") == {}
        thread.join()
    assert asked[0].startswith(b"GET /readyz HTTP/1.1\r\n")
