import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.simulation.population import Client
from gateway.simulation.shares import UNKNOWN, quantile, simulate
from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, RuleSpec, ServiceSpec, Table, TableSpec, draw, explain

CITIES = {"fra": (50.11, 8.68), "par": (48.86, 2.35), "nyc": (40.71, -74.01), "sin": (1.35, 103.82)}
MUNICH, BOSTON, METZ = (48.14, 11.58, 0.0), (42.36, -71.06, 0.0), (49.12, 6.18, 0.0)


def table_of(
    *,
    permitted=None,
    rules=None,
    drained=(),
    n_endpoints=(1, 1, 1, 1),
    leg="client-pop",
    gateway=None,
    figures=None,
    pins=(),
    highs=None,
    weights=None,
):
    figures = figures or Figures(1)
    highs, weights = highs or {}, weights or {}
    pops = tuple(
        PopSpec(name, *place, is_drained=name in drained, row=figures.acquire("pop"), high=highs.get(name, 0))
        for name, place in CITIES.items()
    )
    pools = tuple(
        PoolSpec(
            number,
            figures.acquire("pool"),
            tuple(EndpointSpec(figures.acquire("endpoint"), f"192.0.2.{number}", 80 + k) for k in range(count)),
            total=count,
            weight=weights.get(list(CITIES)[number], 1),
        )
        for number, count in enumerate(n_endpoints)
        if count is not None
    )
    rules = rules or (RuleSpec(permitted),)
    routes = (RouteSpec("other", 0, hosts=("a.b",)), RouteSpec("all", 0, rules=rules, leg=leg, window_ms=5.0))
    services = (ServiceSpec("shop", figures.acquire("service"), pools),)
    return Table(TableSpec(1, pops, services, routes, intercept_ms=10.0, slope_ms_per_km=0.02, gateway=gateway, pins=pins), figures)


def with_services(*places, highs=(), pop_highs=None, **route):
    """One more service for each of `places`, in these PoPs alone, and the route as it is to be."""
    figures = Figures(1)
    base = table_of(figures=figures, highs=pop_highs).spec
    services = [base.services[0]]
    for number, pops in enumerate(places):
        pools = tuple(
            PoolSpec(
                list(CITIES).index(pop),
                figures.acquire("pool"),
                (EndpointSpec(figures.acquire("endpoint"), f"198.51.100.{number}", 80 + k),),
                total=1,
                high=dict(highs).get((number, pop), 0),
            )
            for k, pop in enumerate(pops)
        )
        services.append(ServiceSpec(f"s{number}", figures.acquire("service"), pools))
    routes = (base.routes[0], replace(base.routes[1], **route))
    return Table(replace(base, services=tuple(services), routes=routes), figures)


def shares_of(table, point):
    return {one.pop: one.share for one in explain(table, 1, point).candidates if one.share}


def estimates_of(table, point):
    return {one.pop: one.estimate_ms for one in explain(table, 1, point).candidates}


def by_name(parts, key="pop"):
    return {getattr(one, key): one for one in parts}


def test_one_client_is_decided_as_explain_says():
    table = table_of()
    for point in (MUNICH, BOSTON, METZ, None):
        done = simulate(table, 1, [Client(point, "XX")])
        assert {one.pop: one.share for one in done.pops if one.share} == pytest.approx(shares_of(table, point))
        assert done.countries[0].pops == pytest.approx(shares_of(table, point))
    assert (done.route, done.service, done.leg, done.window_ms, done.n_clients) == ("all", "shop", "client-pop", 5.0, 1)


