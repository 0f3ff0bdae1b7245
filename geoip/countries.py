"""Countries: ISO 3166 alpha-2 code -> continent, subregion, a central place, how far from it clients may be, and how many use the internet;
and groups of them.

Owns the table (countries.csv, in the package). Must not know databases: where one gives coordinates, this is not asked.

Sources: codes and continents are ISO 3166-1 with the continents as GeoNames assigns them, and XK for Kosovo. Places are the
geographic coordinates of the CIA World Factbook (public domain), rounded; for countries whose people live far from the middle
of their land (AU, BR, CA, CL, CN, DZ, EG, GL, ID, IR, KZ, LY, NO, RU, SE, US and a few more) a place near the centre of population.
Radius: 0.8 * sqrt(area), at least 100 and at most 2,500 km, wider for island groups and countries in several parts; a
test holds it against the located networks of each country in a city database. It is wide on purpose: a
country alone says little about where a client is.
Subregions are those of the United Nations' standard M49 (Statistics Division, "Standard country or area codes for statistical use"), the
smallest that it has; Kosovo, which it does not list, is with its neighbours in Southern Europe, and Antarctica is in none.
Internet users: population times the share that uses the internet, both as the CIA World Factbook estimates them (public domain;
factbook.json of May 2026), in thousands. Empty where it says none (KP), or counts them elsewhere: RE, GP, MQ, GF and YT in FR, AX in FI,
BQ in NL.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import NamedTuple

_UNION = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
# States, by treaty: the European Union of 27, and the European Economic Area. A continent is neither: EU has GB, CH and RU.
# What has a code of its own beside its state's (AX, GF, GP, MQ, RE, YT, GL, ...) is in no group.
GROUPS = {"EU27": tuple(_UNION.split()), "EEA": tuple(sorted(f"{_UNION} IS LI NO".split()))}
CONTINENTS = ("AF", "AN", "AS", "EU", "NA", "OC", "SA")
SUBREGIONS = {
    "015": "Northern Africa",
    "011": "Western Africa",
    "017": "Middle Africa",
    "014": "Eastern Africa",
    "018": "Southern Africa",
    "021": "Northern America",
    "013": "Central America",
    "029": "Caribbean",
    "005": "South America",
    "143": "Central Asia",
    "030": "Eastern Asia",
    "035": "South-eastern Asia",
    "034": "Southern Asia",
    "145": "Western Asia",
    "151": "Eastern Europe",
    "154": "Northern Europe",
    "039": "Southern Europe",
    "155": "Western Europe",
    "053": "Australia and New Zealand",
    "054": "Melanesia",
    "057": "Micronesia",
    "061": "Polynesia",
}


class Country(NamedTuple):
    """continent: one of CONTINENTS; lat, lon in degrees; radius_km: most clients are within it; internet_users: in thousands,
    0 where nobody says; subregion: one of SUBREGIONS, "" where it is in none."""

    continent: str
    lat: float
    lon: float
    radius_km: float
    internet_users: int
    subregion: str


def load_countries() -> dict[str, Country]:
    """All countries by code. The file is part of the package, so a fault in it is a fault of the build."""
    text = files("geoip").joinpath("countries.csv").read_text("ascii")
    return {
        row["code"]: Country(
            row["continent"],
            float(row["lat"]),
            float(row["lon"]),
            float(row["radius_km"]),
            int(row["internet_users"] or 0),
            row["subregion"],
        )
        for row in csv.DictReader(text.splitlines())
    }


COUNTRIES = load_countries()
