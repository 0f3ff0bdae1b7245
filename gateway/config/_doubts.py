"""What is legal and yet hardly meant: files that are not there now, keys without an effect, bounds that leave things idle. Owns the
warnings of `check`; must not refuse anything.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config._checks import Judge
from gateway.config._limits import Config
from gateway.config._routes import Redirect, Route
from gateway.config._tree import Loc, Node
from gateway.errors import Fault
from gateway.model import reachable_services

_FAST_PACE = 0.5
_LEAST_CLOSING_S = 1.0  # what is in its handshake comes through within that
_MIN_KEY_BYTES = 16


def doubts(config: Config, root: Node, file: str) -> list[Fault]:
    """What is legal and yet hardly meant: for `check` to say. Looks at files, at nothing else outside."""
    judging = Judge(config, root, root, file)
    _absent(judging)
    _unlocated(judging)
    for n, prefix in enumerate(config.client_ip.trusted_proxies):
        if prefix.prefixlen == 0:
            judging.note(("client_ip", "trusted_proxies", n), "every client may say that it is another")
    if config.steering.pace > _FAST_PACE:
        judging.note(
            ("steering", "pace"), "most of a service's traffic may move within a second: gateways that share nothing swing together"
        )
    if config.drain.deadline - config.drain.lameduck < _LEAST_CLOSING_S and config.drain.deadline > 0:
        judging.note(
            ("drain", "deadline"),
            f"within {_LEAST_CLOSING_S:g} s of lameduck, {config.drain.lameduck}: each drain cuts requests that run then",
        )
    _unused(judging)
    _tight(judging)
    _shadowed(judging)
    _starred(judging)
    for n, route in enumerate(config.routes):
        _steered(judging, n, route)
    _unkept(judging)
    _unheard(judging)
    return sorted(judging.found, key=lambda fault: fault.line or 0)


def _absent(judging: Judge) -> None:
    config = judging.config
    for loc, path in _files(config):
        nothing = f"there is no file {path} now"
        found = _look(judging, loc, path, nothing)
        if found and not stat.S_ISREG(found.st_mode):
            judging.note(loc, nothing)
        elif found and path == config.affinity_key and found.st_size < _MIN_KEY_BYTES:
            judging.note(loc, f"{path} has fewer than {_MIN_KEY_BYTES} bytes now")
    if config.state_dir is not None:
        found = _look(judging, ("state_dir",), config.state_dir)
        if found and not stat.S_ISDIR(found.st_mode):
            judging.note(("state_dir",), f"{config.state_dir} is no folder now")


def _look(judging: Judge, loc: Loc, path: Path, absent: str = "") -> os.stat_result | None:
    """What is there. Whoever runs `check` need not be who serves: that he may not look is a doubt as well. (pathlib's is_file() raises
    there.)"""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            absent = f"this user can't look at {path} now: {error.strerror}"
        if absent:
            judging.note(loc, absent)
        return None


def _files(config: Config) -> Iterator[tuple[Loc, Path]]:
    for key in ("city", "asn"):
        for n, path in enumerate(getattr(config.geoip, key)):
            yield ("geoip", key, n), path
    for n, pop in enumerate(config.pops):
        if pop.kubernetes and pop.kubernetes.kubeconfig:
            yield ("pops", n, "kubernetes", "kubeconfig"), pop.kubernetes.kubeconfig
    if config.affinity_key is not None:
        yield ("affinity_key",), config.affinity_key
    if config.admin.token is not None:
        yield ("admin", "token"), config.admin.token


def _unlocated(judging: Judge) -> None:
    geoip = judging.config.geoip
    if not geoip.city and not geoip.overrides:
        home = next((key for key in ("location", "pop") if getattr(judging.config.gateway, key) is not None), None)
        who = f"only private addresses will have a location, gateway.{home}" if home else "no client's location will be known"
        if any(route.steering.leg == "client-pop" for route in judging.config.routes):
            judging.note(("geoip",), f"{who}: {'for others ' if home else ''}PoPs are tried in the order of pops")
    for n, one in enumerate(geoip.overrides):
        if one.asn is not None and not geoip.asn:
            judging.note(("geoip", "overrides", n, "asn"), "no database of geoip.asn says which clients these are")
        if one.prefix is None and one.asn is None and not geoip.city:
            judging.note(("geoip", "overrides", n, "country"), "no database of geoip.city says which clients these are")


def _unused(judging: Judge) -> None:
    config = judging.config
    routed = reachable_services(config.services, [name for route in config.routes for name, _ in route.targets])
    homes = {backend.pop for service in config.services for backend in service.backends}
    for n, service in enumerate(config.services):
        if service.name not in routed:
            judging.note(("services", n, "name"), "no route leads to this service")
    for n, pop in enumerate(config.pops):
        if pop.name not in homes:
            judging.note(("pops", n, "name"), "no service runs in this PoP")


def _shadowed(judging: Judge) -> None:
    first: dict[Any, str] = {}
    for n, route in enumerate(judging.config.routes):
        for m, match in enumerate(route.match):
            for host in match.hosts or ("",):
                key = (
                    host,
                    match.path_prefix or ("/" if match.path_exact is None else None),
                    match.path_exact,
                    match.method,
                    match.headers,
                    match.query,
                )
                if first.setdefault(key, route.name) != route.name:
                    judging.note(
                        ("routes", n, "match", m), f"route {first[key]} before it takes the same requests" + (f" of {host}" if host else "")
                    )
                    break


def _starred(judging: Judge) -> None:
    """Many a router's way to write a prefix."""
    for n, route in enumerate(judging.config.routes):
        for m, match in enumerate(route.match):
            for key in ("path_prefix", "path_exact"):
                if (path := getattr(match, key) or "").endswith("*"):
                    judging.note(
                        ("routes", n, "match", m, key),
                        f"a * stands for itself alone: for all below, write path_prefix: {path.rstrip('*').rstrip('/') or '/'}",
                    )


