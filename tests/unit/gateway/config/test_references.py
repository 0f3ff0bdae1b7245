"""Values from outside the file: what is put in, what is missing, and that what came is shown nowhere."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load, parse
from gateway.config._references import MAX_BYTES, References
from gateway.errors import ConfigError
from tests.unit.gateway.config.test_reading import FULL

SECRET = "s3cr3t-w0rd"
SMALL = """\
gateway:
  name: edge
  workers: 1
listeners: [{name: web, bind: "127.0.0.1:8080"}]
pops:
  - name: fra
    lat: 50
    lon: 8
services: [{name: shop, backends: [{pop: 'fra', endpoints: ["192.0.2.1:80"]}]}]
routes: [{service: shop}]
"""


@pytest.fixture
def environ(monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    for name, value in {"WORD": SECRET, "N": "3", "EMPTY": "", "BAD": "a\x1b[2Jb", "DOLLAR": "${WORD}"}.items():
        monkeypatch.setenv(name, value)


def resolved(text, folder="."):
    return References(Path(folder), os.environ).resolve(text)


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("${WORD}", SECRET),
        ("a-${WORD}:${N}", f"a-{SECRET}:3"),
        ("${UNSET:-8080}", "8080"),
        ("${EMPTY:-x}", "x"),
        ("${N:-8080}", "3"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${DOLLAR}", "${WORD}"),  # what came is not read again
        ("$$", "$"),
        ("$${WORD}", "${WORD}"),
        ("$$$${WORD}", "$${WORD}"),
        ("$WORD costs 5$", "$WORD costs 5$"),  # a dollar sign alone is itself
        ("file://", "file://"),
        ("no reference", "no reference"),
    ],
)
def test_what_is_put_in(environ, text, came):
    assert resolved(text) == came


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${UNSET}", "must have the environment variable UNSET, which is not set; ${UNSET:-default} has a default"),
        ("${EMPTY}", "must have the environment variable EMPTY, which is empty"),
        ("${BAD}", "must have printable text in the environment variable BAD"),
        ("${}", "must be ${NAME}, ${NAME:-default} or ${file:PATH}, and $$ for a dollar sign, got ${}"),
        ("${1A}", "got ${1A}"),
        ("${env:A}", "got ${env:A}"),
        ("${file:}", "got ${file:}"),
        ("x${WORD", "got '${WORD'"),
        ("${file:absent}", "must refer to a file that can be read, got 'absent': No such file or directory"),
        ("${file:a\0b}", "must refer to a file that can be read"),
        ("file:~nobody-of-that-name/x", "must refer to a file that can be read"),
    ],
)
def test_what_is_missing_is_named(environ, text, said):
    with pytest.raises(ValueError) as caught:
        resolved(text)
    assert said in str(caught.value)


def test_files(tmp_path, monkeypatch):
    monkeypatch.setenv("FOLDER", str(tmp_path))
    for name, content in {
        "a": b"word\n",
        "b": b" two lines\nof it\r\n",
        "bad": b"\xff",
        "empty": b"\n",
        "big": b"x" * (MAX_BYTES + 1),
    }.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    assert resolved("file:a", tmp_path) == resolved("${file:a}", tmp_path) == resolved("file:${FOLDER}/a") == "word"
    assert resolved("Bearer ${file:a}!", tmp_path) == "Bearer word!"
    assert resolved("file:b", tmp_path) == " two lines\nof it"
    for name, said in {"bad": "UTF-8", "empty": "not empty", "big": "at most 64KiB", "pipe": "regular file", ".": "got '.'"}.items():
        with pytest.raises(ValueError, match=said):
            resolved(f"file:{name}", tmp_path)


def test_types_are_those_that_would_have_stood_there(environ):
    text = (
        SMALL.replace("workers: 1", "workers: ${N}")
        .replace('"127.0.0.1:8080"', '"127.0.0.1:808${N}"')
        .replace("lat: 50", "lat: ${UNSET:-5}")
    )
    config = parse(text).config
    assert (config.gateway.workers, config.listeners[0].bind.port, config.pops[0].lat) == (3, 8083, 5.0)


@pytest.mark.parametrize("quoted", ["${N}", '"${N}"'])
def test_quotes_make_no_other_type(environ, quoted):
    """YAML wants them within {}, where they mean nothing else; and a secret of digits is a text."""
    text = SMALL.replace("workers: 1", f"workers: {quoted}").replace("name: edge", f"name: {quoted}") + "debug_headers: ${YES:-true}\n"
    headers = f"\n    match:\n      headers:\n        x: {quoted}"
    text = text.replace("routes: [{service: shop}]", f"routes:\n  - service: shop{headers}")
    config = parse(text).config
    assert (config.gateway.workers, config.gateway.name, config.debug_headers) == (3, "3", True)
    assert config.routes[0].match[0].headers == (("x", "3"),)
    assert parse(config.written(False)).config == config


def test_what_is_faulty_either_way_is_said_with_its_reference(environ, monkeypatch):
    monkeypatch.setenv("N", "999")
    with pytest.raises(ConfigError) as caught:
        parse(SMALL.replace("workers: 1", 'workers: "${N}"'))
    assert str(caught.value) == "isochrone.yaml:3: gateway.workers: must be auto or a whole number from 1 to 64, got ${N}"


def test_a_reference_without_quotes_within_braces(environ):
    with pytest.raises(ConfigError, match=r"within {} and \[\] a reference stands in quotes"):
        parse("gateway: {workers: ${N}}\n")


def test_a_missing_variable_is_one_fault_with_its_line(environ):
    text = SMALL.replace("lat: 50", "lat: ${UNSET}").replace("pop: 'fra'", "pop: '${UNSET}'").replace("name: edge", "name: ${EMPTY}")
    text = text.replace("{name: shop,", "{name: shop, health: {headers: {x: '${UNSET}'}},")
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert [(fault.line, fault.path, fault.text.partition(",")[0]) for fault in caught.value.faults] == [
        (2, "gateway.name", "must have the environment variable EMPTY"),
        (7, "pops.fra.lat", "must have the environment variable UNSET"),
        (9, "services.shop.health.headers.x", "must have the environment variable UNSET"),
        (9, "services.shop.backends[0].pop", "must have the environment variable UNSET"),
    ]


def test_nothing_that_came_becomes_structure(monkeypatch):
    monkeypatch.setenv("WORD", "x, workers: 7}\nadmin: {bind: ")
    with pytest.raises(ConfigError, match=r"gateway\.name: must be a name of at most 63"):
        parse(SMALL.replace("name: edge", "name: ${WORD}"))


def test_a_reload_reads_anew(tmp_path):
    (tmp_path / "isochrone.yaml").write_text(SMALL.replace("name: edge", "name: file:name"))
    (tmp_path / "name").write_text("first")
    assert load(tmp_path / "isochrone.yaml").config.gateway.name == "first"
    (tmp_path / "name").write_text("second")
    assert load(tmp_path / "isochrone.yaml").config.gateway.name == "second"


def test_effective_says_the_reference_and_reads_back(environ, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    text = (
        SMALL.replace("name: edge", "name: ${WORD}")
        .replace("workers: 1", "workers: ${N}")
        .replace('"192.0.2.1:80"', '"${N}.example:80", "b.example:80"')
        .replace(
            "{service: shop}",
            "{name: a, service: shop, match: {headers: {x: 'Bearer ${file:secret}', y: $$5, z: '${N}'}}, "
            "steering: {jurisdiction: {countries: [EU27, '${UNSET:-DE}']}}}",
        )
        .replace("lon: 8", "lon: 8\n    country: DE")
    ) + "geoip:\n  city: ${N}.mmdb\n"
    loaded = parse(text, folder=tmp_path)
    printed = loaded.config.written(False)
    assert SECRET not in printed
    tree = yaml.safe_load(printed)
    assert tree["gateway"]["name"] == "${WORD}"
    assert tree["services"][0]["backends"][0]["endpoints"] == ["${N}.example:80", "b.example:80"]
    assert tree["routes"][0]["match"][0]["headers"] == {"x": "Bearer ${file:secret}", "y": "$$5", "z": "${N}"}
    assert tree["routes"][0]["steering"]["jurisdiction"]["countries"] == ["EU27", "${UNSET:-DE}"]
    assert tree["geoip"]["city"] == "${N}.mmdb"
    assert "workers: ${N}\n" in printed  # a number, and in quotes what must stay a text:
    assert 'z: "${N}"\n' in printed
    again = parse(printed, folder=tmp_path).config
    assert again == loaded.config
    assert again.written(False) == printed


def scalars(value, loc=()):
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from scalars(inner, (*loc, step))
    else:
        yield loc


PLACES = list(scalars(yaml.safe_load(FULL)))


@given(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4, unique=True), st.booleans())
def test_what_came_is_shown_nowhere(places, is_file):
    """Anywhere in a configuration, legal there or not: neither in faults, nor in warnings, nor in the effective one."""
    tree = yaml.safe_load(FULL)
    for loc in places:
        at = tree
        for step in loc[:-1]:
            at = at[step]
        at[loc[-1]] = "file:/proc/self/secret" if is_file else "${SECRET_OF_TEST}"
    os.environ["SECRET_OF_TEST"] = SECRET
    try:
        loaded = parse(yaml.safe_dump(tree))
    except ConfigError as error:
        shown = str(error)
    else:
        names = {loc[-1] for loc in places} & {"name", "service"}
        shown = "" if names else loaded.config.written(False)  # a route's name may follow from a service's
        shown += "\n".join(map(str, loaded.warnings))
    finally:
        del os.environ["SECRET_OF_TEST"]
    assert SECRET not in shown
