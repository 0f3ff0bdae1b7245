"""Steering as clients see it: real gateways before real backends."""

import itertools
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.io.serving import CONFIG, Client, backends, eventually, served
from tests.io.world import AMERICAN, GERMAN, JAPANESE, NOWHERE, PINNED, WORLD, ask, drained, is_likely, site_of, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def sites():
    """By name. Each says who it is."""
    with backends("fra", "nyc", "tyo", "canary", "small", "refusing") as opened:
        yield {one.name: one for one in opened}


@pytest.fixture(scope="module")
def world(folder, sites):
    with start(folder, sites) as one:
        yield one


@pytest.fixture
def client(world):
    one = Client(world.port)
    yield one
    one.close()


# Jurisdiction by client


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (GERMAN, "tyo"),  # the only one permitted, however far
        (AMERICAN, "fra"),  # Europe or Asia, the nearest of these
        (JAPANESE, 503),  # no rule is for them
        (NOWHERE, 503),  # no rule without clients, so nobody of unknown place
    ],
)
def test_the_first_rule_for_the_client_says_who_may_see_its_request(client, address, expected):
    assert {site_of(client, "rules", address) for _ in range(20)} == {expected}


def test_a_rule_holds_when_its_only_pop_is_drained(world, client):
    with drained(world, "tyo"):
        assert site_of(client, "rules", GERMAN) == 503
        assert site_of(client, "rules", AMERICAN) == "fra"
    assert site_of(client, "rules", GERMAN) == "tyo"


# Pins


def test_pinned_clients_go_to_the_first_of_their_pops_that_serves(world, client):
    assert (site_of(client, "plain", GERMAN), site_of(client, "plain", PINNED)) == ("fra", "tyo")
    with drained(world, "tyo"):
        assert site_of(client, "plain", PINNED) == "nyc"
        with drained(world, "nyc"):
            assert site_of(client, "plain", PINNED) == "fra"
    assert site_of(client, "plain", PINNED) == "tyo"
    assert site_of(client, "rules", PINNED) == "tyo"


# Services that stand in


def test_a_service_that_nobody_can_serve_is_stood_in_for(client):
    """Its first stand-in is dead as well."""
    assert site_of(client, "dead", GERMAN) == "fra"
    assert site_of(client, "dead", JAPANESE) == "tyo"


def test_the_route_says_where_whoever_stands_in(world, client):
    assert {site_of(client, "dead-eu", address) for address in (GERMAN, AMERICAN, JAPANESE)} == {"fra"}
    with drained(world, "fra"):
        assert site_of(client, "dead-eu", AMERICAN) == 503


def test_a_drain_lets_another_service_stand_in_and_takes_it_back(world, client):
    assert site_of(client, "alone", JAPANESE) == "canary"
    with drained(world, "nyc"):
        answer = ask(client, "alone", JAPANESE)
        assert (answer.text, answer.headers["x-isochrone-reason"]) == ("tyo", "failover")
    assert site_of(client, "alone", JAPANESE) == "canary"


def test_a_part_of_a_split_may_fall_back_on_another(client):
    assert site_of(client, "replaced", GERMAN) == "fra"


# Splits


def test_a_split_goes_by_weight(client):
    n = 2000
    seen = Counter(site_of(client, "split", f"10.1.0.{k % 200}") for k in range(n))
    assert seen.keys() == {"fra", "canary"}
    assert is_likely(seen["canary"], n, 0.1), seen


def test_a_sticky_one_goes_by_client(client):
    n = 500
    networks = [f"10.{1 + k // 250}.{k % 250}" for k in range(n)]
    first = {network: site_of(client, "sticky", f"{network}.1") for network in networks}
    assert {network: site_of(client, "sticky", f"{network}.77") for network in networks} == first
    assert is_likely(Counter(first.values())["canary"], n, 0.1), Counter(first.values())


# Redirects


def seen_by(sites):
    return sum((site.seen for site in sites.values()), Counter())["GET /a/b"]


