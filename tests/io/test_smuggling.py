"""Hostile heads and bodies at a real gateway, from clients and from upstreams (SECURITY 1). Raw sockets on both sides.

Behind each text that must be refused stands a second request: whoever reads the first one otherwise than the gateway would serve it.
What the upstream gets is read by h11 and must be exactly the requests that were legal, each readable in one way only.
"""

import pytest

from tests.io.serving import eventually, served
from tests.support.raw import OK, Answer, Heard, Seen, dial, raw_upstream, read_answers, reset_on_close

pytestmark = pytest.mark.slow

CONFIG = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: fra, lat: 50.11, lon: 8.68}}]
services:
  - {{name: shop, health: {{type: tcp}}, backends: [{{pop: fra, endpoints: ["{fra}"]}}]}}
routes: [{{service: shop}}]
admin: {{bind: "127.0.0.1:{admin}"}}
timeouts: {{upstream_idle: 100ms}}
gateway: {{workers: 1}}
log: {{format: json}}
"""
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
GET, POST = b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"\r\n"


def script(seen: Seen) -> Answer:
    """What the upstream says to a target; what stands here for no target is a plain 200."""
    return ANSWERS.get(seen.target, OK)


@pytest.fixture(scope="module")
def upstream():
    with raw_upstream(script) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    with served(tmp_path_factory.mktemp("smuggling"), CONFIG, fra=upstream.address) as one:
        yield one
        assert one.process.poll() is None


@pytest.fixture(autouse=True)
def sound(upstream):
    """Whatever a test sends: nothing that reaches the upstream can be read in two ways."""
    yield
    upstream.wait_quiet()
    assert upstream.faults == []
    assert "/smuggled" not in [seen.target for seen in upstream.take()]


def send(gateway, text: bytes, methods: list[str], until_end: bool, step: int = 0) -> Heard:
    """`step`: bytes a packet; 0: all at once."""
    with dial(gateway.port) as client:
        try:
            for at in range(0, len(text), step or len(text)):
                client.sendall(text[at : at + (step or len(text))])
        except ConnectionError:
            pass  # refused before its end: the answer is there to be read
        return read_answers(client, methods, until_end)


# --- From clients: what is refused, with which status. The connection ends behind the answer, always. ---

HEADS = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + b"Host: b\r\n\r\n", 400),
    "two equal hosts": (GET + b"Host: a\r\n\r\n", 400),
    "host in other case": (GET + b"hOST: b\r\n\r\n", 400),
    "host with user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "host with comma": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "host with space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "empty host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "host with a port of letters": (b"GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 400),
    "space before the colon": (GET + b"X-A : b\r\n\r\n", 400),
    "tab before the colon": (GET + b"X-A\t: b\r\n\r\n", 400),
    "length with a space before the colon": (POST + b"Content-Length : 5\r\n\r\nhello", 400),
    "coding with a space before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "space before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "folded line": (GET + b"X-A: b\r\n c\r\n\r\n", 400),
    "folded by tab": (GET + b"X-A: b\r\n\tc\r\n\r\n", 400),
    "folded coding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "no colon": (GET + b"nonsense\r\n\r\n", 400),
    "empty name": (GET + b": b\r\n\r\n", 400),
    "name with a bracket": (GET + b"X(A): b\r\n\r\n", 400),
    "name beyond ascii": (GET + b"X\xe9: b\r\n\r\n", 400),
    "underscore and a bracket in a name": (GET + b"X_(A): b\r\n\r\n", 400),
    "nul in a value": (GET + b"X-A: b\x00c\r\n\r\n", 400),
    "nul in a name": (GET + b"X\x00A: b\r\n\r\n", 400),
    "control in a value": (GET + b"X-A: b\x01\r\n\r\n", 400),
    "delete in a value": (GET + b"X-A: b\x7f\r\n\r\n", 400),
    "vertical tab before the coding": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "bare cr in a value": (GET + b"X-A: b\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "bare cr at a line's end": (GET + b"X-A: b\r\r\n\r\n", 400),
    "bare cr for all": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    "bare lf lines": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare lf behind a field": (GET + b"X-A: b\nX-B: c\r\n\r\n", 400),
    "bare lf at the end": (GET + b"\n", 400),
    "bare lf before": (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two empty lines before": (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab for space": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space before the method": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space behind the version": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "small http": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "no slash in the version": (b"GET / HTTP1.1\r\nHost: a\r\n\r\n", 400),
    "version of three digits": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "version 0.9 said": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "version 0.9 meant": (b"GET /\r\n", 400),
    "version 2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "version 9.9": (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    "preface of version 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no method": (b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method with a colon": (b"GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "small method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "unknown method": (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "endless method": (b"G" * 5000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "connect": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
    "trace": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target without slash": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "star for a get": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "backslash": (b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "encoded nul": (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "encoded crlf": (b"GET /%0d%0aX: HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target beyond ascii": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "nul in the target": (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute with user": (b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute without host": (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute of another scheme": (b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "endless target": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "endless field": (GET + b"X-A: " + b"b" * 40_000 + b"\r\n\r\n", 431),
    "too many fields": (GET + b"X-A: b\r\n" * 110 + b"\r\n", 431),
    "unknown expectation": (POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417),
    "connection names the length": (POST + b"Connection: close, content-length\r\nContent-Length: 5\r\n\r\nhello", 400),
    "connection names the coding": (POST + b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "connection names the host": (GET + b"Connection: host\r\n\r\n", 400),
    "connection is no list": (GET + b"Connection: a b\r\n\r\n", 400),
}
FRAMINGS = {
    "length and coding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    "two equal lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    **{
        f"length {value!r}": (POST + b"Content-Length: " + value + b"\r\n\r\nhello", 400)
        for value in (b"5, 5", b"5,6", b"+5", b"-1", b"0x5", b"1_0", b"", b"5 5", b"5.0", b"5;", b"\xb2", b"9" * 20, b"1e1", b'"5"')
    },
    **{
        f"coding {value!r}": (POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", status)
        for value, status in (
            (b"", 400), (b",", 400), (b"identity", 400), (b"gzip", 400), (b"chunked, gzip", 400), (b"chunked, chunked", 400),
            (b"chunked, identity", 400), (b"xchunked", 400), (b"chunked;q=1", 400), (b'"chunked"', 400), (b"chunked\x0b", 400),
            (b",chunked", 400), (b"chunked,", 400), (b"gzip, chunked", 501), (b"foo, chunked", 501),
        )
    },
    "two codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "two equal codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding on 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length on 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding on 1.0 kept alive": (b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
}  # fmt: skip
REFUSED = HEADS | FRAMINGS


@pytest.mark.parametrize("step", [0, 7], ids=["whole", "in pieces"])
def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(gateway, upstream, step):
    wrong = {}
    for name, (text, status) in REFUSED.items():
        heard = send(gateway, text + SMUGGLED, ["GET"], until_end=True, step=step)
        # A reset may overtake an answer that stands before unread bytes, but only once the client has sent more than is lingered for.
        if (heard.statuses, heard.end) != ([status], "close"):
            wrong[name] = heard
        if seen := upstream.take():
            wrong[f"{name}, upstream"] = seen
    assert wrong == {}


# --- Bodies: the head is on its way up before the fault is seen. The body must not look whole to the upstream. ---

CHUNKS = {
    **{
        f"size {line!r}": line + b"hello\r\n0\r\n\r\n"
        for line in (
            b"0x5\r\n", b"+5\r\n", b"-1\r\n", b"1_0\r\n", b"5 \r\n", b" 5\r\n", b"5\t\r\n", b"5\n", b"5\r", b"\r\n", b"5;\r\n", b";a\r\n",
            b"g\r\n", b"5;a b\r\n", b"5 ;a\r\n", b"5;a=\x00\r\n", b"5;a\n", b"5;a\rb\r\n", b"5\x00\r\n", b"5,5\r\n",
            b"ffffffffffffffff5\r\n", b"00000000000000000005\r\n", b"5;" + b"a" * 65_536 + b"\r\n",
        )
    },
    "spill over": b"4\r\nhello\r\n0\r\n\r\n",
    "spill under": b"6\r\nhello\r\n0\r\n\r\n",
    "no end of data": b"5\r\nhello0\r\n\r\n",
    "bare lf behind data": b"5\r\nhello\n0\r\n\r\n",
    "bare cr behind data": b"5\r\nhello\r0\r\n\r\n",
    "bare lf at the last": b"5\r\nhello\r\n0\n\n",
    "trailer length": b"0\r\nContent-Length: 50\r\n\r\n",
    "trailer coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer host": b"0\r\nHost: b\r\n\r\n",
    "trailer authorization": b"0\r\nAuthorization: x\r\n\r\n",
    "trailer x-forwarded-for": b"0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
    "trailer without colon": b"0\r\nnonsense\r\n\r\n",
    "trailer folded": b"0\r\nX-A: b\r\n c\r\n\r\n",
    "trailer with a space": b"0\r\nX-A : b\r\n\r\n",
    "trailer with an underscore": b"0\r\nX_A: b\r\n\r\n",
    "trailer with a nul": b"0\r\nX-A: \x00\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("step", [0, 3000], ids=["whole", "in pieces"])
def test_a_broken_body_is_400_and_never_whole_upstream(gateway, upstream, step):
    wrong = {}
    for name, body in CHUNKS.items():
        heard = send(gateway, CHUNKED + body + SMUGGLED, ["POST"], until_end=True, step=step)
        if (heard.statuses, heard.end) != ([400], "close"):
            wrong[name] = heard
    upstream.wait_quiet()
    assert wrong == {}
    seen = upstream.take()
    assert {one.target for one in seen} == {"/"} and not any(one.is_whole for one in seen)


# --- From clients: what is legal, and what of it goes up: (method, target, host, body). ---

LEGAL = {
    "plain": (GET + END, [("GET", "/", b"a", b"")]),
    "an empty line before": (b"\r\n" + GET + END, [("GET", "/", b"a", b"")]),
    "absolute form": (b"GET http://b.example:8080/x?y HTTP/1.1\r\nHost: a\r\n\r\n", [("GET", "/x?y", b"b.example:8080", b"")]),
    "absolute form without path": (b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", [("GET", "/", b"b", b"")]),
    "absolute form with query alone": (b"GET http://b?x HTTP/1.1\r\nHost: a\r\n\r\n", [("GET", "/?x", b"b", b"")]),
    "dots and slashes as they came": (b"GET //a/../b%2f%5c HTTP/1.1\r\nHost: a\r\n\r\n", [("GET", "//a/../b%2f%5c", b"a", b"")]),
    "version 1.7": (b"GET / HTTP/1.7\r\nHost: a\r\n\r\n", [("GET", "/", b"a", b"")]),
    "length": (POST + b"Content-Length: 5\r\n\r\nhello", [("POST", "/", b"a", b"hello")]),
    "length with zeros": (POST + b"Content-Length: 005\r\n\r\nhello", [("POST", "/", b"a", b"hello")]),
    "length of a get": (GET + b"Content-Length: 5\r\n\r\nhello", [("GET", "/", b"a", b"hello")]),
    "chunks": (CHUNKED + b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n", [("POST", "/", b"a", b"hello0123456789")]),
    "chunked in capitals": (POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n", [("POST", "/", b"a", b"x")]),
    "chunked with spaces around": (POST + b"Transfer-Encoding: \t chunked \t\r\n\r\n1\r\nx\r\n0\r\n\r\n", [("POST", "/", b"a", b"x")]),
    "a request in a body": (POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, [("POST", "/", b"a", SMUGGLED)]),
    "a request in a chunk": (CHUNKED + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n", [("POST", "/", b"a", SMUGGLED)]),
    "three in a row": (
        GET + END + POST + b"Content-Length: 5\r\n\r\nhello" + GET + END,
        [("GET", "/", b"a", b""), ("POST", "/", b"a", b"hello"), ("GET", "/", b"a", b"")],
    ),
    "an upgrade to h2c": (
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        [("GET", "/", b"a", b"")],
    ),
    "an upgrade without connection": (GET + b"Upgrade: websocket\r\n\r\n", [("GET", "/", b"a", b"")]),
    "connection without upgrade": (GET + b"Connection: upgrade\r\n\r\n", [("GET", "/", b"a", b"")]),
}  # fmt: skip


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "byte by byte"])
def test_what_is_legal_arrives_as_what_it_was(gateway, upstream, step):
    for name, (text, wanted) in LEGAL.items():
        heard = send(gateway, text, [method for method, *_ in wanted], until_end=False, step=step)
        assert heard.statuses == [200] * len(wanted), name
        assert [(seen.method, seen.target, seen.values(b"host")[0], seen.body) for seen in upstream.take()] == wanted, name


def test_fields_with_underscores_say_nothing_to_anybody(gateway, upstream):
    """WSGI reads `_` as `-`: neither a second length nor somebody else's address goes up."""
    text = POST + b"Content_Length: 50\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 192.0.2.1\r\nX_A: b\r\nX-B: c\r\n\r\n"
    assert send(gateway, text + GET + END, ["POST", "GET"], until_end=False).statuses == [200, 200]
    seen, _ = upstream.take()
    assert not [name for name, _ in seen.fields if b"_" in name] and seen.values(b"x-b") == [b"c"] and seen.body == b""


