"""A gateway whose PoP is a Service of a cluster, over reloads."""

import contextlib
import http.client
import json
import threading

import pytest

from tests.io.clustered import KUBECONFIG, Api
from tests.io.serving import DEADLINE_S, Client, backends, eventually, served

pytestmark = pytest.mark.slow

TEXT = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: fra, lat: 50.11, lon: 8.68, kubernetes: {{kubeconfig: kubeconfig}}}}]
services:
  - name: NAME
    backends: [{{pop: fra, kubernetes: {{namespace: shop, service: NAME, port: http}}, allow: [loopback]}}]
routes: [{{service: NAME}}]
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
"""
STATIC = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: sin, lat: 1.3, lon: 103.8}}]
services: [{{name: there, backends: [{{pop: sin, endpoints: ["127.0.0.1:1"]}}]}}]
routes: [{{service: there}}]
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
"""
TWO_CONTEXTS = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops:
  - {{name: fra, lat: 50.11, lon: 8.68, kubernetes: {{kubeconfig: kubeconfig, context: a}}}}
  - {{name: nyc, lat: 40.71, lon: -74.01, kubernetes: {{kubeconfig: kubeconfig, context: b}}}}
services:
  - name: blue
    backends:
      - {{pop: fra, kubernetes: {{namespace: shop, service: blue, port: http}}, allow: [loopback]}}
      - {{pop: nyc, kubernetes: {{namespace: shop, service: blue, port: http}}, allow: [loopback]}}
