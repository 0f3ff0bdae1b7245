"""Which service: split by weight, sticky by option; others when it has no permitted, available PoP."""

import dataclasses

import pytest

from routing_core import AffinitySpec, Figures, RouteSpec, RuleSpec, ServiceSpec, Table, draw, explain
from tests.unit.routing_core.tables import LONDON, load, pool_of, set_admits, shares_of, spec_of, surprises, table_of

FRA, NYC, SIN, PAR = range(4)
N = 20_000


@pytest.fixture
def figures():
    return Figures(1)


def service_at(figures, name, *pops):
    """A service in these PoPs alone: who is asked shows where."""
    return ServiceSpec(name, figures.acquire("service"), tuple(pool_of(figures, pop) for pop in pops))


def table_with(figures, services, **route):
    """Services by name: the PoPs each is in."""
    spec = spec_of(figures, services=(), routes=[RouteSpec("r", **{"service": 0, **route})])
    made = tuple(service_at(figures, name, *pops) for name, pops in services.items())
    return Table(dataclasses.replace(spec, services=made), figures)


def picks(table, n=N, **facts):
    """Services of n clients, one decision each."""
    counts = {}
    for key in range(1, n + 1):
        service = explain(table, 0, LONDON, key, client_key=key, **facts).service
        counts[service] = counts.get(service, 0) + 1
    return counts


APART = {"stable": (FRA,), "canary": (NYC,), "third": (SIN,)}


@pytest.mark.parametrize(
    ("split", "shares"),
    [
        (((0, 90), (1, 10)), {"fra": 0.9, "nyc": 0.1}),
        (((0, 1), (1, 1), (2, 2)), {"fra": 0.25, "nyc": 0.25, "sin": 0.5}),
        (((1, 1_000_000), (0, 1)), {"nyc": 1_000_000 / 1_000_001, "fra": 1 / 1_000_001}),
        (((0, 0), (1, 5), (2, 0)), {"nyc": 1.0}),
        (((0, 1), (0, 1)), {"fra": 1.0}),
    ],
)
@pytest.mark.parametrize("is_sticky", [False, True])
def test_a_split_goes_by_weight(figures, split, shares, is_sticky):
    table = table_with(figures, APART, split=split, is_split_sticky=is_sticky)
    assert not surprises(draw(table, 0, LONDON, N), shares)  # without a client's key nobody is sticky
    counts = {}
    for key in range(1, N + 1):
        for pop, count in draw(table, 0, LONDON, 1, key, client_key=key).items():
            counts[pop] = counts.get(pop, 0) + count
    assert not surprises(counts, shares)


def test_a_sticky_client_stays_with_its_service(figures):
    sticky = table_with(figures, APART, split=((0, 1), (1, 1)), is_split_sticky=True)
    free = table_with(figures, APART, split=((0, 1), (1, 1)))
    of_client = [draw(sticky, 0, LONDON, 200, client_key=key) for key in range(1, 60)]
    assert all(len(counts) == 1 for counts in of_client)
    assert {pop for counts in of_client for pop in counts} == {"fra", "nyc"}
    assert all(len(draw(free, 0, LONDON, 200, client_key=key)) == 2 for key in range(1, 60))


def test_a_growing_canary_keeps_the_clients_it_has(figures):
    """Weights 10 of 100, then 30 of 100: who was there stays."""
    before = table_with(figures, APART, split=((1, 10), (0, 90)), is_split_sticky=True)
    after = table_with(figures, APART, split=((1, 30), (0, 70)), is_split_sticky=True)
    canary = [{key for key in range(1, 2000) if "nyc" in draw(table, 0, LONDON, 1, client_key=key)} for table in (before, after)]
    assert 100 < len(canary[0]) < len(canary[1])
    assert canary[0] <= canary[1]


def test_a_split_is_explained(figures):
    table = table_with(figures, APART, split=((0, 3), (1, 1)), fallback_services=(2,))
    explained = explain(table, 0, LONDON)
    assert explained.split == (("stable", 0.75), ("canary", 0.25))
    for seed in range(30):
        explained = explain(table, 0, LONDON, seed)
        assert (explained.service, explained.pop) in {("stable", "fra"), ("canary", "nyc")}
        assert [each.pop for each in explained.candidates] == [explained.pop]
    assert not surprises(picks(table, 3000), {"stable": 0.75, "canary": 0.25})
    alone = table_with(figures, APART, service=1)
    assert explain(alone, 0, LONDON).split == (("canary", 1.0),)


