import csv
import gzip
import itertools
import json
import math
import random
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.steering import __main__ as runner
from bench.steering import chart, policies, report
from bench.steering.best_split import best_split
from bench.steering.configuration import config_of
from bench.steering.data import Measured, Place, Setting, distances_km, sets_in
from bench.steering.events import Events
from bench.steering.outcome import Goal, first_time, shares_of
from bench.steering.real import MOST_APART, SHORT, Agreement, compare
from bench.steering.regret import judge, quantile, standard_error
from bench.steering.servers import Server, Work
from bench.steering.simulator import Records, Simulation
from tests.io.measured import BERLIN, LYON, PARIS, TOKYO, quiet, write_set

__all__ = ["quiet"]  # a fixture that is used by itself

DATA = Path("bench/data")
TWO = Setting("two", (BERLIN, LYON), (PARIS, TOKYO), np.array([[20.0, 230.0], [240.0, 10.0]]))


# --- Data ---


def test_a_pair_costs_the_mean_of_both_directions_or_the_one_that_is_known(tmp_path):
    pairs = [("1", "2", 20), ("2", "1", 30), ("1", "3", 230), ("3", "4", 240), ("4", "2", 10)]
    setting = Measured(write_set(tmp_path / "own", (BERLIN, PARIS, TOKYO, LYON), pairs)).setting(12)
    assert [place.name for place in setting.pops] == ["Paris", "Tokyo"]
    assert setting.rtt_ms.tolist() == [[25, 230], [10, 240]]
    assert setting.regret_ms.tolist() == [[0, 205], [0, 230]]


def test_who_was_not_measured_to_every_pop_is_no_client(tmp_path):
    pairs = [("1", "2", 20), ("1", "3", 230), ("4", "2", 10)]
    setting = Measured(write_set(tmp_path / "own", (BERLIN, PARIS, TOKYO, LYON), pairs)).setting(12)
    assert [place.name for place in setting.clients] == ["Berlin"]


def test_what_is_no_set_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"no places\.csv"):
        sets_in(tmp_path)
    folder = write_set(tmp_path / "own", (BERLIN, PARIS), [("1", "9", 20)])
    with pytest.raises(ValueError, match="not a set of round trips"):
        Measured(folder)
    folder = write_set(tmp_path / "other", (BERLIN, LYON), [("1", "4", 20)])
    with pytest.raises(ValueError, match="0 PoPs"):
        Measured(folder).setting(12)


def test_distance_is_the_great_circle():
    assert distances_km([(52.52, 13.41)], [(48.86, 2.35), (52.52, 13.41)])[0] == pytest.approx([878, 0], abs=2)


# --- Policies and regret ---


def test_policies_send_where_they_say():
    assert policies.random(TWO).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert policies.nearest(TWO).tolist() == policies.centroid(TWO).tolist() == [[1, 0], [1, 0]]
    assert policies.best(TWO).tolist() == [[1, 0], [0, 1]]


def test_a_country_that_is_not_known_is_spread_evenly():
    nowhere = Setting("x", (Place("5", "x", "??", 50.0, 8.0, math.inf),), TWO.pops, np.array([[1.0, 2.0]]))
    assert policies.centroid(nowhere).tolist() == [[0.5, 0.5]]


def test_ours_is_the_cores_own_decision():
    shares = policies.ours(TWO)
    assert shares == pytest.approx(np.array([[1, 0], [1, 0]]))
    # Networks meet at home first: a PoP of the client's own country before one that is half as far.
    hamburg, szczecin = Place("6", "Hamburg", "DE", 53.55, 9.99, 12), Place("7", "Szczecin", "PL", 53.43, 14.55, 12)
    near = Setting("near", (BERLIN,), (hamburg, szczecin), np.ones((1, 2)))
    assert policies.ours(near) == pytest.approx(np.array([[1, 0]]))
    assert policies.nearest(near).tolist() == [[0, 1]]
    estimates = policies.estimates_ms(near)[0]
    assert 0 < estimates[1] - estimates[0] < 5
    assert policies.ours(near, window_ms=0).sum() == pytest.approx(1)
    estimates = policies.estimates_ms(TWO)
    assert 10 < estimates[0, 0] < 40 < 150 < estimates[0, 1]


