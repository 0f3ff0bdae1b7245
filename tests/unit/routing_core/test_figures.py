import ipaddress
from array import array
from collections import Counter

import pytest

from routing_core import (
    BUCKETS_MS,
    MAX_WORKERS,
    EndpointSpec,
    Figures,
    PoolSpec,
    PopSpec,
    RouteSpec,
    ServiceSpec,
    Table,
    TableSpec,
    explain,
    live_blocks,
)
from routing_core._figures import CODE_LABELS, GATE_STATES, REASONS, RETRY_OUTCOMES
from routing_core._memory import refuse
from routing_core._testing import add_to_endpoint, add_to_pool, add_to_pop, add_to_service, bucket, group, hang, label_of_code


def test_a_fresh_endpoint_admits_and_has_counted_nothing():
    figures = Figures(3)
    assert figures.read_endpoint(figures.acquire("endpoint")) == {
        "in_flight": 0,
        "connections": 0,
        "awaiting": 0,
        "attempts": 0,
        "connect_failures": 0,
        "failures": 0,
        "latency_us": 0,
        "state": "admitting",
        "forgiven": 0,
        "weight": 1.0,
        "is_admitting": True,
        "is_answering": True,
        "answers": 0,
        "errors": 0,
        "first_bytes": 0,
        "first_byte_us": 0,
        "server_errors": 0,
    }


def test_a_fresh_pool_admits_everything_and_knows_no_path():
    figures = Figures(2)
    read = figures.read_pool(figures.acquire("pool"))
    assert (read["admit"], read["availability"], read["shed"], read["ramp"], read["penalty_ms"]) == (1.0, 1.0, 1.0, 1.0, 0.0)
    assert (read["service_ms"], read["path_ms"], read["samples"]) == (0.0, -1.0, 0)
    assert (read["spread_ms"], read["hope_ms"], read["most_ms"], read["usual"]) == (0.0, -1.0, 0.0, 0)
    assert read["codes"] == read["reasons"] == {}
    assert read["first_byte_buckets"] == read["duration_buckets"] == [0] * (len(BUCKETS_MS) + 1)


def test_sums_are_over_all_workers_and_rows_do_not_mix():
    figures = Figures(3)
    rows = [figures.acquire("endpoint") for _ in range(40)]
    for row in rows:
        for worker in range(3):
            add_to_endpoint(figures, row, worker, in_flight=row + 1, connections=10 * worker)
    assert [figures.read_endpoint(row)["in_flight"] for row in rows] == [3 * (row + 1) for row in rows]
    assert {figures.read_endpoint(row)["connections"] for row in rows} == {30}


def test_pools_and_services_of_many_blocks_do_not_mix():
    figures = Figures(2)
    pools = [figures.acquire("pool") for _ in range(40)]
    services = [figures.acquire("service") for _ in range(40)]
    for number, (pool, service) in enumerate(zip(pools, services, strict=True)):
        figures.set_pool(pool, admit=number / 64, path_ms=number)
        for _ in range(number):
            add_to_pool(figures, pool, 1, code=200, reason=1)
            add_to_service(figures, service, 1, 2)
    for number, (pool, service) in enumerate(zip(pools, services, strict=True)):
        read = figures.read_pool(pool)
        assert (read["admit"], read["path_ms"]) == (number / 64, number)
        assert read["codes"] == ({"200": number} if number else {})
        assert read["reasons"] == ({REASONS[1]: number} if number else {})
        assert figures.read_service(service) == {name: number * (name == RETRY_OUTCOMES[2]) for name in RETRY_OUTCOMES}


def test_pops_of_many_blocks_count_all_workers_and_do_not_mix():
    figures = Figures(3)
    rows = [figures.acquire("pop") for _ in range(40)]
    assert [figures.read_pop(row) for row in rows] == [0] * 40
    for number, row in enumerate(rows):
        for worker in range(3):
            add_to_pop(figures, row, worker, number + worker)
    assert [figures.read_pop(row) for row in rows] == [3 * number + 3 for number in range(40)]


def test_a_pop_in_use_is_not_released_and_comes_back_clean():
    figures = Figures(2)
    row = figures.acquire("pop")
    add_to_pop(figures, row, 0, 3)
    add_to_pop(figures, row, 1, -1)
    with pytest.raises(ValueError, match=f"row {row}: 2 in use"):
        figures.release(row)
    assert figures.read_pop(row) == 2
    add_to_pop(figures, row, 1, -2)  # each worker counts its own: only the sum says that nothing is left
    figures.release(row)
    assert figures.acquire("pop") == row
    assert figures.read_pop(row) == 0
    add_to_pop(figures, row, 0, 1)
    assert figures.read_pop(row) == 1


