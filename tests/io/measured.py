"""What tests of the steering benches begin with: four places, a set of round trips on disk, and control that says nothing of them."""

import gzip
import logging
import math

import pytest

from bench.steering.data import Place

BERLIN = Place("1", "Berlin", "DE", 52.52, 13.41, math.inf)
PARIS = Place("2", "Paris", "FR", 48.86, 2.35, 12)
TOKYO = Place("3", "Tokyo", "JP", 35.68, 139.69, 12)
LYON = Place("4", "Lyon", "FR", 45.76, 4.84, math.inf)


@pytest.fixture(autouse=True)
def quiet():
    """Control logs every endpoint that comes or goes; a run of the bench turns that off for good."""
    log = logging.getLogger("isochrone")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


def write_set(folder, places, pairs):
    folder.mkdir(parents=True)
    rows = ["id,name,country,lat,lon,pop_set", *(f"{p.id},{p.name},{p.country},{p.lat},{p.lon},{p.pop_set}" for p in places)]
    (folder / "places.csv").write_text("\n".join(rows).replace(",inf", ",") + "\n")
    with gzip.open(folder / "rtt.csv.gz", "wt") as file:
        file.write("src,dst,min_ms,avg_ms\n" + "".join(f"{src},{dst},{ms},{ms + 1}\n" for src, dst, ms in pairs))
    return folder
