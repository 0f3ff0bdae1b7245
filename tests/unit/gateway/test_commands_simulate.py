import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from gateway.cli import main
from gateway.commands import simulate as command
from gateway.simulation.population import Population
from gateway.simulation.shares import CountryPart, Loss, PopPart, Simulation
from geoip.countries import COUNTRIES
from tests.unit.geoip.mmdb import city, write

EXAMPLE = "docs/examples/two-pops.yaml"
DOC = Path("docs/simulate.md")
WORLD = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
geoip: {city: world.mmdb}
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE}
  - {name: nyc, lat: 40.71, lon: -74.01, country: US}
  - {name: sin, lat: 1.35, lon: 103.82, country: SG}
services:
  - name: shop
    backends:
      - {pop: fra, kubernetes: {namespace: shop, service: web, port: http}}
      - {pop: nyc, endpoints: ["web.example.com:80"]}
      - {pop: sin, endpoints: ["192.0.2.3:80"]}
routes:
  - {name: eu, service: shop, match: {hosts: [eu.example.com]}, steering: {jurisdiction: {countries: [DE]}}}
  - {name: shop, service: shop, match: {hosts: ["*.example.com"], path_prefix: /shop}}
""".replace("country: DE}\n", "country: DE, kubernetes: {context: fra}}\n", 1)
NETWORKS = {"0.0.0.0/2": city(50.0, 8.0, "DE"), "64.0.0.0/2": city(41.0, -75.0, "US", "NA"), "128.0.0.0/1": city(1.0, 104.0, "SG", "AS")}


@pytest.fixture
def config(tmp_path):
    (tmp_path / "world.mmdb").write_bytes(write(NETWORKS))
    (tmp_path / "isochrone.yaml").write_text(WORLD)
    return str(tmp_path / "isochrone.yaml")


def run(capsys, *words, status=0):
    assert main(["simulate", *words]) == status
    return capsys.readouterr()


def simulated(capsys, *words):
    return json.loads(run(capsys, *words, "--json").out)


def lines_of(out):
    return [line.rstrip() for line in out.splitlines()]


def test_json_has_the_whole_result(capsys, config):
    said = simulated(capsys, "-c", config, "--host", "a.example.com", "--path", "/shop", "--world", "400")
    assert list(said) == [
        "host", "path", "clients", "route", "service", "leg", "window_ms", "n_clients", "n_places", "unplaced", "unserved", "error",
        "mean_ms", "p90_ms", "pops", "countries", "losses", "split", "in_flight",
    ]  # fmt: skip
    assert (said["host"], said["path"], said["route"], said["n_clients"], said["n_places"]) == ("a.example.com", "/shop", "shop", 400, 3)
    assert said["clients"]["kind"] == "world"
    shares = {one["pop"]: one["share"] for one in said["pops"]}
    # Multicast and reserved space is all above 224.0.0.0.
    assert shares == pytest.approx({"fra": 0.28, "nyc": 0.28, "sin": 0.44}, abs=0.08)
    assert {one["country"]: one["pops"] for one in said["countries"]} == {"DE": {"fra": 1.0}, "US": {"nyc": 1.0}, "SG": {"sin": 1.0}}
    fra = next(one for one in said["losses"] if one["pop"] == "fra")
    assert fra["takers"] == {"nyc": 1.0}
    assert fra["before_ms"] < fra["after_ms"]


def test_the_first_host_of_the_routes_is_meant_and_its_jurisdiction_holds(capsys, config):
    said = simulated(capsys, "-c", config, "--world", "100")
    assert (said["host"], said["route"]) == ("eu.example.com", "eu")
    assert [(one["pop"], one["share"], one["why_not"]) for one in said["pops"]] == [
        ("fra", 1.0, None),
        ("nyc", 0.0, "outside the jurisdiction"),
        ("sin", 0.0, "outside the jurisdiction"),
    ]
    assert [(one["pop"], one["takers"], one["stranded"]) for one in said["losses"]] == [("fra", {}, 1.0)]


def test_clients_of_a_file(capsys, config, tmp_path):
    (tmp_path / "clients.csv").write_text("address,weight\n9.9.9.9,3\n80.1.1.1,1\n")
    said = simulated(capsys, "-c", config, "--clients", str(tmp_path / "clients.csv"), "--host", "a.example.com", "--path", "/shop")
    assert {one["pop"]: one["share"] for one in said["pops"]} == {"fra": 0.75, "nyc": 0.25, "sin": 0.0}
    assert said["clients"] == {"kind": "file", "about": f"2 of {tmp_path}/clients.csv, by their weights"}


def test_without_a_database_it_says_what_it_does_instead(capsys):
    said = simulated(capsys, "-c", EXAMPLE, "--world", "5")
    assert (said["clients"]["kind"], said["n_clients"]) == ("countries", sum(one.internet_users > 0 for one in COUNTRIES.values()))
    assert [one["country"] for one in said["countries"][:3]] == ["CN", "IN", "US"]
    out, err = run(capsys, "-c", EXAMPLE)
    assert err == ""
    assert lines_of(out)[0].endswith("by their internet users (CIA World Factbook): no database places random addresses")


def test_a_database_that_can_not_be_used_is_said(capsys, config, tmp_path):
    (tmp_path / "world.mmdb").write_bytes(b"none")
    out, err = run(capsys, "-c", config)
    assert err.startswith("warning: geoip: ")
    assert "world.mmdb" in err
    assert "countries, each at its central place" in out


def test_for_people_without_a_terminal(capsys, config):
    out = run(capsys, "-c", config, "--host", "a.example.com:8080", "--path", "/shop?q=1", "--world", "300").out
    assert "\x1b" not in out
    lines = lines_of(out)
    assert lines[0] == "clients   300 random public IPv4 addresses (seed 1) as the database places them"
    assert lines[1:3] == [
        "request   GET http://a.example.com:8080/shop?q=1",
        "route     shop, service shop, leg client-pop, window 5 ms, wider where a place is vague",
    ]
    assert re.fullmatch(r"estimate  mean \d+\.\d ms, p90 \d+\.\d ms; nothing was measured: it is the prior", lines[3])
    heads = [line.split() for line in lines if line.startswith(("PoP", "country", "if lost"))]
    assert [head[:2] for head in heads] == [["PoP", "clients"], ["country", "clients"], ["if", "lost"]]
    rows = [line for line in lines if line.startswith("fra ")]
    assert rows[0].endswith("DE 100.0%")
    assert rows[1].endswith("nyc 100.0%")


def screen_of(simulation, monkeypatch, width=None):
    """What show() prints; `width`: of a terminal."""
    file = io.StringIO()

    class Held(Console):
        def __init__(self, **options):
            options.setdefault("width", width)
            super().__init__(file=file, force_terminal=width is not None, **options)

    monkeypatch.setattr("rich.console.Console", Held)
    command.show(simulation, Population("world", "some", ()), "GET http://a/")
    return file.getvalue()


def made(**more):
    parts = {f"C{number}": 0.05 for number in range(20)}
    fields = {
        "route": "r", "service": "s", "leg": "client-pop", "window_ms": 5.0, "n_clients": 9, "n_places": 9, "unplaced": 0.0,
        "unserved": 0.0, "error": None, "mean_ms": 20.0, "p90_ms": 30.0, "spots": (),
        "pops": (PopPart("fra", 50.0, 8.0, 1.0, 20.0, 30.0, parts, None), PopPart("nyc", 40.0, -74.0, 0.0, None, None, {}, "so")),
        "countries": tuple(CountryPart(name, share, 20.0, 0.0, {"fra": 0.9998, "nyc": 0.0002}) for name, share in parts.items()),
        "losses": (Loss("fra", 1.0, {}, 1.0, 20.0, None),),
    }  # fmt: skip
    return Simulation(**{**fields, **more})


def test_as_many_countries_as_are_asked_for(capsys):
    for top in (1, 40):
        out, _ = run(capsys, "-c", EXAMPLE, "--top", str(top))
        countries = out.partition("country ")[2].partition("countries more")[0].splitlines()
        assert len([line for line in countries if re.match("[A-Z]{2} ", line)]) == top
        assert float(re.search(r"CN +([\d.]+)%", out)[1]) > 15


def test_pops_that_are_lost_together(capsys, config):
    """What one takes over from the other, alone, goes elsewhere or nowhere."""
    said = simulated(capsys, "-c", config, "--lose", "fra, sin", "--host", "a.example.com", "--path", "/shop")
    together, *alone = said["losses"]
    assert together["pop"] == "fra,sin" and [one["pop"] for one in alone] == ["fra", "nyc", "sin"]
    assert together["takers"] == {"nyc": 1.0} and together["stranded"] == 0
    shares = {one["pop"]: one["share"] for one in said["pops"]}
    assert together["share"] == pytest.approx(shares["fra"] + shares["sin"], abs=2e-4)
    said = simulated(capsys, "-c", config, "--lose", "fra,nyc,sin", "--host", "a.example.com", "--path", "/shop")
    assert (said["losses"][0]["stranded"], said["losses"][0]["takers"]) == (1.0, {})
    for asked in (["--lose", "fra,ams"], ["--lose", "fra,ams", "--host", "a.example.com", "--path", "/shop"]):
        assert run(capsys, "-c", config, *asked, status=1).err
    assert "--lose: must be names of pops: fra, nyc, sin, got 'ams'" in run(capsys, "-c", config, *asked, status=1).err


def test_long_lists_are_cut_and_what_is_left_is_said(monkeypatch):
    lines = lines_of(screen_of(made(), monkeypatch))
    assert next(line for line in lines if line.startswith("fra")).endswith("C0 5.0%, C1 5.0%, C2 5.0%, C3 5.0%, C4 5.0%, 15 more 75.0%")
    assert next(line for line in lines if line.startswith("C0 ")).endswith("fra 100.0%")  # what would be 0.0 % is left out
    assert "and 5 countries more; --top N shows more, --json has all" in lines
    assert not [line for line in lines if line.startswith("C15")]
    assert next(line for line in lines if line.startswith("nyc")).endswith("so")
    assert [line for line in lines if line.startswith("fra")][1].split()[-2:] == ["100.0%", "none"]


def test_a_narrow_terminal_folds_the_last_column(monkeypatch):
    out = re.sub(r"\x1b\[[\d;]*m", "", screen_of(made(), monkeypatch, width=60))
    assert "\x1b" in screen_of(made(), monkeypatch, width=60)
    tables = [line for line in out.splitlines() if not line.startswith(("route", "estimate"))]
    assert max(map(len, tables)) <= 60
    assert "15 more" in out


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"unplaced": 0.25},
            (
                "unplaced",
                "25.0% of the clients, whose place is unknown; they follow the configured order of the PoPs, and have no estimate",
            ),
        ),
        ({"unplaced": 0.25, "leg": "gateway-pop"}, ("unplaced", "25.0% of the clients, whose place is unknown")),
        ({"unserved": 1.0, "error": "no_endpoint"}, ("unserved", "100.0% of the clients: no PoP has an endpoint: 503")),
        (
            {"unserved": 0.5, "error": "no_permitted_pop"},
            ("unserved", "50.0% of the clients: no PoP that the route's jurisdiction permits can serve: 503"),
        ),
    ],
)
def test_what_is_out_of_the_common_has_a_line(more, line):
    lines = command.headlines(made(**more), Population("world", "some", ()), "GET http://a/")
    assert line in lines
    assert line[0] not in dict(command.headlines(made(), Population("world", "some", ()), "GET http://a/"))
    assert "estimate" not in dict(command.headlines(made(mean_ms=None), Population("world", "some", ()), ""))


LOADED = {
    "in_flight": 5000.0,
    "pops": (
        PopPart("fra", 50.0, 8.0, 0.5, 20.0, 30.0, {"DE": 1.0}, None, 2000, 2500.0),
        PopPart("nyc", 40.0, -74.0, 0.5, 20.0, 30.0, {"US": 1.0}, None, None, 2500.0),
        PopPart("sin", 1.0, 103.0, 0.0, None, None, {}, "so", 4000, 0.0),
    ),
    "losses": (
        Loss("nyc", 0.5, {"fra": 1.0}, 0.0, 20.0, 90.0, {"fra": 2.5, "sin": 0.011}),
        Loss("fra", 0.5, {"nyc": 1.0}, 0.0, 20.0, 90.0),
    ),
}


def test_capacities_and_how_full_they_get(monkeypatch):
    lines = lines_of(screen_of(made(**LOADED), monkeypatch))
    assert "in flight 5,000 of all clients; what a full PoP passes on to others is not followed" in lines
    rows = {line.split()[0]: line for line in reversed(lines) if line}
    assert re.search(r"p90 +in flight +capacity +its clients' countries$", rows["PoP"])
    assert re.search(r"30\.0 ms +2,500 \(125%!\) +2,000 +DE 100\.0%$", rows["fra"])
    assert re.search(r"30\.0 ms +2,500 +US 100\.0%$", rows["nyc"])
    assert re.search(r"0\.0% +0 \(0%\) +4,000 +so$", rows["sin"])
    losses = lines[lines.index(rows["if"]) :]
    assert re.search(r"nowhere to go +then filled +taken over by$", losses[0])
    assert re.search(r"0\.0% +fra 250%!, sin 1% +fra 100\.0%$", losses[2])
    assert re.search(r"0\.0% +nyc 100\.0%$", losses[3])


def test_capacities_are_named_also_when_nobody_says_what_is_in_flight(monkeypatch):
    pops = (PopPart("fra", 50.0, 8.0, 1.0, 20.0, 30.0, {"DE": 1.0}, None, 2000),)
    lines = lines_of(screen_of(made(pops=pops), monkeypatch))
    assert not [line for line in lines if "in flight" in line or "then filled" in line]
    assert re.search(r"30\.0 ms +2,000 +DE 100\.0%$", next(line for line in lines if line.startswith("fra")))


def test_what_is_in_flight_is_asked_for(capsys, tmp_path):
    (tmp_path / "world.mmdb").write_bytes(write(NETWORKS))
    (tmp_path / "isochrone.yaml").write_text(WORLD.replace("country: US}", "country: US, capacity: {requests_in_flight: 100}}"))
    words = ["-c", str(tmp_path / "isochrone.yaml"), "--host", "a.example.com", "--path", "/shop", "--world", "400"]
    said = simulated(capsys, *words, "--in-flight", "1000")
    nyc = said["pops"][1]
    assert (nyc["capacity"], said["in_flight"], said["pops"][0]["capacity"]) == (100, 1000, None)
    assert nyc["in_flight"] == pytest.approx(1000 * nyc["share"], abs=0.1)
    fra = next(one for one in said["losses"] if one["pop"] == "fra")
    assert fra["loads"] == {"nyc": pytest.approx(10 * (nyc["share"] + fra["share"]), abs=0.01)}
    assert simulated(capsys, *words)["pops"][1]["in_flight"] is None
    with pytest.raises(SystemExit):
        main(["simulate", *words, "--in-flight", "0"])
    assert "argument --in-flight: must be a whole number from 1 to 1000000000, got '0'" in capsys.readouterr().err


def test_a_split_route_names_its_services():
    lines = dict(command.headlines(made(split={"shop": 0.9, "next": 0.1}), Population("world", "some", ()), "GET http://a/"))
    assert lines["route"].startswith("r, service shop 90.0% and next 10.0%, leg client-pop")


RULES = (
    WORLD.split("routes:")[0]
    + """
