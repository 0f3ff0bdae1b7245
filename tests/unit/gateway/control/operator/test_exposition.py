import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from gateway.control.operator.exposition import family, histogram, join, label_text

BOUNDS = ("0.5", "1.0", "+Inf")
FORMATS = [(generate_latest, parse_plain, False), (generate_open, parse_open, True)]


class Only:
    def __init__(self, metric):
        self.metric = metric

    def collect(self):
        return [self.metric]


def seen(families):
    return [
        (one.name, one.type, one.documentation, sorted((s.name, sorted(s.labels.items()), s.value) for s in one.samples))
        for one in families
    ]


def reread(parse, is_open, lines):
    return seen(parse("".join(lines) + ("# EOF\n" if is_open else "")))


@pytest.mark.parametrize(("generate", "parse", "is_open"), FORMATS)
@given(st.lists(st.tuples(st.text(max_size=8), st.floats(0, 1e12)), max_size=5, unique_by=lambda pair: pair[0]))
def test_families_are_read_as_those_of_the_library(generate, parse, is_open, series):
    for kind, theirs in (
        ("counter", CounterMetricFamily("a_b", "Said.", labels=["x"])),
        ("gauge", GaugeMetricFamily("a_b", "Said.", labels=["x"])),
    ):
        for value, number in series:
            theirs.add_metric([value], number)
        ours = family("a_b", kind, "Said.", [(label_text(x=value), number) for value, number in series], is_open)
        assert reread(parse, is_open, ours) == seen(parse(generate(Only(theirs)).decode()))


@pytest.mark.parametrize(("generate", "parse", "is_open"), FORMATS)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000)), max_size=4))
def test_histograms_are_read_as_those_of_the_library(generate, parse, is_open, counts):
    theirs = HistogramMetricFamily("a_seconds", "Said.", labels=["x"])
    for number, (a, b, c) in enumerate(counts):
        theirs.add_metric([str(number)], [("0.5", a), ("1.0", a + b), ("+Inf", a + b + c)], 1.25)
    series = [(label_text(x=str(number)), list(three), 1.25) for number, three in enumerate(counts)]
    ours = histogram("a_seconds", "Said.", BOUNDS, series)
    assert reread(parse, is_open, ours) == seen(parse(generate(Only(theirs)).decode()))


def test_joined_before_the_end_mark():
    assert join(b"a 1.0\n", ["b 2.0\n"]) == b"a 1.0\nb 2.0\n"
    assert join(b"a 1.0\n# EOF\n", ["b 2.0\n"]) == b"a 1.0\nb 2.0\n# EOF\n"


def test_a_count_is_never_below_its_buckets():
    lines = "".join(histogram("a", "Said.", BOUNDS, [(label_text(x="1"), [1, 2, 3], 0.5)]))
    last = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines.splitlines() if not line.startswith("#")}
    assert last['a_count{x="1"}'] == last['a_bucket{le="+Inf",x="1"}'] == 6
    assert math.isclose(last['a_sum{x="1"}'], 0.5)
