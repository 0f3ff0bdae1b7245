import pytest

from gateway.control.table.capacity import Capacity, capacity_of
from tests.unit.gateway.control.helpers import TWO_POPS, config_of


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        ("{requests_in_flight: 2000}", Capacity(high=2000, low=1600)),
        ("{requests_in_flight: 100, low: 29%, high: 58%}", Capacity(high=58, low=29)),
        ("{requests_in_flight: 1}", Capacity(high=1, low=0)),
        ("{requests_in_flight: 3, low: 10%, high: 20%}", Capacity(high=1, low=0)),
    ],
)
def test_a_capacity_in_requests(capacity, expected):
    config = config_of(TWO_POPS.replace("country: US", f"country: US, capacity: {capacity}"))
    assert capacity_of(config.pops[1].capacity) == expected
    assert capacity_of(config.pops[0].capacity) is None


@pytest.mark.parametrize(
    ("requests", "low", "high", "expected"),
    [
        (2000, 0.8, 1.0, Capacity(2000, 1600)),
        (100, 0.29, 0.57, Capacity(57, 29)),  # neither product is whole as a float
        (10, 0.85, 0.99, Capacity(9, 8)),
        (1, 0.8, 1.0, Capacity(1, 0)),  # one request: taken when there is none
        (1, 0.1, 0.5, Capacity(1, 0)),
        (3, 0.98, 0.99, Capacity(2, 1)),  # both round to 2
    ],
)
def test_watermarks_are_whole_requests(requests, low, high, expected):
    assert Capacity.of(requests, low, high) == expected


@pytest.mark.parametrize(("high", "low"), [(10, 10), (10, 11), (10, -1), (0, 0)])
def test_watermarks_that_leave_nothing_between_them_are_a_bug(high, low):
    with pytest.raises(AssertionError, match="0 <= low < high"):
        Capacity(high, low)