def test_a_worker_that_hangs_counts_with_what_it_did_and_not_with_what_it_has():
    figures = Figures(3)
    pool, endpoint, pop = (figures.acquire(kind) for kind in ("pool", "endpoint", "pop"))
    for worker in range(3):
        add_to_pool(figures, pool, worker, in_flight=2, waiting=1, attempts=5, first_bytes=7, held=1, held_by=3)
        add_to_endpoint(figures, endpoint, worker, in_flight=2, connections=4, connect_failures=1)
        add_to_pop(figures, pop, worker, 2)
    rows, seen = array("i", [pool]), array("Q", [0])
    figures.moved(rows, seen)
    for hangs, n in ((True, 2), (False, 3)):
        hang(figures, 1, hangs)
        assert figures.moved(rows, seen) == [0]
        times, of_pool, of_endpoint = figures.read_pool_times(pool), figures.read_pool(pool), figures.read_endpoint(endpoint)
        assert (times[0], times[5], of_pool["in_flight"], of_pool["waiting"], figures.read_pop(pop)) == (2 * n, n, 2 * n, n, 2 * n)
        assert (of_endpoint["in_flight"], of_endpoint["connections"], figures.read_held(rows)[3]) == (2 * n, 4 * n, n)
        assert (of_pool["attempts"], of_pool["first_bytes"], times[4], of_endpoint["connect_failures"]) == (15, 21, 21, 3)
        assert not of_endpoint["is_admitting"], "who was refused there was refused"
        assert (figures.in_use(pool), figures.in_use(endpoint), figures.in_use(pop)) == (6, 18, 6)
        with pytest.raises(ValueError, match="6 in use"):
            figures.release(pool)


def test_outcomes_are_those_of_the_whole_row():
    figures = Figures(2)
    pool, endpoint = figures.acquire("pool"), figures.acquire("endpoint")
    assert figures.read_pool_outcomes(pool) == (0, 0, 0, 0, 0)
    assert figures.read_endpoint_outcomes(endpoint) == (0,) * 8
    assert figures.read_pool_groups(pool) == (0, 0, 0)
    read = figures.read_pool(pool)
    names = ("attempts", "failures", "server_errors", "rate_limited", "retry_after_ms")
    assert tuple(read[name] for name in names) == figures.read_pool_outcomes(pool)
    add_to_pool(figures, pool, 1, in_flight=4)
    assert figures.read_pool_times(pool) == (4, 0, 0, 0, 0, 0, 0)
    add_to_endpoint(figures, endpoint, 1, in_flight=4, connect_failures=1)
    assert figures.read_endpoint_outcomes(endpoint) == (0,) * 8  # who did not connect did not answer
    with pytest.raises(IndexError, match="kind"):
        figures.read_pool_outcomes(endpoint)
    with pytest.raises(IndexError, match="kind"):
        figures.read_endpoint_outcomes(pool)


# Groups of client networks

NETWORKS = [f"192.0.{number}.1" for number in range(20)]


def address(text):
    ip = ipaddress.ip_address(text)
    return ip.packed if ip.version == 6 else b"\0" * 10 + b"\xff\xff" + ip.packed


def test_who_is_in_a_network_is_in_its_group():
    assert len({group(address(f"192.0.2.{last}")) for last in range(256)}) == 1
    assert len({group(address(f"2001:db8:7:{last:x}::{last:x}")) for last in range(256)}) == 1


