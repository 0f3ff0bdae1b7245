"""Dates as HTTP writes them, against the standard library's."""

from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dataplane.http1._date import http_date


@given(st.integers(-62135596800, 253402300799).map(lambda epoch_s: datetime.fromtimestamp(epoch_s, UTC)))
@example(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC))
@example(datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC))
@example(datetime(2000, 1, 1, tzinfo=UTC))
def test_as_the_standard_library_writes_them(at):
    assert http_date(int(at.timestamp())) == format_datetime(at, usegmt=True)
