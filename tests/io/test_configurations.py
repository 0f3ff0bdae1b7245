"""`isochrone serve` on configurations of all kinds: it begins, each listener answers, and it ends as it is told to."""

import contextlib
import os
import re
import signal
import socket

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.io.serving import DEADLINE_S, Served, backends, eventually, free_port
from tests.support.configurations import Around, configurations, text_of

pytestmark = pytest.mark.slow
GENERATED = {"phases": [Phase.reuse, Phase.generate], "deadline": None}  # each is a process: none is made small
START_S = 60.0  # of a process on a busy machine
REQUEST = b"GET /a HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def backend():
    with backends("one") as (found,):
        yield found


def around_of(folder, backend):
    """Everything at this machine, so that nothing hangs: what lives, what refuses, what is not there."""
    port = free_port()
    found = Around(
        folder,
        listeners=(
            {"bind": f"127.0.0.1:{port}"},
            {"bind": f"unix:{folder}/w.sock", "mode": "0666", "owner": f":{os.getgid()}"},
            {"bind": f"[::1]:{port}"},
            {"bind": f"[::]:{free_port()}", "dual": True},
        ),
        admin=f"unix:{folder}/admin.sock",
        status=f"127.0.0.1:{free_port()}",
        endpoints=(backend.address, f"localhost:{backend.port}", f"127.0.0.1:{free_port()}", f"unix:{folder}/nobody.sock"),
        workers=(1, 3, 64),
    )
    found.prepare()
    return found


def connected(bind):
    """None where nobody listens yet."""
    if bind.startswith("unix:"):
        opened, at = socket.socket(socket.AF_UNIX), bind.removeprefix("unix:")
    else:
        host, _, port = bind.rpartition(":")
        opened = socket.socket(socket.AF_INET6 if host == "[::1]" else socket.AF_INET)  # [::] takes IPv4 as well
        at = ("127.0.0.1" if host == "[::]" else host.strip("[]"), int(port))
    opened.settimeout(DEADLINE_S)
    try:
        opened.connect(at)
    except OSError:
        opened.close()
        return None
    return opened


def answer_of(bind):
    """All that comes. Where one connection is all that may be open, the one before may not have been seen to end yet: then once more."""

    def ask():
        with connected(bind) as asking, contextlib.suppress(ConnectionResetError):
            asking.sendall(REQUEST)
            return b"".join(iter(lambda: asking.recv(65536), b""))

    return eventually(ask, "an answer")


def serve(folder, backend, data):
    around = around_of(folder, backend)
    configuration = data.draw(configurations(around))
    gateway = Served(folder, text_of(configuration), 0)
    try:

        def is_served():
            assert gateway.process.poll() is None, gateway.log
            return connected(configuration["listeners"][-1]["bind"])

        eventually(is_served, "it serves", START_S).close()
        for one in configuration["listeners"]:
            assert re.match(rb"HTTP/1\.1 [2345][0-9][0-9] .*\r\n\r\n", answer_of(one["bind"]), re.DOTALL)

        def has_ended():  # by the second that it sees: two at one moment are one
            gateway.signal(signal.SIGTERM)
            return gateway.process.poll() is not None

        eventually(has_ended, "it ends", START_S)
        assert gateway.process.returncode == 0, gateway.log
        assert "Traceback" not in gateway.log
    finally:
        gateway.close()


@settings(max_examples=3, **GENERATED)
@given(data=st.data())
def test_a_few_are_served(tmp_path_factory, backend, data):
    serve(tmp_path_factory.mktemp("few"), backend, data)


@pytest.mark.heavy
@settings(max_examples=40, **GENERATED)
@given(data=st.data())
def test_tens_are_served(tmp_path_factory, backend, data):
    serve(tmp_path_factory.mktemp("tens"), backend, data)
