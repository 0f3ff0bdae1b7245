"""Who has nobody left by what was known when it came is decided anew, as if it came now: what serves a new request serves it, too."""

import contextlib
import http.client
import threading
import time

import pytest

from tests.io.serving import AMERICAN, CONFIG, GERMAN, Client, backends, eventually, free_port, served
from tests.io.test_interim import Upstream
from tests.io.test_rolls import Asked, Ending, in_flight, reload, takes

pytestmark = pytest.mark.slow

ALONE = CONFIG.replace('      - {{pop: nyc, endpoints: ["{nyc}"]}}\n', "")
LINE = "slow_start: 200ms", "max_in_flight: 1"
LONG = "timeouts: {{queue: 20s}}\n"
# Each story takes its six seconds and more: of those that differ in one thing some are left to CI.
ONE_AND_FOUR = pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.heavy), 4])
QUICK = ("alone", "requests", 4), ("two", "connections", 1)
ONE_CONNECTION = "limits: {{connections_per_endpoint: 1}}\n"


def with_workers(text, n):
    return text.replace("workers: 2", f"workers: {n}")


def admitting(gateway, pop):
    return gateway.admin(f"/pops/{pop}")["services"][0]["endpoints"].get("admitting", 0)


def metrics(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def in_flights(gateway):
    """Of each PoP, for each service."""
    return [float(line.split()[-1]) for line in metrics(gateway).splitlines() if line.startswith("isochrone_in_flight{")]


@contextlib.contextmanager
def in_line(gateway, backend, n, delay_s, path="/"):
    """One has the endpoint for so long, and so many wait behind it."""
    first = Asked(gateway.port, 1, f"/?delay={delay_s}")
    eventually(lambda: backend.in_flight == 1, "one is there")
    waiting = Asked(gateway.port, n, path)
    eventually(lambda: in_flight(gateway) == n + 1, "the others wait")
    yield waiting
    assert first.wait() == [(200, backend.name)]
    eventually(lambda: set(in_flights(gateway)) == {0.0}, "nothing is counted as in flight anywhere")


@pytest.mark.parametrize(
    ("text", "limit", "workers"),
    [
        pytest.param(
            text, limit, workers, id=f"{name}-{limit}-{workers}", marks=() if (name, limit, workers) in QUICK else pytest.mark.heavy
        )
        for name, text in (("alone", ALONE), ("two", CONFIG))
        for limit in ("requests", "connections")
        for workers in (1, 4)
    ],
)
def test_who_waits_where_probes_shut_everybody_is_served_by_the_panic(tmp_path, text, limit, workers):
    """Before, all who waited were 503, and those who came a moment later were served by the same endpoint."""
    text = with_workers(text, workers).replace(*LINE) if limit == "requests" else with_workers(text, workers) + ONE_CONNECTION
    with backends("fra", "nyc") as (fra, nyc), served(tmp_path, text + LONG, fra=fra.address, nyc=nyc.address) as gateway:
        with in_line(gateway, fra, 7, 6) as waiting:
            fra.status = nyc.status = 503
            eventually(lambda: admitting(gateway, "fra") == 0, "the gate is shut")
            answers = waiting.wait()
        assert [status for status, _ in answers] == [200] * 7
        assert {one.headers["x-isochrone-reason"] for one in waiting.answers} <= {"panic", "failover"}


@pytest.mark.parametrize("text", [ALONE, CONFIG], ids=["alone", "two"])
def test_nobody_is_refused_while_probes_shut_everybody(tmp_path, text):
    """Before, each request between the gate's end and the next beat was: the decision still trusted who admitted no more."""
    with backends("fra", "nyc") as (fra, nyc), served(tmp_path, text, fra=fra.address, nyc=nyc.address) as gateway:
        met: set[int] = set()
        reasons: list[str | None] = []
        is_over = threading.Event()

        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
            while not is_over.is_set():
                connection.request("GET", "/", headers=GERMAN)
                answer = connection.getresponse()
                answer.read()
                met.add(answer.status)
                reasons.append(answer.getheader("x-isochrone-reason"))
            connection.close()

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for _ in range(2):
            fra.status = nyc.status = 503
            eventually(lambda: admitting(gateway, "fra") == 0, "the gate is shut")
            n = reasons.count("panic")
            eventually(lambda n=n: reasons.count("panic") > n + 50, "the panic serves, also by the beat's word")
            fra.status = nyc.status = 200
            eventually(lambda: admitting(gateway, "fra") == 1, "it is open again")
        is_over.set()
        for client in clients:
            client.join(20)
        assert met == {200}


RENAMED = {
    "service": lambda text, new: text.replace("name: shop", "name: store").replace("service: shop", "service: store"),
    "pop": lambda text, new: text.replace("name: fra", "name: fra1").replace("pop: fra", "pop: fra1"),
    "both": lambda text, new: RENAMED["pop"](RENAMED["service"](text, new), new),
    "blue-green": lambda text, new: RENAMED["service"](text, new).replace(*new),
}


def rewrite(gateway, change, *new):
    gateway.config.write_text(change(gateway.config.read_text(), new))
    reload(gateway, "", "")


@ONE_AND_FOUR
@pytest.mark.parametrize("what", list(RENAMED))
def test_who_waits_where_a_reload_changes_names_goes_where_a_new_request_goes(tmp_path, what, workers):
    """Before, all who waited were 503: the table of when they came knew the old names alone."""
    text = with_workers(ALONE, workers).replace(*LINE)
    with backends("fra", "new") as (fra, new), served(tmp_path, text + LONG, fra=fra.address) as gateway:
        with in_line(gateway, fra, 7, 5) as waiting:
            rewrite(gateway, RENAMED[what], fra.address, new.address)
            answers = waiting.wait()
        assert answers == [(200, "new" if what == "blue-green" else "fra")] * 7
        assert {one.headers["x-isochrone-pop"] for one in waiting.answers} == {"fra1" if what in ("pop", "both") else "fra"}


@ONE_AND_FOUR
def test_what_is_under_way_where_a_reload_leads_the_route_elsewhere_is_repeated_there(tmp_path, workers):
    ending = Ending()
    with backends("new") as (new,), contextlib.closing(Upstream(ending)) as old:
        with served(tmp_path, with_workers(ALONE, workers), fra=old.address) as gateway:
            eventually(takes(gateway, "old"), "it takes requests")
            under_way = Asked(gateway.port, 8, "/?slow=1")
            eventually(lambda: ending.n_held == 8, "all are there")
            rewrite(gateway, RENAMED["blue-green"], old.address, new.address)
            eventually(takes(gateway, "new"), "the new one takes requests")
            ending.end()
            assert {status for status, _ in under_way.wait()} == {200}
            assert new.seen["GET /"] >= 8


@ONE_AND_FOUR
@pytest.mark.parametrize("limit", ["requests", pytest.param("connections", marks=pytest.mark.heavy)])
def test_who_waits_behind_one_that_may_not_move_is_served_where_there_is_room_again(tmp_path, limit, workers):
    """The first in line has met the other's refusal; the others come behind it. Before, all waited for it until their time was up."""
    text = with_workers(ALONE, workers).replace('["{fra}"]', '["{fra}", "{nyc}"]')
    text = text.replace(*LINE) if limit == "requests" else text + ONE_CONNECTION
    with backends("one", "two") as (one, two), served(tmp_path, text + LONG, fra=one.address, nyc=two.address) as gateway:
        eventually(lambda: admitting(gateway, "fra") == 2, "both take requests")
        two.die()
        first = Asked(gateway.port, 1, "/?delay=12")
        eventually(lambda: one.in_flight == 1, "one is there")
        waiting = Asked(gateway.port, 1, "/")
        eventually(lambda: in_flight(gateway) == 2, "the first waits")
        waiting = [waiting, Asked(gateway.port, 6, "/")]
        eventually(lambda: in_flight(gateway) == 8, "the others wait")
        two.revive()
        assert waiting[1].wait() == [(200, "two")] * 6
        assert one.in_flight == 1  # it has not ended yet
        assert waiting[0].wait()[0][0] == 200
        assert first.wait() == [(200, "one")]


EUROPEAN = with_workers(ALONE, 2).replace(
    "routes: [{{service: shop}}]", "routes: [{{service: shop, steering: {{jurisdiction: {{countries: [DE, PT]}}}}}}]"
)
LISBON = "  - {{name: lis, lat: 38.72, lon: -9.14, country: PT}}\nservices:"


@pytest.mark.parametrize("is_under_way", [False, True])
def test_a_pop_that_is_another_one_by_the_same_name_gets_nothing_of_what_the_old_one_might(tmp_path, is_under_way):
    """fra becomes one in America, with an endpoint there. Before, those who waited for fra, or were repeated, went there."""
    text = EUROPEAN.replace("services:", LISBON).replace(
        '- {{pop: fra, endpoints: ["{fra}"]}}', '- {{pop: fra, endpoints: ["{fra}"]}}\n      - {{pop: lis, endpoints: ["{lis}"]}}'
    )
    ending = Ending()
    with backends("fra", "lis", "us") as (fra, lis, us), contextlib.closing(Upstream(ending)) as old:
        here = old if is_under_way else fra
        text = text if is_under_way else text.replace(*LINE) + LONG
        with served(tmp_path, text, fra=here.address, lis=lis.address) as gateway:
            eventually(takes(gateway, "old" if is_under_way else "fra"), "it takes requests")
            first = Asked(gateway.port, 4 if is_under_way else 1, "/?slow=1" if is_under_way else "/?delay=6")
            eventually(lambda: ending.n_held == 4 if is_under_way else fra.in_flight == 1, "they are there")
            waiting = Asked(gateway.port, 0 if is_under_way else 4, "/")
            eventually(lambda: in_flight(gateway) == (4 if is_under_way else 5), "the others wait")
            config = gateway.config.read_text().replace("lat: 50.11, lon: 8.68, country: DE", "lat: 40.7, lon: -74.1, country: US")
            gateway.config.write_text(config)
            reload(gateway, here.address, us.address)
            ending.end()
            assert {text for _, text in waiting.wait()} <= {"lis"}
            assert {status for status, _ in first.wait()} == {200}
            assert lis.seen["GET /"] == 4
            assert us.seen["GET /"] == 0


@pytest.mark.parametrize("limit", ["requests", "connections"])
def test_who_waits_where_maintenance_goes_on_to_its_pop_goes_to_the_one_that_is_back(tmp_path, pops, limit):
    """nyc was drained when they came, so their table knows no other than fra. Before, all were 503."""
    fra, nyc = pops
    text = CONFIG.replace(*LINE) if limit == "requests" else CONFIG + ONE_CONNECTION
    with served(tmp_path, text + LONG, fra=fra.address, nyc=nyc.address) as gateway:
        gateway.admin("/pops/nyc/drain", "POST")
        with in_line(gateway, fra, 7, 6) as waiting:
            gateway.admin("/pops/nyc/undrain", "POST")
            gateway.admin("/pops/fra/drain", "POST")
            assert waiting.wait() == [(200, "nyc")] * 7


KEPT = CONFIG.replace("routes: [{{service: shop}}]", "routes: [{{service: shop, steering: {{affinity: {{cookie: p}}}}}}]")


def test_who_waits_while_a_table_changes_keeps_the_cookie_that_it_has(tmp_path, pops):
    """Before, it was given once more, and the answer was private to this client."""
    fra, nyc = pops
    with served(tmp_path, KEPT.replace(*LINE) + LONG, fra=fra.address, nyc=nyc.address) as gateway:
        with contextlib.closing(Client(gateway.port)) as client:
            cookie = client.ask("/", GERMAN).headers["set-cookie"].partition(";")[0]
        first = Asked(gateway.port, 1, "/?delay=4")
        eventually(lambda: fra.in_flight == 1, "one is there")
        waiting = Asked(gateway.port, 3, "/", GERMAN | {"cookie": cookie})
        eventually(lambda: in_flight(gateway) == 4, "the others wait")
        reload(gateway, nyc.address, f"127.0.0.1:{free_port()}")
        assert waiting.wait() == [(200, "fra")] * 3
        assert first.wait() == [(200, "fra")]
        assert [(one.headers["set-cookie"], one.headers["cache-control"]) for one in waiting.answers] == [(None, None)] * 3


RULED = CONFIG.replace("services:", "  - {{name: lis, lat: 38.72, lon: -9.14, country: PT, region: south}}\nservices:").replace(
    '- {{pop: nyc, endpoints: ["{nyc}"]}}', '- {{pop: lis, endpoints: ["{lis}"]}}'
)
BOTH = "jurisdiction: {countries: [DE, PT]}"
OF_ALL = "jurisdiction: [{clients: {countries: [US]}, pops: {}}, {pops: {}}]"
LABELLED = "jurisdiction: {regions: [north, south]}"
NARROWED = {
    "its rule": (BOTH, BOTH, "jurisdiction: {countries: [PT]}"),
    "the rule of these clients": (OF_ALL, "{pops: {}}]", "{pops: {regions: [south]}}]"),
    "the PoP's region": (LABELLED, "country: DE, region: north", "country: DE, region: east"),
}


def narrowings(*quick):
    return pytest.mark.parametrize("what", [pytest.param(what, marks=() if what in quick else pytest.mark.heavy) for what in NARROWED])


def ruled(rule):
    text = RULED.replace("country: DE", "country: DE, region: north").replace("country: US", "country: US, region: north")
    rule = rule.replace("{", "{{").replace("}", "}}")
    return text.replace("routes: [{{service: shop}}]", f"routes: [{{{{service: shop, steering: {{{{{rule}}}}}}}}}]")


@narrowings("its rule", "the PoP's region")
def test_who_waits_where_a_reload_shuts_it_out_goes_where_it_may(tmp_path, what):
    """Before, it was served there as soon as its turn came: by the rule of when it came."""
    rule, old_text, new_text = NARROWED[what]
    with backends("fra", "lis") as (fra, lis):
        with served(tmp_path, ruled(rule).replace(*LINE) + LONG, fra=fra.address, lis=lis.address) as gateway:
            with in_line(gateway, fra, 4, 4) as waiting:
                reload(gateway, old_text, new_text)
                assert waiting.wait() == [(200, "lis")] * 4
                assert fra.in_flight == 1
            assert fra.seen["GET /"] == 1


@narrowings("the rule of these clients")
def test_what_is_repeated_behind_a_reload_that_shuts_it_out_goes_where_it_may(tmp_path, what):
    """Before, to its endpoint's sibling in the same PoP."""
    rule, old_text, new_text = NARROWED[what]
    ending = Ending()
    text = ruled(rule).replace('["{fra}"]', '["{fra}", "{sibling}"]')
    with backends("sibling", "lis") as (sibling, lis), contextlib.closing(Upstream(ending)) as old:
        with served(tmp_path, text, fra=old.address, sibling=sibling.address, lis=lis.address) as gateway:
            eventually(takes(gateway, "old"), "it takes requests")
            under_way = Asked(gateway.port, 12, "/?slow=1")
            eventually(lambda: ending.n_held >= 2, "some are there")
            assert under_way
            n = ending.n_held
            eventually(lambda: sibling.in_flight == 0, "the others are answered")
            before_it = sibling.seen["GET /"]
            reload(gateway, old_text, new_text)
            ending.end()
            assert {status for status, _ in under_way.wait()} == {200}
            assert lis.seen["GET /"] >= n
            assert sibling.seen["GET /"] == before_it


def test_who_waits_where_a_reload_shuts_it_out_of_everywhere_is_told_so(tmp_path):
    with backends("fra", "lis") as (fra, lis):
        with served(tmp_path, ruled(OF_ALL).replace(*LINE) + LONG, fra=fra.address, lis=lis.address) as gateway:
            with in_line(gateway, fra, 4, 4) as waiting:
                reload(gateway, ", {pops: {}}]", "]")
                assert {status for status, _ in waiting.wait()} == {503}
            assert fra.seen["GET /"] == 1 and lis.seen["GET /"] == 0
            eventually(lambda: 'isochrone_rejected_total{cause="no_permitted_pop"} 4' in metrics(gateway), "they are counted")


SIN = CONFIG.replace("services:", "  - {{name: sin, lat: 1.35, lon: 103.8, country: SG}}\nservices:", 1).replace(
    'endpoints: ["{nyc}"]}}', 'endpoints: ["{nyc}"]}}\n      - {{pop: sin, endpoints: ["{sin}"]}}'
)


@pytest.mark.parametrize("n_tables", [pytest.param(0, marks=pytest.mark.heavy), 1, pytest.param(4, marks=pytest.mark.heavy)])
def test_who_has_waited_in_vain_somewhere_is_not_sent_back_there_by_a_newer_table(tmp_path, n_tables):
    """A table that changes while it waits in its second PoP. Its time was up there, with the third one idle."""
    with backends("fra", "nyc", "sin") as (fra, nyc, sin):
        text = SIN.replace(*LINE) + "timeouts: {{queue: 1s}}\n"
        with served(tmp_path, text, fra=fra.address, nyc=nyc.address, sin=sin.address) as gateway:
            eventually(lambda: [admitting(gateway, pop) for pop in ("fra", "nyc", "sin")] == [1, 1, 1], "all are known")
            busy = [Asked(gateway.port, 1, "/?delay=6"), Asked(gateway.port, 1, "/?delay=6", AMERICAN)]
            eventually(lambda: fra.in_flight == nyc.in_flight == 1, "both are busy")
            waiting = Asked(gateway.port, 4, "/")
            eventually(lambda: of_pop(gateway, "nyc") == 5, "they wait in the second one")
            for number in range(n_tables):
                reload(gateway, f"lat: 40.{number},", f"lat: 40.{number + 1},")
            assert waiting.wait() == [(200, "sin")] * 4
            for one in busy:
                one.wait()


def of_pop(gateway, pop):
    """In flight."""
    return sum(float(line.split()[-1]) for line in metrics(gateway).splitlines() if line.startswith("isochrone_in_flight{") and pop in line)


@pytest.mark.heavy
def test_a_new_endpoint_is_tried_by_who_has_tried_the_one_whose_number_it_has(tmp_path):
    """A reset, a wait at the other endpoint, and the roll goes on: before, the new one counted as tried, and it waited beside it."""
    ending = Ending()
    text = ALONE.replace(*LINE).replace('["{fra}"]', '["{fra}", "{two}"]') + LONG
    with backends("two", "new") as (two, new), contextlib.closing(Upstream(ending)) as old:
        with served(tmp_path, text.replace("workers: 2", "workers: 1"), fra=old.address, two=two.address) as gateway:
            eventually(lambda: admitting(gateway, "fra") == 2, "both take requests")
            both = Asked(gateway.port, 2, "/?slow=450")
            eventually(lambda: ending.n_held == 1 and two.in_flight == 1, "each has one")
            ending.end()
            eventually(lambda: of_pop(gateway, "fra") == 2 and "refused" not in gateway.log, "the other one waits")
            reload(gateway, f'"{old.address}", ', "")
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > 1.5, "the number is free")
            reload(gateway, f'["{two.address}"]', f'["{two.address}", "{new.address}"]')
            eventually(lambda: new.seen["GET /"] == 1, "it is there", 8)
            assert [status for status, _ in both.wait()] == [200, 200]