def test_a_client_of_1_0_is_closed_unless_it_asks_otherwise(gateway, upstream):
    heard = send(gateway, b"GET / HTTP/1.0\r\n\r\n" + SMUGGLED, ["GET"], until_end=True)
    assert (heard.statuses, heard.end) == ([200], "close")
    # It goes on as 1.1, which must have a host (RFC 9112 3.2): where the client connected to.
    assert [(seen.target, seen.values(b"host")) for seen in upstream.take()] == [("/", [b"127.0.0.1:%d" % gateway.port])]


def test_what_connection_names_and_what_ends_at_a_hop_goes_no_further(gateway, upstream):
    text = (
        GET
        + b"Connection: close, X-Forwarded-For, X-Secret , cookie,,\r\n"
        + b"X-Forwarded-For: 1.1.1.1\r\nX-Secret: s\r\nx-secret: t\r\nCookie: c\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nX-Real-IP: 2.2.2.2\r\nForwarded: for=3.3.3.3\r\n"
        b"X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Isochrone-Pop: nyc\r\nX-Kept: k\r\n\r\n"
    )
    assert send(gateway, text, ["GET"], until_end=True).statuses == [200]
    (seen,) = upstream.take()
    names = [name for name, _ in seen.fields]
    assert not {b"connection", b"x-secret", b"cookie", b"keep-alive", b"proxy-connection", b"te", b"x-real-ip", b"forwarded"} & set(names)
    assert b"x-isochrone-pop" not in names and seen.values(b"x-kept") == [b"k"]
    # Ours come after what was stripped: once each, and of the socket's peer.
    assert seen.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert (seen.values(b"x-forwarded-host"), seen.values(b"x-forwarded-proto")) == ([b"a"], [b"http"])


