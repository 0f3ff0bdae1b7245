import pytest

from gateway.cli import main
from tests.unit.gateway.admin_api import admin_api

BUSY = {"gateway": "edge-1", "pop": "fra", "drained": True, "in_flight": 1, "since_s": 0.1, "done": False}
NOBODY = {"gateway": "edge-1", "pop": "fra", "drained": False, "stranded": []}


@pytest.fixture
def api():
    with admin_api() as one:
        yield one


def test_a_pop_is_drained_and_looked_at_not_drained_again(api, capsys):
    api.answers = [(200, BUSY), (200, {**BUSY, "in_flight": 0, "done": True})]
    assert main(["drain", "--admin", api.url, "--pop", "fra"]) == 0
    assert api.asked == [("POST", "/pops/fra/drain?unless=stranded"), ("GET", "/pops/fra/drain")]
    assert capsys.readouterr().out.splitlines()[:2] == [f"gateway edge-1 at {api.url}", "fra: draining, 1 in flight"]


def test_a_pop_that_is_the_only_one_for_some_wants_force(api, capsys):
    line = "route r: all clients: service mail can be served in no other PoP"
    api.answers = [(409, {**NOBODY, "stranded": [line], "error": "fra is not drained"})]
    assert main(["drain", "--admin", api.url, "--pop", "fra"]) == 1
    assert api.asked == [("POST", "/pops/fra/drain?unless=stranded")]
    refused = "isochrone: fra is not drained: these requests would be answered 503; --force drains it all the same"
    assert capsys.readouterr().err.splitlines() == [f"fra: {line}", refused]
    api.answers = [(200, {**NOBODY, "stranded": [line]}), (200, {**BUSY, "done": True})]
    assert main(["drain", "--admin", api.url, "--pop", "fra", "--force"]) == 0
    assert capsys.readouterr().err == f"fra: {line}\n"


def test_a_gateway_that_is_quiet_already(api, capsys):
    api.answers = [
        (
            200,
            {
                "state": "lameduck",
                "drained": True,
                "since_s": 9.0,
                "lameduck_s": 5.0,
                "connections": {"active": 0, "idle": 0},
                "done": True,
            },
        )
    ]
    assert main(["drain", "--admin", api.url]) == 0
    assert api.asked == [("POST", "/drain")]
    assert capsys.readouterr().out.splitlines()[1].startswith("drained after 9.0 s")


def test_not_in_time_is_a_failure(api, capsys):
    api.answers = [(200, BUSY)]
    assert main(["drain", "--admin", api.url, "--pop", "fra", "--timeout", "0s"]) == 1
    assert capsys.readouterr().err == "isochrone: not done in 0 s, and still under way: fra: draining, 1 in flight\n"


def test_refused_and_unreachable_are_one_line(api, capsys):
    api.answers = [(404, {"error": "there is no PoP 'x'; there is: fra"})]
    assert main(["drain", "--admin", api.url, "--pop", "x"]) == 1
    assert main(["drain", "--admin", "unix:/nowhere/admin.sock"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"isochrone: {api.url} refuses: there is no PoP 'x'; there is: fra",
        "isochrone: no admin API at unix:/nowhere/admin.sock: No such file or directory",
    ]


def test_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["drain", "--timeout", "soon"])
    assert caught.value.code == 2
    assert "must be a duration such as 30s or 2m, got 'soon'" in capsys.readouterr().err