def test_a_client_is_sent_to_its_pop(client, sites):
    before = seen_by(sites)
    for address, url in ((GERMAN, "http://fra.example.com"), (AMERICAN, "http://nyc.example.com:8080")):
        for query in ("", "?q=1&r=%2F"):
            answer = ask(client, "redirect", address, "/a/b" + query)
            assert (answer.status, answer.text) == (307, "")
            assert answer.headers["location"] == f"{url}/a/b{query}"
            assert answer.headers["cache-control"] == "no-store"
    assert ask(client, "redirect", path="/a/b", method="HEAD").status == 307
    assert seen_by(sites) == before  # nobody else has seen any of these


def test_a_body_is_passed_on(client):
    answer = ask(client, "redirect", path="/a/b", method="POST")
    assert (answer.status, answer.text.split()[0]) == (200, "fra")


def test_nobody_is_sent_twice_nor_where_he_is(client):
    assert site_of(client, "fra.example.com", GERMAN) == "fra"
    assert site_of(client, "fra.example.com", AMERICAN) == "nyc"  # came there by his own will, or was sent
    assert site_of(client, "nyc.example.com:8080", GERMAN) == "fra"
    assert site_of(client, "redirect", GERMAN, x_forwarded_host="fra.example.com") == "fra"


def test_all_methods_by_option_and_status(client):
    for method in ("GET", "POST"):
        answer = ask(client, "moved", JAPANESE, "/x", method)
        assert (answer.status, answer.headers["location"]) == (308, "http://tyo.example.com/x")


def test_a_redirect_follows_drains(world, client):
    with drained(world, "fra"):
        assert ask(client, "redirect", path="/").headers["location"] == "http://nyc.example.com:8080/"


# Affinity


def cookie_of(answer):
    """Name and value, as a client sends it back; None when none was set."""
    said = answer.headers.get_all("set-cookie") or []
    assert len(said) <= 1
    return said[0].partition(";")[0] if said else None


def test_a_cookie_is_set_once_and_kept_where_another_is_faster(client):
    first = ask(client, "cookie", GERMAN)
    assert first.text == "fra"
    assert re.fullmatch(r"pop=fra\.[\w-]{22}; Path=/; HttpOnly; SameSite=Strict", first.headers["set-cookie"])
    cookie = cookie_of(first)
    for address in (GERMAN, AMERICAN, JAPANESE, NOWHERE):
        answer = ask(client, "cookie", address, cookie=f"a=b; {cookie}; c=d")
        assert (answer.text, cookie_of(answer)) == ("fra", None)
    assert ask(client, "cookie", AMERICAN, cookie=cookie).headers["x-isochrone-reason"] == "affinity"
    assert site_of(client, "plain", AMERICAN, cookie=cookie) == "nyc"  # of another route


def test_a_forged_cookie_is_none(client):
    genuine = cookie_of(ask(client, "cookie", AMERICAN))
    assert genuine.startswith("pop=nyc.")
    mac = genuine.rpartition(".")[2]
    for forged in (
        "pop=nyc",
        "pop=nyc.",
        f"pop=tyo.{mac}",
        f"pop=nyc.{mac[::-1]}",
        f"Pop=nyc.{mac}",
        f'pop="nyc.{mac}"',
        f"pop=nyc.{mac}x",
    ):
        answer = ask(client, "cookie", GERMAN, cookie=forged)
        assert answer.text == "fra", forged
        assert cookie_of(answer).startswith("pop=fra.")


def test_it_moves_with_a_drain_and_stays_where_it_came(world, client):
    cookie = cookie_of(ask(client, "cookie", GERMAN))
    with drained(world, "fra"):
        answer = ask(client, "cookie", GERMAN, cookie=cookie)
        assert answer.text == "nyc"
        moved = cookie_of(answer)
        assert moved.startswith("pop=nyc.")
    assert {(answer.text, cookie_of(answer)) for answer in (ask(client, "cookie", GERMAN, cookie=moved) for _ in range(20))} == {
        ("nyc", None)
    }


