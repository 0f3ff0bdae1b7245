"""Benches of steering where little can be known: noise, pauses, work of two kinds."""

import csv
import json
import random

import numpy as np
import pytest

from bench.steering import __main__ as runner
from bench.steering.data import Setting
from bench.steering.events import Events
from bench.steering.noise import LONGEST_S, SHORTEST_S, Noisy, play, swing_of
from bench.steering.servers import Server, Work
from bench.steering.simulator import Records
from tests.io.measured import BERLIN, LYON, PARIS, TOKYO, quiet, write_set

__all__ = ["quiet"]  # a fixture that is used by itself

NEAR_PARIS = Setting("two", (BERLIN, LYON), (PARIS, TOKYO), np.array([[20.0, 230.0], [10.0, 240.0]]))


def test_work_is_three_numbers():
    noisy = Noisy.parse("200,1.2,400")
    assert (noisy.work.mean_ms, noisy.work.sigma, noisy.per_s, noisy.seconds) == (200, 1.2, 400, 150)
    assert Noisy.parse("1,0,5000").seconds == SHORTEST_S
    assert Noisy.parse("1,0,1").seconds == LONGEST_S


@pytest.mark.parametrize("text", ["", "200", "200,1.2", "200,1.2,x", "0,1,1", "200,-1,400", "200,1.2,0", "nan,1,1", "200,9,400"])
def test_other_work_is_said_to_be_none(text, capsys):
    assert runner.main(["--work", text]) == 2
    assert f"--work: must be MEAN_MS,SIGMA,PER_S, at most 60000, 3 and 100000, got {text!r}" in capsys.readouterr().err


def records_of(at_s, decided):
    n = len(at_s)
    whole = np.zeros(n, dtype=int)
    return Records(np.array(at_s), whole, np.array(decided), np.array(decided), np.ones(n), whole + 1, whole)


def test_swing_is_what_chance_does_not_explain():
    rng = np.random.default_rng(1)
    at_s = np.sort(rng.uniform(0, 600, 60_000))
    assert swing_of(records_of(at_s, (rng.random(60_000) < 0.3).astype(int)), 1, 600) < 0.01
    by_turns = (rng.random(60_000) < np.where(at_s // 10 % 2, 0.2, 0.4)).astype(int)
    assert swing_of(records_of(at_s, by_turns), 1, 600) == pytest.approx(0.1, abs=0.01)


def test_what_stands_still_begins_and_ends_nothing():
    events, ended = Events(), []
    server = Server(events, random.Random(1), Work(20.0, 0.0), 1)
    server.submit(lambda _: ended.append(events.now))
    server.submit(lambda _: ended.append(events.now))
    events.at(0.010, server.stall, 0.3)
    events.run(1)
    assert ended == pytest.approx([0.310, 0.330])


def test_work_of_two_kinds():
    work, rng = Work(5.0, 0.0, other_share=0.1, other_ms=500.0), random.Random(1)
    drawn = [work.draw_s(rng) for _ in range(2000)]
    assert {round(seconds, 6) for seconds in drawn} == {0.005, 0.5}
    assert sum(seconds > 0.1 for seconds in drawn) == pytest.approx(200, abs=60)


def test_noise_moves_nobody(tmp_path):
    """Berlin and Lyon, Paris and Tokyo: all is served in Paris, but for what is explored, and that costs a fraction of a millisecond."""
    noise, records = play(NEAR_PARIS, Noisy.parse("200,1.2,40"))
    assert noise.n_requests == len(records.at_s) > 5000
    assert noise.prior_ms == 0 <= noise.beyond_ms < 0.4
    assert noise.swing < 0.03
    assert noise.shares.sum(axis=1) == pytest.approx([1, 1])
    assert noise.first_ms < 25


def test_a_run_with_work_writes_its_picks_and_figures(tmp_path, capsys):
    folder = write_set(tmp_path / "two", (BERLIN, PARIS, TOKYO, LYON), [("1", "2", 20), ("1", "3", 230), ("4", "2", 10), ("4", "3", 240)])
    picks, out = tmp_path / "picks.csv", tmp_path / "out.json"
    given_ = ["--data", str(folder), "--pops", "12", "--work", "100,1,20", "--picks", str(picks), "--json", str(out)]
    assert runner.main(given_) == 0
    assert "| two, 2, 2 | 100 ms, sigma 1, 20/s |" in capsys.readouterr().out
    (found,) = json.loads(out.read_text())["noise"]
    assert found["work"] == {"mean_ms": 100, "sigma": 1, "per_s": 20}
    rows = list(csv.DictReader(picks.read_text().splitlines()))
    assert {row["client"] for row in rows} == {"1", "4"}
    assert sum(float(row["share"]) for row in rows) == pytest.approx(2)