routes: [{{service: blue}}]
admin: {{bind: "127.0.0.1:{admin}"}}
gateway: {{workers: 1}}
"""
BLUE, GREEN = TEXT.replace("NAME", "blue"), TEXT.replace("NAME", "green")


@pytest.fixture
def api():
    api = Api()
    yield api
    api.close()


def reload(gateway, text):
    gateway.config.write_text(text.format(port=gateway.port, admin=gateway.admin_port))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=DEADLINE_S)) as asked:
        asked.request("POST", "/reload")
        answer = asked.getresponse()
        return answer.status, answer.read().decode()


def test_a_route_that_goes_over_to_another_service_loses_no_request(tmp_path, api):
    with backends("blue", "green") as pods:
        for pod in pods:
            api.say(pod.name, ["127.0.0.1"], pod.port, service=pod.name)
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        with served(tmp_path, BLUE) as gateway:
            eventually(lambda: gateway.get("/") == (200, "blue"), "served by blue")
            answers, done = [], threading.Event()

            def ask():
                with contextlib.closing(Client(gateway.port)) as client:
                    while not done.is_set():
                        answer = client.ask()
                        answers.append((answer.status, answer.text))

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                assert reload(gateway, GREEN)[0] == 200
                eventually(lambda: answers[-1:] == [(200, "green")], "served by green")
            finally:
                done.set()
                asking.join(DEADLINE_S)
            assert set(answers) == {(200, "blue"), (200, "green")}


def test_a_kubeconfig_that_leads_elsewhere_is_read_at_a_reload_while_the_old_server_is_well(tmp_path, api):
    with backends("old", "new") as (old, new), contextlib.closing(Api()) as other:
        api.say("blue", ["127.0.0.1"], old.port, service="blue")
        other.say("blue", ["127.0.0.1"], new.port, service="blue")
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        with served(tmp_path, BLUE) as gateway:
            eventually(lambda: gateway.get("/") == (200, "old"), "served by the old cluster")
            (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(other.url))
            assert reload(gateway, BLUE)[0] == 200
            eventually(lambda: gateway.get("/") == (200, "new"), "served by the new cluster")


def source_of(gateway):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=DEADLINE_S)) as asked:
        asked.request("GET", "/pops/fra")
        return json.loads(asked.getresponse().read())["services"][0]["source"]


def test_a_reload_says_that_the_server_is_silent_to_which_a_kubeconfig_leads_now(tmp_path, api):
    with backends("old") as (old,), contextlib.closing(Api()) as other:
        other.stop()
        api.say("blue", ["127.0.0.1"], old.port, service="blue")
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        with served(tmp_path, BLUE) as gateway:
            eventually(lambda: gateway.get("/") == (200, "old"), "served by the old cluster")
            assert "asked" not in reload(gateway, BLUE)[1] and not source_of(gateway)["kept"]
            (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(other.url))
            status, answer = reload(gateway, BLUE)
            assert status == 200 and "shop/blue not heard of yet where the way to its cluster leads now (" in answer
            assert source_of(gateway)["kept"] and gateway.get("/") == (200, "old")
            (tmp_path / "kubeconfig").write_text("{}")
            status, answer = reload(gateway, BLUE)
            assert status == 200 and "cluster fra: the way to it could not be loaded again (kubeconfig " in answer
            (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
            assert "asked" not in reload(gateway, BLUE)[1] and not source_of(gateway)["kept"]


def test_a_reload_to_a_cluster_that_is_gone_serves_from_what_that_last_named(tmp_path, api):
    kept = f"state_dir: {tmp_path / 'state'}\n"
    with backends("blue") as (blue,):
        api.say("blue", ["127.0.0.1"], blue.port, service="blue")
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        with served(tmp_path, BLUE + kept) as gateway:
            eventually(lambda: gateway.get("/") == (200, "blue"), "served by its cluster")
            eventually((tmp_path / "state" / "endpoints.json").exists, "endpoints written down")
        api.stop()
        with served(tmp_path, STATIC + kept) as gateway:
            status, answer = reload(gateway, BLUE + kept)
            assert status == 200, answer
            eventually(lambda: gateway.get("/") == (200, "blue"), "served from what the cluster told the last process")
            assert "its endpoints are those it named " in answer


@pytest.mark.heavy
def test_a_start_without_the_cluster_serves_from_what_that_last_named_of_several_services(tmp_path, api):
    more = "  - {{name: green, backends: [{{pop: fra, kubernetes: {{namespace: shop, service: green, port: http}}, allow: [loopback]}}]}}\n"
    text = BLUE.replace("routes:", more + "routes:").replace("[{{service: blue}}]", "[{{match: {{path_prefix: /green}}, service: green}}]")
    text = text.replace("service: green}}]\n", "service: green}}, {{service: blue}}]\n") + f"state_dir: {tmp_path / 'state'}\n"
    with backends("blue", "green") as pods:
        for pod in pods:
            api.say(pod.name, ["127.0.0.1"], pod.port, service=pod.name)
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(api.url))
        with served(tmp_path, text) as gateway:
            eventually(lambda: [gateway.get(path)[1] for path in ("/", "/green")] == ["blue", "green"], "both are served")
            eventually((tmp_path / "state" / "endpoints.json").exists, "endpoints written down")
        api.stop()
        with served(tmp_path, text) as gateway:
            assert [gateway.get(path)[1] for path in ("/", "/green")] == ["blue", "green"]


def known_in(gateway):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=DEADLINE_S)) as asked:
        asked.request("GET", "/pops")
        pops = json.loads(asked.getresponse().read())["pops"]
    return {pop["pop"]: sum(pop["services"][0]["endpoints"].values()) for pop in pops}


def test_contexts_of_one_server_and_user_have_one_watch_and_of_two_users_two(tmp_path, api):
    file = tmp_path / "kubeconfig"
    alone = KUBECONFIG.format(api.url)
    both = alone.replace("user: a}}]", "user: a}}, {name: b, context: {cluster: a, user: a, namespace: store}}]", 1)
    with backends("blue") as (blue,):
        api.say("blue", ["127.0.0.1"], blue.port, service="blue")
        file.write_text(both)
        with served(tmp_path, TWO_CONTEXTS) as gateway:
            eventually(lambda: known_in(gateway) == {"fra": 1, "nyc": 1}, "both know the Service")
            eventually(lambda: api.watching > 0, "a watch")
            assert api.watching == 1
            file.write_text(
                both.replace("user: a, namespace", "user: b, namespace").replace("users: [", "users: [{name: b, user: {token: u}}, ")
            )
            assert reload(gateway, TWO_CONTEXTS)[0] == 200
            eventually(lambda: api.watching == 2, "each user has a watch of its own, and that of both is gone")
            assert known_in(gateway) == {"fra": 1, "nyc": 1}
            assert gateway.get("/") == (200, "blue")
            file.write_text(both)
            assert reload(gateway, TWO_CONTEXTS)[0] == 200
            eventually(lambda: api.watching == 1, "one watch for both again")
            assert known_in(gateway) == {"fra": 1, "nyc": 1}
