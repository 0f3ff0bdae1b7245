import asyncio

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.app import Gateway
from gateway.cli import main
from gateway.commands.serve import parts
from gateway.config import parse
from gateway.errors import ConfigError
from gateway.loading import fault_of, load
from tests.support.configurations import Around, configurations, text_of
from tests.unit.gateway.control.helpers import TWO_POPS
from tests.unit.gateway.control.operating import gateway_of

ROUTES = "routes: [{service: shop}]"


def with_match(match):
    return TWO_POPS.replace(ROUTES, f"routes: [{{match: {{{match}}}, service: shop}}]")


def with_geoip(geoip):
    return f"{TWO_POPS}\ngeoip: {{{geoip}}}"


def clashing(one, other):
    places = (f"{{prefix: '{prefix}', lat: {n}, lon: 1}}" for n, prefix in enumerate((one, other)))
    return with_geoip(f"overrides: [{', '.join(places)}]")


CASES = [
    (clashing("10.0.0.0/8", "::ffff:10.0.0.0/104"), "must be a prefix of its own, got '10.0.0.0/8'"),
    (
        with_geoip("pins: [{prefix: 10.0.0.0/8, pops: [fra]}, {prefix: '::ffff:a00:0/104', pops: [nyc]}]"),
        "must be a prefix of its own, got '10.0.0.0/8'",
    ),
    (with_match(f"path_prefix: {'/a' * 65}"), "must have a path_prefix of at most 64 elements, got 65"),
    (with_match(f"path_prefix: /{'a' * 8192}"), "must be a path of at most 8192 bytes"),
    (with_match(f"path_exact: /{'a' * 8192}"), "must be a path of at most 8192 bytes"),
    (with_match(f"headers: {{{', '.join(f'h{n}: x' for n in range(65))}}}"), "must have at most 64 names, got 65"),
]


@pytest.mark.parametrize(("text", "fault"), CASES)
def test_what_can_not_be_served_is_a_fault_with_its_line(tmp_path, text, fault, capsys):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert main(["check", "-c", str(file)]) == 2
    said = capsys.readouterr().err
    assert fault in said
    assert said.startswith(f"{file}:")


