import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_core import EndpointSpec, Figures, PoolSpec, PopSpec, RouteSpec, ServiceSpec, Table, TableSpec
from routing_core._testing import add_to_endpoint, choose, observe
from tests.unit.routing_core.tables import endpoint_rows, table_of

DRAWS = 4000


def pool_table(n, n_workers=2, weights=None, **options):
    figures = Figures(n_workers)
    weights = weights or [1] * n
    endpoints = tuple(EndpointSpec(figures.acquire("endpoint"), f"10.0.0.{k + 1}", 80, weight) for k, weight in enumerate(weights))
    pool = PoolSpec(0, figures.acquire("pool"), endpoints, n, **options)
    service = ServiceSpec("s", figures.acquire("service"), (pool,))
    table = Table(TableSpec(1, (PopSpec("p", 0, 0),), (service,), (RouteSpec("r", 0),)), figures)
    return figures, table, [endpoint.row for endpoint in endpoints]


def available(counts):
    assert all(key[0] == "available" for key in counts)
    return {row: count for (_, row), count in counts.items()}


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 30])
def test_equal_endpoints_get_equal_shares(n):
    _, table, rows = pool_table(n)
    counts = available(choose(table, 0, 0, DRAWS))
    assert set(counts) == set(rows)
    spread = 5 * math.sqrt(DRAWS / n)
    assert all(abs(counts[row] - DRAWS / n) <= spread for row in rows)


@pytest.mark.parametrize("n", [2, 4, 30])
def test_the_slowest_is_never_chosen_and_the_fastest_most(n):
    figures, table, rows = pool_table(n)
    for k, row in enumerate(rows):
        observe(figures, row, 0, 1000 * (k + 1), 0)
    counts = available(choose(table, 0, 0, DRAWS))
    assert rows[-1] not in counts
    assert max(counts, key=counts.__getitem__) == rows[0]
    # Two different ones are drawn: the fastest is among them with 2/n.
    assert counts[rows[0]] == pytest.approx(DRAWS * 2 / n, abs=5 * math.sqrt(DRAWS))


def test_requests_in_flight_at_any_worker_count():
    figures, table, rows = pool_table(2)
    for row in rows:
        observe(figures, row, 0, 1000, 0)
    add_to_endpoint(figures, rows[0], 1, in_flight=3)
    assert set(available(choose(table, 0, 0, 100))) == {rows[1]}


def test_tunnels_are_no_load():
    figures, table, rows = pool_table(2)
    for k, row in enumerate(rows):
        observe(figures, row, 0, 1000 + k, 0)
    add_to_endpoint(figures, rows[0], 1, in_flight=50, tunnels=50)
    assert set(available(choose(table, 0, 0, 100))) == {rows[0]}
    add_to_endpoint(figures, rows[0], 1, in_flight=1)
    assert set(available(choose(table, 0, 0, 100))) == {rows[1]}


@pytest.mark.parametrize("n", [2, 5])
def test_where_nothing_but_tunnels_is_known_they_go_to_who_has_fewest_for_its_weight(n):
    figures, table, rows = pool_table(n, weights=[1] * (n - 1) + [3])
    for row in rows:
        add_to_endpoint(figures, row, 0, in_flight=2, tunnels=2)
    counts = available(choose(table, 0, 0, DRAWS))
    assert counts[rows[-1]] == pytest.approx(DRAWS * 2 / n, abs=5 * math.sqrt(DRAWS))
    add_to_endpoint(figures, rows[-1], 1, in_flight=5, tunnels=5)
    assert rows[-1] not in available(choose(table, 0, 0, DRAWS))


def test_an_endpoint_that_has_not_answered_yet_is_tried_once():
    figures, table, rows = pool_table(2)
    observe(figures, rows[0], 0, 1000, 0)
    assert set(available(choose(table, 0, 0, 100))) == {rows[1]}
    add_to_endpoint(figures, rows[1], 0, in_flight=1)
    assert set(available(choose(table, 0, 0, 100))) == {rows[0]}


def test_weights_make_cheaper():
    figures, table, rows = pool_table(2, weights=[1, 3])
    for row in rows:
        observe(figures, row, 0, 1000, 0)
    add_to_endpoint(figures, rows[1], 0, in_flight=1)  # 2 / 3 against 1
    assert set(available(choose(table, 0, 0, 100))) == {rows[1]}


def test_each_worker_goes_by_what_it_saw():
    figures, table, rows = pool_table(2)
    for worker, slow in ((0, 0), (1, 1)):
        observe(figures, rows[slow], worker, 9000, 0)
        observe(figures, rows[1 - slow], worker, 1000, 0)
    assert set(available(choose(table, 0, 0, 50, worker=0))) == {rows[1]}
    assert set(available(choose(table, 0, 0, 50, worker=1))) == {rows[0]}


