"""The request's id and its trace context: the client's own where they are sound, else new ones."""

import re

import pytest

from tests.unit.gateway.dataplane.proxy.test_forward import STATE, TRACE, sent_for


@pytest.mark.parametrize("bad", [b"", b"x" * 129, b"two words", b"caf\xc3\xa9"])
def test_an_unsound_request_id_is_replaced(trusting, bad):
    _, fields = sent_for(trusting, b"Host: a", b"X-Request-Id: " + bad)
    assert re.fullmatch("[0-9a-f]{32}", fields["x-request-id"])
    _, fields = sent_for(trusting, b"Host: a", b"X-Request-Id: " + b"x" * 128)
    assert fields["x-request-id"] == "x" * 128


def test_traceparent_is_kept_when_sound(bench):
    assert sent_for(bench, b"Host: a", b"Traceparent: " + TRACE.encode())[1]["traceparent"] == TRACE


@pytest.mark.parametrize(
    "bad",
    [
        TRACE.upper(), TRACE[:-1], TRACE + "0", "01" + TRACE[2:], TRACE.replace("-", "_"), "00-" + "0" * 32 + TRACE[35:],
        TRACE[:36] + "0" * 16 + TRACE[52:], TRACE.replace("f", "g"),
    ],
)  # fmt: skip
def test_an_unsound_traceparent_is_replaced(bench, bad):
    trace = sent_for(bench, b"Host: a", b"Traceparent: " + bad.encode())[1]["traceparent"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", trace) and trace != bad.lower()


@pytest.mark.parametrize(
    ("parents", "is_kept"),
    [
        ([TRACE], True),
        ([], False),
        ([TRACE.upper()], False),
        ([TRACE, TRACE], False),  # which is meant?
        ([TRACE, "x"], False),
        (["x", TRACE], False),
    ],
)
def test_a_tracestate_goes_with_its_traceparent(bench, parents, is_kept):
    client, upstream = bench.client(), bench.upstream()
    lines = [b"Traceparent: " + parent.encode() for parent in parents]
    sent = bench.ask(client, upstream, b"\r\n".join((b"GET /x HTTP/1.1", b"Host: a", STATE[0], *lines, b"x: y", STATE[1], b"", b"")))
    kept = b"\r\n".join((b"Host: a", *STATE[:1], b"x: y", *STATE[1:])) if is_kept else b"Host: a\r\nx: y"
    assert sent.startswith(b"GET /x HTTP/1.1\r\n" + kept + b"\r\nx-forwarded-for: ")
    assert (f"\r\ntraceparent: {TRACE}\r\n".encode() in sent) == is_kept


def test_a_tracestate_that_connection_names_goes_no_further(bench):
    _, fields = sent_for(bench, b"Host: a", b"Connection: tracestate", b"Traceparent: " + TRACE.encode(), *STATE)
    assert "tracestate" not in fields and fields["traceparent"] == TRACE


def test_ids_differ_from_request_to_request(bench):
    seen = [sent_for(bench, b"Host: a")[1] for _ in range(20)]
    assert set("".join(fields["x-request-id"] for fields in seen)) == set("0123456789abcdef")
    assert len({fields["x-request-id"] for fields in seen}) == len({fields["traceparent"] for fields in seen}) == 20
