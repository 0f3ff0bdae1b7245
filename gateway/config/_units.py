"""Units of the configuration: turns what YAML holds into types, at the edge. Knows no key and no section.

A `Leaf` is one kind of value: how it is read, what is legal in words (the same words in faults, in the JSON Schema and in
docs/config.md), how it is written back. `parse` raises ValueError: without a text the legal words say it all, with one that
text replaces them. Writing and reading again gives an equal value.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from gateway.model import Address, Duration, Network, Size, Statuses, read_duration
from gateway.model._values import DURATION, UNITS_BYTES
from geoip.countries import COUNTRIES, GROUPS

ILLEGAL = "illegal"  # type of a fault that ends in what came
FAULT = "fault"  # type of a fault whose text is whole

_SIZE = r"(0|[1-9][0-9]{0,13})(B|KiB|MiB|GiB)"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}"
_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"  # YAML has two line breaks more than others: no value of ours holds one
_REFERENCE = {"type": "string", "pattern": r"\$\{|^file:"}  # what is legal is judged once it is put in
_MAX_PAIRS = 64  # of one match, as the core holds them
_NOT_ISO = {"UK": "GB", "EL": "GR"}  # what the European Union calls them
_MAX_UNIX_BYTES = 107  # sockaddr_un.sun_path, less its NUL


@dataclass(frozen=True, eq=False)  # compared by identity: typing must hash it, and no two are alike
class Leaf:
    """One kind of value, as pydantic metadata: `Annotated[Duration, duration("1ms", "1h")]`."""

    parse: Callable[[Any, Path], Any]  # the raw value, the folder that relative paths start from
    legal: str  # completes "must be ..."
    schema: Mapping[str, Any]  # JSON Schema
    show: Callable[[Any], Any] = field(default=str)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(raw: Any, info: ValidationInfo) -> Any:
            try:
                return self.parse(raw, (info.context or {}).get("folder", Path()))
            except ValueError as error:
                raise PydanticCustomError(ILLEGAL, "{text}", {"text": str(error) or f"must be {self.legal}"}) from None

        return core_schema.with_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(self.show)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [dict(self.schema), _REFERENCE]}


def as_is(value: Any) -> Any:
    return value


def matched(pattern: str, raw: Any) -> re.Match[str]:
    """The whole of a text, or ValueError: also for what is no text."""
    found = re.fullmatch(pattern, raw) if isinstance(raw, str) else None
    if found is None:
        raise ValueError
    return found


def text(legal: str, pattern: str, **schema: Any) -> Leaf:
    return Leaf(lambda raw, _: matched(pattern, raw)[0], legal, {"type": "string", "pattern": f"^(?:{pattern})$", **schema}, as_is)


def choice(*values: str | int) -> Leaf:
    """One of a few words, numbers or truth values."""

    def parse(raw: Any, _: Path) -> str | int:
        found: str | int | None = next((value for value in values if type(value) is type(raw) and value == raw), None)
        if found is None:
            raise ValueError
        return found

    words = [str(value).lower() if type(value) is bool else str(value) for value in values]
    legal = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return Leaf(parse, legal, {"enum": list(values)}, as_is)


def whole(low: int, high: int, unit: str = "") -> Leaf:
    def parse(raw: Any, _: Path) -> int:
        if type(raw) is not int or not low <= raw <= high:
            raise ValueError
        return raw

    return Leaf(parse, f"a whole number from {low} to {high}{unit}", {"type": "integer", "minimum": low, "maximum": high}, as_is)


def number(low: float, high: float, unit: str = "") -> Leaf:
    def parse(raw: Any, _: Path) -> float:
        if type(raw) not in (int, float) or not math.isfinite(raw) or not low <= raw <= high:
            raise ValueError
        return float(raw)

    return Leaf(parse, f"a number from {low:g} to {high:g}{unit}", {"type": "number", "minimum": low, "maximum": high}, as_is)


def duration(low: str, high: str) -> Leaf:
    first, last = read_duration(low), read_duration(high)

    def parse(raw: Any, _: Path) -> Duration:
        value = read_duration(raw)
        if not first <= value <= last:
            raise ValueError
        return value

    return Leaf(parse, f"a duration from {low} to {high}, such as 250ms, 10s, 2m or 1h", {"type": "string", "pattern": f"^(?:{DURATION})$"})


def size(low: str, high: str, *, or_none: bool = False, or_auto: bool = False) -> Leaf:
    """`or_none`: 0 is legal beside the range, and means no limit. `or_auto`: so is that word."""
    first, last = (int(matched(_SIZE, bound)[1]) * UNITS_BYTES[matched(_SIZE, bound)[2]] for bound in (low, high))

    def parse(raw: Any, _: Path) -> Size | str:
        if or_auto and raw == "auto":
            return "auto"
        if type(raw) is int:
            value = raw
        else:
            found = matched(_SIZE, raw)
            value = int(found[1]) * UNITS_BYTES[found[2]]
        if not first <= value <= last and not (or_none and value == 0):
            raise ValueError
        return Size(value)

    legal = f"a size from {low} to {high}, such as 512B, 64KiB or 8MiB" + (", or 0 for no limit" if or_none else "")
    schema: list[dict[str, Any]] = [{"type": "string", "pattern": f"^(?:{_SIZE})$"}, {"type": "integer", "minimum": 0}]
    return Leaf(parse, "auto, or " + legal if or_auto else legal, {"anyOf": [{"const": "auto"}, *schema] if or_auto else schema})


def share(low: float, high: float, legal: str = "") -> Leaf:
    def parse(raw: Any, _: Path) -> float:
        found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%", raw) if isinstance(raw, str) else None
        value = float(Decimal(found[1]) / 100) if found else raw
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError
        return float(value)

    schema = {"anyOf": [{"type": "string", "pattern": "%$"}, {"type": "number", "minimum": low, "maximum": high}]}
    return Leaf(parse, legal or f"a share from {low * 100:g}% to {high * 100:g}%, such as 10% or 0.1", schema, as_is)


def _read_port(port: str, low: int) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not low <= int(port) <= 65535:
        raise ValueError(f"must have a port from {low} to 65535")
    return int(port)


def _read_address(raw: Any, lowest_port: int, *, is_bind: bool) -> Address:
    if not isinstance(raw, str):
        raise ValueError
    if raw.startswith("unix:"):
        path = raw.removeprefix("unix:")
        if not re.fullmatch(f"/{_PRINTABLE}*", path) or path.endswith("/"):
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
        path = Path(matched(f"{_PRINTABLE}+", raw)[0]).expanduser()
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


def _read_flag(raw: Any, _: Path) -> bool:
    if not isinstance(raw, bool):
        raise ValueError
    return raw


def pairs(name: str, name_pattern: str, forbidden: Mapping[str, str]) -> Leaf:
    """A mapping of names to exact values, kept as sorted pairs: those can be compared and hashed."""

    def parse(raw: Any, _: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(raw, dict):
            raise ValueError
        if len(raw) > _MAX_PAIRS:
            raise ValueError(f"must have at most {_MAX_PAIRS} names, got {len(raw)}")
        for key, value in raw.items():
            if not re.fullmatch(name_pattern, key):
                raise ValueError(f"must have {name} names as keys, got {key!r}")
            if key.lower() in forbidden:
                raise ValueError(f"must not have {key!r}: {forbidden[key.lower()]}")
            if not isinstance(value, str):
                came = str(value).lower() if isinstance(value, bool) else value if isinstance(value, int | float) else "no text"
                raise ValueError(f"must have a text at {key!r}, got {came}; what looks like something else wants quotes")
            if not re.fullmatch(f"{_PRINTABLE}*", value):
                raise ValueError(f"must have a text without control characters at {key!r}, got one with some")
        return tuple(sorted(raw.items()))

    legal = f"a mapping of {name} names to exact values"
    return Leaf(parse, legal, {"type": "object", "additionalProperties": {"type": "string"}}, dict)


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
WORDS = text("a text", _PRINTABLE + "{1,253}")
HEADERS = pairs("header", _TOKEN, {"host": "use `hosts`"})
_FRAMING = dict.fromkeys(("connection", "content-length", "transfer-encoding", "upgrade", "expect"), "the probe says it")
PROBE_HEADERS = pairs("header", _TOKEN, {"host": "use `host`", **_FRAMING})
MODE = text('the mode of a file in octal and in quotes, such as "0660"', r"0[0-7]{3}")
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
OWNER = text("a user, user:group or :group, by name or number, such as isochrone:www-data", rf"{_USER}(:{_USER})?|:{_USER}")
QUERY = pairs("query", r"[^\x00-\x20\x7f-\x9f\u2028\u2029&=#]{1,128}", {})
