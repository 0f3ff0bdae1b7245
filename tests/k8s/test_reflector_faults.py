"""The reflector against every fault of a server: the copy stays, the cause is said, and no loop runs hot."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from aiohttp import web

from k8s import _api
from k8s._api import RELOAD_AFTER_S
from k8s.reflector import Timing
from tests.k8s.fake_api import FakeApi, body, event, flood, hang, lines, piece, refuse, stream
from tests.k8s.world import PATH, changed, run, world

GARBAGE = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"<html>sign in</html>",
    b'{"kind":"EndpointSliceList"',
    b'{"kind":"EndpointSliceList","items":null}',
    b'{"kind":"EndpointSliceList","metadata":{},"items":null}',
    b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":null}',
    b'{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7","continue":"x"},"items":[]}',
    b'{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[{}]}',
    b'{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{},"addressType":"IPv4"}]}',
    b'{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":{"a":1}}',
    b'{"kind":"\xff\xfe","metadata":{"resourceVersion":"7"}}',
    b'{"a":' + b"[" * 20_000,
]


@pytest.mark.parametrize("is_watch", [False, True])
def test_429_is_asked_again_when_the_server_said(is_watch: bool) -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1 if is_watch else 0)
            w.api.fault(refuse(429, "TooManyRequests", headers={"Retry-After": "17"}), times=1)
            assert 17.0 <= await w.turns(1) <= 17.0 * 1.5
            w.api.fault(w.after(10, lines()), watch=True)
            await w.turns(1)
            assert len(w.api.asked(watch=True)) == (2 if is_watch else 0)

    run(main())


def test_retry_after_of_a_day_is_cut() -> None:
    async def main() -> None:
        async with world() as w:
            w.api.fault(refuse(503, "ServiceUnavailable", retryAfterSeconds=86_400), times=1)
            assert await w.turns(1) <= 450.0

    run(main())


@pytest.mark.parametrize(("code", "reason"), [(401, "Unauthorized"), (403, "Forbidden"), (404, "NotFound"), (500, "InternalError")])
def test_a_refusal_keeps_the_copy_and_says_why(code: int, reason: str) -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(refuse(code, reason, "user \x1b[31mgateway\ncannot watch"), times=4)
            await w.turns(4)
            assert w.names == {"web-1"}
            assert w.reflector.error == f"{code} {reason}: user [31mgateway cannot watch"
            assert [("watch" in q) for _, q in w.api.requests] == [False, True, False, False, False]

    run(main())


def test_a_server_that_is_gone_keeps_the_copy_and_is_found_again() -> None:
    async def main() -> None:
        async with world(speed=20_000) as w:
            await w.turns(1)
            port = await w.api.stop_listening()
            waits = [await w.turns(1) for _ in range(7)]
            assert "cannot connect" in (w.reflector.error or "")
            assert w.names == {"web-1"}
            for n, wait_s in enumerate(waits):
                assert min(0.8 * 2**n, 30.0) <= wait_s <= 2 * min(0.8 * 2**n, 30.0)
            await w.api.listen(port)
            await w.api.put(PATH, piece("web-2", ["10.0.0.2"]))
            await w.watch_until(lambda: w.names == {"web-1", "web-2"})
            # One before; one as soon as it answers: in between it may have become another, with other versions.
            assert len(w.api.asked(watch=False)) == 2
            await w.api.put(PATH, piece("web-3", ["10.0.0.3"]))
            await w.watch_until(lambda: "web-3" in w.names)
            assert w.reflector.error is None

    run(main())


def test_a_server_whose_versions_went_back_is_found_out() -> None:
    """An etcd restored from a backup: a watch from ahead of it is accepted, and streams nothing for ever."""

    async def main() -> None:
        async with world(Timing(read_s=(0.05, 0.06)), bookmark_s=0.01) as w:
            await w.turns(1)
            w.api.restore(50)
            await w.api.put(PATH, piece("web-9", ["10.0.0.9"]))
            await w.watch_until(lambda: w.names == {"web-9"})
            assert [q["resourceVersion"] for q in w.api.asked(watch=False)] == ["0", "102", ""]
            await w.api.put(PATH, piece("web-8", ["10.0.0.8"]))
            await w.watch_until(lambda: w.names == {"web-8", "web-9"})

    run(main())


@pytest.mark.parametrize("moved", ["same versions", "versions of the past", "versions of the future"])
def test_another_server_is_listed_from_its_own_versions(moved: str) -> None:
    """A kubeconfig that names another cluster now: nothing of the old one stays, and no version of it is asked for."""

    async def main() -> None:
        async with world() as w, FakeApi() as other:
            other.version = {"same versions": 101, "versions of the past": 1, "versions of the future": 5000}[moved]
            await other.put(PATH, piece("web-7", ["10.0.0.7"]))
            await w.turns(1)
            assert w.names == {"web-1"}
            await w.api.stop_listening()
            w.url = other.url
            await w.turns(1)
            w.now += RELOAD_AFTER_S
            await w.turns(1)
            assert w.names == {"web-7"}
            assert [q["resourceVersion"] for q in other.asked(watch=False)] == ["0"]

    run(main())


def test_one_who_must_be_another_now_is_listed_though_the_address_is_the_same() -> None:
    """A kubeconfig of a tunnel, or of an address that another cluster was given: not the address alone is who a server is."""

    async def main() -> None:
        async with world() as w, FakeApi() as other:
            other.version = 5000
            await other.put(PATH, piece("web-7", ["10.0.0.7"]))
            await w.turns(1)
            assert w.names == {"web-1"}
            port = await w.api.stop_listening()
            await w.turns(1)
            await other.stop_listening()
            await other.listen(port)
            w.tls_server_name = "other.example"
            w.now += RELOAD_AFTER_S
            await w.turns(1)
            assert w.names == {"web-7"}
            assert [q["resourceVersion"] for q in other.asked(watch=False)] == ["0"]

    run(main())


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_a_list_that_is_none_changes_nothing(data: bytes) -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(refuse(410, "Expired"), watch=True, times=1)
            w.api.fault(body(data), watch=False, times=1)
            assert await w.turns(2) >= 0.8
            assert w.names == {"web-1"}
            assert w.reflector.error
            await w.turns(1)
            assert w.names == {"web-1"}

    run(main())


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"{}\n",
        b'{"type":"DELETED"}\n',
        b'{"type":"DELETED","object":{}}\n',
        b'{"type":"DELETED","object":{"metadata":{"name":null},"addressType":"IPv4"}}\n',
        b'{"type":"MODIFIED","object":{"metadata":{"name":"web-1"},"addressType":"IPv4","endpoints":{}}}\n',
        b'{"type":"BOOKMARK","object":7}\n',
        b'{"type":"MODIFIED","object":' + b"[" * 20_000 + b"]" * 20_000 + b"}\n",
        b"\xff\xfe\n",
        b'{"type":"ADDED","object":{"metadata":{"name":"' + b"x" * 3000,
    ],
    ids=range(10),
)
def test_a_watch_of_garbage_changes_nothing_and_lists_anew(line: bytes) -> None:
    async def main() -> None:
        async with world(Timing(line_bytes=2000 if b"xxx" in line else 1_000_000)) as w:
            await w.turns(1)
            w.api.fault(w.after(30, lines(line)), watch=True, times=1)
            assert 0.8 <= await w.turns(1) <= 1.6
            assert w.names == {"web-1"}
            assert w.reflector.error
            await w.turns(1)
            assert len(w.api.asked(watch=False)) == 2
            assert w.api.asked(watch=False)[1]["resourceVersion"] == "102"  # never older than what was seen

    run(main())


def test_what_came_before_the_garbage_counts() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(lines(event("ADDED", changed("web-5", 500)) + b"garbage\n"), watch=True, times=1)
            await w.turns(1)
            assert w.names == {"web-1", "web-5"}

    run(main())


def test_a_list_without_end_is_cut() -> None:
    async def main() -> None:
        async with world(Timing(list_bytes=200_000)) as w:
            w.api.fault(flood(b"[" * 100), watch=False, times=1)
            await w.turns(1)
            assert "more than 200000 bytes" in (w.reflector.error or "")
            assert not w.reflector.is_synced

    run(main())


def test_an_unknown_event_type_is_passed_over() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            unknown = event("SPARKLED", {"x": 1})
            w.api.fault(w.after(30, lines(unknown, event("ADDED", changed("web-3", 300)))), watch=True, times=1)
            await w.turns(1)
            assert w.names == {"web-1", "web-3"}
            assert w.reflector.error is None

    run(main())


def test_a_watch_closed_at_once_is_a_fault_and_lists_anew() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(lines(), watch=True, times=1)
            assert 0.8 <= await w.turns(1) <= 1.6
            assert "closed at once" in (w.reflector.error or "")
            await w.turns(1)
            assert len(w.api.asked(watch=False)) == 2

    run(main())


def test_a_short_watch_that_brought_something_is_paced_but_no_fault() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(lines(event("MODIFIED", changed("web-1", 300))), watch=True)
            for _ in range(3):
                assert await w.turns(1) == 1.0
            assert w.reflector.error is None
            assert len(w.api.asked(watch=False)) == 1

    run(main())


def test_an_error_is_not_cleared_by_a_watch_that_has_ended() -> None:
    async def main() -> None:
        async with world(Timing(short_watch_s=0.01)) as w:
            await w.turns(1)
            w.api.fault(lines(), watch=True)
            await w.turns(1)
            await asyncio.sleep(0.03)  # longer than a watch must live to count
            assert "closed at once" in (w.reflector.error or "")

    run(main())


def test_a_cut_watch_that_had_worked_goes_on_soon() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(w.after(55, lines(event("MODIFIED", changed("web-1", 300)), then="reset")), watch=True)
            waits = sorted([await w.turns(1) for _ in range(20)])
            assert 0.0 < waits[0] < 0.2 and 0.6 < waits[-1] <= 0.8, "not at once, and not all gateways in one moment"
            assert w.reflector.error is None
            assert len(w.api.asked(watch=False)) == 1

    run(main())


@pytest.mark.parametrize("is_watch", [False, True])
def test_silence_has_a_deadline(is_watch: bool) -> None:
    async def main() -> None:
        async with world(Timing(list_s=0.05, read_s=(0.05, 0.06))) as w:
            await w.turns(1 if is_watch else 0)
            w.api.fault(hang, times=1)
            w.api.fault(w.after(300, lines(event("BOOKMARK", {"metadata": {"resourceVersion": "300"}}), then="hang")), watch=True)
            assert await w.turns(1) >= 0.8
            assert "does not answer" in (w.reflector.error or "")
            if is_watch:
                await w.turns(1)
                assert "does not answer" in (w.reflector.error or "")
                assert w.names == {"web-1"}

    run(main())


def test_a_watch_that_never_ends_is_left() -> None:
    async def main() -> None:
        async with world(Timing(watch_s=(0, 0), watch_grace_s=0.05)) as w:
            await w.turns(1)

            async def chatter(request: web.Request) -> web.StreamResponse:
                response = await stream(request)
                w.now += 3600
                while True:
                    await response.write(event("BOOKMARK", {"metadata": {"resourceVersion": "300"}}))
                    await asyncio.sleep(0.005)

            w.api.fault(chatter, watch=True)
            await w.turns(1)
            assert "took too long" in (w.reflector.error or "")

    run(main())


@pytest.mark.parametrize(
    ("answer", "is_watch"),
    [
        (lines(), True),
        (lines(then="reset"), True),
        (lines(b"garbage\n"), True),
        (lines(event("SPARKLED", {})), True),
        (lines(event("ERROR", {"code": 410})), True),
        (lines(event("ERROR", {"code": 500})), True),
        (lines(event("ERROR", {})), True),
        (refuse(410, "Expired"), True),
        (refuse(410, "Expired"), None),
        (refuse(500, "InternalError"), None),
        (refuse(403, "Forbidden"), None),
        (refuse(429, "TooManyRequests", headers={"Retry-After": "0"}), None),
        (body(b"<html>"), None),
        (body(b"", code=302), None),
        (lines(event("BOOKMARK", {"metadata": {"resourceVersion": "300"}})), True),
        (lines(event("MODIFIED", piece("web-1", ["10.0.0.1"])), then="reset"), True),
    ],
    ids=range(16),
)
def test_never_a_hot_loop(answer: Any, is_watch: bool | None) -> None:
    """Ten minutes by the fake clock of one fault: backoff allows some 20 attempts, a watch that brings something one a second."""

    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(answer, watch=is_watch)
            end = w.now + 600

            async def until() -> None:
                while w.now < end:
                    await asyncio.sleep(0)

            loop = asyncio.ensure_future(w.reflector.run())
            await until()
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            assert 10 <= len(w.api.requests) <= (650 if w.reflector.error is None else 80)
            assert w.names == {"web-1"}

    run(main())


def test_a_flood_is_read_slowly() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(flood(event("MODIFIED", changed("web-1", 300))), watch=True)
            decode, busy = w.reflector._apply, [0.0]

            def slow(line: bytes) -> bool:
                w.now += 0.001
                busy[0] += 0.001
                return decode(line)

            w.reflector._apply = slow  # type: ignore[method-assign]  # slowed by the fake clock
            task = asyncio.ensure_future(w.reflector.turn())
            while busy[0] < 2.0:
                assert not task.done()
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert sum(w.waits) >= 0.4 * busy[0]
            assert w.names == {"web-1"}

    run(main())


def test_an_error_clears_when_the_server_streams_again() -> None:
    async def main() -> None:
        async with world(Timing(short_watch_s=0.01)) as w:
            w.api.fault(refuse(403, "Forbidden"), times=1)
            await w.turns(2)
            assert w.reflector.error  # a list alone does not clear it
            await w.watch_until(lambda: w.reflector.error is None)

    run(main())


@pytest.mark.slow
def test_a_watch_into_a_black_hole_is_noticed_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets to the server vanish and none comes back, as behind a firewall that forgot the connection: no reset, no end, only silence."""
    idle, interval, count, patience = (dict(zip(("level", "option", "value"), one, strict=True)) for one in _api.KEEP_ALIVE[1:])
    assert idle["value"] + interval["value"] * count["value"] == 30 == patience["value"] / 1000
    quick = ((*_api.KEEP_ALIVE[0][:2], 1), *((*one[:2], value) for one, value in zip(_api.KEEP_ALIVE[1:], (1, 1, 2, 2000), strict=True)))
    monkeypatch.setattr(_api, "KEEP_ALIVE", quick)

    async def swallow(request: web.Request) -> web.StreamResponse:
        response = await stream(request)
        await response.write(event("MODIFIED", changed("web-1", 102)))
        await asyncio.sleep(0.2)  # until it is acknowledged: from here on this end has nothing to say
        assert request.transport is not None
        # What has come further than this allows is dropped by the kernel, unseen (RFC 5082): no packet comes from so near.
        request.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, 21, 255)
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        async with world(Timing(read_s=(1000.0, 1000.0))) as w:
            await w.turns(1)
            w.api.fault(swallow, watch=True, times=1)
            began = time.monotonic()
            await w.turns(1)  # the test's deadline is that of all
            assert time.monotonic() - began > 1.0
            assert w.names == {"web-1"}
            await w.api.put(PATH, piece("web-2", ["10.0.0.2"]))
            await w.watch_until(lambda: "web-2" in w.names)

    run(main())
