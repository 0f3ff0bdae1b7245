import json

import pytest

from gateway.cli import main
from gateway.commands import pops
from gateway.commands._client import AdminClient
from gateway.parts import pools_of
from tests.unit.gateway.admin_api import admin_api
from tests.unit.gateway.control.operating import admit, gateway_of


class Enough(Exception):
    """Of a watch that has been seen to go on."""


@pytest.fixture
def said():
    gateway = gateway_of(gateway="{name: edge-1}")
    admit(gateway)
    return pools_of(gateway).describe()


def test_a_table_of_a_running_gateway(said, capsys):
    with admin_api() as api:
        api.answers = [(200, said), (200, {"state": "serving"})]
        assert main(["pops", "--admin", api.url]) == 0
    title, heads, fra, nyc = capsys.readouterr().out.splitlines()
    assert title == f"gateway edge-1 at {api.url}: serving, table {said['table']['generation']}"
    assert heads.split() == ["PoP", "state", "service", "availability", "headroom", "in", "flight", "estimate", "path", "endpoints"]
    assert fra.split() == ["fra", "active", "shop", "100%", "-", "0", "-", "-", "1", "admitting"]
    assert fra.index("shop") == heads.index("service") == nyc.index("shop")
    assert fra.index("100%") + 4 == heads.index("availability") + len("availability")  # numbers end in one line


def test_a_gateway_of_which_no_worker_turns_is_shown_all_the_same(said, capsys):
    with admin_api() as api:
        api.answers = [(200, said), (503, {"error": "no worker turns: worker-0"})]
        assert main(["pops", "--admin", api.url]) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert "no worker turns: worker-0" in title and len(rows) == 3


def test_json_is_what_the_gateway_said(said, capsys):
    with admin_api() as api:
        api.answers = [(200, said)]
        assert main(["pops", "--admin", api.url, "--json"]) == 0
        assert api.asked == [("GET", "/pops")]
    assert json.loads(capsys.readouterr().out) == said


def test_watching_goes_on_over_a_gateway_that_is_away(said, capsys):
    looks = []

    def pause(seconds):
        looks.append(seconds)
        if len(looks) == 1:
            api.server.shutdown()
            api.server.server_close()
        if len(looks) == 3:
            raise Enough

    with admin_api() as api:
        api.answers = [(200, said), (200, {"state": "serving"})]
        with pytest.raises(Enough):
            pops.watch(AdminClient(api.url), as_json=False, sleep=pause)
    out = capsys.readouterr().out
    assert out.count("edge-1") == 1 and out.count(f"no admin API at {api.url}: Connection refused") == 2
    assert pops.CLEAR not in out  # no terminal reads
