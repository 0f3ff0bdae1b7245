import asyncio
import contextlib
import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest

from gateway.config import load
from gateway.control.operator.offline import situation_of
from gateway.demo import edge, places
from gateway.demo.edge import Database, Edge
from gateway.errors import StartError
from routing_core import explain
from tests.unit.gateway.demo_server import server

POPS, CLIENTS = places.pops(), places.clients()
PORTS = {pop.name: 20001 + number for number, pop in enumerate(POPS)}


def test_the_configuration_is_one_without_a_database(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(edge.configuration(POPS, CLIENTS, PORTS, 20010, 20011, None))
    loaded = load(path)
    assert not loaded.warnings
    config = loaded.config
    assert [(pop.name, pop.country) for pop in config.pops] == [(pop.name, pop.country) for pop in POPS]
    assert {backend.pop: backend.endpoints[0].port for backend in config.services[0].backends} == PORTS
    assert [(str(one.prefix).partition("/")[0], one.country) for one in config.geoip.overrides] == [(c.address, c.country) for c in CLIENTS]
    assert (config.listeners[0].bind.port, config.admin.bind.port, config.debug_headers) == (20010, 20011, True)


def test_without_frankfurt_its_european_clients_go_where_it_is_fastest(tmp_path):
    """Tokyo is no farther from Stockholm than Virginia by much, and takes two and a half times as long."""
    path = tmp_path / "demo.yaml"
    path.write_text(edge.configuration(POPS, CLIENTS, PORTS, 20010, 20011, None))
    table, trips = situation_of(load(path).config)[0].table, places.round_trips()
    for client in CLIENTS:
        if client.city in ("Stockholm", "Warsaw", "London", "Paris", "Istanbul", "Cairo"):
            explained = explain(table, 0, (client.lat, client.lon, 0.0), country=client.country, left_out=["fra"])
            fastest = min((trips[client.city, pop.name], pop.name) for pop in POPS if pop.name != "fra")
            assert explained.pop == fastest[1] == "iad", client.city


def test_the_configuration_names_the_database_whatever_its_path(tmp_path):
    (tmp_path / "a 'b' # c.mmdb").touch()
    database = Database(tmp_path / "a 'b' # c.mmdb", datetime(2018, 7, 3, tzinfo=UTC))
    path = tmp_path / "demo.yaml"
    path.write_text(edge.configuration(POPS, CLIENTS, PORTS, 20010, 20011, database))
    loaded = load(path)
    assert not loaded.warnings
    assert loaded.config.geoip.city == (database.path,)
    assert not loaded.config.geoip.overrides


def test_what_is_shortened_is_what_the_screen_says(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(edge.configuration(POPS, CLIENTS, PORTS, 20010, 20011, None))
    service = load(path).config.services[0]
    defaults = type(service.health)(), {one.name: one.default for one in fields(service)}["slow_start"]
    said = (
        f"probes each {service.health.interval:.0f} s instead of {defaults[0].interval:.0f} s, a change confirmed each"
        f" {service.health.confirm_interval:.1f} s instead of {defaults[0].confirm_interval:.0f} s, ramp of what returns"
        f" {service.slow_start:.0f} s instead of {defaults[1]:.0f} s"
    )
    assert said == edge.SHORTENED


def test_a_database_is_found_with_its_date_where_one_is_installed():
    pytest.importorskip("geolite2")
    found = edge.find_database()
    assert found is not None
    assert found.path.is_file()
    assert f"{found.built:%B %Y}" == "July 2018"


def test_no_database_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "geolite2.py").write_text("raise ImportError('not here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "geolite2", raising=False)
    assert edge.find_database() is None


@contextlib.asynccontextmanager
async def admin(answers):
    """An admin API that says what it is told to; asked is what came."""
    asked = []

    def answer(_, head):
        asked.append(" ".join(head.split(" ")[:2]))
        status, body = answers[asked[-1]]
        text = json.dumps(body).encode()
        return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text)

    async with server(answer) as (port, _, _):
        yield port, asked


def test_the_admin_api_is_asked_as_an_operator_would(tmp_path):
    answers = {
        "GET /explain?client=192.0.2.1&path=%2F": (200, {"candidates": []}),
        "GET /pops": (200, {"pops": [{"pop": "fra", "state": "active"}]}),
        "POST /pops/sin/drain?wait=5s": (200, {"done": True}),
        "POST /pops/sin/undrain": (200, {}),
    }

    async def main():
        async with admin(answers) as (port, asked):
            one = Edge(tmp_path, "", 1, port)
            assert await one.explain("192.0.2.1") == {"candidates": []}
            assert (await one.pops())["fra"]["state"] == "active"
            await one.drain("sin")
            await one.undrain("sin")
            assert asked == list(answers)
            one.close()

    asyncio.run(main())


@pytest.mark.parametrize("said", [(404, {"error": "there is no PoP"}), (200, {"done": False})])
def test_a_drain_that_is_refused_or_does_not_end_is_said(tmp_path, said):
    async def main():
        async with admin({"POST /pops/sin/drain?wait=5s": said}) as (port, _):
            one = Edge(tmp_path, "", 1, port)
            with pytest.raises(StartError, match="sin"):
                await one.drain("sin")
            one.close()

    asyncio.run(main())


def test_a_gateway_that_is_gone_is_said_in_one_line(tmp_path):
    async def main():
        async with admin({}) as (port, _):
            pass
        with pytest.raises(StartError, match=f"GET http://127.0.0.1:{port}/pops: ."):
            await Edge(tmp_path, "", 1, port).pops()

    asyncio.run(main())


@pytest.mark.slow
def test_a_gateway_that_ends_at_once_is_said_with_its_log(tmp_path):
    async def main():
        one = Edge(tmp_path, "listeners: 5\n", 1, 1)
        try:
            with pytest.raises(StartError, match=r"(?s)does not start.*demo.yaml:1: listeners"):
                await one.start()
        finally:
            one.close()

    asyncio.run(main())
