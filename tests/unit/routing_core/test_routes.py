import dataclasses
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import Figures, RouteSpec, Table, match
from routing_core._memory import live_blocks
from tests.unit.routing_core.tables import table_of

LABELS = st.sampled_from(["a", "b", "shop", "com"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))
FIELDS = st.lists(st.tuples(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["1", "2"])), max_size=2).map(tuple)
PARAMETERS = st.lists(st.tuples(st.sampled_from(["p", "q"]), st.sampled_from(["1", "2"])), max_size=2).map(tuple)


@st.composite
def route_specs(draw):
    kind = draw(st.sampled_from(["none", "exact", "prefix"]))
    path = draw(PATHS)
    return RouteSpec(
        "r", 0,
        hosts=tuple(draw(st.lists(st.builds(str.__add__, st.sampled_from(["", "*."]), HOSTS), max_size=2))),
        path_exact=path if kind == "exact" else None,
        path_prefix=path if kind == "prefix" else None,
        method=draw(st.sampled_from([None, "GET", "POST"])),
        headers=draw(FIELDS), query=draw(PARAMETERS),
    )  # fmt: skip


def naive_host(pattern, host):
    """Rank of the host: None when it does not match; a longer one is more specific."""
    if not pattern.startswith("*."):
        return (2, 0) if pattern == host else None
    return (1, len(pattern)) if host.endswith(pattern[1:]) and host != pattern[1:] else None


def naive_path(route, path):
    if route.path_exact is not None:
        return (1, 0) if path == route.path_exact else None
    prefix = (route.path_prefix or "").removesuffix("/")
    return (0, len(prefix)) if path == prefix or path.startswith(prefix + "/") or not prefix else None


def naive_match(routes, host, path, method, headers, query):
    """Gateway API's precedence, by looking at everything."""
    found = []
    for number, route in enumerate(routes):
        for pattern in route.hosts or ("",):
            by_host = naive_host(pattern, host) if pattern else (0, 0)
            by_path = naive_path(route, path)
            wanted = {}
            for name, value in route.headers:
                wanted.setdefault(name.lower(), value)
            parameters = {}
            for name, value in route.query:
                parameters.setdefault(name, value)
            first = {}
            for name, value in query:
                first.setdefault(name, value)
            if (
                by_host is not None
                and by_path is not None
                and route.method in (None, method)
                and all((name, value) in {(n.lower(), v) for n, v in headers} for name, value in wanted.items())
                and all(first.get(name) == value for name, value in parameters.items())
            ):
                found.append((by_host, by_path, route.method is not None, len(wanted), len(parameters), -number))
    return -max(found)[-1] if found else None


@pytest.mark.slow
@given(
    routes=st.lists(route_specs(), max_size=12),
    requests=st.lists(st.tuples(HOSTS, PATHS, st.sampled_from(["GET", "PUT"]), FIELDS, PARAMETERS), min_size=1, max_size=12),
)
def test_as_a_naive_model(routes, requests):
    table = table_of(Figures(1), routes=routes)
    for host, path, method, headers, query in requests:
        target = path + ("?" + "&".join(f"{name}={value}" for name, value in query) if query else "")
        assert match(table, host, target, method, headers) == naive_match(routes, host, path, method, headers, query)


def found(routes, host="h", path="/", **options):
    return match(table_of(Figures(1), routes=routes), host, path, **options)


def by_hosts(*hosts):
    return [RouteSpec("r", 0, hosts=(host,)) for host in hosts]


def test_hosts_are_compared_without_case_and_final_dot():
    routes = by_hosts("Shop.Example.com.", "*.EXAMPLE.com")
    for host in ("shop.example.com", "SHOP.example.COM", "shop.example.com."):
        assert found(routes, host) == 0
    assert found(routes, "x.example.com.") == 1
    assert found(routes, "shop.example.com..") is None