def test_a_pop_that_is_down_serves_nobody_whatever_the_policy():
    """Paris for Berlin, Tokyo for Lyon."""
    down = TWO.without([0, 1])
    assert down.regret_ms.tolist() == [[0, 0], [0, 0]]  # of the one that serves, and of the one where nobody goes
    for policy in policies.POLICIES.values():
        assert policy(down) == pytest.approx(np.array([[0, 1], [1, 0]]))
    three = Setting("three", (BERLIN,), (PARIS, TOKYO, Place("8", "Lille", "FR", 50.6, 3.1, 12)), np.array([[20.0, 230.0, 25.0]]))
    assert three.without([0]).regret_ms.tolist() == [[0, 205, 0]]
    assert policies.random(three.without([0])).tolist() == [[0, 0.5, 0.5]]


def test_clients_may_be_those_of_a_continent():
    kyoto = Place("9", "Kyoto", "JP", 35.0, 135.8, math.inf)
    setting = Setting("x", (BERLIN, kyoto, LYON), TWO.pops, np.array([[20.0, 230.0], [240.0, 10.0], [9.0, 8.0]]))
    assert [place.name for place in setting.within("EU").clients] == ["Berlin", "Lyon"]
    assert setting.within("EU").rtt_ms.tolist() == [[20, 230], [9, 8]]
    assert setting.within("AS").clients == (kyoto,)
    with pytest.raises(ValueError, match="x: no client in AF"):
        setting.within("AF")


def test_pops_know_the_paths_among_each_other_where_these_were_measured(tmp_path):
    """In the mean of both directions; none that is faster than light, which would be a fault of a place."""
    rome = Place("5", "Rome", "IT", 41.9, 12.5, 12)
    pairs = [("1", to, 50) for to in "235"] + [("2", "3", 220), ("3", "2", 240), ("5", "2", 20), ("3", "5", 2)]
    setting = Measured(write_set(tmp_path / "own", (BERLIN, PARIS, TOKYO, rome), pairs)).setting(12)
    assert setting.paths_ms == ((0, 1, 230.0), (0, 2, 20.0))
    config = config_of(setting.pops, paths_ms=setting.paths_ms)
    assert [dict(pop.paths) for pop in config.pops] == [{"at-3": 0.23, "at-5": 0.02}, {}, {}]


def test_paths_tell_who_takes_over():
    """As if Hamburg's cables led to Rome, and to Paris by way of America."""
    hamburg, rome = Place("6", "Hamburg", "DE", 53.55, 9.99, 12), Place("5", "Rome", "IT", 41.9, 12.5, 12)
    near = Setting("near", (BERLIN,), (hamburg, PARIS, rome), np.array([[6.0, 200.0, 30.0]]), ((0, 1, 190.0), (0, 2, 25.0)))
    assert policies.ours(near) == pytest.approx(np.array([[1, 0, 0]]))
    assert policies.ours_by_paths(near) == pytest.approx(np.array([[1, 0, 0]]))
    assert policies.ours(near.without([0])) == pytest.approx(np.array([[0, 1, 0]]))
    assert policies.ours_by_paths(near.without([0])) == pytest.approx(np.array([[0, 0, 1]]))


def test_regret_by_hand():
    shares = {"nearest": policies.nearest(TWO), "best": policies.best(TWO), "half": np.array([[0.5, 0.5], [0.5, 0.5]])}
    found = judge(TWO, shares)
    assert (found["nearest"].mean_ms, found["nearest"].best, found["nearest"].needless) == (115, 0.5, 0)
    assert (found["best"].mean_ms, found["best"].over_nearest_ms, found["best"].near, found["best"].needless) == (0, -115, 1, 0)
    half = found["half"]
    assert half.mean_ms == (210 / 2 + 230 / 2) / 2
    assert (half.best, half.needless) == (0.5, 0.25)  # Berlin's half to Tokyo; Lyon's to Tokyo is better than nearest
    assert (half.p90_ms, half.p99_ms) == (230, 230)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=8), st.sampled_from([0.1, 0.5, 0.9, 0.99, 1.0]))
def test_quantile_is_that_of_the_values_written_out(pairs, at):
    values, weights = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    written_out = sorted(np.repeat(values, weights.astype(int)))
    assert quantile(values, weights, at) == written_out[math.ceil(at * len(written_out) - 1e-9) - 1]


def test_standard_error_is_that_of_a_mean():
    values = np.random.default_rng(3).normal(10, 4, 400)
    assert standard_error(values) == pytest.approx(4 / 20, rel=0.15)
    assert standard_error(values) == standard_error(values)


