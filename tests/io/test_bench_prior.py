"""The fit of the prior: that what the core has is what the data say, and that no client is judged by its own country."""

import numpy as np
import pytest

from bench import fit_borders, fit_prior, judge_prior
from bench.steering.data import Measured, Place, Setting
from routing_core import PRIOR

WORLD = fit_prior.pairs_of(Measured(fit_prior.DATA / fit_prior.WORLD))
DE, US = (fit_borders.NAMES.index(name) for name in ("155", "021"))


def borders_of(here, there, left_ms):
    return fit_borders.Borders(np.array(here), np.array(there), np.array(left_ms, dtype=float)).fit()


def test_the_borders_in_the_core_are_what_the_data_say():
    line = fit_prior.Prior(*PRIOR[:3])
    found = fit_borders.spec_of(fit_prior.borders_of(WORLD, line).fit())
    assert found == PRIOR[3]
    assert fit_borders.is_written(fit_prior.FITTED, line, found)
    assert not fit_borders.is_written(fit_prior.FITTED, line._replace(abroad_ms=5.0), found)


def test_a_border_is_the_median_drawn_toward_nothing_by_hand():
    """One pair of countries of the two regions: 60 / 6 for these, then (60 + 5 * 10) / 6 for the subregions."""
    found = borders_of(["DE", "US", "DE", "DE"], ["US", "DE", "US", "DE"], [50, 60, 70, 900])
    assert found[DE, US] == found[US, DE] == pytest.approx(110 / 6)
    assert found[DE, DE] == 0  # within a country there is no border
    mexico = fit_borders.NAMES.index("013")
    assert found[DE, mexico] == 0  # another region of M49's
    assert found[fit_borders.NAMES.index("154"), US] == pytest.approx(10)  # of which only the regions' is known


def test_a_border_saves_nothing():
    assert borders_of(["DE", "FR"], ["US", "US"], [-50, -60])[DE, US] == 0


def test_who_is_left_out_has_no_say():
    pairs = WORLD.without("DE")
    assert "DE" in WORLD.here and not {"DE"} & {*pairs.here, *pairs.there}
    assert len(pairs.km) == len(pairs.weight) == len(pairs.here) < len(WORLD.km)
    fits = judge_prior.Fits({fit_prior.WORLD: pairs_near("DE", 100.0), fit_prior.EUROPE: pairs_near("FR", 0.0)})
    line, borders = fits.without("DE")
    assert borders == fits.without("DE")[1]
    assert not any(ms for row in borders.costs_ms for ms in row)
    assert any(ms for row in fits.without("JP")[1].costs_ms for ms in row)
    assert line.intercept_ms == pytest.approx(7, abs=0.01)


def pairs_near(country, more_ms):
    """7 ms and a hundredth a km, 5 ms over a border, and between that country and the US so much more."""
    rng = np.random.default_rng(2)
    here, there = (rng.choice([country, "US", "GB", "BR"], 400) for _ in range(2))
    km, is_abroad = rng.uniform(100, 9000, 400), (here != there).astype(float)
    costs = ((here == country) & (there == "US")) | ((there == country) & (here == "US"))
    ms = 7 + 0.01 * km + 5 * is_abroad + more_ms * costs
    return fit_prior.Pairs(km, is_abroad, ms, np.full(400, 1 / 400), here, there)


def test_regret_is_of_the_decision_that_knows_so_much():
    """A client in Accra: Johannesburg is nearer, London is faster, and its best PoP down leaves it there."""
    pops = (Place("1", "London", "GB", 51.5, -0.13, 12), Place("2", "Johannesburg", "ZA", -26.2, 28.04, 12))
    accra = Place("3", "Accra", "GH", 5.56, -0.2, float("inf"))
    setting = Setting("x", (accra,), pops, np.array([[100.0, 270.0]]))
    fits = judge_prior.Fits({name: fit_prior.pairs_of(Measured(fit_prior.DATA / name)) for name in fit_prior.SETS})
    assert judge_prior.regrets(setting, fits, "line", "up").tolist() == [170]
    assert judge_prior.regrets(setting, fits, "+ borders", "up").tolist() == [0]
    assert judge_prior.regrets(setting, fits, "+ borders", "down").tolist() == [0]
    assert judge_prior.harmed(setting, np.array([11.0])) == {"Accra GH": 11.0}
    assert judge_prior.harmed(setting, np.array([9.0])) == {}


def test_a_gain_is_given_with_its_spread():
    mean, low, high = judge_prior.gain(np.full(50, 5.0), np.arange(50) % 2 * 4.0)
    assert mean == 3 and 2.3 < low < mean < high < 3.7
