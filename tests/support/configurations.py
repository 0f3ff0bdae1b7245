"""Configurations of all kinds, for properties of what is read, built and served.

Keys are found in the models, so that a new one is among them from its first day: each is left out or stands at an end of what is legal.
What names something else, must fit another key or leads outside of the file is said by hand. All are legal.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.config import _limits as limits
from gateway.config import _places as model
from gateway.config import _routes as steering
from gateway.config import _services as services
from gateway.config import _units as units
from gateway.config._faults import sections
from gateway.config._leaves import Leaf
from tests.checks.config_docs import is_list, leaf_of

Draw = Callable[[st.SearchStrategy[Any]], Any]
Said = dict[str, Any]

# Each once where a list is drawn.
TEXTS: dict[Leaf, Sequence[Any]] = {
    units.NAME: ["a", "A.b_c-d", "n" * 63],
    units.TOKEN: ["x", "!#$%&'*+.^_`|~-", "t" * 128],
    units.HOST: ["shop.example", "*.shop.example", "[::1]", "192.0.2.1", "SHOP.example.", "a." * 126 + "a"],
    units.HOST_FIELD: ["shop.example", "[::1]:8080", "h" * 255],
    units.URL_PATH: ["/", "/a", "/a/", "/a" * 64, "/" + "a" * 8191, "/%7E!~'"],
    units.PROBE_PATH: ["/", "/healthz?deep=1", "/" + "h" * 8_000],
    units.METHOD: ["GET", "M-SEARCH", "M" * 32],
    units.COUNTRY: ["DE", "US", "JP", "AQ"],
    units.COUNTRIES_OF: ["DE", "US", "EU27", "EEA"],
    units.URL: ["https://a.example", "http://[2001:db8::1]:65535/", "http://" + "a." * 126 + "a"],
    units.PREFIX: ["10.0.0.0/8", "10.1.0.0/16", "127.0.0.0/8", "0.0.0.0/0", "::/0", "::ffff:10.2.0.0/112", "2001:db8::/32", "::1"],
    units.ALLOW: ["loopback", "link-local", "own-listeners", "10.0.0.0/8", "::/0"],
    units.STATUSES: [200, "100-599", "599"],
    units.HEADERS: [{}, {"X-A": ""}, {f"h{n}": "v" * 100 for n in range(64)}, {"x": "v" * 8_000}],
    units.PROBE_HEADERS: [{}, {"authorization": "Bearer x"}, {f"h{n}": "v" for n in range(64)}],
    units.QUERY: [{}, {"a": ""}, {f"q{n}": "%20" for n in range(64)}, {"q" * 128: "v" * 9000}],
}
LATER = ("0s", "100ms", "1s", "1m", "1h", "24h")  # durations in their order, for those that must not pass another


@dataclass(frozen=True)
class Around:
    """What a gateway finds around it: where it may listen, what stands behind it, where its files are."""

    folder: Path
    listeners: Sequence[Mapping[str, Any]] = ({"bind": "127.0.0.1:0"}, {"bind": "[::1]:0"}, {"bind": "[::]:0", "dual": True})
    admin: str = "127.0.0.1:0"
    status: str = "127.0.0.1:0"
    endpoints: Sequence[str] = ("192.0.2.1:80", "[2001:db8::1]:65535", "[::ffff:192.0.2.2]:80", "unix:/run/" + "x" * 102, "web.example:1")
    workers: Sequence[int] = (1, 2, 64)
    files: Sequence[str] = field(default=("key", "token"))

    def prepare(self) -> None:
        for name in self.files:
            (self.folder / name).write_text("k" * 16)
            (self.folder / name).chmod(0o600)


def ends(leaf: Leaf) -> Sequence[Any]:
    """The least and the most, or each of a few."""
    if leaf in TEXTS:
        return TEXTS[leaf]
    schemas = [leaf.schema, *leaf.schema.get("anyOf", ())]
    if found := [one for schema in schemas for one in schema.get("enum", ())]:
        return found
    if leaf is units.FLAG:
        return [False, True]
    if bounds := re.search(r"from ([0-9]+[A-Za-z]+) to ([0-9]+[A-Za-z]+)", leaf.legal):
        return [*bounds.groups(), *([0] if "or 0 for" in leaf.legal else [])]
    return next([schema["minimum"], schema["maximum"]] for schema in schemas if "maximum" in schema)


def some(draw: Draw, values: Sequence[Any], least: int = 1, most: int = 3) -> list[Any]:
    """Of these so many, each once."""
    return draw(st.lists(st.sampled_from(values), min_size=min(least, len(values)), max_size=most, unique_by=repr))


def one(draw: Draw, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def is_said(draw: Draw) -> bool:
    return one(draw, False, False, True)


def section(draw: Draw, kind: type[model.Section], **said: Any) -> Said:
    """`said`: what is by hand; None: left out."""
    found = {}
    for key, known in kind.model_fields.items():
        if key in said:
            found[key] = said[key]
        elif known.is_required() or is_said(draw):
            inner = next(sections(known.annotation), None)
            leaf = leaf_of(known.annotation, known.metadata)
            if inner is not None:
                found[key] = section(draw, inner[0])
            elif leaf is not None:
                is_many = is_list(known.annotation) and leaf not in known.metadata
                found[key] = some(draw, ends(leaf)) if is_many else draw(st.sampled_from(ends(leaf)))
    return {key: value for key, value in found.items() if value is not None}


def maybe(draw: Draw, make: Callable[[], Any]) -> Any:
    return make() if is_said(draw) else None


def named(draw: Draw, prefix: str) -> list[str]:
    """Of the least length and of the most."""
    return [f"{prefix}{n}".ljust(one(draw, 1, 63), "x") for n in range(draw(st.integers(1, 4)))]


def capacity(draw: Draw) -> Said:
    shares = one(draw, {}, {"low": 0, "high": 1}, {"low": "10%", "high": "10.5%"}, {"high": "0.001%"}, {"low": "79.99%", "high": "80%"})
    return {"requests_in_flight": one(draw, 1, 2, 1000, 10_000_000), **shares}


def health(draw: Draw) -> Said:
    interval = one(draw, None, "100ms", "1s", "1h")
    up_to = LATER.index(interval or "1s")
    more: Said = {"type": "tcp", **dict.fromkeys(("path", "host", "headers", "expect"))}
    if is_http := is_said(draw):
        more = {"type": one(draw, "http", None)}
    return section(
        draw,
        services.Health,
        interval=interval,
        timeout=one(draw, None, "10ms", *LATER[1 : min(up_to, 3) + 1]),
        confirm_interval=one(draw, None, *LATER[1 : up_to + 1]),
        # A probe of TCP has none of these, and one of HTTP that is not said to be has one of them.
        **more,
        **({"path": one(draw, *TEXTS[units.PROBE_PATH])} if is_http else {}),
    )


def backend(draw: Draw, pop: str, around: Around) -> Said:
    return section(
        draw,
        services.Backend,
        pop=pop,
        endpoints=some(draw, around.endpoints),
        kubernetes=None,
        capacity=maybe(draw, lambda: capacity(draw)),
    )


def service(draw: Draw, name: str, others: Sequence[str], pops: Sequence[str], zone: str | None, around: Around) -> Said:
    """`others`: those that may stand in for it without leading back."""
    eject = one(draw, *LATER[2:5])
    outliers = section(draw, services.Outliers, eject=eject, eject_max=one(draw, None, *LATER[LATER.index(eject) :]))
    return section(
        draw,
        services.Service,
        name=name,
        health=maybe(draw, lambda: health(draw)),
        backends=[backend(draw, pop, around) for pop in some(draw, pops, most=4)],
        outliers=one(draw, None, outliers),
        on_unavailable=some(draw, others, 0) if others else None,
        prefer_zone=None if zone is None else one(draw, None, True),
    )


def match(draw: Draw) -> Said:
    path = one(draw, {"path_exact": None}, {"path_prefix": None})  # only one of them
    return section(draw, steering.Match, **path)


def permitted(draw: Draw, pops: Sequence[Said]) -> Said:
    """All PoPs, in one way or another."""
    ways: list[Said] = [{}, {"pops": [pop["name"] for pop in pops]}, {"continents": list(ends(units.CONTINENT))}]
    for one_, many in (("country", "countries"), ("region", "regions")):
        if all(one_ in pop for pop in pops):
            ways.append({many: [pop[one_] for pop in pops]})
    ways = [way for way in ways if "continents" not in way or all("continent" in pop or "country" in pop for pop in pops)]
    return one(draw, *ways)


def jurisdiction(draw: Draw, pops: Sequence[Said]) -> Any:
    clients = {"countries": TEXTS[units.COUNTRIES_OF], "continents": ends(units.CONTINENT)}
    key = one(draw, *clients)
    rule = {"clients": {key: some(draw, clients[key])}, "pops": permitted(draw, pops)}
    everyone = {"pops": permitted(draw, pops)}
    return one(draw, permitted(draw, pops), [rule], [everyone], [rule, everyone], [rule] * 999 + [everyone])


def affinity(draw: Draw) -> Said:
    kind = one(draw, {"cookie": "c"}, {"cookie": "k" * 128}, {"header": "X-Tenant"}, {"header": "t" * 128}, {"client": True})
    same_site = one(draw, None, "lax", "strict", "none")
    secure = one(draw, None, "auto", True) if same_site == "none" else one(draw, None, "auto", True, False)
    return section(draw, steering.Affinity, **{"cookie": None, "header": None, "client": None, **kind}, same_site=same_site, secure=secure)


def route(draw: Draw, name: str | None, targets: Sequence[str], pops: Sequence[Said], is_located: bool) -> Said:
    split = [{"service": one_, "weight": one(draw, 0, 1, 1_000_000)} for one_ in some(draw, targets)]
    split[0]["weight"] = one(draw, 1, 1_000_000)
    to: Said = one(draw, {"service": one(draw, *targets), "split": None}, {"service": None, "split": split})
    way = section(
        draw,
        steering.Steering,
        mode=one(draw, None, "proxy", "redirect") if all("public_url" in pop for pop in pops) else one(draw, None, "proxy"),
        leg=one(draw, None, "client-pop", "gateway-pop") if is_located else None,
        jurisdiction=maybe(draw, lambda: jurisdiction(draw, pops)),
        affinity=maybe(draw, lambda: affinity(draw)),
    )
    matches = [match(draw) for _ in range(draw(st.integers(0, 2)))]
    return section(draw, steering.Route, name=name, match=one(draw, None, matches or None), **to, steering=way)


def geoip(draw: Draw, pops: Sequence[str]) -> Said:
    places = [{"prefix": prefix} for prefix in some(draw, TEXTS[units.PREFIX], 0)]
    places += [{"asn": asn} for asn in some(draw, (1, 4_294_967_295), 0)]
    places += [{"asn": None, "country": country} for country in some(draw, TEXTS[units.COUNTRY], 0)]
    overrides = [section(draw, model.Override, **{"prefix": None, "asn": None, **place}) for place in places]
    pins = [{"prefix": prefix, "pops": some(draw, pops)} for prefix in some(draw, TEXTS[units.PREFIX], 0)]
    return section(
        draw, model.GeoIp, overrides=overrides, pins=pins, city=one(draw, None, "absent.mmdb"), asn=one(draw, None, ["absent.mmdb"])
    )


def listeners(draw: Draw, around: Around) -> list[Said]:
    """Unlike the rest of them all are legal together."""
    count = draw(st.integers(1, len(around.listeners)))
    return [{**how, "name": name} for how, name in zip(around.listeners[:count], ("web", "w" * 63, "0", "d"), strict=False)]


@st.composite
def configurations(draw: Draw, around: Around) -> Said:
    names, targets = named(draw, "p"), named(draw, "s")
    has_urls, is_located, zone = one(draw, False, True), one(draw, False, True), one(draw, None, "z")
    pops = [
        section(
            draw,
            model.Pop,
            name=name,
            public_url=one(draw, *TEXTS[units.URL]) if has_urls else None,
            capacity=maybe(draw, lambda: capacity(draw)),
            # Light takes 134 ms to the other side of the earth and back.
            paths=maybe(draw, lambda name=name: {other: one(draw, "134ms", "10s") for other in names if other != name}),
            kubernetes=None,
        )
        for name in names
    ]
    lameduck = one(draw, None, *LATER[:5])
    by_hand: Said = {
        "gateway": section(
            draw,
            model.Gateway,
            workers=one(draw, *around.workers),
            zone=zone,
            location={"lat": 90, "lon": -180} if is_located else None,
            pop=one(draw, None, *names),
        ),
        "listeners": listeners(draw, around),
        "geoip": maybe(draw, lambda: geoip(draw, names)),
        "pops": pops,
        "services": [service(draw, name, targets[n + 1 :], names, zone, around) for n, name in enumerate(targets)],
        "routes": [route(draw, one(draw, None, f"r{n}"), targets, pops, is_located) for n, _ in enumerate(range(draw(st.integers(1, 4))))],
        "kubernetes": None,
        "drain": {"lameduck": lameduck, "deadline": one(draw, None, *LATER[LATER.index(lameduck or "1m") :])},
        "admin": {"bind": around.admin, "token": one(draw, None, "token")},
        "status": one(draw, None, {"bind": around.status}),
        "access_log": maybe(draw, lambda: section(draw, limits.AccessLog, path=one(draw, "access.log", "/dev/null"))),
        "log": {"level": one(draw, "debug", "info", "error"), "format": "json"},
        "state_dir": one(draw, None, "state"),
        "affinity_key": one(draw, None, "key"),
    }
    return section(draw, limits.Config, **by_hand)


def text_of(configuration: Said) -> str:
    """JSON, which is YAML."""
    return json.dumps(configuration)
