import asyncio
import dataclasses

import pytest
import yaml

from gateway.config import parse
from gateway.control.life.lifecycle import Event
from gateway.control.operator.admin import TokenUnusable, is_legal_host, load_token
from gateway.errors import ConfigError, Fault
from gateway.model import Address, Identity, Refused
from gateway.parts import admin
from tests.unit.gateway.control.operating import admit, gateway_of
from tests.unit.gateway.control.operator.test_status import ask, serving

LOOPBACK = Address("127.0.0.1", 9901)


def with_admin(scenario, **more):
    async def whole():
        gateway = gateway_of(parts=(admin,), **{"gateway": "{name: edge-1}", **more})
        admit(gateway)
        gateway.lifecycle.handle(Event.STARTED)
        async with serving(gateway.parts[0].server) as session:
            await scenario(gateway, session)
        await gateway.tasks.stop(5)

    asyncio.run(whole())


def test_the_status_listeners_answers_are_here_too():
    async def scenario(gateway, session):
        assert (await ask(session, "/healthz"))[1]["state"] == "serving"
        assert await ask(session, "/readyz") == (200, {"ready": True, "reasons": []})
        assert "isochrone_build_info" in (await ask(session, "/metrics"))[1]

    with_admin(scenario)


def test_pops_explain_and_config():
    async def scenario(gateway, session):
        status, said = await ask(session, "/pops")
        assert (status, [pop["pop"] for pop in said["pops"]]) == (200, ["fra", "nyc"])
        assert len((await ask(session, "/pops/nyc"))[1]["services"][0]["each"]) == 2
        assert await ask(session, "/pops/x") == (404, {"error": "there is no PoP 'x'; there is: fra, nyc"})
        status, said = await ask(session, "/explain?client=10.0.0.1&host=a.example.com&path=/x")
        assert (status, said["decision"]["pop"], said["host"], said["path"]) == (200, "fra", "a.example.com", "/x")
        assert said["table"] == {"generation": 2, "age_s": 0.0}
        async with session.get("/config") as answer:
            text = await answer.text()
            assert answer.content_type == "application/yaml"
        assert text == gateway.config.written(False)
        assert parse(text).config == gateway.config
        assert yaml.safe_load(text)["pops"][0]["name"] == "fra"

    with_admin(scenario)


def test_config_says_above_all_who_is_refused_whatever_words_it_came_in():
    async def scenario(gateway, session):
        refused = Refused("route", Identity("folder", "", "shop"), "has no service\npops: []")
        gateway.publisher.config = dataclasses.replace(gateway.config, refused=(refused,))
        async with session.get("/config") as answer:
            text = await answer.text()
        assert text == "# refused: route folder:shop: has no service pops: []\n" + gateway.config.written(False)
        async with session.get("/metrics") as answer:
            assert 'isochrone_config_refused_objects{source="file"} 0.0' in await answer.text()

    with_admin(scenario)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/explain", "client: must be given: /explain?client=IP&host=H&path=P&method=M"),
        ("/explain?client=x", "client: must be an IP address, got 'x'"),
        ("/explain?client=10.0.0.1&ip=1", "query: must have client or host or path or headers or method, got 'ip'"),
        ("/explain?client=10.0.0.1&client=10.0.0.2", "client: must be given once, got it twice"),
        ("/explain?client=10.0.0.1&headers=x", "header: must be NAME: VALUE, as in a request, got 'x'"),
        ("/explain?client=10.0.0.1&path=x", "path: must begin with '/', got 'x'"),
        ("/pops?x=1", "query: must have no parameters, got 'x'"),
        ("/drain?wait=1", "wait: must be a duration such as 250ms, 10s, 2m, at most 1h, got '1'"),
        ("/pops/fra/drain?unless=never", "unless: must be stranded, got 'never'"),
        ("/drain?wait=2h", "wait: must be a duration such as 250ms, 10s, 2m, at most 1h, got '2h'"),
    ],
)
def test_a_bad_question_says_what_is_legal(path, text):
    async def scenario(gateway, session):
        assert await ask(session, path, "POST" if "unless" in path else "GET") == (400, {"error": text})
        assert not gateway.world.drained

    with_admin(scenario)


