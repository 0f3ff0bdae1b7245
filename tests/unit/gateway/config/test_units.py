"""Units: every kind of value, what it takes, what it refuses, that it is written back as itself."""

import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import _leaves as leaves
from gateway.config import _units as units
from gateway.config._leaves import Leaf
from gateway.model import Address, Duration, Statuses

FOLDER = Path("/etc/isochrone")
DURATION = leaves.duration("0s", "168h")
SIZE = leaves.size("1B", "1024GiB", or_none=True)
COUNT = leaves.whole(1, 64)
LAT = leaves.number(-90, 90)
NUMBERS = leaves.choice(307, 308)
PACE = leaves.share(0.01, 1)
V4, V6 = ipaddress.IPv4Network, ipaddress.IPv6Network

TAKEN = [
    (DURATION, "250ms", 0.25),
    (DURATION, "10s", 10.0),
    (DURATION, "2m", 120.0),
    (DURATION, "1h", 3600.0),
    (DURATION, "1.5s", 1.5),
    (DURATION, "0s", 0.0),
    (SIZE, "512B", 512),
    (SIZE, "64KiB", 65536),
    (SIZE, "8MiB", 8 << 20),
    (SIZE, "1GiB", 1 << 30),
    (SIZE, 0, 0),
    (SIZE, 4096, 4096),
    (COUNT, 1, 1),
    (COUNT, 64, 64),
    (LAT, -90, -90.0),
    (LAT, 50.11, 50.11),
    (units.SHARE, "20%", 0.2),
    (units.SHARE, "0.5%", 0.005),
    (units.SHARE, 0.2, 0.2),
    (units.SHARE, 1, 1.0),
    (units.SHARE, 0, 0.0),
    (units.SHARE, "100%", 1.0),
    (units.BIND, "0.0.0.0:8080", Address("0.0.0.0", 8080)),
    (units.BIND, "[::]:0", Address("::", 0)),
    (units.BIND, "[2001:DB8:0::1]:80", Address("2001:db8::1", 80)),
    (units.BIND, "unix:/run/x.sock", Address("/run/x.sock", 0)),
    (units.ENDPOINT, "192.0.2.1:8080", Address("192.0.2.1", 8080)),
    (units.ENDPOINT, "Web.Example.com:80", Address("web.example.com", 80)),
    (units.ENDPOINT, "Web.Example.com.:80", Address("web.example.com.", 80)),  # no search domain is for it
    (units.ENDPOINT, "Localhost.:80", Address("localhost", 80)),
    (units.ENDPOINT, "my_service:65535", Address("my_service", 65535)),
    (units.ENDPOINT, "unix:/run/x.sock", Address("/run/x.sock", 0)),
    (units.PREFIX, "10.0.0.0/8", V4("10.0.0.0/8")),
    (units.PREFIX, "192.0.2.1", V4("192.0.2.1/32")),
    (units.PREFIX, "2001:db8::/32", V6("2001:db8::/32")),
    (units.STATUSES, "200-399", Statuses(200, 399)),
    (units.STATUSES, "204", Statuses(204, 204)),
    (units.STATUSES, 204, Statuses(204, 204)),
    (units.PATH, "a.mmdb", FOLDER / "a.mmdb"),
    (units.PATH, "/x/a.mmdb", Path("/x/a.mmdb")),
    (units.PATH, "~/a", Path.home() / "a"),
    (units.LOG_PATH, "-", "-"),
    (units.LOG_PATH, "log", FOLDER / "log"),
    (units.HOST, "Shop.Example.com.", "shop.example.com"),
    (units.HOST, "*.example.com", "*.example.com"),
    (units.HOST, "[2001:DB8::1]", "[2001:db8::1]"),
    (units.HOST, "192.0.2.1", "192.0.2.1"),
    (units.HOST, "localhost", "localhost"),
    (units.ALLOW, "link-local", "link-local"),
    (units.ALLOW, "127.0.0.1", V4("127.0.0.1/32")),
    (units.COUNTRY, "NO", "NO"),
    (units.CONTINENT, "NA", "NA"),
    (units.NAME, "eu-1.a_b", "eu-1.a_b"),
    (units.METHOD, "M-SEARCH", "M-SEARCH"),
    (units.URL_PATH, "/a/b%20c", "/a/b%20c"),
    (units.PROBE_PATH, "/healthz?full=1", "/healthz?full=1"),
    (units.HOST_FIELD, "a.b:8080", "a.b:8080"),
    (units.URL, "https://fra.example.com", "https://fra.example.com"),
    (units.URL, "https://Fra.example.com:8443/", "https://fra.example.com:8443"),
    (units.URL, "http://[2001:DB8::1]:80", "http://[2001:db8::1]:80"),
    (units.FOLDER, "state", FOLDER / "state"),
    (units.TOKEN, "__Host-pop", "__Host-pop"),
    (NUMBERS, 308, 308),
    (PACE, "1%", 0.01),
    (PACE, 1, 1.0),
    (units.WORKERS, "auto", "auto"),
    (units.WORKERS, 64, 64),
    (units.KUBE_NAME, "web-1", "web-1"),
    (units.KUBE_PORT, "http", "http"),
    (units.KUBE_PORT, 8080, 8080),
    (units.FLAG, True, True),
    (units.WORDS, "arn:aws:eks/x@y", "arn:aws:eks/x@y"),
    (units.HEADERS, {"x-b": "1", "X-A": "é"}, (("X-A", "é"), ("x-b", "1"))),
    (units.QUERY, {"a": ""}, (("a", ""),)),
    (units.PATHS, {"nyc": "84ms", "fra": "0.1ms"}, (("fra", Duration(0.0001)), ("nyc", Duration(0.084)))),
    (units.PATHS, {}, ()),
]