@pytest.mark.parametrize("network", ["10.{}.{}.1", "{}.{}.7.0", "2001:db8:{1}{0}::1", "2001:{0}{1}::1"])
def test_networks_are_spread_over_the_groups(network):
    found = Counter(group(address(network.format(1 + i // 8, i % 8))) for i in range(80))
    assert len(found) == 8
    assert max(found.values()) <= 25


def test_the_groups_of_all_workers_are_added_up_each_by_itself():
    figures = Figures(3)
    pool, endpoint = figures.acquire("pool"), figures.acquire("endpoint")
    one, other = address("192.0.2.1"), next(each for each in map(address, NETWORKS) if group(each) != group(address("192.0.2.1")))
    for worker in (0, 2):
        for _ in range(128):  # 256 together: a byte would be back where it was
            add_to_endpoint(figures, endpoint, worker, bad_by=one)
        for _ in range(3):
            add_to_endpoint(figures, endpoint, worker, bad_by=other, good_by=one, slow_by=other)
        add_to_pool(figures, pool, worker, answered_by=one, limited_by=other, bad_by=other)
    own, others = 1 << 32 * group(one), 1 << 32 * group(other)
    assert figures.read_endpoint_outcomes(endpoint)[5:] == (256 * own + 6 * others, 6 * own, 6 * others)
    assert figures.read_pool_groups(pool) == (2 * own, 2 * others, 2 * others)


def test_a_released_row_comes_back_clean():
    figures = Figures(2)
    row = figures.acquire("endpoint")
    add_to_endpoint(figures, row, 1, connect_failures=5)
    figures.set_endpoint(row, state="shut", forgiven=2, weight=0.5)
    figures.release(row)
    assert figures.acquire("endpoint") == row
    assert figures.read_endpoint(row)["is_admitting"]
    assert figures.read_endpoint(row)["connect_failures"] == 0


@pytest.mark.parametrize("busy", [{"in_flight": 1}, {"connections": 1}])
def test_an_endpoint_in_use_is_not_released(busy):
    figures = Figures(2)
    row = figures.acquire("endpoint")
    add_to_endpoint(figures, row, 1, **busy)
    with pytest.raises(ValueError, match="1 "):
        figures.release(row)
    add_to_endpoint(figures, row, 1, **dict.fromkeys(busy, -1))
    figures.release(row)


def test_a_pool_in_use_is_not_released():
    figures = Figures(2)
    row = figures.acquire("pool")
    add_to_pool(figures, row, 0, in_flight=2)
    with pytest.raises(ValueError, match="2 in use"):
        figures.release(row)


def test_rows_of_another_kind_freed_or_never_made_are_refused():
    figures = Figures(1)
    endpoint, pool, service, pop = (figures.acquire(kind) for kind in ("endpoint", "pool", "service", "pop"))
    reads = (
        (figures.read_endpoint, pool), (figures.read_pool, service), (figures.read_service, endpoint), (figures.read_pop, service),
        (figures.read_service, pop),
    )  # fmt: skip
    for read, row in reads:
        with pytest.raises(IndexError, match="kind"):
            read(row)
    figures.release(endpoint)
    for row in (endpoint, -1, 10**6):
        with pytest.raises(IndexError, match="not in use"):
            figures.read_endpoint(row)
        with pytest.raises(IndexError):
            figures.release(row)
        with pytest.raises(IndexError):
            figures.set_pool(row, admit=0.5)


def test_a_connect_failure_shuts_the_gate_until_it_is_forgiven():
    figures = Figures(2)
    row = figures.acquire("endpoint")
    add_to_endpoint(figures, row, 0, connect_failures=1)
    add_to_endpoint(figures, row, 1, connect_failures=1)
    assert not figures.read_endpoint(row)["is_admitting"]
    figures.set_endpoint(row, forgiven=1)
    assert not figures.read_endpoint(row)["is_admitting"]
    figures.set_endpoint(row, forgiven=2)
    assert figures.read_endpoint(row)["is_admitting"]


@pytest.mark.parametrize("state", GATE_STATES)
def test_only_an_admitting_gate_admits(state):
    figures = Figures(1)
    row = figures.acquire("endpoint")
    figures.set_endpoint(row, state=state)
    assert figures.read_endpoint(row)["state"] == state
    assert figures.read_endpoint(row)["is_admitting"] == (state == "admitting")


@pytest.mark.parametrize(
    "wrong", [{"state": "open"}, {"weight": 1.5}, {"weight": float("nan")}, {"forgiven": -1}, {"weight": 0.5, "state": "closed"}]
)
def test_a_wrong_gate_is_refused_whole(wrong):
    figures = Figures(1)
    row = figures.acquire("endpoint")
    before = figures.read_endpoint(row)
    with pytest.raises(ValueError, match="must be"):
        figures.set_endpoint(row, **wrong)
    assert figures.read_endpoint(row) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"admit": -0.1}, {"availability": 2}, {"shed": 1.01}, {"ramp": -1}, {"ramp": float("nan")}, {"penalty_ms": -1}, {"service_ms": -1},
        {"path_ms": -2}, {"samples": -1}, {"admit": 0.5, "path_ms": float("nan")}, {"service_ms": 5, "version": -1},
        {"service_ms": 5, "version": 1.0}, {"service_ms": 5, "version": True}, {"shed": 0.5, "version": "1"},
        {"spread_ms": -1}, {"hope_ms": -2}, {"hope_ms": float("nan")}, {"most_ms": -1}, {"usual": -1},
        {"usual": 3, "spread_ms": float("inf")},
    ],
)  # fmt: skip
def test_a_wrong_pool_is_refused_whole(wrong):
    figures = Figures(1)
    row = figures.acquire("pool")
    before = figures.read_pool(row)
    with pytest.raises(ValueError, match="must be"):
        figures.set_pool(row, **wrong)
    assert figures.read_pool(row) == before


def test_what_is_set_is_read_and_a_path_can_be_forgotten():
    figures = Figures(1)
    row = figures.acquire("pool")
    figures.set_pool(row, admit=0.25, availability=0.5, service_ms=12.5, path_ms=0, samples=7)
    read = figures.read_pool(row)
    assert [read[name] for name in ("admit", "availability", "service_ms", "path_ms", "samples")] == [0.25, 0.5, 12.5, 0.0, 7]
    figures.set_pool(row, path_ms=-1)
    assert figures.read_pool(row)["path_ms"] == -1


def test_all_factors_are_set_apart():
    figures = Figures(1)
    row = figures.acquire("pool")
    figures.set_pool(row, admit=0.125, availability=0.5, shed=0.75, ramp=0.25, penalty_ms=1.5)
    figures.set_pool(row, samples=3)
    read = figures.read_pool(row)
    assert [read[name] for name in ("admit", "availability", "shed", "ramp", "penalty_ms", "samples")] == [0.125, 0.5, 0.75, 0.25, 1.5, 3]


def test_the_latest_times_are_read_whatever_their_version():
    figures = Figures(1)
    row = figures.acquire("pool")
    figures.set_pool(row, service_ms=4, path_ms=2, version=3)
    figures.set_pool(row, service_ms=5.5, path_ms=-1, version=12)
    read = figures.read_pool(row)
    assert (read["service_ms"], read["path_ms"]) == (5.5, -1)
    figures.set_pool(row, path_ms=7)  # the other of the two stays as it was
    read = figures.read_pool(row)
    assert (read["service_ms"], read["path_ms"]) == (5.5, 7)


@pytest.mark.parametrize("phase", [-1, float("nan"), 1 << 62])
def test_a_wrong_phase_is_refused(phase):
    with pytest.raises(ValueError, match="phase: must be a number from 0"):
        Figures(1).set_phase(phase)


def test_every_code_has_a_slot():
    assert [label_of_code(code) for code in (200, 204, 301, 404, 499, 503)] == ["200", "204", "301", "404", "499", "503"]
    assert [label_of_code(code) for code in (199, 299, 399, 418, 599)] == ["1xx", "2xx", "3xx", "4xx", "5xx"]
    assert [label_of_code(code) for code in (-1, 0, 99, 600, 999)] == ["other"] * 5
    for code in range(100, 600):
        assert label_of_code(code) in (str(code), f"{code // 100}xx")
    assert len(set(CODE_LABELS)) == len(CODE_LABELS)


def test_a_bucket_holds_its_bound():
    for number, bound in enumerate(BUCKETS_MS):
        assert bucket(int(bound * 1000)) == number
        assert bucket(int(bound * 1000) + 1) == number + 1
    assert bucket(-5) == 0


@pytest.mark.parametrize("n_workers", [0, -1, MAX_WORKERS + 1])
def test_number_of_workers_is_checked(n_workers):
    with pytest.raises(ValueError, match="n_workers"):
        Figures(n_workers)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="endpoint, pool, service, pop, got 'listener'"):
        Figures(1).acquire("listener")