def test_sums_are_by_weight():
    table = table_of()
    done = simulate(table, 1, [Client(MUNICH, "DE", 3), Client(BOSTON, "US"), Client(MUNICH, "DE", 4), Client(BOSTON, None, 2)])
    munich, boston = estimates_of(table, MUNICH)["fra"], estimates_of(table, BOSTON)["nyc"]
    assert [(one.pop, one.share) for one in done.pops] == [("fra", 0.7), ("par", 0.0), ("nyc", pytest.approx(0.3)), ("sin", 0.0)]
    assert done.mean_ms == pytest.approx(0.7 * munich + 0.3 * boston)
    assert done.p90_ms == pytest.approx(max(munich, boston))
    fra, nyc = by_name(done.pops)["fra"], by_name(done.pops)["nyc"]
    assert (fra.mean_ms, fra.p90_ms, fra.countries, fra.why_not) == (pytest.approx(munich), pytest.approx(munich), {"DE": 1.0}, None)
    assert nyc.countries == pytest.approx({UNKNOWN: 2 / 3, "US": 1 / 3})
    assert list(nyc.countries) == [UNKNOWN, "US"]
    assert by_name(done.pops)["sin"].why_not == "never near enough to the fastest"
    assert [(one.country, one.share) for one in done.countries] == [("DE", 0.7), (UNKNOWN, pytest.approx(0.2)), ("US", pytest.approx(0.1))]
    assert by_name(done.countries, "country")["US"].mean_ms == pytest.approx(boston)
    assert (done.n_clients, done.n_places, done.unplaced, done.unserved, done.error) == (4, 2, 0, 0, None)
    assert {(spot.lat, spot.lon): spot.share for spot in done.spots} == pytest.approx({MUNICH[:2]: 0.7, BOSTON[:2]: 0.3})
    assert (fra.lat, fra.lon) == CITIES["fra"]


def test_a_lost_pops_clients_go_where_its_drain_would_send_them():
    table, without_fra = table_of(), table_of(drained=["fra"])
    done = simulate(table, 1, [Client(MUNICH, "DE", 3), Client(BOSTON, "US", 1)])
    loss = by_name(done.losses)["fra"]
    assert loss.share == pytest.approx(0.75)
    assert loss.takers == pytest.approx(shares_of(without_fra, MUNICH))
    assert loss.before_ms == pytest.approx(estimates_of(table, MUNICH)["fra"])
    assert loss.after_ms == pytest.approx(estimates_of(without_fra, MUNICH)["par"])
    assert loss.stranded == 0
    assert [one.pop for one in done.losses] == ["fra", "nyc"]  # the others have nobody to lose


def test_a_pop_that_shares_a_client_loses_only_its_part():
    weights = {"par": 3}  # or the nearer one would have it all, nothing being in flight
    table, without_fra = table_of(weights=weights), table_of(drained=["fra"], weights=weights)
    usual, then = shares_of(table, METZ), shares_of(without_fra, METZ)
    assert 0.1 < usual["fra"] < 0.9, "between the two"
    loss = by_name(simulate(table, 1, [Client(METZ, "FR")]).losses)["fra"]
    assert loss.share == pytest.approx(usual["fra"])
    assert loss.takers == pytest.approx({"par": (then["par"] - usual["par"]) / usual["fra"]})
    assert sum(loss.takers.values()) == pytest.approx(1)


def test_who_has_nowhere_to_go_is_counted():
    done = simulate(table_of(permitted=frozenset({2})), 1, [Client(MUNICH, "DE"), Client(BOSTON, "US")])
    (loss,) = done.losses
    assert (loss.pop, loss.share, loss.takers, loss.stranded, loss.after_ms) == ("nyc", 1.0, {}, 1.0, None)
    assert by_name(done.pops)["fra"].why_not == "outside the jurisdiction"
    assert done.unserved == 0


@pytest.mark.parametrize(
    ("options", "error", "why_not"),
    [
        ({"permitted": frozenset()}, "no_permitted_pop", "outside the jurisdiction"),
        ({"drained": list(CITIES)}, "no_permitted_pop", "drained by the operator"),
        ({"n_endpoints": (0, 0, 0, 0)}, "no_endpoint", "no endpoint available"),
    ],
)
def test_nobody_is_served(options, error, why_not):
    done = simulate(table_of(**options), 1, [Client(MUNICH, "DE"), Client(None, None)])
    assert (done.unserved, done.error, done.mean_ms, done.p90_ms, done.losses) == (1.0, error, None, None, ())
    assert {(one.share, one.why_not, one.mean_ms) for one in done.pops} == {(0.0, why_not, None)}
    assert {(one.unserved, one.mean_ms, len(one.pops)) for one in done.countries} == {(1.0, None, 0)}


