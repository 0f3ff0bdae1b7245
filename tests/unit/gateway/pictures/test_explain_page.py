import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config import load
from gateway.control.operator.explanation import explain
from gateway.control.operator.offline import situation_of
from gateway.pictures.explain_page import CHOSEN, CLIENT, EXCLUDED, OTHER, page
from gateway.pictures.explain_text import columns, headlines
from gateway.pictures.world_map import COAST
from tests.unit.gateway.admin_api import admin_api
from tests.unit.gateway.control.helpers import config_of

EXAMPLE = "docs/examples/two-pops.yaml"
BOSTON = "198.51.100.7"
VOID = {"meta"}
# Whatever can make a browser fetch something.
FETCHING = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster", "background", "ping", "manifest"}
WORLD = """
listeners: [{name: web, bind: "127.0.0.1:0"}]
geoip: {overrides: [{prefix: 10.1.0.0/16, lat: 50.0, lon: 8.0, country: DE}]}
gateway: {location: {lat: 50.0, lon: 8.0}}
pops:
  - {name: fra, lat: 50.11, lon: 8.68, country: DE}
  - {name: nyc, lat: 40.71, lon: -74.01, country: US}
  - {name: sin, lat: 1.35, lon: 103.82, country: SG}
services:
  - name: shop
    backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}, {pop: nyc, endpoints: ["192.0.2.2:80"]}, {pop: sin, endpoints: ["192.0.2.3:80"]}]
routes:
  - {name: near, service: shop, match: {hosts: [near.example.com]}, steering: {leg: gateway-pop}}
  - {name: eu, service: shop, match: {hosts: [eu.example.com]}, steering: {jurisdiction: {countries: [DE, US]}}}
  - {name: all, service: shop, match: {path_prefix: /}}
"""