def test_memory_that_is_out_is_an_error_and_leaves_nothing(nothing_left):
    before = live_blocks()["figures"]
    figures = Figures(MAX_WORKERS)
    for granted in range(2):
        refuse(True, after=granted)
        try:
            with pytest.raises(MemoryError):
                figures.acquire("pool")
        finally:
            refuse(False)
    for _ in range(33):
        figures.acquire("pool")
    assert live_blocks()["figures"] - before == 6  # three blocks, their list, the pace, the crew
    del figures


def zeros(n):
    return array("Q", bytes(8 * n))


@pytest.mark.parametrize(
    "count",
    [
        {"in_flight": 1},
        {"attempts": 1},
        {"failures": 1},
        {"first_bytes": 1},
        {"first_byte_us": 1},
        {"in_flight": 1, "attempts": 1},
        {"waiting": 1},
    ],
)
def test_a_pool_of_which_anything_was_counted_moved_once(count):
    figures = Figures(3)
    rows = array("i", [figures.acquire("pool") for _ in range(40)])
    seen = zeros(40)
    figures.moved(rows, seen)
    assert figures.moved(rows, seen) == []
    for place in (7, 33):
        add_to_pool(figures, rows[place], 2, **count)
    assert figures.moved(rows, seen) == [7, 33]
    assert figures.moved(rows, seen) == []
    figures.set_pool(rows[3], penalty_ms=5)  # what control itself wrote is no news
    assert figures.moved(rows, seen) == []