def test_only_pops_with_the_service_are_told_of():
    done = simulate(table_of(n_endpoints=(1, None, 1, None)), 1, [Client(MUNICH, "DE")])
    assert [one.pop for one in done.pops] == ["fra", "nyc"]


def test_a_place_unknown_has_no_estimate():
    done = simulate(table_of(), 1, [Client(None, "DE"), Client(BOSTON, "US")])
    boston = estimates_of(table_of(), BOSTON)["nyc"]
    fra = by_name(done.pops)["fra"]
    assert (fra.share, fra.mean_ms, fra.p90_ms) == (0.5, None, None)
    assert (done.unplaced, done.n_places, done.mean_ms) == (0.5, 1, pytest.approx(boston))
    assert by_name(done.losses)["fra"].before_ms is None
    assert [(spot.lat, spot.lon) for spot in done.spots] == [BOSTON[:2]]


def test_a_gateways_own_path_is_known_without_the_clients_place():
    table = table_of(leg="gateway-pop", gateway=(48.14, 11.58))
    done = simulate(table, 1, [Client(None, "DE"), Client(BOSTON, "US")])
    assert by_name(done.pops)["fra"].share == 1
    assert done.mean_ms == pytest.approx(estimates_of(table, None)["fra"])


def test_what_was_measured_does_not_count():
    figures = Figures(1)
    table = table_of(figures=figures)
    for pool in table.spec.services[0].pools[:1]:
        figures.set_pool(pool.row, admit=0.0, availability=0.0, service_ms=500.0)
    assert shares_of(table, MUNICH) == {"par": 1.0}
    assert by_name(simulate(table, 1, [Client(MUNICH, "DE")]).pops)["fra"].share == 1


def test_rules_by_client_hold_for_each():
    rules = (RuleSpec(frozenset({2}), frozenset({"DE"})), RuleSpec(frozenset({3}), continents=frozenset({"NA"})))
    clients = [Client(MUNICH, "DE", continent="EU"), Client(BOSTON, "US", continent="NA"), Client(MUNICH, "FR", continent="EU")]
    done = simulate(table_of(rules=rules), 1, clients)
    assert {one.country: one.pops for one in done.countries} == {"DE": {"nyc": 1.0}, "FR": {}, "US": {"sin": 1.0}}
    assert (done.unserved, done.error, done.n_places) == (pytest.approx(1 / 3), "no_permitted_pop", 2)
    # One dot for all who stand there, whoever they are.
    assert {(one.lat, one.lon): one.pops for one in done.spots} == {MUNICH[:2]: {"nyc": 0.5}, BOSTON[:2]: {"sin": 1.0}}
    assert {(one.pop, one.stranded) for one in done.losses} == {("nyc", 1.0), ("sin", 1.0)}


def test_why_a_pop_has_no_clients_is_the_kindest_of_their_reasons():
    rules = (RuleSpec(frozenset({0}), frozenset({"DE"})), RuleSpec(frozenset({0, 3})))
    done = by_name(simulate(table_of(rules=rules), 1, [Client(MUNICH, "DE", 9), Client(MUNICH, "FR")]).pops)
    assert (done["sin"].why_not, done["nyc"].why_not) == ("never near enough to the fastest", "outside the jurisdiction")


def test_pins_hold():
    done = simulate(table_of(pins=((3, 0), (2,))), 1, [Client(MUNICH, "DE", pin=1), Client(MUNICH, "FR", pin=2), Client(MUNICH, "IT")])
    assert {one.country: one.pops for one in done.countries} == {"DE": {"sin": 1.0}, "FR": {"nyc": 1.0}, "IT": {"fra": 1.0}}
    assert by_name(done.losses)["sin"].takers == {"fra": 1.0}  # the pin's next