def test_a_wildcard_needs_a_label_and_takes_several():
    routes = by_hosts("*.example.com", "*.b.example.com")
    assert found(routes, "a.example.com") == 0
    assert found(routes, "x.a.example.com") == 0
    assert found(routes, "b.example.com") == 0
    assert found(routes, "a.b.example.com") == 1
    assert found(routes, "example.com") is None
    assert found(routes, ".example.com") is None
    assert found(routes, "aexample.com") is None


@pytest.mark.parametrize(
    "host", ["", ".", "..", "x" * 256, "a" * 300 + ".example.com", "." * 255, "a." * 127 + "b", "\x00", "[::1]", "\u00e9"]
)
def test_strange_hosts_find_the_route_without_host_only(host):
    assert found([*by_hosts("*.example.com", "h"), RouteSpec("default", 0)], host) == 2
    assert found(by_hosts("*.example.com", "h"), host) is None


def test_a_less_specific_host_is_tried_when_the_more_specific_one_has_no_route():
    routes = [
        RouteSpec("r", 0, hosts=("a.example.com",), path_exact="/exact"),
        RouteSpec("r", 0, hosts=("*.example.com",), method="POST"),
        RouteSpec("r", 0, hosts=("*.com",), path_prefix="/p"),
        RouteSpec("r", 0),
    ]
    table = table_of(Figures(1), routes=routes)
    assert match(table, "a.example.com", "/exact") == 0
    assert match(table, "a.example.com", "/other", "POST") == 1
    assert match(table, "a.example.com", "/p/q") == 2
    assert match(table, "a.example.com", "/q") == 3


def test_paths_go_by_element_and_the_longest_wins():
    paths = ("/", "/a", "/a/b/", "/a/b/c/d")
    routes = [
        *(RouteSpec("r", 0, path_prefix=path) for path in paths),
        RouteSpec("r", 0, path_exact="/a/b"),
        RouteSpec("r", 0, path_exact="/"),
    ]
    wanted = {
        "/": 5, "/x": 0, "/ab": 0, "/a": 1, "/a/": 1, "/a/bc": 1, "/a/b": 4, "/a/b/": 2, "/a/b/c": 2, "/a/b/c/d": 3, "/a/b/c/d/e": 3,
        "/A": 0, "*": 0, "": 0, "//": 0, "/a//b": 1, "/a?x=/a/b": 1, "/a/b?": 4, "a": 0,
    }  # fmt: skip
    for path, route in wanted.items():
        assert found(routes, path=path) == route, path


def test_very_long_paths_cost_no_more_and_match():
    routes = [RouteSpec("r", 0, path_prefix="/a"), RouteSpec("r", 0, path_exact="/" + "x" * 8000)]
    assert found(routes, path="/a" + "/" * 60_000) == 0
    assert found(routes, path="/" + "x" * 8000) == 1
    assert found(routes, path="/" + "x" * 8001) is None


def test_methods_headers_and_parameters_in_that_order():
    routes = [
        RouteSpec("r", 0),
        RouteSpec("r", 0, query=(("a", "1"), ("b", "2"))),
        RouteSpec("r", 0, headers=(("X-One", "1"),)),
        RouteSpec("r", 0, headers=(("X-One", "1"), ("x-two", "2"))),
        RouteSpec("r", 0, method="DELETE"),
    ]
    table = table_of(Figures(1), routes=routes)
    one, two = ("x-ONE", "1"), ("X-Two", "2")
    assert match(table, "h", "/") == 0
    assert match(table, "h", "/?a=1") == 0
    assert match(table, "h", "/?a=1&b=2") == 1
    assert match(table, "h", "/?b=2&c=3&a=1", headers=[one]) == 2
    assert match(table, "h", "/", headers=[two, ("x-one", "9"), one]) == 3
    assert match(table, "h", "/", "DELETE", [one, two]) == 4
    assert match(table, "h", "/", "delete") == 0
    assert match(table, "h", "/", headers=[("x-one", "1 ")]) == 0
    assert match(table, "h", "/", headers=[("x-on", "1"), ("x-onee", "1")]) == 0


