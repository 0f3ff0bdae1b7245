import csv
import gzip
import ipaddress
from pathlib import Path

import pytest

from gateway.demo import places
from geoip.countries import COUNTRIES
from routing_core._latency import great_circle_km

SOURCE = Path("bench/data/wondernetwork-2018-11")
# Virginia's round trips were measured at Washington.
CITIES = {"Virginia": "Washington"}


def test_six_pops_and_clients_of_some_twenty_countries():
    pops, clients = places.pops(), places.clients()
    assert [pop.name for pop in pops] == ["fra", "iad", "gru", "sin", "nrt", "jnb"]
    assert len({client.address for client in clients}) == len({client.city for client in clients}) == len(clients)
    assert 20 <= len({client.country for client in clients}) <= 25
    assert all(place.country in COUNTRIES for place in (*pops, *clients))
    assert {COUNTRIES[client.country].continent for client in clients} == {"AF", "AS", "EU", "NA", "OC", "SA"}
    assert all(ipaddress.ip_address(client.address).is_global for client in clients)


def test_every_client_has_a_round_trip_to_every_pop_and_no_more():
    wanted = {(client.city, pop.name) for client in places.clients() for pop in places.pops()}
    assert set(places.round_trips()) == wanted


def test_round_trips_are_those_of_the_source():
    ids = {row["name"]: row["id"] for row in csv.DictReader((SOURCE / "places.csv").read_text().splitlines())}
    measured: dict[frozenset[str], float] = {}
    with gzip.open(SOURCE / "rtt.csv.gz", "rt") as rows:
        for row in csv.DictReader(rows):
            pair = frozenset((row["src"], row["dst"]))
            measured[pair] = min(float(row["min_ms"]), measured.get(pair, float("inf")))
    cities = {pop.name: CITIES.get(pop.city, pop.city) for pop in places.pops()}
    for (city, pop), ms in places.round_trips().items():
        assert ms == pytest.approx(measured[frozenset((ids[city], ids[cities[pop]]))], abs=0.005), (city, pop)


def test_nothing_is_faster_than_light_in_fibre():
    pops = {pop.name: pop for pop in places.pops()}
    clients = {client.city: client for client in places.clients()}
    for (city, pop), ms in places.round_trips().items():
        km = great_circle_km(clients[city].lat, clients[city].lon, pops[pop].lat, pops[pop].lon)
        assert ms > 2 * km / 204.19, (city, pop)  # km a ms, refractive index 1.468


def test_the_database_puts_each_client_in_its_country_and_near_its_city():
    geolite2 = pytest.importorskip("geolite2").geolite2
    with geolite2:
        for client in places.clients():
            found = geolite2.reader().get(client.address)
            assert found["country"]["iso_code"] == client.country, client
            km = great_circle_km(found["location"]["latitude"], found["location"]["longitude"], client.lat, client.lon)
            assert km < 300, client


@pytest.mark.parametrize("name", ["pops.csv", "clients.csv", "rtt.csv"])
def test_tables_say_where_they_come_from_and_are_small(name):
    text = (Path("gateway/demo") / name).read_text()
    assert text.startswith("# ")
    assert len(text) < 4000
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    assert len({len(row) for row in rows}) == 1, "a row with other columns than the head"
    assert all(cell == cell.strip() and cell for row in rows for cell in row)
