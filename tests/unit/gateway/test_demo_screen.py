import io
import re
import time
import xml.dom.minidom

from rich.console import Console

from gateway.demo import places
from gateway.demo.screen import WIDTH, Screen, console, opening_of, scene_of, summary_of
from gateway.demo.story import Row, Scene
from gateway.demo.summary import Missed, Summary

CLIENTS = places.clients()
LONGEST = max(CLIENTS, key=lambda client: len(client.city))
ROW = Row(LONGEST, "AR", "gru", 39.94, 153.4, "jnb", 153.6, "failover", True)
SCENE = Scene("fra is killed", CLIENTS, ["49 requests since: 0 errors"], [ROW], [])
SUMMARY = Summary(774, 2, 69.94, 164.9, 209.1, 49.7, (Missed(LONGEST, "gru", "iad", 1.6),))


def drawn(said, width):
    out = io.StringIO()
    Console(file=out, width=width).print(said)
    return out.getvalue()


def test_a_row_fits_into_eighty_columns_whole():
    text = drawn(scene_of(SCENE), 80)
    line = next(line for line in text.splitlines() if LONGEST.address in line)
    assert line.split() == [LONGEST.address, *LONGEST.city.split(), "AR", "gru", "39.9", "153.4", "jnb", "154", "failover"]
    assert "49 requests since: 0 errors" in text
    assert "…" not in text


def test_the_opening_breaks_long_facts_under_themselves():
    lines = drawn(opening_of("six PoPs", {"config": "x", "shortened": "word " * 30}), 60).splitlines()
    assert lines[0].startswith("isochrone demo: six PoPs")
    assert lines[3].startswith(" " * len("shortened  ") + "word")


def test_what_is_unknown_is_a_dash():
    row = Row(LONGEST, "?", "gru", None, 153.4, None, None, "order", True)
    line = next(line for line in drawn(scene_of(Scene("x", CLIENTS, rows=[row])), 80).splitlines() if LONGEST.address in line)
    assert line.split()[-6:] == ["?", "gru", "-", "153.4", "-", "order"]


def test_faults_are_said():
    assert "FAULT: sent astray" in drawn(scene_of(Scene("x", CLIENTS, faults=["sent astray"])), 80)
    assert "FAULT: London: cut" in drawn(summary_of(SUMMARY, ["London: cut"]), 100)


def test_the_summary_says_each_figure_and_fits_one_screen():
    text = drawn(summary_of(SUMMARY, []), 100)
    for label, figure in [("requests", "774"), ("errors", "2"), ("mean time", "69.9 ms"), ("always iad", "164.9 ms")]:
        assert re.search(rf"{label} +{figure}", text), label
    assert re.search(r"saved +95.0 ms +a request, against always iad", text)
    assert re.search(r"139.2 ms +a request, against round robin", text)
    assert f"{LONGEST.city} gru not iad, 2 ms" in " ".join(text.replace("│", " ").split())
    assert len(text.splitlines()) <= 24


def test_the_picture_is_svg_small_and_asks_nobody(tmp_path):
    screen = Screen(Console(file=io.StringIO(), width=80))
    screen.say("opening <&>")
    screen.end(SCENE)
    screen.save(tmp_path / "demo.svg")
    text = (tmp_path / "demo.svg").read_text()
    xml.dom.minidom.parseString(text)
    assert set(re.findall(r"https?://[^\"\s)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert LONGEST.address in text
    assert len(text) < 100_000


def test_a_terminal_sees_the_scene_while_it_goes_on():
    out = io.StringIO()
    screen = Screen(Console(file=out, width=90, height=50, force_terminal=True))
    scene = Scene("all up", CLIENTS)
    screen.begin(scene)
    scene.rows = [ROW]
    end = time.monotonic() + 10
    while LONGEST.address not in out.getvalue() and time.monotonic() < end:
        pass
    assert LONGEST.address in out.getvalue()
    screen.close()
    screen.close()  # twice is once
    assert out.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in out.getvalue()  # the cursor is back


def test_elsewhere_nothing_is_drawn_before_it_is_over():
    out = io.StringIO()
    screen = Screen(Console(file=out, width=90))
    screen.begin(SCENE)
    assert out.getvalue() == ""
    screen.end(SCENE)
    assert out.getvalue().count(LONGEST.address) == 1


def test_without_a_terminal_there_is_room_for_all(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert console().width == WIDTH
