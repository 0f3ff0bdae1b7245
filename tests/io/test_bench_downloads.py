"""The bench of small requests beside downloads: that it runs, and that no round is left out of what it shows."""

import dataclasses
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import downloads
from bench.proxy import peers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LACKING = peers.missing()
GOOD = downloads.Round(0.2, 0.5, 0.3, 1.0, small_per_s=2000.0, mib_per_s=800.0, taken=0.01)
BAD = dataclasses.replace(GOOD, beside_p99_ms=17.0)
NOISY = dataclasses.replace(GOOD, beside_p99_ms=2.0, taken=0.3)
FOUND = {"backend": [GOOD, GOOD, GOOD], "isochrone": [GOOD, BAD, NOISY]}


@pytest.mark.skipif(bool(LACKING), reason=f"BENCH NOT TRIED: no {', '.join(LACKING)}: apt-get install nginx-light wrk")
@pytest.mark.alone
@pytest.mark.heavy
def test_a_quick_run_measures_all_three(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "bench.downloads", "--quick", "--results", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    rounds = json.loads((tmp_path / "downloads.json").read_text())["rounds"]
    assert {name: len(each) for name, each in rounds.items()} == dict.fromkeys(downloads.NAMES, 1)
    for (one,) in rounds.values():
        assert one["ratio"] == pytest.approx(one["beside_p99_ms"] / one["calm_p99_ms"], abs=0.001)
        assert one["calm_p99_ms"] > 0 and one["small_per_s"] > 0 and one["mib_per_s"] > 0
    assert "Isochrone" in ran.stdout


def test_every_round_is_shown_also_the_bad_ones_and_those_in_which_others_had_the_machine():
    lines = downloads.table(FOUND).splitlines()
    assert lines[2].endswith("| 2.00 | 2.00, 2.00, 2.00 |")
    assert lines[3].startswith("| Isochrone |") and lines[3].endswith("| 4.00 | 2.00, 34.00, 4.00* |")
    assert "1 of them" in lines[-1]


def test_the_picture_has_a_dot_for_each_round_within_its_frame():
    image = ET.fromstring(downloads.picture(FOUND))
    dots = image.findall("{*}circle")
    assert [dot.findtext("{*}title") for dot in dots] == ["2.00", "2.00", "2.00", "2.00", "34.00", "4.00"]
    assert all(downloads.LEFT < float(dot.get("cx")) < downloads.WIDTH for dot in dots)
    assert [dot.get("fill") for dot in dots].count("#fff") == 1