def test_a_split_route_is_the_sum_of_its_services():
    table = with_services(["nyc"], split=((0, 3), (1, 1)))
    done = simulate(table, 1, [Client(MUNICH, "DE")])
    assert (done.service, done.split) == ("shop", {"shop": 0.75, "s0": 0.25})
    assert {one.pop: one.share for one in done.pops} == {"fra": 0.75, "par": 0.0, "nyc": 0.25, "sin": 0.0}
    drawn = draw(table, 1, MUNICH, 4000)
    assert drawn["fra"] / 4000 == pytest.approx(0.75, abs=0.05)
    assert sum(done.countries[0].pops.values()) == pytest.approx(1)
    # What s0 has in nyc has nowhere else to go; of shop there is nothing in nyc.
    assert {(one.pop, one.share, one.stranded) for one in done.losses} == {("fra", 0.75, 0.0), ("nyc", 0.25, 1.0)}


def test_a_service_of_weight_zero_is_not_there():
    done = simulate(with_services(["nyc"], split=((0, 1), (1, 0))), 1, [Client(MUNICH, "DE")])
    assert (done.split, by_name(done.pops)["fra"].share) == ({}, 1.0)


def test_a_service_that_stands_in_takes_over():
    rules = (RuleSpec(frozenset({2})),)
    table = with_services(["fra"], ["nyc"], service=1, fallback_services=(2,), rules=rules)
    done = simulate(table, 1, [Client(MUNICH, "DE")])
    assert ({one.pop: one.share for one in done.pops}, done.unserved) == ({"nyc": 1.0}, 0)


def test_capacity_is_the_tighter_of_the_pops_and_its_services():
    assert {one.pop: one.capacity for one in simulate(table_of(highs={"fra": 100}), 1, [Client(MUNICH, "DE")]).pops} == {
        "fra": 100, "par": None, "nyc": None, "sin": None,
    }  # fmt: skip
    highs = {(0, "fra"): 30, (1, "fra"): 20, (0, "par"): 7}
    both = {"highs": highs, "split": ((1, 1), (2, 1))}
    found = by_name(simulate(with_services(["fra", "par"], ["fra", "par"], **both), 1, [Client(MUNICH, "DE")]).pops)
    assert (found["fra"].capacity, found["par"].capacity) == (50, None)  # in par one of the two has none
    tighter = with_services(["fra", "par"], ["fra", "par"], **both, pop_highs={"fra": 40, "par": 9})
    found = by_name(simulate(tighter, 1, [Client(MUNICH, "DE")]).pops)
    assert (found["fra"].capacity, found["par"].capacity) == (40, 9)


def test_whether_the_others_can_take_it():
    table = table_of(highs={"par": 100, "nyc": 1000, "fra": 10})
    done = simulate(table, 1, [Client(MUNICH, "DE", 3), Client(BOSTON, "US", 1)], in_flight=400)
    assert {one.pop: one.in_flight for one in done.pops} == {"fra": 300, "par": 0, "nyc": 100, "sin": 0}
    assert by_name(done.losses)["fra"].loads == {"par": pytest.approx(3.0)}
    after = by_name(done.losses)["nyc"]
    assert after.loads == {
        pop: pytest.approx((300 * (pop == "fra") + 100 * gain) / {"fra": 10, "par": 100}[pop]) for pop, gain in after.takers.items()
    }
    assert list(after.loads.values()) == sorted(after.loads.values(), reverse=True)
    assert {(one.in_flight, one.capacity) for one in simulate(table, 1, [Client(None, None)]).pops} >= {(None, 10), (None, None)}
    assert {len(one.loads) for one in simulate(table, 1, [Client(MUNICH, "DE")]).losses} == {0}


places = st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 2500))
crowds = st.lists(st.builds(Client, places | st.none(), st.sampled_from(["DE", "US", None]), st.floats(0.1, 10)), min_size=1, max_size=8)
subsets = st.frozensets(st.integers(0, 3)) | st.none()


