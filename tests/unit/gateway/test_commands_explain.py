import json
import re
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config import load
from gateway.control.operator.explanation import explain
from gateway.control.operator.offline import situation_of
from gateway.pictures.explain_text import columns
from tests.unit.gateway.admin_api import admin_api

EXAMPLE = "docs/examples/two-pops.yaml"
BOSTON = "198.51.100.7"


def from_file(client=BOSTON, *more):
    return explain(situation_of(load(Path(EXAMPLE)).config)[0], client, *more)


def test_json_is_the_object_itself(capsys):
    assert main(["explain", "-c", EXAMPLE, "--client", BOSTON, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == from_file()


def test_a_running_gateway_is_asked_and_its_answer_is_printed_as_it_is(capsys):
    with admin_api() as api:
        api.answers = [(200, from_file())]
        assert main(["explain", "--admin", api.url, "--client", BOSTON, "--host", "a.b", "--path", "/x", "--json"]) == 0
        assert api.asked == [("GET", f"/explain?client={BOSTON}&path=%2Fx&host=a.b")]
    assert json.loads(capsys.readouterr().out) == from_file()


def test_for_people_without_a_terminal(capsys):
    assert main(["explain", "-c", EXAMPLE, "--client", BOSTON]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[:4] == [
        "client    198.51.100.7, US (42.36, -71.06), by override prefix 198.51.100.0/24",
        "request   GET http://(any host)/",
        "route     shop, service shop, leg client-pop, window 5 ms",
        "decision  nyc at 127.0.0.1:9002: the fastest; then fra",
    ]
    assert lines[4].split() == [word for column in columns(from_file()) for word in column.head.split()]
    assert re.fullmatch(r"nyc \* +1\.00 +1\.00 +306 .* in +100\.0%", lines[6])
    assert "ms over the fastest" in lines[7]
    # Aligned: a column's cells end, or begin, where its head does.
    assert lines[6].index("100.0%") + len("100.0%") == lines[4].index("share") + len("share")
    assert re.search(r"\+\d", lines[7]).start() == lines[4].index("why not")


def test_headers_are_asked_by(capsys):
    file = "docs/examples/steering.yaml"
    words = ["--client", BOSTON, "--host", "updates.example.com", "--json"]
    assert main(["explain", "-c", file, *words, "--header", "x-tenant: a"]) == 0
    assert json.loads(capsys.readouterr().out)["affinity"]["text"].startswith("nothing to choose")
    assert main(["explain", "-c", file, *words, "--header", "x-other: a"]) == 0
    assert json.loads(capsys.readouterr().out)["affinity"]["text"].startswith("no header x-tenant")
    with admin_api() as api:
        api.answers = [(200, from_file())]
        assert main(["explain", "--admin", api.url, "--client", BOSTON, "--header", "A: 1", "--header", "Cookie: pop=x"]) == 0
        assert api.asked == [("GET", f"/explain?client={BOSTON}&path=%2F&headers=A%3A+1%0ACookie%3A+pop%3Dx")]


def test_the_method_is_asked_by(capsys, tmp_path):
    text = (
        Path(EXAMPLE)
        .read_text()
        .replace("{name: shop, service: shop}", "{name: reads, service: shop, match: {method: GET}}, {name: writes, service: shop}")
    )
    text = text.replace("}}, {name: writes", "}}\n  - {name: writes")
    (tmp_path / "isochrone.yaml").write_text(text)
    words = ["explain", "-c", str(tmp_path / "isochrone.yaml"), "--client", BOSTON]
    for method, route in ((None, "reads"), ("GET", "reads"), ("POST", "writes"), ("PURGE", "writes")):
        assert main([*words, "--json", *(["--method", method] if method else [])]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["route"], said["method"]) == (route, method or "GET")
    assert main([*words, "--method", "POST"]) == 0
    assert re.search(r"request +POST http://", capsys.readouterr().out)
    assert main([*words, "--method", "get it"]) == 1
    assert "method: must be an HTTP method in capitals, such as GET, got 'get it'" in capsys.readouterr().err
    with admin_api() as api:
        api.answers = [(200, from_file())]
        assert main(["explain", "--admin", api.url, "--client", BOSTON, "--method", "POST"]) == 0
        assert api.asked == [("GET", f"/explain?client={BOSTON}&path=%2F&method=POST")]


def test_no_route_is_an_answer(capsys, tmp_path):
    text = Path(EXAMPLE).read_text().replace("{name: shop, service: shop}", "{name: shop, service: shop, match: {hosts: [a.example.com]}}")
    (tmp_path / "isochrone.yaml").write_text(text)
    assert main(["explain", "-c", str(tmp_path / "isochrone.yaml"), "--client", BOSTON, "--host", "b.example.com"]) == 0
    out = capsys.readouterr().out
    assert "none: no route matches: 404" in out
    assert "PoP" not in out


def test_a_missing_database_is_a_warning(capsys):
    assert main(["explain", "-c", "docs/examples/kubernetes.yaml", "--client", BOSTON]) == 0
    out, err = capsys.readouterr()
    assert "endpoint not known here" in out
    assert all(line.startswith("warning: geoip: ") for line in err.splitlines())
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["-c", EXAMPLE, "--client", "x"], 1, "isochrone: client: must be an IP address, got 'x'"),
        (
            ["-c", EXAMPLE, "--client", BOSTON, "--html", "/nowhere/x"],
            1,
            "isochrone: --html: must be a file that can be written, got '/nowhere/x'",
        ),
        (["-c", EXAMPLE, "--admin", "unix:/x", "--client", BOSTON], 1, "isochrone: must have --config or --admin, got both"),
        (["-c", EXAMPLE, "--client", BOSTON, "--header", "x"], 1, "isochrone: header: must be NAME: VALUE, as in a request, got 'x'"),
        (["-c", "/nowhere.yaml", "--client", BOSTON], 2, "/nowhere.yaml: can't be read: No such file or directory"),
        (["--admin", "unix:/nowhere/x", "--client", BOSTON], 1, "isochrone: no admin API at unix:/nowhere/x: No such file or directory"),
    ],
)
def test_what_is_refused_is_one_line(capsys, words, status, text):
    assert main(["explain", *words]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(text)
    assert len(err.splitlines()) == 1


def test_somebody_else_at_that_address(capsys):
    with admin_api() as api:
        api.answers = [(200, {"hello": 1})]
        assert main(["explain", "--admin", api.url, "--client", BOSTON]) == 1
        assert capsys.readouterr().err == f"isochrone: {api.url} is no admin API: its /explain says something else\n"