def test_an_endpoint_moved_when_it_admits_or_does_no_more():
    figures = Figures(2)
    rows = array("i", [figures.acquire("endpoint") for _ in range(5)])
    seen = zeros(5)
    assert figures.moved(rows, seen) == [0, 1, 2, 3, 4]
    add_to_endpoint(figures, rows[1], 1, connect_failures=1, in_flight=1)
    figures.set_endpoint(rows[2], state="shut")
    add_to_endpoint(figures, rows[3], 0, in_flight=1)
    assert figures.moved(rows, seen) == [1, 2]
    assert (figures.count_admitting(rows), figures.count_admitting(rows[1:3]), figures.count_admitting(array("i"))) == (3, 0, 0)
    figures.set_endpoint(rows[1], forgiven=1)
    figures.set_endpoint(rows[2], state="probing")
    assert figures.moved(rows, seen) == [1]
    assert figures.count_admitting(rows) == 4


def test_failed_connects_are_found_where_their_sum_is_another_one():
    figures = Figures(2)
    rows = array("i", [figures.acquire("endpoint") for _ in range(5)])
    seen = zeros(5)
    assert figures.failed_connects(rows, seen) == []
    add_to_endpoint(figures, rows[1], 1, connect_failures=1, in_flight=1)
    add_to_endpoint(figures, rows[4], 0, connect_failures=2)
    add_to_endpoint(figures, rows[4], 1, connect_failures=3)
    figures.set_endpoint(rows[4], forgiven=5)
    assert figures.failed_connects(rows, seen) == [1, 4] and list(seen) == [0, 1, 0, 0, 5]
    assert figures.failed_connects(rows, seen) == []


def test_a_version_begins_as_the_one_before():
    figures = Figures(1)
    spec = TableSpec(
        1,
        (PopSpec("a", 0, 0), PopSpec("b", 0, 0)),
        (ServiceSpec("s", figures.acquire("service"), tuple(pool_of(figures, number) for number in range(2))),),
        (RouteSpec("r", 0),),
    )
    table = Table(spec, figures)
    rows = array("i", [pool.row for pool in spec.services[0].pools])
    for row in rows:
        figures.set_pool(row, service_ms=200, path_ms=-1)
    figures.set_phase(8 * 1024)
    figures.set_pool(rows[1], service_ms=20, path_ms=-1, version=9)
    shares = []
    for version in range(9, 17):
        if version > 9:
            figures.begin_version(rows, version)
        figures.set_phase((version + 1) * 1024 - 1)
        shares.append(next(one.share for one in explain(table, 0, (0.0, 0.0, 0.0)).candidates if one.pop == "b"))
    assert shares == sorted(shares)
    assert shares[0] < 0.7 and shares[-1] == pytest.approx(1)


def pool_of(figures, pop):
    return PoolSpec(pop, figures.acquire("pool"), (EndpointSpec(figures.acquire("endpoint"), "192.0.2.1", 80),), 1)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda figures, pool, endpoint: figures.moved(array("i", [pool, endpoint]), zeros(2)), IndexError),
        (lambda figures, pool, endpoint: figures.failed_connects(array("i", [endpoint, pool]), zeros(2)), IndexError),
        (lambda figures, pool, endpoint: figures.failed_connects(array("i", [endpoint]), zeros(2)), ValueError),
        (lambda figures, pool, endpoint: figures.moved(array("i", [endpoint, pool]), zeros(2)), IndexError),
        (lambda figures, pool, endpoint: figures.moved(array("i", [pool + 1]), zeros(1)), IndexError),
        (lambda figures, pool, endpoint: figures.moved(array("i", [pool]), zeros(2)), ValueError),
        (lambda figures, pool, endpoint: figures.count_admitting(array("i", [pool])), IndexError),
        (lambda figures, pool, endpoint: figures.begin_version(array("i", [endpoint]), 1), IndexError),
        (lambda figures, pool, endpoint: figures.begin_version(array("i", [pool]), 0), ValueError),
        (lambda figures, pool, endpoint: figures.begin_version(array("i", [pool]), True), ValueError),
    ],
)
def test_rows_of_another_kind_are_refused(call, error):
    figures = Figures(1)
    pool, endpoint = figures.acquire("pool"), figures.acquire("endpoint")
    with pytest.raises(error):
        call(figures, pool, endpoint)