# --- The command ---


def test_picks_give_the_regret_that_the_json_has(tmp_path, capsys):
    out, picks = tmp_path / "out.json", tmp_path / "picks.csv"
    given_ = ["--data", str(DATA / "ripe-anchors-eu"), "--pops", "12", "--json", str(out), "--picks", str(picks)]
    assert runner.main(given_) == 0
    (one,) = json.loads(out.read_text())["regret"]
    with gzip.open(DATA / "ripe-anchors-eu" / "rtt.csv.gz", "rt") as file:
        ms = {(row["src"], row["dst"]): float(row["min_ms"]) for row in csv.DictReader(file)}
    with (DATA / "ripe-anchors-eu" / "places.csv").open() as file:
        pops = [row["id"] for row in csv.DictReader(file) if row["pop_set"] == "12"]

    def cost(client, pop):
        known = [ms[pair] for pair in ((client, pop), (pop, client)) if pair in ms]
        return sum(known) / len(known)

    shares = defaultdict(dict)
    with picks.open(newline="") as file:
        for row in csv.DictReader(file):
            shares[row["client"]][row["pop"]] = float(row["share"])
    assert all(sum(of.values()) == pytest.approx(1) for of in shares.values())
    regret = [sum(share * cost(a, pop) for pop, share in of.items()) - min(cost(a, pop) for pop in pops) for a, of in shares.items()]
    assert len(regret) == one["n_clients"]
    assert sum(regret) / len(regret) == pytest.approx(one["policies"]["ours"]["mean_ms"], abs=1e-5)
    assert one["policies"]["best"]["mean_ms"] == 0
    assert "Limit: Round trips are of ICMP" in capsys.readouterr().out


@pytest.mark.parametrize("down", ["best", "own"])
def test_with_a_pop_down_nothing_is_sent_there(down, tmp_path):
    """To the best one of each client; or to the one where most of its requests go while that is up."""
    out = {kind: tmp_path / f"{kind}.csv" for kind in ("up", "down")}
    asked = ["--data", str(DATA / "ripe-anchors-eu"), "--pops", "12", "--clients", "EU", "--paths", "known"]
    for kind, more in (("up", []), ("down", ["--down", down, "--json", str(tmp_path / "out.json")])):
        assert runner.main([*asked, "--picks", str(out[kind]), *more]) == 0
    picks = {kind: [tuple(row.split(",")[:2]) for row in path.read_text().splitlines()[1:]] for kind, path in out.items()}
    setting = Measured(DATA / "ripe-anchors-eu").setting(12)
    gone = {(client.id, setting.pops[best].id) for client, best in zip(setting.clients, setting.rtt_ms.argmin(axis=1), strict=True)}
    if down == "own":
        shares = policies.ours_by_paths(setting)
        gone = {(client.id, setting.pops[own].id) for client, own in zip(setting.clients, shares.argmax(axis=1), strict=True)}
    assert not gone & set(picks["down"]) and gone & set(picks["up"])
    (one,) = json.loads((tmp_path / "out.json").read_text())["regret"]
    assert "ours" not in one["policies"]
    assert one["policies"]["best"]["mean_ms"] == 0 < one["policies"]["ours, by paths"]["mean_ms"]
    assert one["policies"]["ours, by paths"]["over_nearest_ms"] < 0 == one["policies"]["nearest"]["over_nearest_ms"]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (["--picks", "x"], "wants one set"),
        (["--data", "docs"], "no places.csv"),
        (["--data", str(DATA / "ripe-anchors-eu"), "--clients", "SA"], "no client in SA"),
        (["--svg", "x", "--down", "own"], "--svg: not with --down own"),
    ],
)
def test_what_can_not_be_done_is_said(given_, said, capsys):
    assert runner.main(given_) == 2
    assert said in capsys.readouterr().err


@pytest.mark.heavy
@pytest.mark.slow
def test_a_scenario_alone_writes_its_figures_and_its_picture(tmp_path, capsys):
    out, picture = tmp_path / "out.json", tmp_path / "out.svg"
    assert runner.main(["--scenario", "slow-endpoint", "--json", str(out), "--svg", str(picture)]) == 0
    written = json.loads(out.read_text())
    assert written["regret"] == []
    assert written["scenarios"]["slow-endpoint"]["figures"]["success"] > 0.99  # least loaded, which Buoyant measured at 99 %
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert "slow-endpoint: success" in capsys.readouterr().out


