"""Units of the configuration: turns what YAML holds into types, at the edge. Knows no key and no section; how a value is read and shown
at all is `_leaves`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.config._leaves import PRINTABLE, Leaf, as_is, choice, duration, matched, pairs, share, text
from gateway.model import Address, Duration, Network, Statuses
from geoip.countries import COUNTRIES, GROUPS

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"
_NOT_ISO = {"UK": "GB", "EL": "GR"}  # what the European Union calls them
_MAX_UNIX_BYTES = 107  # sockaddr_un.sun_path, less its NUL


def _read_port(port: str, low: int) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not low <= int(port) <= 65535:
        raise ValueError(f"must have a port from {low} to 65535")
    return int(port)


def _read_address(raw: Any, lowest_port: int, *, is_bind: bool) -> Address:
    if not isinstance(raw, str):
        raise ValueError
    if raw.startswith("unix:"):
        path = raw.removeprefix("unix:")
        if not re.fullmatch(f"/{PRINTABLE}*", path) or path.endswith("/"):
            raise ValueError("must be unix: and an absolute path, such as unix:/run/isochrone.sock")
        if len(path.encode()) > _MAX_UNIX_BYTES:
            raise ValueError(f"must have a path of at most {_MAX_UNIX_BYTES} bytes: the kernel takes no longer one for a unix socket")
        return Address(path, 0)
    host, colon, port = raw.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not is_bracketed):
        raise ValueError
    if is_bracketed:
        ip = ipaddress.IPv6Address(_without_scope(host[1:-1]))
        if is_bind and ip.ipv4_mapped:
            raise ValueError(f"must be written as IPv4, {ip.ipv4_mapped}:{port}: a socket of IPv6 can't listen there")
        return Address(str(ip), _read_port(port, lowest_port))
    if re.fullmatch(r"[0-9.]+", host):  # never a name: 010.1.1.1 and 10.1 mean different things to different resolvers
        return Address(str(ipaddress.IPv4Address(host)), _read_port(port, lowest_port))
    if is_bind or len(host) > 253 or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*\.?", host):
        raise ValueError
    # A dot at the end says that the name is whole. The look-up must hear it, or the machine's search domains are asked first.
    host = host.lower()
    return Address("localhost" if host == "localhost." else host, _read_port(port, lowest_port))


def _without_scope(host: str) -> str:
    if "%" in host:
        raise ValueError("must not name an interface (%)")
    return host


def _read_prefix(raw: Any, _: Path) -> Network:
    if not isinstance(raw, str) or "%" in raw:
        raise ValueError
    network = ipaddress.ip_network(raw, strict=False)
    if "/" in raw and not raw.partition("/")[2].isdigit():
        raise ValueError  # a netmask: legal for ipaddress, read as its inverse by some tools
    if ipaddress.ip_address(raw.partition("/")[0]) != network.network_address:
        raise ValueError(f"must have no bits beyond its length, such as {network}")
    if network.version == 6 and network.prefixlen >= 96 and (mapped := network.network_address.ipv4_mapped):
        return ipaddress.IPv4Network((mapped, network.prefixlen - 96))  # the same clients: a second word on them must be seen
    return network


def _read_allowed(raw: Any, folder: Path) -> Network | str:
    return str(raw) if raw in ALLOWED else _read_prefix(raw, folder)


def _plain(parse: Callable[[Any, Path], Any]) -> Callable[[Any, Path], Any]:
    """The ipaddress module's own texts say less than ours: keep ours."""

    def wrapped(raw: Any, folder: Path) -> Any:
        try:
            return parse(raw, folder)
        except (ipaddress.AddressValueError, ipaddress.NetmaskValueError):
            raise ValueError from None
        except ValueError as error:
            if "does not appear to be" in str(error):
                raise ValueError from None
            raise

    return wrapped


