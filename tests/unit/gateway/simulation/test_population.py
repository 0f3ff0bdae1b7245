import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation import population
from gateway.simulation.population import Client, ClientsError, of_countries, of_file, of_world, public_address
from geoip import Database, Locator, Override, Pin
from geoip.countries import COUNTRIES
from tests.unit.geoip.mmdb import city, write

OVERRIDES = [Override("192.0.2.0/24", 48.14, 11.58, "DE"), Override("2001:db8::/32", 40.0, -74.0)]
MUNICH, JERSEY = (48.14, 11.58, 0.0), (40.0, -74.0, 0.0)
HALF = Database(write({"0.0.0.0/1": city(50.0, 8.0)}), "half.mmdb")


@pytest.fixture
def locator():
    return Locator(overrides=OVERRIDES)


@pytest.fixture
def read(tmp_path, locator):
    def of_text(text):
        path = tmp_path / "clients.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return of_file(path, locator)

    return of_text


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1\n2001:db8::1\n",
        "192.0.2.1\r\n2001:db8::1",
        "\ufeff192.0.2.1\n\n# a comment, with a comma\n  2001:db8::1  \n",
        "192.0.2.1,1\n2001:db8::1,1.0\n",
        "192.0.2.1,\n2001:db8::1, \n",
        "Client,Weight\n192.0.2.1,1\n2001:db8::1\n",
        "weight,host,ADDRESS\n1,a,192.0.2.1\n1,b,2001:db8::1\n",
        "ip,requests\n192.0.2.1,7\n2001:db8::1,9\n",  # no column is called weight
        '"192.0.2.1","1"\n"2001:db8::1"\n',
        "::ffff:192.0.2.1\n2001:db8::1\n",
    ],
)
def test_a_file_of_addresses_however_it_is_written(read, text):
    people = read(text)
    assert people.clients == (Client(MUNICH, "DE", continent="EU"), Client(JERSEY, None))
    assert (people.kind, people.about.split(" of ")[0]) == ("file", "2")


def test_weights_and_places_unknown(read):
    people = read("192.0.2.1,2.5\n8.8.8.8,1e3\n")
    assert people.clients == (Client(MUNICH, "DE", 2.5, "EU"), Client(None, None, 1000.0))
    assert people.about.endswith("clients.csv, by their weights")


def test_all_that_a_decision_asks_of_a_client_is_known(tmp_path):
    (tmp_path / "clients.csv").write_text("192.0.2.1\n9.9.9.9\n")
    locator = Locator(overrides=OVERRIDES, pins=[Pin("192.0.2.0/28", 2), Pin("9.0.0.0/8", 1)])
    assert of_file(tmp_path / "clients.csv", locator).clients == (Client(MUNICH, "DE", 1.0, "EU", 2), Client(None, None, pin=1))


def test_every_fault_at_once_with_its_line(read):
    with pytest.raises(ClientsError) as caught:
        read("address,weight\n192.0.2.1,0\nfra.example.com,x\n\n192.0.2.1,inf\n192.0.2.256,1\n192.0.2.1,nan\n,1\n")
    lines = [line.split("clients.csv:")[1] for line in str(caught.value).splitlines()]
    assert lines == [
        "2: weight: must be a number above 0, 1e+15 at most, got '0'",
        "3: must be an IP address, got 'fra.example.com'",
        "3: weight: must be a number above 0, 1e+15 at most, got 'x'",
        "5: weight: must be a number above 0, 1e+15 at most, got 'inf'",
        "6: must be an IP address, got '192.0.2.256'",
        "7: weight: must be a number above 0, 1e+15 at most, got 'nan'",
        "8: must be an IP address, got ''",
    ]


