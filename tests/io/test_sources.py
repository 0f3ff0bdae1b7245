"""Objects of several sources, some of them refused, on a real gateway before real backends: what a refused route matched is nobody else's,
and all others are served."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.app import NewPart
from gateway.control.life.lifecycle import Phase
from gateway.model import Loaded, merged
from gateway.parts import admin as admin_part
from tests.io.folder import Folder, put
from tests.io.hosted import Hosted
from tests.io.serving import DEADLINE_S, Backend, Client, eventually, free_port

pytestmark = pytest.mark.slow

# eu may be seen in fra alone; what eu does not match is for all.
TEXT = """
listeners: [{{name: web, bind: "127.0.0.1:0"}}]
pops:
  - {{name: fra, lat: 50.11, lon: 8.68, country: DE}}
  - {{name: nyc, lat: 40.71, lon: -74.01, country: US}}
services:
  - {{name: shop, pop_ramp: 0s, backends: [{{pop: nyc, endpoints: ["{nyc}"]}}]}}
routes:
  - {{name: all, service: shop}}
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
"""
EU_SERVICE = '  - {{name: eu, pop_ramp: 0s, backends: [{{pop: fra, endpoints: ["{fra}"]}}]}}'
EU_ROUTE = "  - {{name: eu, match: {{path_prefix: /eu}}, service: eu, steering: {{jurisdiction: {{countries: [DE]}}}}}}"
MORE = TEXT.replace("routes:", f"{EU_SERVICE}\nroutes:\n{EU_ROUTE}")


@contextlib.contextmanager
def hosted(text: str, pops: list[Backend], *parts: NewPart) -> Iterator[Hosted]:
    gateway = Hosted(text.format(fra=pops[0].address, nyc=pops[1].address, admin=free_port()), parts=parts)
    try:
        yield gateway
    finally:
        gateway.close()


@contextlib.contextmanager
def serving(gateway: Hosted) -> Iterator[Client]:
    gateway.wait_serving()
    with contextlib.closing(Client(gateway.port)) as client:
        yield client


def admin(gateway: Hosted, path: str) -> str:
    address = gateway.gateway.own[0]
    connection = http.client.HTTPConnection(address.host, address.port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def said(client: Client, *paths: str) -> list[str | int]:
    """Who answered each; the status where that was not 200."""
    answers = [client.ask(path) for path in paths]
    return [answer.text if answer.status == 200 else answer.status for answer in answers]


def seen_of(backend: Backend, word: str) -> list[str]:
    return [path for path in backend.seen if word in path]


def test_what_a_refused_route_matched_is_never_the_wider_ones_and_is_served_again_when_it_is_mended(pops: list[Backend]) -> None:
    with hosted(MORE, pops) as gateway, serving(gateway) as client:
        assert said(client, "/eu", "/") == ["fra", "nyc"]
        whole = gateway.loaded
        gateway.put(Loaded(merged(replace(whole.config, services=whole.config.services[:1]), []), ()))
        assert said(client, "/eu/1", "/", "/eu?x", "/eu") == [500, "nyc", 500, 500]
        assert gateway.gateway.counters.read()["causes"]["route_refused"] == 3
        gateway.put(whole)
        eventually(lambda: said(client, "/eu", "/") == ["fra", "nyc"], "both are served again")
    assert seen_of(pops[1], "/eu") == []


def test_a_folder_of_objects_one_of_them_broken_and_the_others_serve(tmp_path: Path, pops: list[Backend]) -> None:
    fra, nyc = pops
    folder = tmp_path / "objects"
    eu = {"ports": {"fra": fra.port}}
    put(
        folder,
        service_eu=eu,
        route_eu={"paths": ["/eu"], "service": "eu", "countries": ["DE"]},
        route_cart={"paths": ["/cart"], "service": "cart"},
        route_us={"paths": ["/us"], "service": "shop"},
    )
    with hosted(TEXT, pops, partial(Folder, path=folder), admin_part) as gateway, serving(gateway) as client:
        assert said(client, "/eu", "/us", "/", "/cart") == ["fra", "nyc", "nyc", 500], "from the first request on"
        assert "# refused: route folder:cart: there is no service cart\n" in admin(gateway, "/config")
        assert 'isochrone_config_refused_objects{source="folder"} 1.0' in admin(gateway, "/metrics")
        explained = json.loads(admin(gateway, "/explain?client=192.0.2.1&path=/cart"))
        assert (explained["error"], explained["refused"]) == ("route_refused", ["there is no service cart"])

        put(folder, service_eu="{")
        eventually(lambda: said(client, "/eu") == [500], "what needs it is refused")
        assert said(client, "/us", "/", "/cart") == ["nyc", "nyc", 500], "the others serve"

        put(folder, service_eu=eu)
        eventually(lambda: said(client, "/eu") != [500], "it is no longer refused")
        eventually(lambda: said(client, "/eu") == ["fra"], "it serves again")
        assert said(client, "/us", "/", "/cart") == ["nyc", "nyc", 500]

        put(folder, service_cart={"ports": {"nyc": nyc.port}})
        eventually(lambda: said(client, "/cart") == ["nyc"], "the broken one is mended by what it lacked")
        eventually(lambda: 'isochrone_config_refused_objects{source="folder"} 0.0' in admin(gateway, "/metrics"), "metrics say so")
        assert admin(gateway, "/config").startswith("#") is False
    assert seen_of(nyc, "/eu") == [], "not one of them, at any time"


def test_a_route_of_which_only_the_hosts_can_be_read_answers_for_them(tmp_path: Path, pops: list[Backend]) -> None:
    folder = tmp_path / "objects"
    put(
        folder,
        route_good={"hosts": ["a.example.com"], "paths": ["/good"], "service": "shop"},
        route_odd={"hosts": ["a.example.com"], "paths": ["odd"], "service": "shop"},
        route_lost="[",
    )
    with hosted(TEXT, pops, partial(Folder, path=folder)) as gateway, serving(gateway) as client:
        asked = {path: client.ask(path, {"host": "a.example.com"}).status for path in ("/good", "/odd")}
        assert asked == {"/good": 200, "/odd": 500}
        assert client.ask("/odd", {"host": "b.example.com"}).status == 200
        refused = [str(one) for one in gateway.gateway.config.refused]
    assert refused[0].startswith("route folder:lost: ") and refused[0].endswith(": its requests are answered by other routes")
    assert refused[1].endswith("all requests of a.example.com that no other route takes")


def test_nobody_is_served_before_a_source_was_heard(tmp_path: Path, pops: list[Backend]) -> None:
    """Its routes' requests would be the wider ones'."""
    folder = tmp_path / "objects"
    with hosted(TEXT, pops, partial(Folder, path=folder), admin_part) as gateway:
        eventually(lambda: gateway.gateway.own and gateway.gateway.prober.unjudged == [], "all else is done")
        eventually(lambda: gateway.gateway.ready.reasons() == ["source folder: not heard yet"], "it alone is waited for")
        assert gateway.gateway.lifecycle.phase is Phase.STARTING
        assert "source folder: not heard yet" in admin(gateway, "/readyz")
        put(folder, service_eu={"ports": {"fra": pops[0].port}}, route_eu={"paths": ["/eu"], "service": "eu"})
        with serving(gateway) as client:
            assert said(client, "/eu", "/") == ["fra", "nyc"]


def test_a_file_that_is_refused_takes_nothing_of_what_others_say(tmp_path: Path, pops: list[Backend]) -> None:
    folder = tmp_path / "objects"
    put(folder, route_us={"paths": ["/us"], "service": "shop"})
    with hosted(TEXT, pops, partial(Folder, path=folder)) as gateway, serving(gateway) as client:
        gateway.loaded = None  # as a file that can't be read
        assert not gateway.try_reload().is_done
        put(folder, route_us={"paths": ["/us"], "service": "none"})
        eventually(lambda: said(client, "/us", "/") == [500, "nyc"], "what the folder says is in use")
        gateway.reload(gateway.text.replace(pops[1].address, pops[0].address))
        eventually(lambda: said(client, "/us", "/") == [500, "fra"], "and stays when the file changes")


def test_a_name_that_the_file_takes_leads_nobody_elsewhere(tmp_path: Path, pops: list[Backend]) -> None:
    folder = tmp_path / "objects"
    put(folder, service_eu={"ports": {"fra": pops[0].port}}, route_eu={"paths": ["/eu"], "service": "eu"})
    with hosted(TEXT, pops, partial(Folder, path=folder)) as gateway, serving(gateway) as client:
        assert said(client, "/eu", "/") == ["fra", "nyc"]
        gateway.reload(gateway.text.replace("routes:", EU_SERVICE.format(fra=pops[1].address).replace("fra", "nyc") + "\nroutes:"))
        assert said(client, "/eu", "/") == [500, "nyc"]
        refused = [str(one) for one in gateway.gateway.config.refused]
        assert refused == ["service folder:eu: its name is that of file:eu", "route folder:eu: service eu is another's, file:eu"]
        gateway.reload(gateway.text)
        eventually(lambda: said(client, "/eu", "/") == ["fra", "nyc"], "the name is free again")
    assert seen_of(pops[1], "/eu") == []


def test_a_word_that_no_table_can_be_made_of_is_no_reason_to_refuse_a_file(tmp_path: Path, pops: list[Backend]) -> None:
    folder = tmp_path / "objects"
    put(folder, route_us={"paths": ["/us"], "service": "shop"})
    with hosted(TEXT, pops, partial(Folder, path=folder)) as gateway, serving(gateway) as client:
        put(folder, route_odd={"hosts": ["..odd"], "service": "shop"})
        eventually(lambda: gateway.gateway.reloader.counts["refused"], "it is refused")
        gateway.reload(gateway.text.replace(pops[1].address, pops[0].address))
        eventually(lambda: said(client, "/us", "/") == ["fra", "fra"], "what the file says is in use")
        put(folder, route_odd={"hosts": ["odd"], "service": "none"})
        eventually(lambda: client.ask("/", {"host": "odd"}).status == 500, "and the word, once it can be")


def test_who_waits_while_its_route_is_refused_is_answered_as_who_comes_then(pops: list[Backend]) -> None:
    """It was 503, and counted as a jurisdiction that leaves no PoP."""
    fra, nyc = pops
    text = f"{MORE}limits: {{{{connections_per_endpoint: 1}}}}\ntimeouts: {{{{queue: 20s}}}}\n"
    with hosted(text, pops) as gateway, serving(gateway) as client, ThreadPoolExecutor() as pool:

        def ask(path: str, body: bytes | None = None) -> int:
            with contextlib.closing(Client(gateway.port)) as one:
                return one.ask(path, method="POST" if body else "GET", body=body).status

        running = pool.submit(ask, "/eu?delay=20")
        eventually(lambda: fra.in_flight == 1, "the one connection is taken")
        waiting = [pool.submit(ask, "/eu/waits"), pool.submit(ask, "/eu/waits", b"x" * 200_000)]
        eventually(lambda: sum(gateway.gateway.counters.read()["active"]) == 3, "they are there")
        config = gateway.loaded.config if gateway.loaded else None
        assert config is not None
        gateway.put(Loaded(merged(replace(config, services=config.services[:1]), []), ()))
        assert [one.result(DEADLINE_S) for one in waiting] == [500, 500]
        causes = gateway.gateway.counters.read()["causes"]
        assert (causes["route_refused"], causes["no_permitted_pop"], said(client, "/eu")) == (2, 0, [500])
        fra.die()  # it answers whom it has
        assert running.result(DEADLINE_S) == 200
        fra.revive()
    assert seen_of(fra, "waits") + seen_of(nyc, "/eu") == []
