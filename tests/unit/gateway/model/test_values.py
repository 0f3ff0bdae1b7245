import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Address, Duration, Size, Statuses, read_duration


@given(st.integers(0, 10**9), st.sampled_from([1, 1000, 60_000, 3_600_000]))
def test_any_duration_is_written_back_as_itself(number, unit_ms):
    value = Duration(min(number * unit_ms, 604_800_000) / 1000)
    assert read_duration(str(value)) == value
    assert value.ms == min(number * unit_ms, 604_800_000)


@given(st.from_regex(r"\A(0|[1-9][0-9]{0,3})(\.[0-9]{1,6})?(ms|s|m|h)\Z"))
def test_any_duration_as_written_survives_writing(text):
    value = read_duration(text)
    assert read_duration(str(value)) == value


@pytest.mark.parametrize("text", ["", "10", "10 s", "-1s", "1d", 10, None])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError):
        read_duration(text)


def test_address_kinds():
    assert Address("/run/x", 0).is_unix
    assert Address("/run/x", 0).ip is None
    assert Address("web.example.com", 80).ip is None


def test_statuses_contain():
    assert 399 in Statuses(200, 399)
    assert 400 not in Statuses(200, 399)
    assert "200" not in Statuses(200, 399)


@pytest.mark.parametrize("value", [Duration(0.25), Size(65536)])
def test_a_unit_shows_itself_in_a_traceback(value):
    assert repr(value) in ("Duration('250ms')", "Size('64KiB')")