def test_it_moves_with_a_death_too(tmp_path, pops):
    """By the failed attempt itself: the client is told at once where it has come."""
    text = CONFIG.replace("[{{service: shop}}]", "[{{service: shop, steering: {{affinity: {{cookie: pop}}}}}}]")
    text = text.replace("slow_start: 200ms", "slow_start: 200ms\n    penalties: {{failure: 0s}}")  # of one failure in two attempts
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway:
        one = Client(gateway.port)
        cookie = cookie_of(ask(one, "any", GERMAN))
        pops[0].die()
        answer = ask(one, "any", GERMAN, cookie=cookie)
        assert (answer.status, answer.text) == (200, "nyc")
        moved = cookie_of(answer)
        assert moved.startswith("pop=nyc.")
        pops[0].revive()
        gateway.wait_log("endpoint is ramping")
        eventually(lambda: site_of(one, "any", GERMAN) == "fra", "new clients are sent there again")
        assert {site_of(one, "any", GERMAN, cookie=moved) for _ in range(50)} == {"nyc"}
        one.close()


def test_the_next_process_knows_the_cookies_of_the_last(folder, sites, client):
    cookie = cookie_of(ask(client, "cookie", JAPANESE))
    (folder / "next").mkdir()
    text = WORLD.replace("{state}", str(folder / "state"))
    with start(folder / "next", sites, text) as another:
        later = Client(another.port)
        answer = ask(later, "cookie", GERMAN, cookie=cookie)
        assert (answer.text, cookie_of(answer)) == ("tyo", None)
        later.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "state").iterdir()}
    assert "affinity.key" in modes and set(modes.values()) == {0o600}


def test_a_client_keeps_its_pop_and_loses_it_only_with_it(world, client):
    networks = [f"10.1.{k}" for k in range(10, 90)]
    homes = {network: site_of(client, "client", f"{network}.1") for network in networks}
    assert set(homes.values()) >= {"fra", "nyc"}  # so far above the fastest they all may lie
    assert {network: site_of(client, "client", f"{network}.200") for network in networks} == homes
    with drained(world, "nyc"):
        moved = {network: site_of(client, "client", f"{network}.1") for network in networks}
    assert {network for network in networks if moved[network] != homes[network]} == {n for n in networks if homes[n] == "nyc"}
    assert {network: site_of(client, "client", f"{network}.1") for network in networks} == homes


def test_a_header_says_who_the_client_is(client):
    tenants = [f"tenant-{k}" for k in range(60)]
    homes = {tenant: site_of(client, "tenant", GERMAN, x_tenant=tenant) for tenant in tenants}
    assert len(set(homes.values())) > 1
    assert {tenant: site_of(client, "tenant", "10.1.99.9", x_tenant=tenant) for tenant in tenants} == homes
    assert site_of(client, "tenant", GERMAN) == "fra"


# Paths between PoPs


def paths_of(gateway, address):
    """What the paths of a client are taken for, by PoP."""
    return {one["pop"]: one["path_ms"] for one in gateway.admin(f"/explain?client={address}&host=plain")["candidates"]}


def test_a_gateway_in_a_pop_tells_by_its_own_paths_of_the_clients_near_it(world, folder, sites):
    """They are those of one machine, so from Frankfurt the whole world is next door, as far as light allows. Of others it knows nothing."""
    (folder / "standing").mkdir()
    plain, lights_ms = paths_of(world, GERMAN), {"nyc": 66, "tyo": 100}
    with start(folder / "standing", sites, WORLD.replace("{{workers: 1}}", "{{workers: 1, pop: fra}}")) as gateway:
        eventually(lambda: all(paths_of(gateway, GERMAN)[pop] < ms for pop, ms in lights_ms.items()), "the paths are measured")
        assert paths_of(gateway, GERMAN)["fra"] == plain["fra"]
        assert paths_of(gateway, JAPANESE) == paths_of(world, JAPANESE)
        assert gateway.admin("/explain?client=127.0.0.1&host=plain")["location"]["override"] == "gateway.pop"


