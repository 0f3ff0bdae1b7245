"""Exposition: metrics of pools as text, written directly. Owns the little in which Prometheus' format and OpenMetrics differ.

prometheus-client takes 5 us a sample, and 6,000 pools have half a million; a line made here takes a tenth of that. What is not
by pool goes through the library, which also negotiates the format. Must not know what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Literal

Labels = str  # label pairs, as label_text() writes them
Kind = Literal["counter", "gauge"]


def label_text(**labels: str) -> Labels:
    """Label pairs as both formats write them, in the order given."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())


def escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def family(name: str, kind: Kind, documentation: str, series: Iterable[tuple[Labels, float]], is_open: bool) -> Iterator[str]:
    """One family. `name` without `_total`, which every sample of a counter has, and which only OpenMetrics leaves out of the head."""
    sample = f"{name}_total" if kind == "counter" else name
    yield from _head(name if is_open else sample, kind, documentation)
    for labels, value in series:
        yield f"{sample}{{{labels}}} {float(value)!r}\n"


def histogram(name: str, documentation: str, bounds: tuple[str, ...], series: Iterable[tuple[Labels, list[int], float]]) -> Iterator[str]:
    """`bounds` end in "+Inf"; each of the series has its counts by bucket, not cumulative, and its sum in the unit of the name.

    The count is that of the buckets: a figure counted apart may be an event older, and scrapers take the difference for a fault.
    """
    yield from _head(name, "histogram", documentation)
    starts = [f'{name}_bucket{{le="{bound}",' for bound in bounds]
    for labels, buckets, total in series:
        count = 0
        for start, count in zip(starts, accumulate(buckets), strict=True):
            yield f"{start}{labels}}} {count}.0\n"
        yield f"{name}_count{{{labels}}} {count}.0\n{name}_sum{{{labels}}} {total!r}\n"


def _head(name: str, kind: str, documentation: str) -> Iterator[str]:
    yield f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n"


def join(text: bytes, more: Iterable[str]) -> bytes:
    """What the library wrote with further families, before the mark that ends OpenMetrics."""
    end = b"# EOF\n"
    body = text.removesuffix(end)
    return b"".join((body, "".join(more).encode(), end if len(body) < len(text) else b""))