def test_verdict_names_what_the_data_can_tell():
    figures = judge(TWO, {"nearest": policies.nearest(TWO), "ours": policies.best(TWO)})
    text = report.verdict([report.Judged(TWO, {}, figures)])
    assert text == "prior alone not above nearest: two, 2 PoPs: -115.000 ± {:.3f} ms: holds".format(figures["ours"].over_nearest_se_ms)
    worse = judge(TWO, {"nearest": policies.best(TWO), "ours": np.array([[1.0, 0.0], [0.9, 0.1]])})
    assert report.verdict([report.Judged(TWO, {}, worse)]).endswith(("FAILS", "within the error"))


# --- Charts ---


def test_a_chart_is_xml_whatever_the_names_are():
    axis = chart.Axis(1, 100, (1, 10, 100), " <ms>", is_log=True)
    panel = chart.Panel("<a & b>", axis, chart.Axis(0, 10, (0, 10)), [chart.Line("<x>" * 9, [(1, 0), (1000, 20)])], ((10, "<!"),))
    root = ET.fromstring(chart.draw([panel] * 3, 2, "<caption>"))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<a & b>", "<caption>", "<!", "10 <ms>"} <= set(texts)
    assert axis.part(10) == pytest.approx(0.5) and axis.part(1000) == 1 and axis.part(0) == 0


@given(st.lists(st.floats(0, 1e6), max_size=5))
def test_ticks_are_few_round_and_enough(values):
    ticks = chart.rising(values)
    assert ticks[-1] >= max([*values, 0]) and 2 <= len(ticks) <= 5


# --- Events, servers ---


def test_events_happen_in_order_and_never_in_the_past():
    events, seen = Events(), []
    events.at(2, seen.append, "b")
    events.at(1, lambda: events.after(1, seen.append, "c"))
    events.at(9, seen.append, "later")
    events.run(5)
    assert (seen, events()) == (["b", "c"], 5)
    with pytest.raises(ValueError, match="it is 5"):
        events.at(4, seen.append, "d")


def test_a_server_serves_so_many_at_a_time_in_the_order_they_came():
    events, seen = Events(), []
    server = Server(events, random.Random(1), Work(), n_slots=2)
    server.pinned_s = 1.0
    for name in "abcde":
        server.submit(lambda is_done, name=name: seen.append((name, events.now, is_done)))
    events.run(2.5)
    assert seen == [("a", 1, True), ("b", 1, True), ("c", 2, True), ("d", 2, True)]
    server.die()
    assert seen[4:] == [("e", 2.5, False)]
    server.rise()
    server.submit(lambda is_done: seen.append(("f", events.now, is_done)))
    events.run(9)
    assert seen[5:] == [("f", 3.5, True)]  # what was lost ends once


def test_work_has_the_mean_it_says():
    rng = random.Random(5)
    assert sum(Work(20, 0.6).draw_s(rng) for _ in range(20_000)) / 20_000 == pytest.approx(0.020, rel=0.02)


# --- The best split ---


@settings(max_examples=40)
@given(st.data())
def test_best_split_is_as_good_as_any_whole_one(data):
    n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    cost = np.array(data.draw(st.lists(st.lists(st.integers(0, 20), min_size=m, max_size=m), min_size=n, max_size=n)), dtype=float)
    room = np.array(data.draw(st.lists(st.integers(0, 4), min_size=m, max_size=m).filter(lambda room: sum(room) >= n)), dtype=float)
    flow = best_split(cost, np.ones(n), room)
    assert flow.sum(axis=1) == pytest.approx(np.ones(n)) and (flow.sum(axis=0) <= room + 1e-6).all() and flow.min() > -1e-9
    # With whole rates and rooms one of the best splits is whole (a transportation problem's matrix is totally unimodular).
    every = itertools.product(range(m), repeat=n)
    least = min(
        sum(cost[client, pop] for client, pop in enumerate(split)) for split in every if (np.bincount(split, minlength=m) <= room).all()
    )
    assert (flow * cost).sum() == pytest.approx(least)


def test_best_split_says_when_there_is_no_room():
    with pytest.raises(ValueError, match="room for 1"):
        best_split(np.ones((2, 1)), np.ones(2), np.ones(1))


# --- The simulation ---


def world(**more):
    setting = Measured(DATA / "wondernetwork-2018-11").setting(12)
    return Simulation(setting, config_of(setting.pops), per_s=300, **more)