def test_a_peak_fades_until_the_endpoint_is_tried_again():
    figures, table, rows = pool_table(2)
    observe(figures, rows[0], 0, 100_000, 0)
    observe(figures, rows[1], 0, 20_000, 15_000)
    assert set(available(choose(table, 0, 0, 50, now_ms=15_000))) == {rows[1]}  # 22,313 against 20,000
    assert set(available(choose(table, 0, 0, 50, now_ms=40_000))) == {rows[1]}  # both fade alike from then on
    observe(figures, rows[1], 0, 20_000, 40_000)
    assert set(available(choose(table, 0, 0, 50, now_ms=40_000))) == {rows[0]}


def test_what_is_known_of_an_endpoint_does_not_fade_while_it_owes_an_answer():
    """Before, one that never answers drew ever more: after a minute each request that waits there was worth a four hundredth."""
    figures, table, rows = pool_table(2)
    observe(figures, rows[0], 0, 20_000, 0)
    add_to_endpoint(figures, rows[0], 0, in_flight=1, awaiting=1)
    observe(figures, rows[1], 0, 20_000, 60_000)
    assert set(available(choose(table, 0, 0, 50, now_ms=60_000))) == {rows[1]}
    add_to_endpoint(figures, rows[0], 0, awaiting=-1)  # a download goes on
    assert set(available(choose(table, 0, 0, 50, now_ms=60_000))) == {rows[0]}


@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("state", ["shut", "probing"])
def test_gates_are_kept_and_the_last_open_one_is_always_found(n, state):
    figures, table, rows = pool_table(n)
    for row in rows[1:]:
        figures.set_endpoint(row, state=state)
    assert choose(table, 0, 0, 200) == {("available", rows[0]): 200}
    add_to_endpoint(figures, rows[0], 1, connect_failures=1)
    assert choose(table, 0, 0, 10) == {("no_endpoint_admits", -1): 10}
    counts = available(choose(table, 0, 0, DRAWS, ignore_gates=True))
    assert set(counts) == set(rows)


@pytest.mark.parametrize("n", [4, 20])
def test_an_endpoint_of_which_all_connections_are_in_use_is_at_its_limit(n):
    figures, table, rows = pool_table(n)
    for row in rows:
        add_to_endpoint(figures, row, 0, in_flight=1, n_open=1)
        add_to_endpoint(figures, row, 1, in_flight=1, n_open=1)
        observe(figures, row, 0, 1000 if row == rows[0] else 90_000, 0)
    assert {key[0] for key in choose(table, 0, 0, 50, max_open=2)} == {"full"}
    add_to_endpoint(figures, rows[1], 0, in_flight=-1)  # one that is idle
    assert choose(table, 0, 0, 50, max_open=2) == {("available", rows[1]): 50}
    add_to_endpoint(figures, rows[2], 0, in_flight=-1, n_open=-1)
    assert set(available(choose(table, 0, 0, 50, max_open=2))) == {rows[1], rows[2]}
    assert rows[0] in available(choose(table, 0, 0, 50, max_open=3))


@pytest.mark.parametrize("n", [4, 20])
def test_what_was_tried_is_not_picked_again(n):
    _, table, rows = pool_table(n)
    assert set(available(choose(table, 0, 0, DRAWS, tried=rows[:3]))) == set(rows[3:])


def test_with_all_tried_there_is_none():
    _, table, rows = pool_table(3)
    assert choose(table, 0, 0, 5, tried=rows) == {("no_endpoint_admits", -1): 5}


@pytest.mark.parametrize("n", [3, 20])
def test_a_full_pool_queues_at_the_least_loaded(n):
    figures, table, rows = pool_table(n, max_in_flight=5)
    for k, row in enumerate(rows):
        add_to_endpoint(figures, row, 0, in_flight=3)
        add_to_endpoint(figures, row, 1, in_flight=2 + (k != 1))
    assert choose(table, 0, 0, 50) == {("full", rows[1]): 50}
    add_to_endpoint(figures, rows[2], 0, in_flight=-2)
    assert choose(table, 0, 0, 50) == {("available", rows[2]): 50}
    figures.set_endpoint(rows[2], state="shut")
    figures.set_endpoint(rows[1], state="shut")
    ((availability, row),) = choose(table, 0, 0, 1)
    assert availability == "full"
    assert row not in rows[1:3]


@pytest.mark.parametrize("n", [4, 20])
def test_slow_start_thins_out_but_never_empties(n):
    figures, table, rows = pool_table(n)
    figures.set_endpoint(rows[0], weight=0.25)
    counts = available(choose(table, 0, 0, 2 * DRAWS))
    # A quarter of an equal share, or a little less: accepted one time in four, then against the others.
    assert 0.15 < counts[rows[0]] / (2 * DRAWS / n) < 0.4
    for row in rows:
        figures.set_endpoint(row, weight=0)
    assert set(available(choose(table, 0, 0, DRAWS))) == set(rows)


