"""Messages are one printable line, whatever a server put in them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from k8s.errors import MESSAGE_CHARS, ApiError, K8sError, one_line


@settings(max_examples=60)
@given(st.text(max_size=2000))
def test_any_text_becomes_one_short_printable_line(text: str) -> None:
    line = str(K8sError(text))
    assert line.isprintable()
    assert len(line) <= MESSAGE_CHARS


def test_escapes_and_newlines_are_gone_and_words_stay() -> None:
    assert one_line("a\nb\t c\x1b[31m\u2028d") == "a b c [31m d"
    assert one_line("x" * 20, 10) == "xxxxxxx..."


def test_what_an_api_error_asks_for() -> None:
    assert ApiError("", code=410).is_expired
    assert ApiError("", code=200, reason="Expired").is_expired
    assert ApiError("", code=504, reason="ResourceVersionTooLarge").is_expired
    assert not ApiError("", code=404, reason="NotFound").is_expired
    assert ApiError("", code=429).is_busy
    assert not ApiError("", code=503).is_busy
