"""What must not be noticed by anyone: rolls, outages and drains on real control planes, with a real gateway under load.

Each scenario runs under 16 keep-alive, 4 connection-per-request, 2 upload and 2 slow-download clients, and ends with 0 errors, resets, cut
bodies, doubled and lost POSTs (a PoP's sudden death apart, which says what it may cost). That what should happen did happen (pods and
gateways were really replaced, traffic really moved) is asserted beside it, or a scenario that does nothing would pass. Once in `make test`,
five times in `make test-all`.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Clusters, ControlPlane, write_kubeconfig
from tests.e2e.gateway import NEAR_NYC, Gateway, two_pops
from tests.e2e.load import KINDS, REPORT_EVERY_S, Load, Report
from tests.e2e.processes import wait_until
from tests.e2e.rollout import deploy, pid_of, pod_names, roll

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAME = "shop"
HOSTS = ("10.244.240.1", "10.244.240.2", "10.244.240.3")
GRACE_S, SLOW_STOP_S = 5, 2
DNS_S = 0.5  # from a gateway's unreadiness to the first client that is not led there any more
# Runs of each scenario: one, and four more in test-all.
five_runs = pytest.mark.parametrize("run", [1, *(pytest.param(number, marks=pytest.mark.long) for number in range(2, 6))])

Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def planes(clusters: Clusters) -> tuple[ControlPlane, ControlPlane]:
    """fra and nyc, each with the Deployment. It ends with its cluster: deleting it after an outage would wait for controllers' backoff."""
    fra, nyc = clusters.start("fra", "nyc")
    for plane in (fra, nyc):
        deploy(plane, NAME, grace_s=GRACE_S, environment={"SLOW_STOP_S": str(SLOW_STOP_S)})
    return fra, nyc


@pytest.fixture(scope="module")
def fra(planes: tuple[ControlPlane, ControlPlane]) -> ControlPlane:
    return planes[0]


@pytest.fixture(scope="module")
def nyc(planes: tuple[ControlPlane, ControlPlane]) -> ControlPlane:
    return planes[1]


@pytest.fixture
def start(planes: tuple[ControlPlane, ControlPlane], tmp_path: Path) -> Iterator[Start]:
    """Makes gateways, each with a name of its own: `start("a", HOSTS[0], timeout_s=20.0, window="50ms")`, the rest as in `two_pops`."""
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, planes)
    with ExitStack() as stack:

        def make(name: str = "gateway", host: str = HOSTS[0], *, timeout_s: float = 20.0, **changes: Any) -> Gateway:
            gateway = stack.enter_context(Gateway(name, host, tmp_path, two_pops(kubeconfig, NAME, **changes)))
            return gateway.start(timeout_s)

        yield make