# --- The gateway's own zone: the first n_preferred ---

ZONES = [(2, 1), (4, 2), (12, 5), (30, 1), (30, 29)]


@pytest.mark.parametrize(("n", "n_preferred"), ZONES)
def test_the_own_zone_serves_alone_while_one_of_it_can(n, n_preferred):
    figures, table, rows = pool_table(n, n_preferred=n_preferred)
    for k, row in enumerate(rows):
        observe(figures, row, 0, 1000 if k >= n_preferred else 90_000, 0)  # however slow
    assert set(available(choose(table, 0, 0, DRAWS))) <= set(rows[:n_preferred])
    for row in rows[: n_preferred - 1]:
        figures.set_endpoint(row, state="shut")
    assert set(available(choose(table, 0, 0, 200))) == {rows[n_preferred - 1]}
    figures.set_endpoint(rows[n_preferred - 1], weight=0)  # in slow start: rarely is not never
    assert set(available(choose(table, 0, 0, 200))) == {rows[n_preferred - 1]}


@pytest.mark.parametrize(("n", "n_preferred"), ZONES)
def test_within_the_own_zone_they_share(n, n_preferred):
    _, table, rows = pool_table(n, n_preferred=n_preferred)
    counts = available(choose(table, 0, 0, DRAWS))
    spread = 5 * math.sqrt(DRAWS / n_preferred)
    assert all(abs(counts[row] - DRAWS / n_preferred) <= spread for row in rows[:n_preferred])


@pytest.mark.parametrize(("n", "n_preferred"), ZONES)
@pytest.mark.parametrize("why", ["shut", "connect failure", "full"])
def test_other_zones_serve_when_none_of_the_own_can(n, n_preferred, why):
    figures, table, rows = pool_table(n, n_preferred=n_preferred, max_in_flight=5)
    for row in rows[:n_preferred]:
        if why == "shut":
            figures.set_endpoint(row, state="shut")
        elif why == "connect failure":
            add_to_endpoint(figures, row, 1, connect_failures=1)
        else:
            add_to_endpoint(figures, row, 1, in_flight=5)
    assert set(available(choose(table, 0, 0, DRAWS))) == set(rows[n_preferred:])


@pytest.mark.parametrize(("n", "n_preferred"), [(4, 2), (20, 3)])
def test_other_zones_serve_when_all_of_the_own_were_tried(n, n_preferred):
    _, table, rows = pool_table(n, n_preferred=n_preferred)
    assert set(available(choose(table, 0, 0, DRAWS, tried=rows[:n_preferred]))) == set(rows[n_preferred:])
    assert set(available(choose(table, 0, 0, 200, tried=rows[1:n_preferred]))) == {rows[0]}


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_the_gate_says_for_which_share_of_requests_all_zones_are_alike(share):
    figures, table, rows = pool_table(8, n_preferred=2)
    figures.set_pool(table.spec.services[0].pools[0].row, all_zones=share)
    counts = available(choose(table, 0, 0, DRAWS))
    ours = sum(counts.get(row, 0) for row in rows[:2])
    assert ours / DRAWS == pytest.approx(1 - share * 6 / 8, abs=0.04 if share else 0)


def test_with_all_zones_full_it_waits_at_the_least_loaded():
    figures, table, rows = pool_table(6, n_preferred=3, max_in_flight=2)
    for k, row in enumerate(rows):
        add_to_endpoint(figures, row, 0, in_flight=3 + (k != 4))
    assert choose(table, 0, 0, 50) == {("full", rows[4]): 50}


@pytest.mark.parametrize("n", [4, 20])
def test_in_a_panic_those_that_refused_come_last(n):
    """Whatever probes were answered, and also for a retry."""
    figures, table, rows = pool_table(n)
    for row in rows[2:]:
        figures.set_endpoint(row, state="shut")
    figures.set_endpoint(rows[1], state="shut", has_answered=True)  # unwell by its own word
    assert set(available(choose(table, 0, 0, 500, ignore_gates=True))) == set(rows[:2])
    assert choose(table, 0, 0, 200, tried=rows[:1], ignore_gates=True) == {("available", rows[1]): 200}
    assert set(available(choose(table, 0, 0, DRAWS, tried=rows[:2], ignore_gates=True))) == set(rows[2:])
    assert choose(table, 0, 0, 200) == {("available", rows[0]): 200}  # no panic
    add_to_endpoint(figures, rows[1], 1, connect_failures=1)  # refused since
    assert choose(table, 0, 0, 200, ignore_gates=True) == {("available", rows[0]): 200}
    figures.set_endpoint(rows[1], forgiven=1)
    assert set(available(choose(table, 0, 0, 500, ignore_gates=True))) == set(rows[:2])