def _read_statuses(raw: Any, _: Path) -> Statuses:
    found = matched(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", str(raw) if type(raw) is int else raw)
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError
    return Statuses(first, last)


def _read_path(raw: Any, folder: Path) -> Path:
    try:
        path = Path(matched(f"{PRINTABLE}+", raw)[0]).expanduser()
    except RuntimeError:
        raise ValueError("must be a path; there is no home folder of that name") from None
    return folder / path


def _read_log_path(raw: Any, folder: Path) -> Path | str:
    path: Path | str = "-" if raw == "-" else _read_path(raw, folder)
    return path


def _read_host(raw: Any, _: Path) -> str:
    if not isinstance(raw, str):
        raise ValueError
    host = raw.lower().rstrip(".")
    if len(host) > 253:
        raise ValueError
    if host.startswith("[") and host.endswith("]"):
        return f"[{ipaddress.IPv6Address(_without_scope(host[1:-1]))}]"
    matched(rf"(\*\.)?{_LABEL}(\.{_LABEL})*", host)
    return host


def _read_country(raw: Any, _: Path) -> str:
    if not isinstance(raw, str) or raw not in COUNTRIES:
        raise ValueError(_meant_country(raw))
    return raw


def _read_countries(raw: Any, _: Path) -> str:
    if not isinstance(raw, str) or raw not in (*COUNTRIES, *GROUPS):
        raise ValueError(_meant_country(raw))
    return raw


def _meant_country(raw: Any) -> str:
    """For what looks like a code and is none, which the legal words alone would leave in the dark."""
    meant = _NOT_ISO.get(raw.upper()) if isinstance(raw, str) else None
    return f"must be an ISO 3166 code, which is {meant} for {raw}" if meant else ""


def _read_url(raw: Any, _: Path) -> str:
    """Without the slash at its end: a path follows. Clients are sent there, so it must be whole."""
    found = matched(r"(https?://)([^\s/?#@:\[\]]+|\[[^\s\]]+\])(?::([0-9]{1,5}))?/?", raw)
    host = _read_host(found[2], Path())
    if host.startswith("*"):
        raise ValueError
    return f"{found[1]}{host}" + (f":{_read_port(found[3], 1)}" if found[3] else "")


def _read_kube_port(raw: Any, _: Path) -> str | int:
    if type(raw) is int and 1 <= raw <= 65535:
        return raw
    return matched(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", raw)[0]


def _read_workers(raw: Any, _: Path) -> int | str:
    if raw == "auto" or (type(raw) is int and 1 <= raw <= 64):
        workers: int | str = raw
        return workers
    raise ValueError


def _read_paths(raw: Any, folder: Path) -> tuple[tuple[str, Duration], ...]:
    """Sorted pairs: those can be compared and hashed."""
    if not isinstance(raw, dict):
        raise ValueError
    found = []
    for name, value in sorted(raw.items()):
        try:
            found.append((name, PATH_MS.parse(value, folder)))
        except ValueError:
            came = repr(value) if isinstance(value, str | int | float) else "no duration"
            raise ValueError(f"must have {PATH_MS.legal} at {name!r}, got {came}") from None
    return tuple(found)


def _read_flag(raw: Any, _: Path) -> bool:
    if not isinstance(raw, bool):
        raise ValueError
    return raw


_PORT_WORDS = 'such as "192.0.2.1:8080", "[2001:db8::1]:8080"'
_BIND_WORDS = (
    f'an IP address and port or a unix socket, {_PORT_WORDS}, "0.0.0.0:8080" (all of IPv4), "[::]:8080" (all of IPv6) or "unix:/run/x.sock"'
)
_ENDPOINT_WORDS = f'host and port or a unix socket, {_PORT_WORDS}, "web.example.com:8080" or "unix:/run/x.sock"'
_TEXT = {"type": "string", "minLength": 1}

SHARE = share(0, 1, "a share such as 20% or 0.2, at most 1")
BIND = Leaf(
    _plain(lambda raw, _: _read_address(raw, 0, is_bind=True)), _BIND_WORDS, {"type": "string", "pattern": "^(unix:/.+|.+:[0-9]{1,5})$"}
)
ENDPOINT = Leaf(
    _plain(lambda raw, _: _read_address(raw, 1, is_bind=False)),
    _ENDPOINT_WORDS,
    {"type": "string", "pattern": "^(unix:/.+|.+:[0-9]{1,5})$"},
)
ALLOWED = ("loopback", "link-local", "own-listeners")
ALLOW = Leaf(_plain(_read_allowed), "loopback, link-local, own-listeners or an address prefix such as 10.0.0.0/8", _TEXT)
PREFIX = Leaf(_plain(_read_prefix), "an address prefix such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1", _TEXT)
STATUSES = Leaf(
    _read_statuses,
    "an HTTP status such as 204 or a range such as 200-399",
    {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"type": "string", "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"}]},
)
PATH = Leaf(_read_path, "the path of a file, relative to the folder of the configuration", _TEXT)
FOLDER = Leaf(_read_path, "the path of a folder, relative to the folder of the configuration", _TEXT)
LOG_PATH = Leaf(_read_log_path, 'the path of a file, or "-" for standard output', _TEXT)
FLAG = Leaf(_read_flag, "true or false", {"type": "boolean"}, as_is)
NAME = text("a name of at most 63 letters, digits, dots, dashes and underscores", _NAME)
HOST = Leaf(
    _plain(_read_host),
    'a host without a port, such as shop.example.com, or "*.example.com" for all below it (names beyond ASCII as xn--)',
    _TEXT,
    as_is,
)
HOST_FIELD = text("the value of a Host field, such as shop.example.com", r"[A-Za-z0-9._\[\]:-]{1,255}")
URL_PATH = text(
    "a path of at most 8192 bytes that begins with / and has neither spaces nor ? nor # (what is beyond ASCII as %xx)",
    r'/[!"$->@-~]{0,8191}',
)
PROBE_PATH = text("a path that begins with / and has neither spaces nor # (what is beyond ASCII as %xx)", r'/[!"$-~]*')
TOKEN = text("a name of letters, digits and !#$%&'*+.^_`|~-, at most 128 of them", _TOKEN)
METHOD = text("an HTTP method in capitals, such as GET", r"[A-Z][A-Z-]{0,31}")
COUNTRY = Leaf(_read_country, "an ISO 3166 code of two capitals, such as DE", {"type": "string", "pattern": "^[A-Z]{2}$"}, as_is)
COUNTRIES_OF = Leaf(
    _read_countries,
    "an ISO 3166 code of two capitals, such as DE, or EU27 or EEA for all states of the European Union or Economic Area",
    {"anyOf": [{"type": "string", "pattern": "^[A-Z]{2}$"}, {"enum": ["EU27", "EEA"]}]},
    as_is,
)
CONTINENT = choice("AF", "AN", "AS", "EU", "NA", "OC", "SA")
URL = Leaf(_plain(_read_url), "a URL without a path, such as https://fra.example.com", {"type": "string", "pattern": "^https?://"}, as_is)
WORKERS = Leaf(
    _read_workers,
    "auto or a whole number from 1 to 64",
    {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 64}]},
    as_is,
)
KUBE_NAME = text("a Kubernetes name: at most 63 small letters, digits and dashes", r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
KUBE_PORT = Leaf(
    _read_kube_port,
    "the name or number of one of the Service's ports",
    {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string", "pattern": "^[a-z0-9-]{1,15}$"}]},
    as_is,
)
WORDS = text("a text", PRINTABLE + "{1,253}")
HEADERS = pairs("header", _TOKEN, {"host": "use `hosts`"})
_FRAMING = dict.fromkeys(("connection", "content-length", "transfer-encoding", "upgrade", "expect"), "the probe says it")
PROBE_HEADERS = pairs("header", _TOKEN, {"host": "use `host`", **_FRAMING})
MODE = text('the mode of a file in octal and in quotes, such as "0660"', r"0[0-7]{3}")
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
OWNER = text("a user, user:group or :group, by name or number, such as isochrone:www-data", rf"{_USER}(:{_USER})?|:{_USER}")
PATH_MS = duration("0.1ms", "10s")
PATHS = Leaf(
    _read_paths,
    "a mapping of names of PoPs to round trips, such as {nyc: 84ms}",
    {"type": "object", "additionalProperties": dict(PATH_MS.schema)},
    lambda paths: {name: str(trip) for name, trip in paths},
)
QUERY = pairs("query", r"[^\x00-\x20\x7f-\x9f\u2028\u2029&=#]{1,128}", {})
