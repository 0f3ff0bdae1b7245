"""Zones: which endpoints of a pool a gateway in a given zone should prefer. Pure judgement on what sources say.

Owns the three rules below. Must not know configuration, gates or tables: the caller asks only where zones are to be preferred, and
those not preferred serve while none of the preferred ones can.

1. Hints, where any ready endpoint carries one (a Service with `trafficDistribution: PreferSameZone`). They count only when every
   ready endpoint has them and at least one is meant for this zone; else nobody is preferred. kube-proxy does just so
   (pkg/proxy/topology.go, topologyModeFromHints): hints are written slice by slice, and a half-written set would send all
   traffic to the few endpoints that have theirs already.
2. Without hints: the endpoints of this zone, provided that they can bear what its clients bring. As a gateway sees no other
   gateway, each of the Z zones with ready endpoints is taken to bring one Z-th of the traffic. A zone with n of N endpoints then
   has N / (Z n) times the mean load on each; up to 1.2 is fair: the threshold, and the refusal when some endpoint names no zone,
   of the EndpointSlice controller where it shares endpoints out to zones (KEP-2433, Topology Aware Hints: overload threshold).

3. What sources call ready may be shut or ejected. When all admit, the zone's n of N endpoints are taken to serve as great a part of all
   traffic, its clients'. With a of them and A of all left, the mean load is one A-th of all traffic: what would give one of the a more
   than 1.2 times that is drawn over all zones alike.

No endpoint that terminates is ever preferred: when they are all that is left, everybody is needed (as in kube-proxy).
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.control.sources.world import Identity, Known
from k8s import State

FAIR_LOAD = (6, 5)  # 1.2 as a fraction, so that equal counts compare exactly
NOBODY: frozenset[Identity] = frozenset()


def preferred(known: Sequence[Known], zone: str) -> frozenset[Identity]:
    """Those of a pool's endpoints that a gateway in `zone` should use first. Empty: it has no reason to prefer any."""
    ready = [one for one in known if one.state is State.READY]
    if any(one.hint_zones for one in ready):
        return _hinted(ready, zone)
    return _of_own_zone(ready, zone)


def _hinted(ready: Sequence[Known], zone: str) -> frozenset[Identity]:
    if not all(one.hint_zones for one in ready):
        return NOBODY
    return frozenset(one.identity for one in ready if zone in one.hint_zones)


def _of_own_zone(ready: Sequence[Known], zone: str) -> frozenset[Identity]:
    if not all(one.zone for one in ready):
        return NOBODY
    ours = frozenset(one.identity for one in ready if one.zone == zone)
    n_zones = len({one.zone for one in ready})
    most, mean = FAIR_LOAD
    return ours if most * n_zones * len(ours) >= mean * len(ready) else NOBODY


def for_all_zones(n_ours: int, n_all: int, ours: int, everybody: int) -> float:
    """The share of requests for which all zones are alike: of the zone's n_ours endpoints among n_all, and of them all, so many admit."""
    if ours == everybody:
        return 0.0
    most, mean = FAIR_LOAD
    # Preferred with a chance p, one of ours bears p / a + (1 - p) / A of this gateway's requests, which are n / N of all: that is to
    # be 1.2 / A of all at most.
    return max(0.0, 1 - (most * n_all / (mean * n_ours) - 1) * ours / (everybody - ours))