routes:
  - name: law
    service: shop
    steering: {jurisdiction: [{clients: {countries: [DE]}, pops: {countries: [SG]}}, {clients: {continents: [NA, AS]}, pops: {}}]}
"""
)


def test_rules_by_client_pins_and_overrides_hold(capsys, tmp_path):
    (tmp_path / "world.mmdb").write_bytes(write(NETWORKS))
    words = "overrides: [{country: SG, lat: 50.0, lon: 8.0}], pins: [{prefix: 64.0.0.0/2, pops: [sin]}]"
    (tmp_path / "isochrone.yaml").write_text(RULES.replace("city: world.mmdb", f"city: world.mmdb, {words}"))
    said = simulated(capsys, "-c", str(tmp_path / "isochrone.yaml"), "--world", "200")
    # Germans go where they may, those that a pin names where it says, and those of Singapore as if they stood in Frankfurt.
    assert {one["country"]: one["pops"] for one in said["countries"]} == {"DE": {"sin": 1.0}, "US": {"sin": 1.0}, "SG": {"fra": 1.0}}


def test_a_table_without_rows_is_left_out(monkeypatch):
    assert "if lost" not in screen_of(made(losses=()), monkeypatch)


def test_the_picture(capsys, config, tmp_path):
    file = tmp_path / "world.svg"
    said = simulated(capsys, "-c", config, "--world", "50", "--host", "a.example.com", "--path", "/shop", "--svg", str(file))
    texts = [text.text for text in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")]
    assert f"Clients: {said['clients']['about']}" in texts
    assert {"fra", "nyc", "sin"} <= set(texts)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["-c", "/nowhere.yaml"], 2, "/nowhere.yaml: can't be read: No such file or directory"),
        (["--host", "a b"], 1, "isochrone: host: must be at most 8192 visible ASCII characters, as in a request, got 'a b'"),
        (["--path", "x"], 1, "isochrone: path: must begin with '/', got 'x'"),
        (["--clients", "/nowhere.csv"], 2, "/nowhere.csv: can't be read: No such file or directory"),
        (["--svg", "/nowhere/x.svg"], 1, "isochrone: --svg: must be a file that can be written, got '/nowhere/x.svg': No such file"),
        (
            ["--host", "b.org"],
            1,
            "isochrone: no route matches GET http://b.org/; hosts of routes: *.example.com, eu.example.com",
        ),
    ],
)
def test_what_is_refused_is_one_line(capsys, config, words, status, text):
    out, err = run(capsys, *(["-c", config] if "-c" not in words else []), *words, status=status)
    assert out == ""
    assert err.startswith(text)
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "1000001", "9" * 5000, "²", ""])
def test_a_number_that_is_none(capsys, number):
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", "-c", EXAMPLE, f"--world={number}"])
    assert stopped.value.code == 2
    assert f"argument --world: must be a whole number from 1 to 1000000, got {number[:100]!r}" in capsys.readouterr().err


def test_one_kind_of_clients_at_a_time(capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "-c", EXAMPLE, "--world", "5", "--clients", "x"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.slow
def test_the_documents_example_is_what_it_prints(capsys, tmp_path, monkeypatch):
    """On the database of the development extra, which the document names."""
    packaged = pytest.importorskip("_maxminddb_geolite2").geolite2_database()
    text = DOC.read_text()
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (shown,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    (tmp_path / "five.yaml").write_text(config)
    (tmp_path / "GeoLite2-City.mmdb").symlink_to(packaged)
    monkeypatch.chdir(tmp_path)
    first, *expected = shown.splitlines()
    assert lines_of(run(capsys, *first.split()[3:]).out) == expected
