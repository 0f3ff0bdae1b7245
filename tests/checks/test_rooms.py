import re
from pathlib import Path

import pytest

from tests.checks import rooms


def test_the_page_is_drawn_as_the_imports_are():
    text = rooms.PAGE.read_text()
    assert text == rooms.page(text), "run: python -m tests.checks.rooms"


def test_each_room_is_drawn():
    text = rooms.PAGE.read_text()
    folders = {
        path.parent.as_posix()
        for top in ("gateway", "k8s", "geoip", "routing_core")
        for path in Path(top).rglob("__init__.py")
        if len(rooms.sources(path.parent)) > 2
    }
    assert sorted(folder for folder in folders - {"gateway"} if f"<!-- room: {folder} -->" not in text) == []


def test_no_module_knows_one_that_knows_it():
    arrows = rooms.modules()
    assert len(arrows) > 200 and sum(map(len, arrows.values())) > 500
    assert rooms.circles(arrows) == []


@pytest.mark.parametrize(
    ("arrows", "left"),
    [
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, {"a": {"b"}, "b": {"c"}, "c": set()}),
        ({"a": {"c"}, "b": {"c"}, "c": set()}, {"a": {"c"}, "b": {"c"}, "c": set()}),
    ],
)
def test_an_arrow_that_follows_from_others_is_left_out(arrows, left):
    assert rooms.circles(arrows) == []
    assert rooms.reduced(arrows) == left


def test_who_carries_an_exchange_on_knows_streams_alone():
    """So many streams on one connection (HTTP/2) change nothing there."""
    proxy = Path("gateway/dataplane/proxy")
    paths = [
        *Path("gateway/dataplane/exchange").glob("_*.p[xy][dx]"),
        *(proxy / f"{name}.pyx" for name in ("_attempts", "_elsewhere", "_leaving", "_queueing", "_redirect", "_reply")),
    ]
    assert len(paths) >= 18
    assert [str(path) for path in paths if re.search(r"\bConnection \*|\.connection\b", path.read_text())] == []


def test_a_circle_is_found():
    assert rooms.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a <-> b", "b <-> c", "c <-> a"]


def test_who_knows_a_type_knows_its_module(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("import a.b\nif TYPE_CHECKING:\n    from c import d\ndef f():\n    from e import g\n")
    assert rooms.names_in(path) == {"a.b", "c.d", "e.g"}
    path = tmp_path / "y.pyx"
    path.write_text("from a._b cimport (\n    c, d)\n# from x cimport y\n")
    assert rooms.names_in(path) == {"a._b.c", "a._b.d"}