@given(crowds, subsets, st.tuples(*[st.integers(0, 3)] * 4))
def test_nothing_is_lost_in_the_sums(clients, permitted, n_endpoints):
    table = table_of(permitted=permitted, n_endpoints=n_endpoints)
    done = simulate(table, 1, clients)
    assert sum(one.share for one in done.pops) + done.unserved == pytest.approx(1)
    assert sum(one.share for one in done.countries) == pytest.approx(1)
    for one in done.pops:
        assert not one.share or sum(one.countries.values()) == pytest.approx(1)
        assert not one.share or permitted is None or list(CITIES).index(one.pop) in permitted
    for one in done.countries:
        assert sum(one.pops.values()) + one.unserved == pytest.approx(1)
    for loss in done.losses:
        assert loss.pop not in loss.takers
        # What is left out as nobody is at most a hundred-thousandth for each.
        assert sum(loss.takers.values()) + loss.stranded == pytest.approx(1, abs=1e-4)
        assert loss.stranded == 0 or len([one for one in done.pops if one.why_not in (None, "never near enough to the fastest")]) == 1


@given(crowds)
@example([Client((63.0, -42.0, 0.0), "DE")])  # one of three near-equals comes out with less
def test_losing_a_pop_is_what_a_drained_table_says(clients):
    """Against the sums made plainly, client by client, on a table that was drained from the start."""
    weights = {"par": 2, "sin": 3}  # so that near-equals share
    usual = table_of(weights=weights)
    done = simulate(usual, 1, clients)
    whole = sum(client.weight for client in clients)
    for loss in done.losses:
        drained = table_of(drained=[loss.pop], weights=weights)
        gains = Counter()
        for client in clients:
            before, after = shares_of(usual, client.point), shares_of(drained, client.point)
            for pop in after.keys() | before.keys():
                gains[pop] += client.weight / whole * (after.get(pop, 0) - before.get(pop, 0))
        assert loss.share == pytest.approx(-gains.pop(loss.pop))
        for pop, gain in gains.items():
            assert loss.takers.get(pop, 0) * loss.share == pytest.approx(gain, abs=1e-5)


def test_the_order_of_clients_does_not_matter():
    clients = [Client(point, country, weight) for point in (MUNICH, BOSTON, METZ) for country, weight in (("DE", 1), ("FR", 2))]
    shuffled = random.Random(1).sample(clients, len(clients))
    ours, theirs = simulate(table_of(), 1, clients), simulate(table_of(), 1, shuffled)
    assert [(one.pop, one.share) for one in ours.pops] == [(one.pop, pytest.approx(one.share)) for one in theirs.pops]
    assert [one.country for one in ours.countries] == [one.country for one in theirs.countries]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=20), st.sampled_from([0.5, 0.9, 1.0]))
def test_quantile_is_that_of_the_values_written_out(values, at):
    written = sorted(value for value, weight in values for _ in range(weight))
    expected = next(value for k, value in enumerate(written, 1) if k >= at * len(written) - 1e-9)
    assert quantile([(float(value), float(weight)) for value, weight in values] + [(None, 5.0)], at) == expected


def test_quantile_of_nothing():
    assert quantile([], 0.9) is None
    assert quantile([(None, 1.0)], 0.9) is None


def test_errors():
    with pytest.raises(ValueError, match="clients: must be at least one"):
        simulate(table_of(), 1, [])
    with pytest.raises(IndexError):
        simulate(table_of(), 7, [Client(MUNICH, "DE")])


def test_a_route_that_is_refused_sends_nobody_anywhere():
    figures = Figures(1)
    spec = table_of(figures=figures).spec
    spec = replace(spec, routes=(RouteSpec("refused", None), *spec.routes))
    with pytest.raises(ValueError, match="route refused: must lead to a service"):
        simulate(Table(spec, figures), 0, [Client(MUNICH, "DE")])