def test_written_paths_say_who_takes_over(folder, sites):
    """From Frankfurt, as if, Tokyo is behind a fast cable and New York behind a slow one."""
    (folder / "written").mkdir()
    text = WORLD.replace("country: DE, public_url", "country: DE, paths: {{nyc: 180ms, tyo: 100ms}}, public_url")
    with start(folder / "written", sites, text) as gateway:
        client = Client(gateway.port)
        assert site_of(client, "plain", GERMAN) == "fra"
        with drained(gateway, "fra"):
            assert {site_of(client, "plain", GERMAN) for _ in range(20)} == {"tyo"}
            assert {site_of(client, "plain", AMERICAN) for _ in range(20)} == {"nyc"}
        client.close()


# Penalties


def test_a_pop_that_turns_clients_away_at_once_loses_its_traffic(client, sites):
    """It answers fastest. Where 429 does not count it keeps it all, and so it does of a client that is alone with that."""
    sites["refusing"].refusal = (429, {"retry-after": "60"})
    assert {site_of(client, "limited") for _ in range(100)} == {429}
    networks = itertools.cycle(f"10.1.{number}.1" for number in range(100, 130))
    eventually(lambda: site_of(client, "limited", next(networks)) == "nyc", "traffic moves", 5)
    seen = Counter(site_of(client, "limited", next(networks)) for _ in range(200))
    assert seen["nyc"] > 190
    assert {site_of(client, "patient") for _ in range(100)} == {429}


# Capacity


def crowd(gateway, n_clients, n_each, hosts=("capped",), delay="0.2"):
    """Answers to clients that all ask at once, again and again."""
    barrier = threading.Barrier(n_clients)

    def one(k):
        client = Client(gateway.port)
        barrier.wait(20)
        answers = [ask(client, hosts[k % len(hosts)], GERMAN, f"/?delay={delay}") for _ in range(n_each)]
        client.close()
        return answers

    with ThreadPoolExecutor(n_clients) as pool:
        return [answer for answers in pool.map(one, range(n_clients)) for answer in answers]


def test_a_full_pop_is_passed_over_and_the_rest_spills(world, sites):
    """With one worker never a single one too many: nobody else counts meanwhile. How long they take says nothing: they are long-lived."""
    small = sites["small"]
    answers = crowd(world, 30, 8)
    assert {answer.status for answer in answers} == {200}
    assert small.most_in_flight == 8
    seen = Counter(answer.text for answer in answers)
    assert seen["small"] + seen["nyc"] == len(answers)
    assert seen["small"] >= 8 * 4  # full half of the time at least
    assert {answer.headers["x-isochrone-reason"] for answer in answers if answer.text == "nyc"} == {"spill"}


def test_what_a_pop_may_have_is_of_all_its_services_and_workers(folder, sites):
    """Two services in one PoP, two workers: each decides by sums that the other may just be adding to, so one too many is possible."""
    (folder / "capped").mkdir()
    text = WORLD.replace(
        'public_url: "http://fra.example.com"', 'public_url: "http://fra.example.com", capacity: {{requests_in_flight: 12}}'
    )
    text = text.replace("workers: 1", "workers: 2").replace(", capacity: {{requests_in_flight: 8}}", "")
    text = text.replace('- {{pop: fra, endpoints: ["{fra}"]}}', '- {{pop: fra, endpoints: ["{small}"]}}')
    small = sites["small"]
    small.most_in_flight = 0
    with start(folder / "capped", sites, text) as gateway:
        answers = crowd(gateway, 40, 4, hosts=("capped", "plain"))
    assert {answer.status for answer in answers} == {200}
    assert 12 <= small.most_in_flight <= 13
    assert {answer.text for answer in answers} - {"small"} <= {"nyc", "tyo"}
