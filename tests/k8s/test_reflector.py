"""The reflector by client-go's rules, turn by turn: what it asks, in which order, and that its copy is the server's."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s.reflector import Backoff, Timing
from tests.k8s.fake_api import body, event, lines, piece, refuse
from tests.k8s.world import PATH, SELECTOR, changed, run, world


def test_lists_from_the_cache_then_watches_from_there() -> None:
    async def main() -> None:
        async with world(speed=20_000) as w:
            assert await w.turns(1) == 0.0
            assert w.names == {"web-1"}
            assert w.reflector.is_synced
            assert w.reflector.contact_at == w.now
            version = w.api.version
            await w.turns(1)
            assert w.api.asked(watch=False) == [{**SELECTOR, "resourceVersion": "0"}]
            (watch,) = w.api.asked(watch=True)
            seconds = int(watch.pop("timeoutSeconds"))
            assert watch == {**SELECTOR, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": str(version)}
            assert 300 <= seconds <= 600

    run(main())


def test_watches_of_one_time_do_not_end_together() -> None:
    async def main() -> None:
        async with world(Timing(watch_s=(3, 6))) as w:
            await w.turns(1)
            w.api.fault(w.after(10, lines(event("BOOKMARK", {"metadata": {"resourceVersion": "300"}}))), watch=True)
            await w.turns(20)
            assert {int(watch["timeoutSeconds"]) for watch in w.api.asked(watch=True)} == {3, 4, 5, 6}

    run(main())


def test_events_change_the_copy() -> None:
    async def main() -> None:
        async with world(speed=5000) as w:
            await w.turns(1)
            await w.api.put(PATH, piece("web-2", ["10.0.0.2"]))
            await w.watch_until(lambda: w.names == {"web-1", "web-2"})
            await w.api.put(PATH, piece("web-1", ["10.0.0.7"]))
            await w.watch_until(lambda: w.reflector.objects["web-1"].endpoints[0].addresses == ["10.0.0.7"])  # type: ignore[index]  # it has one
            await w.api.delete(PATH, "web-2")
            await w.watch_until(lambda: w.names == {"web-1"})
            assert len(w.api.asked(watch=False)) == 1

    run(main())


def test_a_watch_that_ends_in_time_goes_on_from_its_last_version() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(w.after(400, lines(event("MODIFIED", changed("web-1", 555)))), watch=True, times=1)
            w.api.fault(w.after(400, lines(event("BOOKMARK", {"metadata": {"resourceVersion": "777"}}))), watch=True, times=1)
            w.api.fault(w.after(400, lines()), watch=True)
            for _ in range(3):
                assert 0.0 <= await w.turns(1) <= 0.8
                assert w.reflector.error is None
            assert [q["resourceVersion"] for q in w.api.asked(watch=True)] == ["102", "555", "777"]
            assert len(w.api.asked(watch=False)) == 1
            # The last one brought nothing, not even a bookmark: the version may be ahead of the server's.
            await w.turns(1)
            assert [q["resourceVersion"] for q in w.api.asked(watch=False)] == ["0", "777"]

    run(main())


def test_a_bookmark_is_contact_but_no_change() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            before = w.changes
            w.api.fault(w.after(60, lines(event("BOOKMARK", {"metadata": {"resourceVersion": "777"}}))), watch=True, times=1)
            await w.turns(1)
            assert w.changes == before
            assert w.reflector.contact_at == w.now

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        refuse(410, "Expired"),
        refuse(410, "Gone"),
        lines(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})),
        refuse(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}]),
    ],
    ids=["http", "gone", "event", "too-large"],
)
def test_an_expired_version_lists_anew_without_one(answer: Any) -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(answer, watch=True, times=1)
            assert 0.8 <= await w.turns(1) <= 1.6
            assert w.names == {"web-1"}
            await w.api.put(PATH, piece("web-2", ["10.0.0.2"]))
            await w.turns(1)
            assert [q["resourceVersion"] for q in w.api.asked(watch=False)] == ["0", ""]
            assert w.names == {"web-1", "web-2"}

    run(main())


def test_a_list_with_a_version_from_the_future_is_asked_again_without() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(lines(b"garbage\n"), watch=True, times=1)
            w.api.version = 50  # restored from a backup
            await w.turns(3)
            assert [q["resourceVersion"] for q in w.api.asked(watch=False)] == ["0", "102", ""]
            assert w.names == {"web-1"}

    run(main())


def test_compaction_on_the_fake_is_survived() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            await w.api.put(PATH, piece("web-2", ["10.0.0.2"]))
            w.api.compact()
            await w.turns(2)
            assert w.names == {"web-1", "web-2"}

    run(main())


def test_a_null_list_is_a_confirmed_empty_one() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            await w.api.delete(PATH, "web-1")
            w.api.compact()
            await w.turns(2)  # 410, then a list with "items": null
            assert w.names == set()
            assert w.reflector.is_synced

    run(main())


def test_events_may_come_in_any_pieces() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            data = (
                event("ADDED", changed("web-3", 300))
                + b"\n"
                + event("DELETED", changed("web-1", 301))
                + event("ADDED", changed("web-4", 302))
            )
            for split in (1, 7, len(data)):
                w.api.fault(w.after(5, lines(*(data[i : i + split] for i in range(0, len(data), split)))), watch=True, times=1)
                w.reflector.objects = {"web-1": w.reflector.objects.get("web-1") or w.reflector.objects["web-4"]}
                await w.turns(1)
                assert w.names == {"web-3", "web-4"}

    run(main())


def test_part_of_an_event_at_the_end_is_none() -> None:
    async def main() -> None:
        async with world() as w:
            await w.turns(1)
            w.api.fault(w.after(5, lines(event("DELETED", changed("web-1", 300))[:-1])), watch=True, times=1)
            await w.turns(1)
            assert w.names == {"web-1"}
            assert w.reflector.error is None

    run(main())


def test_backoff_grows_to_its_cap_and_forgets_after_a_quiet_time() -> None:
    backoff, rng, now, waits = Backoff(Timing()), random.Random(1), 0.0, []
    for _ in range(9):
        waits.append(backoff.wait_s(now, rng))
        now += waits[-1]
    for n, wait_s in enumerate(waits):
        assert min(0.8 * 2**n, 30.0) <= wait_s <= 2 * min(0.8 * 2**n, 30.0)
    assert backoff.wait_s(now + 121.0, rng) <= 1.6


def test_backoff_spreads_those_who_failed_together_over_all_of_its_range() -> None:
    rng = random.Random(1)
    waits = sorted(Backoff(Timing()).wait_s(0.0, rng) for _ in range(200))
    assert waits[0] < 0.85 and waits[-1] > 1.55 and 1.1 < waits[100] < 1.3


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(["put", "put", "delete", "cut", "compact", "garbage", "refuse"]), st.integers(0, 4)), max_size=12)
)
def test_the_copy_ends_as_the_server_is(steps: list[tuple[str, int]]) -> None:
    """Oracle: the fake's own objects, after any order of changes and faults."""

    async def main() -> None:
        async with world(speed=20_000) as w:
            await w.turns(1)
            for step, n in steps:
                if step == "put":
                    await w.api.put(PATH, piece(f"web-{n}", [f"10.0.1.{n}"], ready=bool(n % 2)))
                elif step == "delete" and (PATH, f"web-{n}") in w.api.objects:
                    await w.api.delete(PATH, f"web-{n}")
                elif step == "compact":
                    w.api.compact()
                elif step == "cut":
                    w.api.fault(lines(then="reset"), times=1)
                elif step == "garbage":
                    w.api.fault(body(b"[]"), times=1)
                elif step == "refuse":
                    w.api.fault(refuse(500, "InternalError"), times=1)
                if n == 0:
                    w.now += await w.reflector.turn()

            def versions() -> dict[str, str | None]:
                return {name: one.metadata.resource_version for name, one in w.reflector.objects.items()}

            truth = {name: obj["metadata"]["resourceVersion"] for (_, name), obj in w.api.objects.items() if name != "other-1"}
            await w.watch_until(lambda: versions() == truth)

    run(main())