REFUSED = [
    *(
        (DURATION, raw)
        for raw in (5, 5.0, True, None, "", "5", "s", "-1s", "+1s", "1 s", "1S", "1d", "1h30m", "1e3s", "01s", ".5s", "169h", "1s\n", "٣s")
    ),
    *((SIZE, raw) for raw in ("64KB", "64k", "64", "-1B", "1.5MiB", "0KiB0", -1, True, 1.0, "2048GiB", "9999999999999B")),
    *((leaves.size("1KiB", "60KiB"), raw) for raw in (0, "0B", "61KiB", 1023)),
    *((COUNT, raw) for raw in (0, 65, "1", 1.0, True, None)),
    *((LAT, raw) for raw in (90.1, -91, "1", True, float("nan"), float("inf"))),
    *((units.SHARE, raw) for raw in ("20", "20 %", "101%", 1.1, -0.1, True, "-1%", "%")),
    *(
        (units.BIND, raw)
        for raw in (":8080", "8080", "localhost:80", "0.0.0.0", "0.0.0.0:", "0.0.0.0:65536", "0.0.0.0:-1", "::1:80", "[::1]", "[::1%lo]:80")
    ),
    *(
        (units.BIND, raw)
        for raw in (8080, "unix:", "unix:x.sock", "unix:/run/", "unix:/" + "x" * 107, "010.0.0.1:80", "1.2.3:80", "[1.2.3.4]:80", "a b:80")
    ),
    *(
        (units.ENDPOINT, raw)
        for raw in ("192.0.2.1:0", "10.1:80", "300.1.1.1:80", "a..b:80", "-a.b:80", "http://a:80", "a/b:80", "é.com:80", "x" * 64 + ":1")
    ),
    *((units.PREFIX, raw) for raw in ("10.0.0.1/8", "10.0.0.0/33", "x", "10.0.0.0/255.0.0.0", "fe80::%lo/64", 10, "", "2001:db8::1/32")),
    *((units.STATUSES, raw) for raw in ("399-200", "99", 600, "2xx", "200-", True)),
    *((units.PATH, raw) for raw in ("", 1, None, "a\0b", "~no-such-user-here/x")),
    *((units.HOST, raw) for raw in ("", "*", "a.*.com", "*example.com", "a:80", "a b", "é.com", "[::1", "a/b", 5, "x." * 127 + "x")),
    *((units.COUNTRY, raw) for raw in ("de", "UK", "XX", "DEU", "", False)),
    *((units.NAME, raw) for raw in ("", "-a", "a b", "a/b", "x" * 64, 1)),
    *((units.URL_PATH, raw) for raw in ("", "a", "/a?b", "/a#b", "/a b", "/é", "/\n")),
    *(
        (units.URL, raw)
        for raw in ("ftp://a", "https://a/b", "https://", "a", "https://*.a.b", "https://u@a", "https://a?b", "https://a:x")
    ),
    *(
        (units.URL, raw)
        for raw in ("https://a\x01b", 'https://a"b', "https://é.com", "https://a:0", "https://[::1", "https://::1", "https://a b")
    ),
    *((units.TOKEN, raw) for raw in ("", "a b", "a;b", "a=b", "é", "x" * 129, 1)),
    *((NUMBERS, raw) for raw in (307.0, "307", 302, True, None)),
    *((PACE, raw) for raw in (0, "0%", 0.009, "101%", True)),
    *((units.KUBE_PORT, raw) for raw in (0, 65536, "8080", "Http", "-a", "a" * 16, True)),
    *((units.WORKERS, raw) for raw in (0, 65, "4", True, None, "Auto")),
    *((units.FLAG, raw) for raw in ("yes", 1, 0, None)),
    *((units.METHOD, raw) for raw in ("get", "", "A B", 1)),
    *((units.HEADERS, raw) for raw in ([], "a", {"a b": "x"}, {"Host": "x"}, {"a": 1}, {"a": "x\ny"})),
    *((units.QUERY, raw) for raw in ({"a=b": "x"}, {"a": None})),
    *((units.PATHS, raw) for raw in ([], "84ms", {"nyc": 84}, {"nyc": "84"}, {"nyc": "0ms"}, {"nyc": "11s"}, {"nyc": None}, {"nyc": {}})),
]


