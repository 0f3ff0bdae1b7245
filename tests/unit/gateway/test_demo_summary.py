import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo import places
from gateway.demo.summary import summarize
from gateway.demo.traffic import Sample

POPS, CLIENTS, TRIPS = places.pops(), places.clients(), places.round_trips()
NAMES = [pop.name for pop in POPS]

requests = st.builds(
    lambda client, ms, pop, failed: Sample(client, 0.0, ms, pop, "fastest", "cut" if failed else None),
    st.sampled_from(CLIENTS),
    st.floats(0.1, 1000),
    st.sampled_from(NAMES),
    st.booleans(),
)


def naive(samples, fixed):
    """One request after another."""
    n = measured = at_fixed = in_turn = at_best = 0
    for sample in samples:
        if sample.error is None:
            n += 1
            measured += sample.ms
            at_fixed += TRIPS[sample.client.city, fixed]
            every = [TRIPS[sample.client.city, name] for name in NAMES]
            in_turn += sum(every) / 6
            at_best += min(every)
    return measured / n, at_fixed / n, in_turn / n, at_best / n


@given(st.lists(requests, min_size=1).filter(lambda samples: any(sample.error is None for sample in samples)), st.sampled_from(NAMES))
def test_means_agree_with_a_naive_model(samples, fixed):
    summary = summarize(samples, [], POPS, TRIPS, fixed)
    got = (summary.measured_ms, summary.fixed_ms, summary.round_robin_ms, summary.best_ms)
    assert all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(got, naive(samples, fixed), strict=True))
    assert summary.n_requests == len(samples)
    assert summary.n_errors == sum(sample.error is not None for sample in samples)
    assert summary.best_ms <= min(summary.fixed_ms, summary.round_robin_ms)
    assert summary.saved_over_fixed_ms == pytest.approx(summary.fixed_ms - summary.measured_ms)
    assert summary.saved_over_round_robin_ms == pytest.approx(summary.round_robin_ms - summary.measured_ms)


@given(st.dictionaries(st.sampled_from(CLIENTS), st.sampled_from(NAMES)))
def test_missed_are_exactly_those_that_had_a_shorter_way(choices):
    summary = summarize([Sample(CLIENTS[0], 0.0, 1.0)], choices.items(), POPS, TRIPS, "iad")
    expected = {}
    for client, chosen in choices.items():
        lost = TRIPS[client.city, chosen] - min(TRIPS[client.city, name] for name in NAMES)
        if lost > 0:
            expected[client] = (chosen, lost)
    assert {one.client: (one.chosen, one.lost_ms) for one in summary.missed} == expected
    assert all(
        TRIPS[one.client.city, one.best] + one.lost_ms == pytest.approx(TRIPS[one.client.city, one.chosen]) for one in summary.missed
    )
    assert [one.lost_ms for one in summary.missed] == sorted((one.lost_ms for one in summary.missed), reverse=True)


def test_nothing_answered_is_no_summary():
    with pytest.raises(ValueError, match="no request was answered"):
        summarize([Sample(CLIENTS[0], 0.0, 1.0, error="cut")], [], POPS, TRIPS, "iad")
