import re
from pathlib import Path

import pytest

from gateway.control.operator.families import OF_GATEWAY, OF_POOL, POOL, Family, Histogram

ALL = (*OF_GATEWAY, *OF_POOL)


def test_each_has_a_name_of_its_own_and_a_sentence():
    assert len({one.name for one in ALL}) == len(ALL) > 40
    for one in ALL:
        assert re.fullmatch(r"isochrone(_[a-z]+)+", one.name) and not one.name.endswith(("_total", "_info", "_bucket")), one.name
        assert one.documentation.endswith("."), one.name
        assert len(set(one.labels)) == len(one.labels), one.name
    assert all(one.labels[: len(POOL)] == POOL for one in OF_POOL)


def test_the_page_of_operations_has_each_with_its_labels_and_no_other():
    table = Path("docs/operations.md").read_text().partition("| metric | what it tells |")[2].partition("\n\n")[0]
    told = re.findall(r"`(isochrone_[^`]+)`", " ".join(row.split(" | ")[0] for row in table.splitlines()))
    there = [one.sample + (f"{{{','.join(one.labels)}}}" if one.labels else "") for one in ALL]
    assert sorted(told) == sorted(there)


@pytest.mark.parametrize(
    ("figure", "numbers"),
    [
        (None, []),
        (0, [((), 0)]),
        (2.5, [((), 2.5)]),
        ({}, []),
        ({"a": 1, "b": 0}, [(("a",), 1), (("b",), 0)]),
        ({("a", "b"): 1}, [(("a", "b"), 1)]),
        (Histogram([1, 2], 0.5), []),
    ],
)
def test_a_figure_is_one_number_or_one_for_each_value_of_a_label(figure, numbers):
    assert list(Family("isochrone_x", "gauge", "Said.", (), lambda seen: seen).numbers(figure)) == numbers


def test_a_sample_has_the_ending_of_its_kind():
    kinds = {"counter": "x_total", "gauge": "x", "histogram": "x", "info": "x_info"}
    assert {kind: Family("x", kind, "Said.", (), lambda _: None).sample for kind in kinds} == kinds