# --- Early answers and upgrades: neither side is used again. ---


def test_an_answer_before_the_body_ends_both_connections(gateway, upstream):
    before = upstream.n_connections
    with dial(gateway.port) as client:
        client.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello")
        heard = read_answers(client, ["POST"], until_end=False)
        assert heard.statuses == [413]
        assert b"connection: close" in heard.text.lower()
        client.sendall(SMUGGLED)  # within the body's length: it is body
        assert read_answers(client, [], until_end=True).text == b""
    assert send(gateway, GET + END, ["GET"], until_end=False).statuses == [200]
    assert [seen.target for seen in upstream.take()] == ["/early", "/"]
    assert upstream.n_connections >= before + 1


def test_an_upgrade_that_the_upstream_declines_opens_no_tunnel_and_is_the_last(gateway, upstream):
    text = b"GET /declines HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    heard = send(gateway, text + SMUGGLED, ["UPGRADE"], until_end=True)
    assert (heard.statuses, heard.end) == ([200], "close")
    assert [seen.target for seen in upstream.take()] == ["/declines"]


def test_a_tunnel_begins_behind_101_only_and_what_is_in_it_is_no_request(gateway, upstream):
    text = b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    with dial(gateway.port) as client:
        client.sendall(text + SMUGGLED)
        assert read_answers(client, ["UPGRADE"], until_end=False).statuses == [101]
        (seen,) = upstream.take()
        assert seen.values(b"connection") == [b"upgrade"] and seen.values(b"upgrade") == [b"websocket"]
        eventually(lambda: seen.body == SMUGGLED, "the tunnel's bytes as they were")
    assert upstream.take() == []