@pytest.mark.parametrize(
    "text",
    [
        with_match(f"path_prefix: {'/a' * 64}"),
        with_match(f"path_prefix: {'/a' * 64}/"),
        with_match(f"path_exact: /{'a' * 8191}"),
        with_match(f"headers: {{{', '.join(f'h{n}: x' for n in range(64))}}}"),
        clashing("10.0.0.0/8", "::ffff:10.0.0.0/105"),
    ],
)
def test_the_last_that_is_legal_is_served(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    config = load(file).config
    assert (
        gateway_of(text, admin='{bind: "127.0.0.1:0"}').publisher.table.spec.routes[0].path_prefix == config.routes[0].match[0].path_prefix
    )


def test_what_only_the_compiled_form_refuses_is_a_fault_too(tmp_path, monkeypatch):
    file = tmp_path / "x.yaml"
    file.write_text(TWO_POPS)
    monkeypatch.setattr("gateway.loading.table_of", lambda config: (_ for _ in ()).throw(ValueError("too many PoPs")))
    with pytest.raises(ConfigError, match="too many PoPs"):
        load(file)


prefixes = st.sampled_from(
    ["10.0.0.0/8", "10.1.0.0/16", "::ffff:10.0.0.0/104", "::ffff:0:0/96", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1"]
)
paths = st.one_of(
    st.integers(0, 70).map(lambda n: "/a" * n + "/"),
    st.sampled_from([8190, 8191, 8192]).map(lambda n: "/" + "a" * n),
    st.text("/a%.~!", max_size=6).map(lambda text: "/" + text),
)
labels = st.sampled_from(["a", "A", "*", "xn--a", "a-b", "a" * 63, "a" * 64, ""])
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.integers(1, 130).map(lambda n: ".".join(["a"] * n)),
    st.sampled_from(["[::1]", "192.0.2.1", "*.example.com", "example.com.", "*.", "a..b"]),
)
matches = st.builds(
    lambda key, path, host, n, kind: f"{key}: '{path}', hosts: ['{host}'], {kind}: {{{', '.join(f'k{i}: x' for i in range(n))}}}",
    st.sampled_from(["path_prefix", "path_exact"]),
    paths,
    hosts,
    st.sampled_from([0, 1, 64, 65]),
    st.sampled_from(["headers", "query"]),
)
geoips = st.builds(
    lambda located, pinned: (
        f"overrides: [{', '.join(f'{{prefix: {chr(39)}{one}{chr(39)}, lat: 1, lon: 1}}' for one in located)}], "
        f"pins: [{', '.join(f'{{prefix: {chr(39)}{one}{chr(39)}, pops: [fra]}}' for one in pinned)}]"
    ),
    st.lists(prefixes, max_size=3),
    st.lists(prefixes, max_size=3),
)
endpoints = st.sampled_from(
    ["192.0.2.1:80", "[2001:db8::1]:80", "[::ffff:192.0.2.1]:80", "unix:/run/" + "x" * 102, "unix:/run/" + "x" * 103, "web:65535", "web:0"]
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(matches, geoips, st.lists(endpoints, min_size=1, max_size=3), st.sampled_from([1, 63, 64]))
def test_whatever_check_passes_serve_serves(match, geoip, places, name_length):
    listed = ", ".join(f"'{one}'" for one in places)
    text = with_match(match).replace('"192.0.2.1:80"', listed)
    more = {"geoip": f"{{{geoip}}}", "gateway": f"{{name: {'n' * name_length}}}"}
    try:
        config = parse(text + "".join(f"\n{key}: {value}" for key, value in more.items())).config
    except ConfigError:
        return
    assert fault_of(config) is None  # the judge has left nothing over

    async def serve():
        gateway = gateway_of(text, **more)
        assert gateway.publisher.table.spec.routes
        await gateway.tasks.stop(1)

    asyncio.run(serve())


@pytest.fixture(scope="module")
def around(tmp_path_factory):
    folder = tmp_path_factory.mktemp("around")
    found = Around(folder)
    found.prepare()
    return found


def loaded_from(around, configuration):
    """By way of the file, as `check` and `serve` have it."""
    file = around.folder / "isochrone.yaml"
    file.write_text(text_of(configuration))
    return load(file)


FROZEN = ("listeners", "admin", "status", "state_dir", "affinity_key")  # and the number of workers


@pytest.mark.slow
@settings(max_examples=20, phases=[Phase.reuse, Phase.generate])  # what fails is said in words, and takes long to shrink
@given(data=st.data())
def test_whatever_is_legal_is_served_and_reloaded(around, data):
    """Ends of what each key may be, several PoPs, services, routes and listeners. What is printed of one is the same one."""
    first, other = data.draw(configurations(around)), data.draw(configurations(around))
    other = {key: value for key, value in other.items() if key not in FROZEN} | {key: first[key] for key in FROZEN if key in first}
    for key in ("city", "asn"):  # what a start waits for a reload refuses: see test_geo
        other.get("geoip", {}).pop(key, None)
    other["gateway"]["workers"] = first["gateway"]["workers"]
    begun = loaded_from(around, first)
    assert parse(begun.config.written(False), folder=around.folder).config == begun.config

    async def resolve(name):
        return ("192.0.2.7",)

    async def serve():
        gateway = Gateway(begun.config, lambda: loaded_from(around, other), parts=parts(), resolve=resolve)
        try:
            gateway.sources.apply(begun.config)
            gateway.publisher.publish()
            assert {route.name for route in gateway.publisher.table.spec.routes} == {route.name for route in begun.config.routes}
            assert (outcome := await gateway.reload()).is_done, outcome
        finally:
            await gateway.tasks.stop(1)

    asyncio.run(serve())