def busiest_of(simulation):
    return int(np.bincount(simulation.setting.rtt_ms.argmin(axis=1)).argmax())


def test_requests_go_where_the_core_decides_and_wait_what_was_measured():
    simulation = world()
    records = simulation.run(4)
    assert records.n_failed == 0 and set(records.attempts) == {1} and len(records.at_s) > 900
    paths = simulation.setting.rtt_ms[records.client, records.served]
    assert (records.latency_ms > paths).all()
    assert (records.latency_ms - paths).mean() == pytest.approx(Work().mean_ms, rel=0.1)
    expected = policies.ours(simulation.setting).mean(axis=0)
    assert np.bincount(records.decided, minlength=12) / len(records.decided) == pytest.approx(expected, abs=0.05)


def test_the_same_seed_is_the_same_run():
    one, same, other = (world(seed=seed).run(2) for seed in (1, 1, 2))
    assert np.array_equal(one.latency_ms, same.latency_ms) and not np.array_equal(one.latency_ms[:50], other.latency_ms[:50])


@pytest.mark.slow
def test_a_dead_pop_is_left_at_once_by_everyone_and_taken_back():
    simulation = world(n_gateways=3)
    victim = busiest_of(simulation)
    for at, act in ((3, Server.die), (6, Server.rise)):
        simulation.events.at(at, simulation.sites[victim].each, act)
    records = simulation.run(90)
    assert records.n_failed == 0
    assert records.between(0, 3).share_of(victim) > 0.15
    assert (records.between(2.9, 3.3).attempts > 1).any()
    later = records.between(3.5, 6)
    assert not (later.served == victim).any() and set(later.attempts) == {1}
    assert records.between(80, 90).share_of(victim) > 0.15  # the ramp, and what failures are remembered for, are over
    for edge in simulation.edges:  # nothing is lost count of: what is in flight is what has not ended
        spec = edge.publisher.table.spec
        for pool in spec.services[0].pools:
            assert edge.figures.read_pool(pool.row)["in_flight"] == edge.worker.counting.in_flight[spec.pops[pool.pop].name] <= 20


def test_rates_change_when_told():
    simulation = world()
    simulation.events.at(2, simulation.set_rates, lambda client: 0.0 if client else 100.0)
    records = simulation.run(4)
    assert len(set(records.between(0, 2).client)) > 100 and set(records.between(2.1, 4).client) == {0}


def test_stretches_of_records():
    at_s = np.arange(0, 10, 0.5)
    whole, ones = np.zeros(20, dtype=int), np.ones(20)
    records = Records(at_s, whole, (at_s >= 6).astype(int), whole, ones, whole, whole)
    assert shares_of(records, 1, 0, 10, 2.0).tolist() == [0, 0, 0, 1, 1]
    assert first_time(records, lambda part: part.share_of(1) == 1, 0, 10, 2.0) == 6
    assert first_time(records, lambda part: False, 0, 10, 2.0) == math.inf
    assert Goal("x", 1, 1).holds and not Goal("x", 1.1, 1).holds


# --- Processes ---


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.heavy
def test_processes_do_what_is_simulated():
    agreement = compare(Measured(DATA / "wondernetwork-2018-11").setting(12), SHORT)
    assert agreement.n_failed == 0
    assert agreement.largest <= MOST_APART, (agreement.lateness_s, agreement.real, agreement.simulated)
    # Both changes were felt: the first PoP has less than half of what it had, the second next to nothing.
    usual, short_of_room, slow = agreement.real.values()
    assert short_of_room[0] < 0.6 * usual[0]
    assert usual[1] > 0.15 and slow[1] < 0.05


def test_the_agreement_is_told():
    told = Agreement(["a <x>", "b"], {"usual": np.array([0.6, 0.4])}, {"usual": np.array([0.52, 0.48])}, 3, 0.04)
    assert "| a <x> | 60.0%, 52.0% |" in report.agreement_table(told)
    assert "8.0 points, at most 5: MISSED" in report.agreement_table(told)
    assert report.agreement_table(told).endswith("up by 40 ms at worst")
    assert report.agreement_figures(told) == {
        "most_apart_points": 8.0,
        "at_most": 5.0,
        "failed": 3,
        "lateness_s": 0.04,
        "processes": {"usual": {"a <x>": 0.6, "b": 0.4}},
        "simulated": {"usual": {"a <x>": 0.52, "b": 0.48}},
    }