def test_in_a_panic_it_rather_waits_than_asks_who_refused():
    figures, table, rows = pool_table(3, max_in_flight=1)
    for row in rows[1:]:
        figures.set_endpoint(row, state="shut")
    add_to_endpoint(figures, rows[0], 1, in_flight=1)
    assert choose(table, 0, 0, 50, ignore_gates=True) == {("full", rows[0]): 50}


def test_in_a_panic_one_that_was_asked_and_never_answered_is_not_free():
    figures, table, rows = pool_table(2)
    observe(figures, rows[0], 0, 1000, 0)
    add_to_endpoint(figures, rows[1], 0, attempts=1)
    assert set(available(choose(table, 0, 0, 100))) == {rows[1]}
    assert set(available(choose(table, 0, 0, 100, ignore_gates=True))) == {rows[0]}


def test_panic_keeps_to_the_own_zone_too():
    figures, table, rows = pool_table(6, n_preferred=2)
    for row in rows:
        figures.set_endpoint(row, state="shut")
    assert set(available(choose(table, 0, 0, 500, ignore_gates=True))) == set(rows[:2])
    figures.set_endpoint(rows[3], has_answered=True)
    assert set(available(choose(table, 0, 0, 500, ignore_gates=True))) == {rows[3]}


@pytest.mark.parametrize("n_preferred", [0, 6])
def test_none_or_all_preferred_is_no_preference(n_preferred):
    _, table, rows = pool_table(6, n_preferred=n_preferred)
    assert set(available(choose(table, 0, 0, DRAWS))) == set(rows)


def test_an_empty_pool_has_none():
    figures = Figures(1)
    table = table_of(figures, n_endpoints=[0, 1, 1, 1])
    assert endpoint_rows(table) == []
    assert choose(table, 0, 0, 3) == {("no_endpoint_admits", -1): 3}


def test_the_average_rises_at_once_and_falls_slowly():
    figures = Figures(1)
    row = figures.acquire("endpoint")
    assert observe(figures, row, 0, 1000, 0) == 1000
    assert observe(figures, row, 0, 50_000, 1) == 50_000
    assert observe(figures, row, 0, 1000, 10_001) == pytest.approx(1000 + 49_000 / math.e, rel=0.001)
    assert figures.read_endpoint(row)["latency_us"] == pytest.approx(1000 + 49_000 / math.e, rel=0.001)
    assert observe(figures, row, 0, 0, 10_001) > 1000  # no time has passed
    assert observe(figures, row, 0, 0, 10**9) == 1  # 0 would say that nothing is known


def test_small_steps_are_not_lost():
    """A thousand samples a second fall as fast as one in ten seconds."""
    figures = Figures(1)
    row = figures.acquire("endpoint")
    observe(figures, row, 0, 1000, 0)
    for now in range(1, 10_001):
        last = observe(figures, row, 0, 500, now)
    assert last == pytest.approx(500 + 500 / math.e, abs=2)


def test_a_clock_that_steps_back_does_no_harm():
    figures, table, rows = pool_table(2)
    observe(figures, rows[0], 0, 1000, 10**6)
    assert observe(figures, rows[0], 0, 500, 0) == 1000
    assert choose(table, 0, 0, 10, now_ms=-5)


@given(
    shut=st.lists(st.booleans(), min_size=1, max_size=12),
    full=st.lists(st.booleans(), min_size=12, max_size=12),
    tried=st.lists(st.integers(0, 11), max_size=3),
    slow=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=12, max_size=12),
    n_preferred=st.integers(0, 12),
    seed=st.integers(0, 2**31),
)
def test_what_is_available_is_chosen_and_nothing_else(shut, full, tried, slow, n_preferred, seed):
    n_preferred = min(n_preferred, len(shut))
    figures, table, rows = pool_table(len(shut), max_in_flight=2, n_preferred=n_preferred)
    for k, row in enumerate(rows):
        figures.set_endpoint(row, state="shut" if shut[k] else "admitting", weight=slow[k])
        add_to_endpoint(figures, row, k % 2, in_flight=2 if full[k] else 1)
    admitting = {row for k, row in enumerate(rows) if not shut[k] and k not in tried}
    free = {row for k, row in enumerate(rows) if row in admitting and not full[k]}
    tried_rows = [rows[k] for k in tried if k < len(rows)]
    for availability, row in choose(table, 0, 0, 20, tried=tried_rows, seed=seed):
        if free:
            assert availability == "available"
            assert row in (free & set(rows[:n_preferred]) or free)
        elif admitting:
            assert availability == "full"
            assert row in admitting
        else:
            assert (availability, row) == ("no_endpoint_admits", -1)