@pytest.fixture
def under_load(posts: Path, tmp_path: Path, scenarios: dict[str, Report], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`with under_load(address) as load`: every kind of client has had an answer when it begins, and its report is final at the end."""

    @contextmanager
    def loaded(*addresses: str, **counts: int) -> Iterator[Load]:
        load = Load(tmp_path, posts=posts, **counts)
        load.point_at(*addresses)
        load.start()
        try:
            kinds = counts or KINDS
            wait_until(lambda: min(load.report().done[kind] for kind in kinds) >= 1, 20, "an exchange of each kind")
            yield load
        finally:
            scenarios[request.node.name] = load.stop()

    return loaded


def assert_nothing_noticed(load: Load, least: int = 2) -> Report:
    report = load.report()
    assert report.problems() == {}, report.details
    assert min(report.done.values()) >= least, report.done
    return report


def answers_from(load: Load, cluster: str, since_s: float) -> int:
    return load.report().by_cluster(since_s)[cluster]


def wait_moved(load: Load, cluster: str, timeout_s: float = 20.0, answers: int = 50) -> None:
    """Until a whole second's answers came from `cluster` alone: all traffic is there."""

    def has_moved() -> bool:
        last = load.report().by_cluster(int(time.time()) - 1)
        return set(last) == {cluster} and last[cluster] >= answers

    wait_until(has_moved, timeout_s, f"all traffic at {cluster}")


@five_runs
def test_rolling_restart_of_one_cluster(run: int, fra: ControlPlane, start: Start, under_load: Any) -> None:
    gateway = start()
    before = pod_names(fra, NAME)
    with under_load(gateway.address) as load:
        roll(fra, NAME)
        after = pod_names(fra, NAME)
        rolled_at = time.time() + 1
        wait_until(lambda: set(load.report().by_pod(rolled_at)) == after, 20, "every new pod answers")
    report = assert_nothing_noticed(load, least=4)
    assert not before & after
    assert not before & set(report.by_pod(rolled_at)), "nothing came from pods that were gone"
    assert before | after <= set(report.by_pod())
    assert set(report.by_cluster()) == {"fra"}, "the nearest PoP was there all the time"


@pytest.mark.heavy
@five_runs
def test_scale_to_zero_and_back(run: int, fra: ControlPlane, start: Start, under_load: Any) -> None:
    gateway = start()
    with under_load(gateway.address) as load:
        try:
            fra.api.scale(NAME, 0)
            wait_until(lambda: fra.api.is_rolled_out(NAME), 20, "no pod left")
            wait_moved(load, "nyc")
        finally:
            fra.api.scale(NAME, 3)
        wait_until(lambda: fra.api.is_rolled_out(NAME), 30, "three pods again")
        wait_moved(load, "fra")
    assert_nothing_noticed(load)


@pytest.mark.long
@five_runs
def test_pods_that_stop_at_once_cost_no_get(run: int, fra: ControlPlane, start: Start, under_load: Any) -> None:
    """The worst that a Deployment can do (R1, R2): pods close at SIGTERM, before anyone can have told the gateway. A POST that meets such
    a close is answered with 502, since it may have been seen; every GET must find another pod."""
    deploy(fra, NAME, grace_s=GRACE_S, environment={"SLOW_STOP_S": "0"})
    gateway = start()
    try:
        with under_load(gateway.address, keepalive=16, fresh=4, download=2) as load:
            for _ in range(2):
                roll(fra, NAME)
    finally:
        deploy(fra, NAME, grace_s=GRACE_S, environment={"SLOW_STOP_S": str(SLOW_STOP_S)})
    report = load.report()
    assert report.problems() == {}, report.details
    assert len(report.by_pod()) >= 9


@pytest.mark.heavy
@five_runs
def test_gateways_behind_one_name_are_rolled(run: int, start: Start, under_load: Any) -> None:
    old, other = start("old", HOSTS[0]), start("other", HOSTS[1])

    def replace(load: Load, leaving: Gateway, staying: Gateway, name: str, host: str) -> Gateway:
        """As a Deployment of gateways with maxUnavailable 1 does it: the name leads to who is ready, a moment later."""
        leaving.terminate()
        wait_until(lambda: not leaving.is_ready(), 5, "unready at once")
        assert leaving.is_listening(), "everyone is still served"
        time.sleep(DNS_S)
        load.point_at(staying.address)
        leaving.wait_drained()
        assert not leaving.is_listening()
        fresh = start(name, host)
        load.point_at(staying.address, fresh.address)
        wait_served(load, fresh)
        return fresh

    def wait_served(load: Load, gateway: Gateway) -> None:
        wait_until(lambda: gateway.requests() > 20, 20, f"{gateway.name} serves")

    with under_load(old.address, other.address) as load:
        wait_served(load, old)
        wait_served(load, other)
        fresh = replace(load, old, other, "new", HOSTS[0])
        replace(load, other, fresh, "newer", HOSTS[1])
    report = assert_nothing_noticed(load, least=4)
    assert report.closes_announced >= 2 * 16 / 2, "keep-alive clients left because they were told to"


@five_runs
def test_drain_of_a_pop(run: int, fra: ControlPlane, start: Start, under_load: Any) -> None:
    gateway = start()
    with under_load(gateway.address) as load:
        wait_until(lambda: gateway.command("GET", "/pops/fra/drain")["in_flight"] >= 3, 5, "uploads and downloads at fra")
        running = gateway.command("POST", "/pops/fra/drain")
        time.sleep(2 * REPORT_EVERY_S)  # until answers from before the drain have been counted
        counted = answers_from(load, "fra", 0)
        assert running["drained"] and not running["done"] and running["in_flight"] >= 1, running
        done = gateway.ask("GET", "/pops/fra/drain?wait=15s", timeout_s=20.0)[1]
        assert done["done"] and done["in_flight"] == 0, done
        wait_moved(load, "nyc")
        assert gateway.is_ready(), "one PoP's drain is not the gateway's"
        late = answers_from(load, "fra", 0) - counted
        assert late <= 4, f"{late} answers from fra: only what upload and download clients had under way may come after a drain"
        gateway.command("POST", "/pops/fra/undrain")
        wait_moved(load, "fra")
    assert_nothing_noticed(load)


@five_runs
def test_death_of_a_whole_pop(run: int, fra: ControlPlane, start: Start, under_load: Any) -> None:
    """As a site that loses its power: all pods at once, and nobody is left to tell Kubernetes, which calls them ready all the time.

    No small GET may fail. What each upload and download client had under way is lost with the pod: an answer that has begun can't begin
    again elsewhere (R3), and a POST must not be sent twice (R2). So each of these clients may see one fault, at the death."""
    gateway = start()
    with under_load(gateway.address) as load:
        victims = [pid_of(fra, pod["metadata"]["name"]) for pod in fra.api.pods(NAME)]
        fra.pods.pause()
        try:
            died_at = time.time()
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            wait_moved(load, "nyc")
        finally:
            fra.pods.resume()
        wait_until(lambda: fra.api.is_rolled_out(NAME) and len(set(map(str, fra.api.endpoints(NAME)))) == 3, 30, "pods started again")
        wait_moved(load, "fra", 30)
    report = load.report()
    faults = [detail.split(" ", 2) for detail in report.details]
    assert not [fault for fault in faults if fault[1] in ("keepalive:", "fresh:")], report.details
    assert all(0 <= float(at) - died_at < 2 for at, _, _ in faults), f"died at {died_at}: {report.details}"
    by_kind = [kind for _, kind, _ in faults]
    assert by_kind.count("upload:") <= 2 and by_kind.count("download:") <= 2, report.details
    assert report.problems().keys() <= {"status", "truncated", "reset", "no_answer"}, report.details
    assert (report.doubled_posts, report.lost_posts) == (0, 0)
    assert min(report.done[kind] for kind in KINDS) >= 2


# Outages of an API server come last, and only nyc's: its controllers come back by their own backoff, and nothing after this waits for them.
@pytest.mark.heavy
@pytest.mark.parametrize(("outage_s", "run"), [(5.0, 1), *(pytest.param(30.0, number, marks=pytest.mark.long) for number in range(1, 6))])
def test_an_api_server_is_gone_while_the_other_cluster_rolls(
    outage_s: float, run: int, fra: ControlPlane, nyc: ControlPlane, start: Start, under_load: Any
) -> None:
    # A service for each, in equal parts: two near-equals share only what comes while the first has more in flight than usual.
    services = [
        {
            "name": pop,
            "health": {"path": "/healthz"},
            "backends": [{"pop": pop, "kubernetes": {"service": NAME, "port": "http"}}],
        }
        for pop in ("fra", "nyc")
    ]
    gateway = start(services=services, routes=[{"split": [{"service": pop, "weight": 1} for pop in ("fra", "nyc")]}])
    before = pod_names(fra, NAME)
    with under_load(gateway.address) as load:
        wait_until(lambda: min(answers_from(load, name, 0) for name in ("fra", "nyc")) > 50, 20, "traffic in both PoPs")
        gone_at = time.monotonic()
        nyc.stop_api()
        try:
            roll(fra, NAME)
            time.sleep(max(0.0, gone_at + outage_s - time.monotonic()))
            since = time.time() - 2
            assert answers_from(load, "nyc", since) > 20, "a PoP whose API server is gone keeps its traffic"
            assert answers_from(load, "fra", since) > 20
        finally:
            nyc.start_api()
        wait_until(lambda: min(answers_from(load, name, int(time.time()) - 1) for name in ("fra", "nyc")) > 20, 10, "both still")
    report = assert_nothing_noticed(load)
    assert before | pod_names(fra, NAME) | pod_names(nyc, NAME) <= set(report.by_pod())


@pytest.mark.heavy
@five_runs
def test_a_gateway_starts_without_an_api_server(run: int, nyc: ControlPlane, start: Start, under_load: Any) -> None:
    nyc.stop_api()
    try:
        begin = time.monotonic()
        gateway = start(gateway={"location": NEAR_NYC}, kubernetes={"sync_deadline": "2s"})
        assert time.monotonic() - begin >= 2.0, "it waited for the cluster as long as it was told to"
        with under_load(gateway.address) as load:
            assert set(load.report().by_cluster()) == {"fra"}
            nyc.start_api()
            wait_moved(load, "nyc", 60)
    finally:
        if not nyc.apiserver.is_running():
            nyc.start_api()
    assert_nothing_noticed(load)
