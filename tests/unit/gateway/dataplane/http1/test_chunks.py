"""Chunks: each case whole, byte by byte, cut in two at every place, and with bytes behind the body left alone."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane.http1._parsing_testing import Machine

BAD, NEED, DATA, END = -1, 0, 1, 2


def feed(machine: Machine, text: bytes) -> tuple[int, int, bytes]:
    """All of `text`: the last step, bytes taken, the data."""
    at, found = 0, b""
    while True:
        step, taken, data = machine.feed(text[at:])
        assert taken <= len(text) - at
        assert text[at : at + taken].endswith(data)
        at += taken
        found += data
        if step != DATA:
            assert step != NEED or at == len(text)
            return step, at, found


def run(text: bytes) -> tuple[int, int, bytes]:
    """The same result in pieces of any size, and it stays when it is final."""
    whole = feed(Machine(), text)
    machine, taken, found, step = Machine(), 0, b"", NEED
    for i in range(len(text)):
        step, more, data = feed(machine, text[i : i + 1])
        taken, found = taken + more, found + data
        if step != NEED:
            break
    assert (step, taken, found) == whole
    if len(text) < 200:
        for cut in range(1, len(text)):
            machine = Machine()
            step, taken, found = feed(machine, text[:cut])
            if step == NEED:
                step, more, data = feed(machine, text[cut:])
                taken, found = taken + more, found + data
            assert (step, taken, found) == whole
    if whole[0] in (BAD, END):
        assert feed(machine, b"0\r\n\r\n") == (whole[0], 0, b"")
        for behind in (b"GET / HTTP/1.1\r\n", b"\r\n", b"\x00", b"5\r\n"):
            assert feed(Machine(), text + behind) == whole
    return whole


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"1\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n", b"a0123456789"),
        (b"9\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n", b"0\r\n\r\n0\r\n\r"),
        (b"000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
        (b'5;a=b;c="d;\\"\t\\\\e\xff";f\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"0\r\nX: y\r\n\r\n", b""),
        (b"0\r\nETag:\r\ngrpc-status: 0 \xff\t\r\n\r\n", b""),
        (b"0\r\n" + b"A: b\r\n" * 32 + b"\r\n", b""),
        (b"0\r\nX: " + b"y" * (8192 - 7) + b"\r\n\r\n", b""),
        (b"0\r\n" + b"x" * 64 + b": y\r\n\r\n", b""),
        (b"1;" + b"x" * 255 + b"\r\na\r\n0\r\n\r\n", b"a"),
    ],
)
def test_sound(text: bytes, data: bytes) -> None:
    assert run(text) == (END, len(text), data)
    assert run(text[:-1]) == (NEED, len(text) - 1, data)


@pytest.mark.parametrize(
    ("sound", "rest"),
    [
        (b"", b"\r\n"), (b"", b"\n"), (b"", b" 5\r\n"), (b"", b"+5\r\n"), (b"", b"-1\r\n"), (b"", b";a\r\n"), (b"", b"x\r\n"),
        (b"", b"\x00"),
        (b"", b"\xb2\r\n"), (b"0", b"x5\r\n"), (b"0", b"X5\r\n"), (b"1", b"_0\r\n"), (b"5", b" \r\n"), (b"5", b"\t\r\n"),
        (b"5", b" ;a\r\n"), (b"5", b"\n"),
        (b"5", b"g\r\n"), (b"5", b"h\r\n"), (b"5", b",5\r\n"), (b"5", b".0\r\n"), (b"5\r", b"hello\r\n"), (b"5\r", b"\r\n"),
        (b"0" * 15, b"5\r\n"), (b"f" * 15, b"f\r\n"),
        (b"5;", b"\r\n"), (b"5;", b";\r\n"), (b"5;", b" a\r\n"), (b"5;", b"=b\r\n"), (b"5;a", b" \r\n"), (b"5;a", b"\n"),
        (b"5;a", b"\x00\r\n"), (b"5;a", b"\x7f"),
        (b"5;a=", b"\r\n"), (b"5;a=", b" b\r\n"), (b"5;a=", b";"), (b"5;a=b", b"=c\r\n"), (b"5;a=b", b'"'), (b'5;a="b', b"\r\n"),
        (b'5;a="b', b"\n"), (b'5;a="b"', b"c\r\n"),
        (b'5;a="\\', b"\r"), (b'5;a="', b"\x01"), (b"5;a\r", b"x"), (b"5;a", b"\xff"),
        (b"5\r\nhello", b"5\r\n"), (b"5\r\nhello", b"\n"), (b"5\r\nhello\r", b"x"), (b"5\r\nhello", b"!\r\n"), (b"5\r\nhello\r\n", b"\r\n"),
        (b"0\r\n", b"\n"), (b"0\r\n\r", b"x"), (b"0\r\n\r", b"\r\n"), (b"0\r\n", b" X: y\r\n"), (b"0\r\n", b": y\r\n"),
        (b"0\r\nX", b" : y\r\n"), (b"0\r\nX", b"\r\n"),
        (b"0\r\nX", b"_Y: z\r\n"), (b"0\r\nX: y", b"\n"), (b"0\r\nX: y", b"\x00"), (b"0\r\nX: y\r", b"z"), (b"0\r\nX: y\r\n", b" z"),
        (b"0\r\nX:", b"\x7f"),
        (b"0\r\n" + b"x" * 64, b"x"), (b"0\r\n" + b"A: b\r\n" * 32, b"A: b\r\n"), (b"0\r\nX: " + b"y" * (8192 - 3), b"y"),
        (b"1;" + b"x" * 255, b"x\r\n"),
    ],
)  # fmt: skip
def test_unsound(sound: bytes, rest: bytes) -> None:
    step, taken, _ = run(sound + rest)
    assert (step, taken) == (BAD, len(sound))


BARRED = [
        "Host", "Content-Length", "Transfer-Encoding", "Authorization", "Trailer", "TE", "Connection", "Keep-Alive", "Upgrade",
        "Proxy-Connection",
        "Proxy-Authorization", "Proxy-Authenticate", "WWW-Authenticate", "Cookie", "Set-Cookie", "Content-Type", "Content-Encoding",
        "Content-Range",
        "Expect", "Max-Forwards", "Cache-Control", "If-None-Match", "If-Match", "Range", "X-Forwarded-For", "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP", "X-Isochrone-Pop", "X-Request-Id", "traceparent", "Via", "Location", "Age",
]  # fmt: skip


@pytest.mark.parametrize("name", BARRED)
def test_trailers_that_would_mean_something_in_a_head(name: str) -> None:
    for spelt in (name, name.lower(), name.upper()):
        sound = b"1\r\na\r\n0\r\nX: y\r\n" + spelt.encode()
        assert run(sound + b": z\r\n\r\n")[:2] == (BAD, len(sound))
    for other in (b"X" + name.encode(), name.encode()[:-1] + b"!"):
        step, _, _ = run(b"0\r\n" + other + b": z\r\n\r\n")
        assert step == (BAD if other.lower().startswith((b"proxy-", b"if-", b"x-forwarded-", b"x-isochrone-")) else END)


def kept(text: bytes) -> tuple[int, int, bytes]:
    """The same of an answer, whole and byte by byte: the step, bytes taken, and what goes down of its trailers."""
    found = []
    for size in (len(text), 1):
        machine, at, step = Machine(is_of_answer=True), 0, NEED
        while step == NEED and at < len(text):
            step, taken, _ = feed(machine, text[at : at + size])
            at += taken
        found.append((step, at, machine.kept(text[:at]) if step == END else b""))
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("name", [*BARRED, "X_Y", "_", "A_" + "x" * 100, "X" * 70 + "_", "X-Forwarded-" + "y" * 100])
def test_an_answer_loses_such_trailers_and_nothing_else(name: str) -> None:
    for spelt in (name.encode(), name.lower().encode(), name.upper().encode()):
        lines = [b"X: y\r\n", spelt + b": z: _\xff\r\n", b"etag:\r\n", spelt + b":\r\n"]
        for order in (lines, lines[::-1], lines[1::2]):
            text = b"0\r\n" + b"".join(order) + b"\r\n"
            assert kept(text) == (END, len(text), b"".join(line for line in order if line in lines[::2]) + b"\r\n")


@pytest.mark.parametrize(
    "trailers", [b"", b"X: Y_z\r\n", b"x" * 65 + b": y\r\n", b"A: b\r\n" * 300, b"X: " + b"y" * (8192 - 7) + b"\r\n", b"Hos: t\r\n"]
)
def test_what_is_sound_in_an_answer_goes_down_as_it_came(trailers: bytes) -> None:
    text = b"0\r\n" + trailers + b"\r\n"
    assert kept(text) == (END, len(text), trailers + b"\r\n")


@pytest.mark.parametrize(
    ("sound", "rest"),
    [
        (b"", b"\n"), (b"", b" X: y\r\n"), (b"", b": y\r\n"), (b"_", b"\r\n"), (b"X_", b" : y\r\n"), (b"Host: y", b"\n"),
        (b"X_: y\r\n", b" z"), (b"Host: y\r", b"z"), (b"X_: ", b"\x00"), (b"X" * 100, b"(: y\r\n"), (b"X_: " + b"y" * (8192 - 4), b"y"),
    ],
)  # fmt: skip
def test_unsound_trailers_end_an_answer_too(sound: bytes, rest: bytes) -> None:
    assert kept(b"0\r\n" + sound + rest)[:2] == (BAD, 3 + len(sound))


def test_extensions_are_bounded_by_the_data_they_come_with() -> None:
    # A signature for each chunk of a long upload is legal for ever.
    signed = b"400;chunk-signature=" + b"a" * 64 + b"\r\n" + b"d" * 1024 + b"\r\n"
    machine = Machine()
    for _ in range(1000):
        assert feed(machine, signed) == (NEED, len(signed), b"d" * 1024)
    # Extensions without data to speak of are not: 16 KiB of them, then no more.
    idle = b"1;" + b"e" * 200 + b"\r\nd\r\n"
    accepted = 0
    while feed(machine, idle)[0] == NEED:
        accepted += 1
        assert accepted < 1000
    assert 16384 / 201 - 1 <= accepted <= 16384 / 199 + 1


def test_many_tiny_chunks_cost_what_their_bytes_cost() -> None:
    def seconds(n: int) -> float:
        text = b"1\r\na\r\n" * n
        best = 1e9
        for _ in range(3):
            machine, at, started = Machine(), 0, time.thread_time()
            while at < len(text):
                step, taken, _ = machine.feed(text[at : at + 600])
                assert step in (NEED, DATA)
                at += taken
            best = min(best, time.thread_time() - started)
        return best

    # 20 times the bytes: 20 times the time, where looking again at what was seen would be 400 times.
    assert seconds(40_000) < 100 * seconds(2_000)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 30), max_size=20), st.binary(max_size=8))
def test_any_body_in_any_pieces(chunks: list[bytes], pieces: list[int], behind: bytes) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    text, machine, at, found = body + behind, Machine(), 0, b""
    for size in [*pieces, len(text)]:
        step, taken, data = feed(machine, text[at : at + size])
        at, found = at + taken, found + data
        if step == END:
            break
    assert (at, found) == (len(body), b"".join(chunks))