def test_reload_says_whether_and_why_not():
    async def scenario(gateway, session):
        generation = gateway.publisher.generation
        status, said = await ask(session, "/reload", "POST")
        assert (status, said) == (200, {"reloaded": True, "generation": 1, "table": {"generation": generation + 1}, "warnings": []})
        _, health = await ask(session, "/healthz")
        _, pops = await ask(session, "/pops")
        assert health["generation"] == said["generation"]  # of processes, wherever it stands alone
        assert health["table"] == said["table"] == {"generation": pops["table"]["generation"]}

        def refused():
            raise ConfigError([Fault("a.yaml", 1, "pops", "must be"), Fault("a.yaml", 2, "", "x")])

        gateway.reloader.load = refused
        status, said = await ask(session, "/reload", "POST")
        assert (status, said["reloaded"], said["faults"]) == (409, False, ["a.yaml:1: pops: must be", "a.yaml:2: x"])

    with_admin(scenario)


def test_no_page_in_a_browser_may_change_anything():
    async def scenario(gateway, session):
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": "evil.example"},
            {"Host": "127.0.0.1.evil.example:9901"},
        ):
            for path in ("/drain", "/undrain", "/reload", "/pops/fra/drain"):
                status, said = await ask(session, path, "POST", headers=headers)
                assert (status, list(said)) == (403, ["error"])
        for path in ("/config", "/pops", "/explain?client=10.0.0.1"):  # by rebinding a name it could read
            assert (await ask(session, path, headers={"Host": "evil.example"}))[0] == 403
        assert (await ask(session, "/healthz", headers={"Host": "evil.example"}))[0] == 200
        assert gateway.lifecycle.state == "serving"
        assert gateway.world.drained == set()

    with_admin(scenario)


@pytest.mark.parametrize(
    ("host", "bind", "is_legal"),
    [
        ("127.0.0.1:9901", LOOPBACK, True),
        ("127.0.0.1", LOOPBACK, True),
        ("localhost:9901", LOOPBACK, True),
        ("LOCALHOST", LOOPBACK, True),
        ("[::1]:9901", Address("::1", 9901), True),
        ("10.0.0.1:9901", LOOPBACK, True),  # a tunnel from elsewhere
        ("evil.example", LOOPBACK, False),
        ("localhost.evil.example", LOOPBACK, False),
        ("127.0.0.1.evil.example", LOOPBACK, False),
        ("", LOOPBACK, False),
        ("[evil]", LOOPBACK, False),
        ("edge-1.internal:9901", Address("10.0.0.1", 9901), True),
        ("whatever", Address("/run/admin.sock", 0), True),
    ],
)
def test_which_hosts_are_legal(host, bind, is_legal):
    assert is_legal_host(host, bind) is is_legal


def test_on_a_unix_socket(tmp_path):
    async def scenario(gateway, session):
        assert (await ask(session, "/config"))[0] == 200
        assert (await ask(session, "/pops/fra/drain", "POST"))[1]["done"] is True

    with_admin(scenario, admin=f'{{bind: "unix:{tmp_path}/admin.sock"}}')


def test_what_is_not_there_is_listed():
    async def scenario(gateway, session):
        status, said = await ask(session, "/upgrade", "POST")
        assert status == 404
        assert said["error"].startswith("no such path '/upgrade'; there is: GET /healthz, ")
        assert "POST /pops/{name}/undrain" in said["error"]
        assert await ask(session, "/drain", "PUT") == (405, {"error": "/drain: must be GET or POST, got PUT"})

    with_admin(scenario)


TOKEN = "0123456789abcdef"


def test_without_the_token_nothing_is_told_and_nothing_changed(tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")

    async def scenario(gateway, session):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}é"}):
            for method, path in (("GET", "/pops"), ("GET", "/config"), ("POST", "/drain"), ("POST", "/reload"), ("GET", "/nothing")):
                async with session.request(method, path, headers=headers) as said:
                    text = await said.text()
                    assert said.status == 401 and "ISOCHRONE_ADMIN_TOKEN_FILE" in text and TOKEN not in text, (method, path, headers)
        assert gateway.lifecycle.state == "serving"
        for path in ("/healthz", "/readyz", "/metrics"):
            async with session.get(path) as said:
                assert said.status in (200, 503)
        for scheme in ("Bearer", "bearer"):
            async with session.get("/config", headers={"Authorization": f"{scheme} {TOKEN}"}) as said:
                assert said.status == 200 and TOKEN not in await said.text()

    with_admin(scenario, admin=f'{{bind: "127.0.0.1:0", token: {tmp_path}/token}}')


@pytest.mark.parametrize("content", [None, b"", b"short", b"with spaces in it, though it is long", b"\xff" * 20])
def test_a_token_that_is_none(content, tmp_path):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(TokenUnusable, match=r"admin\.token .*: "):
        load_token(tmp_path / "token")
    assert load_token(None) is None
