"""What a border costs beyond the line of `fit_prior`, by pair of subregions (UN M49): the fit, and the file that the core reads it from.

A pair's cost is the median of what paths over borders between its subregions take more than the line says, or nothing where that is
less; never a saving, for the line is right in the middle. A pair of which few pairs of countries were measured is drawn toward its two
regions' (as if these were PULL more of them), and these toward nothing in the same way. Of the world set alone: so the European one,
of which no constant here knows, can judge them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.steering.data import Floats
from geoip.countries import COUNTRIES, SUBREGIONS
from routing_core.spec import BordersSpec

PULL = 5.0  # pairs of countries
NAMES = list(SUBREGIONS)
# M49's regions, Northern America apart from Latin America and the Caribbean, as M49 has it too.
_REGIONS = (NAMES[:5], NAMES[5:6], NAMES[6:9], NAMES[9:14], NAMES[14:18], NAMES[18:])
REGIONS = {name: number for number, names in enumerate(_REGIONS) for name in names}
HEAD = '''\
"""Fitted: what a path is taken for while nobody has measured it; docs/latency.md says how it was found, and what it is worth.

Written by `python -m bench.fit_prior --write`, which without that word fails where this is not what bench/data say. Not to be edited.
"""

from routing_core.spec import BordersSpec

# Subregions of UN M49, with their countries.
SUBREGIONS = (
'''


class Borders:
    """Of what the line leaves of paths, each with the countries at its ends."""

    def __init__(self, here: NDArray[np.str_], there: NDArray[np.str_], left_ms: Floats) -> None:
        codes, numbers = np.unique(np.concatenate([here, there]), return_inverse=True)
        one, other = np.split(numbers, 2)
        subregion_of = np.array([NAMES.index(COUNTRIES[code].subregion) for code in codes])
        region_of = np.array([REGIONS[NAMES[number]] for number in subregion_of])
        is_border = one != other
        one, other, self._left_ms = one[is_border], other[is_border], left_ms[is_border]
        self._countries = _pair(one, other, len(codes))
        self._pairs = _grouped(_pair(subregion_of[one], subregion_of[other], len(NAMES)))
        self._regions = _grouped(_pair(region_of[one], region_of[other], len(NAMES)))

    def fit(self) -> Floats:
        """[subregion, subregion], ms, in the order of NAMES."""
        regions = np.zeros((len(NAMES), len(NAMES)))
        for key, members in self._regions.items():
            median_ms, n = self._median(members)
            _set(regions, key, median_ms * n / (n + PULL))
        home = [REGIONS[name] for name in NAMES]
        found = regions[np.ix_(home, home)]
        for key, members in self._pairs.items():
            median_ms, n = self._median(members)
            _set(found, key, (n * median_ms + PULL * float(found[divmod(key, len(NAMES))])) / (n + PULL))
        return np.asarray(np.maximum(found, 0))

    def _median(self, members: NDArray[np.int64]) -> tuple[float, int]:
        """And of how many pairs of countries."""
        return float(np.median(self._left_ms[members])), len(np.unique(self._countries[members]))


def spec_of(costs_ms: Floats) -> BordersSpec:
    """As a table takes it, and as it is written: whole ms, for no more is known."""
    rows = tuple(tuple(int(ms) for ms in row[: number + 1]) for number, row in enumerate(np.rint(costs_ms)))
    return BordersSpec(tuple(_countries_of(name) for name in NAMES), rows)


def write(line: tuple[float, ...], borders: BordersSpec) -> str:
    """The file's text."""
    lines = [f'    "{codes}",  # {name} {SUBREGIONS[name]}' for name, codes in zip(NAMES, borders.subregions, strict=True)]
    rows = [f"    {row},  # {name}" for name, row in zip(NAMES, borders.costs_ms, strict=True)]
    return "\n".join(
        [
            HEAD + "\n".join(lines),
            ")",
            "# What a path over a border between two of these takes more, beside the third figure of PRIOR: ms, a line each, up to itself.",
            "COSTS_MS = (",
            *rows,
            ")",
            "# ms, ms per km, ms over any border, and what is above.",
            f"PRIOR = ({', '.join(map(str, line))}, BordersSpec(SUBREGIONS, COSTS_MS))",
            "",
        ]
    )


def is_written(path: Path, line: tuple[float, ...], borders: BordersSpec) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == write(line, borders)


def _countries_of(name: str) -> str:
    return " ".join(sorted(code for code, country in COUNTRIES.items() if country.subregion == name))


def _pair(one: NDArray[np.int64], other: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The same number, whichever comes first."""
    return np.minimum(one, other) * n + np.maximum(one, other)


def _grouped(keys: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Where each key stands."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _set(matrix: Floats, key: int, value: float) -> None:
    one, other = divmod(key, len(NAMES))
    matrix[one, other] = matrix[other, one] = value