def test_100_continue_is_relayed_and_an_early_refusal_stops_the_body(gateway, upstream):
    with dial(gateway.port) as client:
        client.sendall(b"POST /continue HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"hello")
        assert read_answers(client, ["POST"], until_end=False).statuses == [200]
    assert [(seen.target, seen.body) for seen in upstream.take()] == [("/continue", b"hello")]
    heard = send(
        gateway, b"POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n", ["POST"], until_end=True
    )
    assert (heard.statuses, heard.end) == ([413], "close")


# --- From upstreams. The client gets 502, and the connection to the upstream is not used again. ---

FINE = b"HTTP/1.1 200 OK\r\n"
GARBAGE = {
    "no http": b"nonsense\r\n\r\n",
    "binary": bytes(range(256)),
    "version 2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "small http": b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n",
    "a request": SMUGGLED,
    "an empty line before": b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "bare lf lines": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "bare cr": FINE + b"x: a\rb: c\r\ncontent-length: 0\r\n\r\n",
    "nul in a value": FINE + b"x: \x00\r\ncontent-length: 0\r\n\r\n",
    "nul in the reason": b"HTTP/1.1 200 O\x00K\r\ncontent-length: 0\r\n\r\n",
    "folded line": FINE + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": FINE + b"content-length : 0\r\n\r\n",
    "no colon": FINE + b"nonsense\r\ncontent-length: 0\r\n\r\n",
    "length and coding": FINE + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": FINE + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "two equal lengths": FINE + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    **{
        f"length {value!r}": FINE + b"content-length: " + value + b"\r\n\r\nhello"
        for value in (b"5, 5", b"+5", b"-1", b"0x5", b"", b"5 5", b"9" * 20)
    },
    **{
        f"coding {value!r}": FINE + b"transfer-encoding: " + value + b"\r\n\r\n0\r\n\r\n"
        for value in (b"", b"gzip", b"chunked, gzip", b"gzip, chunked", b"chunked, chunked", b",chunked", b"identity")
    },
    "two codings": FINE + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding on 1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "connection names the length": FINE + b"connection: content-length\r\ncontent-length: 5\r\n\r\nhello",
    "101 that nobody asked for": b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "endless field": FINE + b"x: " + b"a" * 70_000 + b"\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 20 + b"nonsense\r\n\r\n",
}  # fmt: skip
HALF = {
    "an end in the head": FINE + b"content-le",
    "an end behind an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}
# The answer's head was good: what is wrong comes behind it. Nobody may take such an answer for whole.
CUT = {
    "shorter than its length": (FINE + b"content-length: 50\r\n\r\nhello", True),
    "no last chunk": (FINE + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", True),
    "a broken chunk": (FINE + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\n", False),
    "chunk spill": (FINE + b"transfer-encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", False),
    "chunk end by lf": (FINE + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", False),
    "folded trailer": (FINE + b"transfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n 2\r\n\r\n", False),
}
EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
# More than one answer to one request: the client gets the first, and nobody gets the second.
SPLIT = {
    "a second answer": (FINE + b"content-length: 5\r\n\r\nhello" + EVIL, 200, b"hello"),
    "behind chunks": (FINE + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + EVIL, 200, b"hello"),
    "behind 204": (b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL, 204, b""),
    "behind 304": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n" + EVIL, 304, b""),
    "behind 204 with a length": (b"HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n" + EVIL, 204, b""),
}
ANSWERS = {
    "/early": Answer(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n", at_head=True),
    "/declines": OK,
    "/tunnel": Answer(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", at_head=True),
    "/continue": Answer(OK.text, interim=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "/resets": Answer(b"", resets=True),
    "/ends": Answer(b"", closes=True),
    "/until-end": Answer(b"HTTP/1.1 200 OK\r\n\r\nhello" + EVIL, closes=True),
    **{f"/garbage/{n}": Answer(text) for n, text in enumerate(GARBAGE.values())},
    **{f"/half/{n}": Answer(text, closes=True) for n, text in enumerate(HALF.values())},
    **{f"/cut/{n}": Answer(text, closes=closes) for n, (text, closes) in enumerate(CUT.values())},
    **{f"/split/{n}": Answer(text) for n, (text, *_) in enumerate(SPLIT.values())},
}


def request(target: str, version: str = "1.1", more: bytes = b"") -> bytes:
    return f"GET {target} HTTP/{version}\r\nHost: a\r\n".encode() + more + END


def test_garbage_from_an_upstream_is_502_once_and_its_connection_is_left(gateway, upstream):
    wrong = {}
    for kind, rows in (("garbage", GARBAGE), ("half", HALF)):
        for n, name in enumerate(rows):
            # A second request on the same client connection: it must get an answer of its own.
            heard = send(gateway, request(f"/{kind}/{n}") + request("/next"), ["GET", "GET"], until_end=False)
            final = [status for status in heard.statuses if status >= 200]
            targets = [seen.target for seen in upstream.take()]
            n_tries = 2 if name == "an end behind an interim answer" else 1  # no octet of an answer: it may be repeated
            if final != [502, 200] or heard.bodies[1:] != [b"ok"] or targets != [*[f"/{kind}/{n}"] * n_tries, "/next"]:
                wrong[name] = heard, targets
    assert wrong == {}


def test_a_body_that_breaks_is_cut_for_the_client_too(gateway, upstream):
    wrong = {}
    for n, (name, (text, _)) in enumerate(CUT.items()):
        heard = send(gateway, request(f"/cut/{n}"), ["GET"], until_end=True)
        if heard.statuses != [200] or heard.bodies or heard.end not in ("cut", "reset"):
            wrong[name] = heard
        if b"chunked" in text:  # unchunked for a client of 1.0, to whom only a reset says that something is missing
            heard = send(gateway, request(f"/cut/{n}", "1.0"), ["GET"], until_end=True)
            if heard.end != "reset":
                wrong[f"{name}, for 1.0"] = heard
    assert wrong == {}
    upstream.wait_quiet()
    assert {seen.target for seen in upstream.take()} == {f"/cut/{n}" for n in range(len(CUT))}


def test_a_second_answer_reaches_nobody(gateway, upstream):
    for n, (name, (_, status, body)) in enumerate(SPLIT.items()):
        text = request(f"/split/{n}") + request("/next") * 3
        heard = send(gateway, text, ["GET"] * 4, until_end=False)
        assert heard.statuses == [status, 200, 200, 200], name
        assert heard.bodies == [body, b"ok", b"ok", b"ok"], name
        assert b"evil" not in heard.text, name


def test_the_end_of_an_upstream_ends_only_what_it_may_end(gateway, upstream):
    heard = send(gateway, request("/until-end") + SMUGGLED, ["GET"], until_end=True)
    assert (heard.statuses, heard.end, heard.bodies) == ([200], "close", [b"hello" + EVIL])
    assert [seen.target for seen in upstream.take()] == ["/until-end"]
    for target in ("/resets", "/ends"):
        heard = send(
            gateway,
            f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".encode() + request("/next"),
            ["POST", "GET"],
            False,
        )
        assert heard.statuses == [502, 200]
        assert [seen.target for seen in upstream.take()] == [target, "/next"]  # a POST is not sent twice


def test_the_gateway_says_nothing_of_what_it_was_sent(gateway):
    heard = send(gateway, b"GET /<script>secret HTTP/1.1\r\nHost: a\r\nsecret : secret\r\n\r\n", ["GET"], until_end=True)
    assert heard.statuses == [400]
    assert b"secret" not in heard.text and b"script" not in heard.text
    assert "secret" not in gateway.log


def test_clients_that_reset_at_any_moment_leave_nothing_behind(gateway, upstream):
    texts = [request("/"), POST + b"Content-Length: 5000\r\n\r\nhello", CHUNKED + b"5\r\nhel", b"GET / HT", request("/until-end"), b""]
    for text in texts * 10:
        client = dial(gateway.port)
        client.sendall(text)
        reset_on_close(client)
        client.close()
    assert send(gateway, GET + END, ["GET"], until_end=False).statuses == [200]