FOUR = SIN.replace("services:", "  - {{name: lis, lat: 38.72, lon: -9.14, country: PT}}\nservices:", 1).replace(
    "    - {{prefix: 10.2",
    "    - {{prefix: 10.3.0.0/16, lat: 38.72, lon: -9.14}}\n    - {{prefix: 10.4.0.0/16, lat: 1.35, lon: 103.8}}\n    - {{prefix: 10.2",
)


@pytest.mark.heavy
def test_tables_that_go_on_changing_do_not_lead_a_request_from_one_wait_to_the_next(tmp_path):
    """Each decision names three PoPs; so many waits it has, whatever tables come, and not one more for each."""
    text = FOUR.replace('endpoints: ["{sin}"]}}', 'endpoints: ["{sin}"]}}\n      - {{pop: lis, endpoints: ["{lis}"]}}')
    names = ("fra", "lis", "nyc", "sin")  # in the order of their distance
    with backends(*names) as sites:
        text = text.replace(*LINE) + "timeouts: {{queue: 1s}}\n"
        with served(tmp_path, text, **{site.name: site.address for site in sites}) as gateway:
            eventually(lambda: [admitting(gateway, pop) for pop in names] == [1] * 4, "all are known")
            busy = [Asked(gateway.port, 1, "/?delay=9", {"x-forwarded-for": f"10.{number}.0.1"}) for number in (1, 3, 2, 4)]
            eventually(lambda: [site.in_flight for site in sites] == [1] * 4, "all are busy")
            waiting = Asked(gateway.port, 1, "/")
            seen = set()
            number = 0
            while not waiting.answers:
                number += 1
                reload(gateway, f"lat: 40.{number - 1},", f"lat: 40.{number},")
                seen |= {pop for pop in names if of_pop(gateway, pop) == 2}
            assert [status for status, _ in waiting.wait()] == [503]
            assert seen == {"fra", "lis", "nyc"}
            for one in busy:
                one.wait()