def test_a_file_of_another_kind_does_not_fill_the_screen(read):
    with pytest.raises(ClientsError) as caught:
        read("GET / HTTP/1.1\n" * 1000)
    lines = str(caught.value).splitlines()
    assert len(lines) == population.MAX_FAULTS + 1
    assert lines[-1].endswith("clients.csv:20: 980 more faults follow")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must have a client, one address a line, got none"),
        ("# nobody\naddress\n", "must have a client"),
        (b"\xff\xfe1\x009\x00", "must be text in UTF-8"),
        ("192.0.2.1\n192.0.2.1\n192.0.2.1\n192.0.2.1\n", "clients.csv:4: must have at most 3 clients, got more"),
        ("192.0.2.1" + " " * 100, "must have at most 0 MiB, got more"),
        ('192.0.2.1\n"' + "x" * 50 + '"\n', "clients.csv:2: must be comma-separated values: field larger than field limit (20)"),
    ],
)
def test_a_file_that_holds_no_clients_says_why(read, monkeypatch, text, words):
    monkeypatch.setattr(population, "MAX_CLIENTS", 3)
    monkeypatch.setattr(population, "MAX_FILE_BYTES", 100)
    before = population.csv.field_size_limit(20)
    try:
        with pytest.raises(ClientsError) as caught:
            read(text)
    finally:
        population.csv.field_size_limit(before)
    assert words in str(caught.value)
    assert caught.value.status == 400


def test_a_file_that_can_not_be_read(tmp_path, locator):
    with pytest.raises(ClientsError, match=r"none\.csv: can't be read: No such file or directory"):
        of_file(tmp_path / "none.csv", locator)
    with pytest.raises(ClientsError, match="can't be read: Is a directory"):
        of_file(tmp_path, locator)


def test_a_name_can_not_write_to_the_terminal(tmp_path, locator):
    path = tmp_path / "a\x1b[2J.csv"
    path.write_text("192.0.2.1\n")
    assert of_file(path, locator).about.endswith("a\\x1b[2J.csv")


@given(st.text(alphabet='0123456789.,:a"#x \n\r\t\x00\x0c\u2028', max_size=60))
def test_any_text_is_clients_or_a_clear_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, newline="")
    with contextlib.suppress(ClientsError):
        people = of_file(path, Locator())
        assert people.clients
        assert all(client.weight > 0 for client in people.clients)


def test_the_world_is_as_the_database_places_it():
    people = of_world(Locator((HALF,)), 200)
    assert people.clients == (Client((50.0, 8.0, 20.0), "DE", continent="EU"),) * 200
    assert people.kind == "world"
    head, _, tail = people.about.partition("; ")
    assert head == "200 random public IPv4 addresses (seed 1) as the database places them"
    # Half of the space is not in it.
    assert 120 < int(tail.split()[0]) < 280
    assert tail.endswith("more were drawn that it can't place")


def test_the_world_is_the_same_again_and_another_with_another_seed():
    database = Database(write({f"{n}.0.0.0/8": city(n / 4, n / 2) for n in range(1, 224)}), "world.mmdb")
    locator = Locator((database,))
    assert of_world(locator, 50) == of_world(locator, 50)
    assert of_world(locator, 50).clients != of_world(locator, 50, seed=2).clients
    assert of_world(locator, 50).clients[:20] == of_world(locator, 20).clients


def test_a_database_that_knows_hardly_any_place_is_not_asked_for_ever(monkeypatch):
    monkeypatch.setattr(population, "MIN_DRAWS", 10)
    monkeypatch.setattr(population, "DRAWS_EACH", 1)
    people = of_world(Locator((HALF,)), 100)
    assert 20 < len(people.clients) < 80
    assert people.about.endswith("; 100 were asked for, and of 100 drawn it places no more")


@pytest.mark.parametrize("overrides", [[], [Override("0.0.0.0/0", 1.0, 1.0)]])
def test_without_a_database_countries_count_by_their_internet_users(overrides):
    people = of_world(Locator(overrides=overrides), 10)
    assert people == of_countries()
    assert {client.country: client.weight for client in people.clients} == {
        code: one.internet_users for code, one in COUNTRIES.items() if one.internet_users
    }
    germany = next(client for client in people.clients if client.country == "DE")
    assert germany.point == (COUNTRIES["DE"].lat, COUNTRIES["DE"].lon, COUNTRIES["DE"].radius_km)
    assert germany.continent == "EU"
    assert "by their internet users (CIA World Factbook)" in people.about
    assert "no database places" in people.about


@given(st.integers(0, 2**32))
def test_random_addresses_may_be_clients(seed):
    address = public_address(random.Random(seed))
    assert address.is_global
    assert not address.is_multicast