def _tight(judging: Judge) -> None:
    """Endpoints of Kubernetes can't be counted here."""
    config = judging.config
    in_pop: Counter[str] = Counter()
    bounds = {pop.name: pop.capacity.requests_in_flight for pop in config.pops if pop.capacity}
    for n, service in enumerate(config.services):
        for m, backend in enumerate(service.backends):
            at: Loc = ("services", n, "backends", m, "capacity", "requests_in_flight")
            n_endpoints = len(backend.endpoints or ())
            in_pop[backend.pop] += n_endpoints
            if backend.capacity and backend.capacity.requests_in_flight < n_endpoints:
                judging.note(at, f"there are {n_endpoints} endpoints: some of them always idle")
            if backend.capacity and backend.capacity.requests_in_flight > bounds.get(backend.pop, math.inf):
                judging.note(at, f"never reached: pops.{backend.pop} has {bounds[backend.pop]} for all services together")
    for n, pop in enumerate(config.pops):
        if pop.capacity and pop.capacity.requests_in_flight < in_pop[pop.name]:
            judging.note(("pops", n, "capacity", "requests_in_flight"), f"there are {in_pop[pop.name]} endpoints: some of them always idle")


def _steered(judging: Judge, n: int, route: Route) -> None:
    """Keys that have no effect beside the others of a route, or hardly the one that was meant."""
    steering, at = route.steering, ("routes", n, "steering")
    if route.split_sticky and route.split is None:
        judging.note(("routes", n, "split_sticky"), "without split there is nothing to keep a client on")
    if steering.mode == "proxy" and steering.redirect != Redirect():
        judging.note((*at, "redirect"), "without mode: redirect nothing is redirected")
    if steering.mode == "redirect" and steering.leg == "gateway-pop":
        judging.note((*at, "leg"), "redirected clients go to the PoP themselves: not this gateway's path counts but theirs")
    for m, rule in enumerate(steering.rules[:-1]):
        if rule.clients is None:
            judging.note((*at, "jurisdiction", m + 1), "the rule before it is for everyone: this one for nobody")
            break
    geoip = judging.config.geoip
    has_country = geoip.city or any(one.country for one in geoip.overrides)
    ruled = next((m for m, rule in enumerate(steering.rules) if rule.clients), None)
    if ruled is not None and not has_country:
        judging.note((*at, "jurisdiction", ruled, "clients"), "no client's country will be known: only rules without clients count")
    affinity = steering.affinity
    if affinity and affinity.cookie and affinity.within:
        judging.note((*at, "affinity", "within"), "a cookie holds wherever its PoP lies")
    if affinity and not affinity.cookie:
        for key in affinity.model_fields_set & {"same_site", "secure", "max_age"}:
            judging.note((*at, "affinity", key), "there is no cookie")


def _unheard(judging: Judge) -> None:
    """Names of fields that never come."""
    if judging.config.requests.underscores == "pass":
        return
    for n, route in enumerate(judging.config.routes):
        for m, match in enumerate(route.match):
            for name, _ in match.headers:
                if "_" in name:
                    judging.note(("routes", n, "match", m, "headers"), f"requests' {name} is left out: requests.underscores is not pass")
        affinity = route.steering.affinity
        if affinity and affinity.header and "_" in affinity.header:
            at: Loc = ("routes", n, "steering", "affinity", "header")
            judging.note(at, f"requests' {affinity.header} is left out: requests.underscores is not pass")


def _unkept(judging: Judge) -> None:
    config = judging.config
    if config.affinity_key or config.state_dir:
        return
    for n, route in enumerate(config.routes):
        if route.steering.affinity and route.steering.affinity.cookie:
            judging.note(
                ("routes", n, "steering", "affinity", "cookie"),
                "cookies end with this process, and no other gateway knows them: give affinity_key, or state_dir",
            )
            break