class Page(HTMLParser):
    """Tags in order with what they hold; fails on what does not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.rows, self.texts, self.declarations = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_decl(self, decl):
        self.declarations.append(decl)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attrs).get("class"), []))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][1].append(data)

    def text(self, tag):
        return [data for at, data in self.texts if at == tag]

    def drawn(self, tag, attribute):
        return [attrs[attribute] for at, attrs in self.tags if at == tag and attribute in attrs]


def asked(client="10.1.0.1", host="www.example.com", path=None, text=WORLD):
    return explain(situation_of(config_of(text))[0], client, host, path)


def shown(said):
    return Page(page(said))


def test_the_decision_the_table_and_all_of_it_as_json():
    said = asked()
    found = shown(said)
    assert found.declarations == ["DOCTYPE html"]
    assert found.text("h1") == ["10.1.0.1 goes to fra"]
    assert list(zip(found.text("dt"), found.text("dd"), strict=True)) == headlines(said)
    (_, head), *rows = found.rows
    assert head == [column.head for column in columns(said)]
    assert [(kind, cells[0]) for kind, cells in rows] == [("chosen", "fra"), ("none", "nyc"), ("none", "sin")]
    for (_, cells), one in zip(rows, said["candidates"], strict=True):
        assert cells == [text for column in columns(said) if (text := column.text(one))]
    assert json.loads("".join(found.text("pre"))) == said


def test_the_picture_has_client_pops_lines_and_the_choice():
    found = shown(asked())
    assert found.drawn("circle", "fill") == [OTHER, OTHER, CHOSEN, CLIENT]
    assert COAST in found.drawn("path", "stroke")
    ways = [attrs["stroke"] for tag, attrs in found.tags if tag == "path" and "stroke-width" in attrs]
    assert sorted(ways) == sorted([CHOSEN, OTHER, OTHER])
    labels = found.text("text")
    assert [label.split()[0] for label in labels] == ["fra", "nyc", "sin"]
    assert all(re.fullmatch(r"\w+ \d+\.\d", label) for label in labels)


def test_parts_of_the_estimate_are_drawn_to_scale():
    said = asked()
    said["candidates"][2]["service_ms"] = 50.0
    said["candidates"][2]["penalty_ms"] = 25.0
    said["candidates"][2]["estimate_ms"] += 75.0
    longest = said["candidates"][2]["estimate_ms"]
    found = shown(said)
    widths = [float(re.search(r"([\d.]+)%", style)[1]) for style in found.drawn("span", "style")]
    assert found.drawn("span", "class") == ["path", "service", "penalty"] * 3
    assert sum(widths[6:]) == pytest.approx(100, abs=0.2)
    assert widths[7:] == [pytest.approx(5000 / longest, abs=0.1), pytest.approx(2500 / longest, abs=0.1)]
    assert widths[1:3] == [0, 0]


def test_what_is_not_permitted_is_grey():
    found = shown(asked(host="eu.example.com"))
    assert sorted(found.drawn("circle", "fill")) == sorted([EXCLUDED, OTHER, CHOSEN, CLIENT])


@pytest.mark.parametrize("state", [{"permitted": False}, {"drained": True}, {"available": False}])
def test_nowhere(state):
    """As a running gateway says it: a file that permits no PoP is refused, and in a file alone nothing is drained."""
    said = {**asked(), "decision": None, "error": "no_permitted_pop"}
    said["candidates"] = [{**one, **state, "share": 0.0, "why_not": "so"} for one in said["candidates"]]
    found = shown(said)
    assert found.drawn("circle", "fill") == [EXCLUDED, EXCLUDED, EXCLUDED, CLIENT]
    assert {kind for kind, _ in found.rows[1:]} == {"none"}
    assert found.text("h1") == ["10.1.0.1 goes to nowhere"]
    assert "none: no PoP that the route's jurisdiction permits can serve: 503" in found.text("dd")


def test_no_route_has_no_table():
    found = shown(asked(text=WORLD.replace("path_prefix: /", "path_prefix: /shop")))
    assert found.text("h1") == ["10.1.0.1 goes to nowhere"]
    assert found.rows == []
    assert found.drawn("circle", "fill") == []


def test_a_place_unknown_has_no_lines_and_no_estimates():
    found = shown(asked("8.8.8.8"))
    assert CLIENT not in found.drawn("circle", "fill")
    assert found.text("text") == ["fra", "nyc", "sin"]
    assert "unknown" in found.text("figcaption")[0]


def test_the_gateways_own_path_has_no_lines_from_the_client():
    found = shown(asked(host="near.example.com"))
    assert found.drawn("path", "stroke-width") == []
    assert all(re.fullmatch(r"\w+ \d+\.\d", label) for label in found.text("text"))
    assert "gateway's own path" in found.text("figcaption")[0]


def test_an_older_gateway_says_less():
    said = asked()
    for one in said["candidates"]:
        for key in ("lat", "lon", "shed", "ramp", "penalty_ms"):
            del one[key]
    for key in ("rule", "split", "on_unavailable", "pin", "affinity", "redirect"):
        del said[key]
    del said["location"]["override"]
    found = shown(said)
    assert len(found.rows) == 4
    assert found.drawn("circle", "fill") == [CLIENT]


def test_it_needs_nobody():
    text = page(asked())
    found = Page(text)
    assert not FETCHING & {name for name, _ in found.attributes}
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use", "foreignobject"} & {
        tag for tag, _ in found.tags
    }
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    styles = "".join(found.text("style")) + "".join(value or "" for name, value in found.attributes if name == "style")
    assert "url(" not in styles
    assert "@import" not in styles
    # In an attribute an address would be one to go to; as text it is only read.
    assert not [value for _, value in found.attributes if value and "//" in value]
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_whatever_was_typed_is_text():
    hostile = "\"><script>alert(1)</script><img/src=x/onerror=y>&amp;'"
    found = shown(asked(host=hostile, path=f"/{hostile}"))
    plain = shown(asked())
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.attributes == plain.attributes
    assert f"GET http://{hostile}/{hostile}" in found.text("dd")


def test_an_answer_of_another_gateway_is_text_as_well():
    said = asked()
    hostile = '"><script>alert(1)</script>'
    said["client"] = said["decision"]["pop"] = said["candidates"][0]["pop"] = hostile
    said["candidates"][0]["why_not"] = said["candidates"][0]["evidence"] = said["service"] = hostile
    found = shown(said)
    assert "script" not in {tag for tag, _ in found.tags}
    assert found.text("h1") == [f"{hostile} goes to {hostile}"]


def test_from_the_command_line(tmp_path, capsys):
    file = tmp_path / "decision.html"
    assert main(["explain", "-c", EXAMPLE, "--client", BOSTON, "--json", "--html", str(file)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == explain(situation_of(load(Path(EXAMPLE)).config)[0], BOSTON)
    assert file.read_text() == page(said)


def test_of_a_running_gateway(tmp_path, capsys):
    file = tmp_path / "decision.html"
    with admin_api() as api:
        api.answers = [(200, asked())]
        assert main(["explain", "--admin", api.url, "--client", "10.1.0.1", "--html", str(file)]) == 0
    assert file.read_text() == page(asked())
    assert "decision" in capsys.readouterr().out


def test_a_file_that_can_not_be_written(tmp_path, capsys):
    assert main(["explain", "-c", EXAMPLE, "--client", BOSTON, "--html", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"isochrone: --html: must be a file that can be written, got '{tmp_path}': Is a directory\n"