@pytest.mark.parametrize(
    ("query", "is_met"),
    [
        ("na+me=a+b%26c", True), ("na%20me=%61%20b%26c", True), ("x&na+me=a+b%26c&", True), ("&&na+me=a+b%26c", True),
        ("na+me=a+b%26c=", False),
        ("na+me=1&na+me=a+b%26c", False), ("na+me", False), ("na+me=", False), ("NA+me=a+b%26c", False), ("na+me=a+b%26", False),
        ("na+me=a+b%2", False), ("na+me=a+b%", False), ("na+me=a+b%2gc", False), ("", False),
    ],
)  # fmt: skip
def test_parameters_are_decoded_and_the_first_of_a_name_counts(query, is_met):
    assert (found([RouteSpec("r", 0, query=(("na me", "a b&c"),))], path=f"/?{query}") == 0) == is_met


def test_an_empty_value_is_a_value():
    assert found([RouteSpec("r", 0, query=(("a", ""),), headers=(("b", ""),))], path="/?a", headers=[("B", "")]) == 0
    assert found([RouteSpec("r", 0, query=(("a", ""),))], path="/?b") is None


def test_ten_thousand_hosts():
    hosts = [f"h{number}.example.com" for number in range(10_000)]
    routes = [RouteSpec("r", 0, hosts=tuple(hosts[i::10])) for i in range(10)]
    table = table_of(Figures(1), routes=routes)
    assert all(match(table, host, "/x") == number % 10 for number, host in enumerate(hosts))
    assert match(table, "h10000.example.com", "/") is None


def test_without_routes_nothing_matches():
    assert found([]) is None


@pytest.mark.parametrize("host", ["", "*", "*.", "a.*.com", ".com", "a b", "a/b", "**.com", "x" * 256, "*." + "x" * 254, ".", "a\0b"])
def test_wrong_hosts_are_refused(host):
    with pytest.raises(ValueError, match=r"hosts: must.*got"):
        found(by_hosts(host))


@pytest.mark.parametrize(
    "route",
    [
        RouteSpec("r", 0, path_exact="a"), RouteSpec("r", 0, path_prefix="a"),
        RouteSpec("r", 0, path_exact=""), RouteSpec("r", 0, path_exact="/?"),
        RouteSpec("r", 0, path_exact="/", path_prefix="/"), RouteSpec("r", 0, path_prefix="/a" * 65),
        RouteSpec("r", 0, path_exact="/" * 9000),
        RouteSpec("r", 0, method=""), RouteSpec("r", 0, headers=(("", "x"),)), RouteSpec("r", 0, query=(("", "x"),)),
        RouteSpec("r", 0, headers=tuple((f"x{number}", "") for number in range(65))),
    ],
)  # fmt: skip
def test_wrong_matches_are_refused(route):
    with pytest.raises(ValueError, match=r"routes\[0\].*must"):
        found([route])


def test_too_many_headers_in_a_question_are_refused():
    with pytest.raises(ValueError, match="headers"):
        found([RouteSpec("r", 0)], headers=[("a", "b")] * 129)


def test_tables_of_the_same_routes_share_their_matches_which_outlive_each(nothing_left):
    figures = Figures(1)
    routes = [RouteSpec(f"r{n}", 0, hosts=(f"h{n}.example.com",)) for n in range(50)]
    table = table_of(figures, routes=routes)
    blocks = live_blocks()["table"]
    after = Table(dataclasses.replace(table.spec, generation=2), figures, table)
    assert live_blocks()["table"] - blocks == 1  # the block of its own
    del table
    gc.collect()
    assert [match(after, f"h{n}.example.com", "/") for n in (0, 49)] == [0, 49]
    other = Table(dataclasses.replace(after.spec, routes=after.spec.routes[::-1]), figures, after)
    assert [match(other, f"h{n}.example.com", "/") for n in (0, 49)] == [49, 0]
    del after, other