def test_who_is_of_a_service_and_whom_it_sheds_are_two_draws(figures):
    """A sticky client's hash decides both: those of the canary must not be those that are shed."""
    spread = {"stable": (FRA, PAR), "canary": (FRA, PAR)}
    routes = {"split": ((0, 1), (1, 1)), "is_split_sticky": True, "affinity": AffinitySpec("client")}
    table = table_with(figures, spread, **routes)
    for service in (0, 1):
        figures.set_pool(table.spec.services[service].pools[1].row, admit=0.5, shed=0.5)
    counts = {}
    for key in range(1, 4001):
        explained = explain(table, 0, LONDON, client_key=key)
        where = f"{explained.service} {explained.pop}"
        counts[where] = counts.get(where, 0) + 1
    assert not surprises(counts, dict.fromkeys(["stable par", "stable fra", "canary par", "canary fra"], 0.25))


# --- When a service can't serve ---


def three(figures, **options):
    routes = [RouteSpec("r", 0, fallback_services=(1, 2), **options.pop("route", {}))]
    return table_of(figures, services=["shop", "mirror", "sorry"], routes=routes, **options)


def none_available(figures, table, service):
    set_admits(figures, table, service, fra=0, nyc=0, sin=0, par=0)


def asked(table, location=LONDON, **facts):
    explained = explain(table, 0, location, **facts)
    return explained.service, explained.pop, explained.reason


def test_fallback_services_are_tried_in_order(figures):
    table = three(figures)
    assert asked(table) == ("shop", "par", "fastest")
    none_available(figures, table, 0)
    assert asked(table) == ("mirror", "par", "failover")
    none_available(figures, table, 1)
    assert asked(table) == ("sorry", "par", "failover")
    assert shares_of(explain(table, 0, LONDON)) == {"par": 1.0}
    assert asked(table, None) == ("sorry", "fra", "failover")


def test_one_available_pop_is_enough(figures):
    table = three(figures)
    set_admits(figures, table, fra=0, nyc=0, sin=1 / 1024, par=0)
    assert asked(table)[::2] == ("shop", "panic")
    set_admits(figures, table, sin=1)
    assert asked(table) == ("shop", "sin", "failover")


def test_a_service_that_is_full_is_no_reason(figures):
    table = three(figures, of_pops={name: {"high": 1} for name in ("fra", "nyc", "sin", "par")})
    for name in ("fra", "nyc", "sin", "par"):
        load(figures, table, name, 1)
    assert asked(table)[0] == "shop"


def test_when_nobody_can_the_first_panics(figures):
    table = three(figures)
    for service in (0, 1, 2):
        none_available(figures, table, service)
    assert asked(table)[::2] == ("shop", "panic")
    assert not surprises(draw(table, 0, LONDON, N), dict.fromkeys(["fra", "nyc", "sin", "par"], 0.25))


def test_when_nobody_has_an_endpoint_the_first_says_so(figures):
    explained = explain(three(figures, n_endpoints=0), 0, LONDON)
    assert (explained.service, explained.error) == ("shop", "no_endpoint")


def test_a_fallback_service_obeys_the_route(figures):
    rule = RuleSpec(frozenset({FRA, NYC}), None, frozenset({"EU"}))
    table = three(figures, route={"rules": (rule,)}, drained=["nyc"])
    none_available(figures, table, 0)
    assert asked(table, continent="EU") == ("mirror", "fra", "failover")
    explained = explain(table, 0, LONDON, continent="NA")
    assert (explained.service, explained.error) == ("shop", "no_permitted_pop")
    none_available(figures, table, 1)
    none_available(figures, table, 2)
    assert asked(table, continent="EU") == ("shop", "fra", "panic")


def test_a_fallback_service_keeps_the_client_where_it_was(figures):
    table = three(figures, route={"affinity": AffinitySpec("cookie", "pop")})
    none_available(figures, table, 0)
    assert asked(table, kept="sin") == ("mirror", "sin", "failover")


def test_each_part_of_a_split_falls_back_alone(figures):
    routes = [RouteSpec("r", 0, split=((0, 1), (1, 1)), fallback_services=(2,))]
    table = table_of(figures, services=["stable", "canary", "sorry"], routes=routes)
    none_available(figures, table, 1)
    assert not surprises(picks(table, 3000), {"stable": 0.5, "sorry": 0.5})


def test_a_service_that_is_nowhere_permitted_falls_back(figures):
    """The fallback is in a PoP that is permitted, the service is not."""
    table = table_with(figures, {"shop": (SIN,), "mirror": (FRA, SIN)}, rules=(RuleSpec(frozenset({FRA})),), fallback_services=(1,))
    assert asked(table) == ("mirror", "fra", "failover")


def test_pools_of_one_service_do_not_speak_for_another(figures):
    table = table_of(figures, services=["shop", "mirror"], routes=[RouteSpec("r", 0), RouteSpec("m", 1)])
    none_available(figures, table, 0)
    assert explain(table, 1, LONDON).reason == "fastest"