@pytest.mark.parametrize(("leaf", "raw", "value"), TAKEN, ids=lambda case: "" if isinstance(case, Leaf) else repr(case))
def test_value_is_taken_and_written_back_as_itself(leaf, raw, value):
    taken = leaf.parse(raw, FOLDER)
    assert taken == value
    assert type(taken) is type(value) or isinstance(taken, float | int)
    assert leaf.parse(leaf.show(taken), FOLDER) == taken


@pytest.mark.parametrize(("leaf", "raw"), REFUSED, ids=lambda case: "" if isinstance(case, Leaf) else repr(case)[:20])
def test_value_is_refused_in_words(leaf, raw):
    with pytest.raises(ValueError) as caught:
        leaf.parse(raw, FOLDER)
    text = str(caught.value)
    assert text == "" or text.startswith("must ") or " must be " in text, f"a foreign text reached the operator: {text}"


def test_refusals_help():
    for leaf, raw, hint in [
        (units.PREFIX, "10.1.2.3/8", "such as 10.0.0.0/8"),
        (units.ENDPOINT, "a:0", "a port from 1 to 65535"),
        (units.BIND, "unix:/" + "x" * 200, "at most 107 bytes"),
        (units.BIND, "[::ffff:127.0.0.1]:80", "written as IPv4, 127.0.0.1:80"),
        (units.HEADERS, {"host": "x"}, "use `hosts`"),
        (
            units.PATHS,
            {"fra": "3ms", "nyc": "84"},
            "must have a duration from 0.1ms to 10s, such as 250ms, 10s, 2m or 1h at 'nyc', got '84'",
        ),
        (units.PATHS, {"nyc": ["84ms"]}, "at 'nyc', got no duration"),
        (units.URL, "https://fra.b:0", "a port from 1 to 65535"),
    ]:
        with pytest.raises(ValueError, match=re.escape(hint)):
            leaf.parse(raw, FOLDER)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_any_address_is_written_back_as_itself(ip, port):
    address = Address(str(ip), port)
    is_mapped = ip.version == 6 and ip.ipv4_mapped is not None
    for leaf in (units.ENDPOINT,) if is_mapped else (units.BIND, units.ENDPOINT):
        assert leaf.parse(str(address), FOLDER) == address
    assert address.ip == ip
    assert not address.is_unix
