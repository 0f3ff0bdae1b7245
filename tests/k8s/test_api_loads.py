"""When access to an API server is loaded, and what becomes of a load that fails, hangs, or is overtaken."""

from __future__ import annotations

import asyncio
import threading

import pytest

from k8s._api import LOAD_DEADLINE_S, RELOAD_AFTER_S, Api
from k8s.access import ClusterAccess
from k8s.errors import AccessError
from tests.k8s.fake_api import FakeApi
from tests.k8s.test_api import Loads, ask, broken, fails, run


def test_access_that_fails_to_load_is_tried_again_in_time_however_often_asked() -> None:
    async def main() -> None:
        async with FakeApi() as fake:
            loads = Loads(broken, broken, lambda: ClusterAccess(fake.url))
            async with Api(loads, loads.clock) as api:
                for _ in range(5):
                    assert str(await fails(api)) == "kubeconfig x: empty"
                assert loads.count == 1
                loads.now += RELOAD_AFTER_S
                await fails(api)
                loads.now += RELOAD_AFTER_S
                await ask(api)
                await ask(api)
                assert loads.count == 3

    run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_said_while_access_is_loaded_loads_it_once_more(fails: bool) -> None:
    """A plugin takes its seconds. Before, who asked behind that got what had been read before, or its fault, as the newest."""

    async def main() -> None:
        began, release = threading.Event(), threading.Event()
        servers = iter(["http://old.invalid", "http://new.invalid"])

        def slow() -> ClusterAccess:
            server = next(servers)
            began.set()
            release.wait(5.0)
            if fails and "old" in server:
                raise AccessError("the session is over")
            return ClusterAccess(server)

        async with Api(slow, lambda: 0.0) as api:
            first = asyncio.create_task(api.access())
            await asyncio.to_thread(began.wait, 5.0)
            api.expire()
            second = asyncio.create_task(api.access())
            await asyncio.sleep(0)
            release.set()
            assert (await second).server == "http://new.invalid"
            assert (await first).server == "http://new.invalid"
            assert (await api.access()).server == "http://new.invalid"

    run(main())


def test_a_loader_with_a_bug_is_a_fault_like_any_other() -> None:
    async def main() -> None:
        def bug() -> ClusterAccess:
            raise ZeroDivisionError("x")

        async with Api(bug, lambda: 0.0) as api:
            assert str(await fails(api)) == "cannot load the credentials: ZeroDivisionError: x"

    run(main())


def test_a_loader_that_hangs_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        release = threading.Event()

        def hanging() -> ClusterAccess:
            release.wait(5.0)
            raise AccessError("x")

        monkeypatch.setattr("k8s._api.LOAD_DEADLINE_S", 0.01)
        async with Api(hanging, lambda: 0.0) as api:
            assert "takes longer than" in str(await fails(api))
        release.set()

    assert LOAD_DEADLINE_S >= 10.0
    run(main())
