import os
import signal
import socket
import subprocess
import sys

import pytest

from gateway.demo import children


def test_a_reserved_port_refuses_until_another_socket_listens_on_it():
    with children.reserve() as held, socket.socket() as pop:
        address = ("127.0.0.1", children.port_of(held))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
        pop.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        pop.bind(address)
        pop.listen()
        socket.create_connection(address, timeout=5).close()


def test_two_reservations_are_two_ports():
    with children.reserve() as one, children.reserve() as other:
        assert children.port_of(one) != children.port_of(other)


@pytest.mark.slow
def test_a_child_says_what_is_wrong_in_its_log_and_ends(tmp_path):
    child = children.start("serve", "-c", "nowhere.yaml", log=tmp_path / "log")
    assert child.wait(20) == 2
    assert "nowhere.yaml" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_child_has_a_session_of_its_own_and_can_be_killed(tmp_path):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    with ours, children.reserve() as held:
        with theirs:
            child = children.start("pop", "fra", str(children.port_of(held)), str(theirs.fileno()), log=tmp_path / "log", link=theirs)
        assert ours.recv(100) == b"0 listening"
        assert os.getsid(child.pid) == child.pid
        children.kill(child)
        assert child.returncode == -signal.SIGKILL
        assert ours.recv(100) == b""


@pytest.mark.slow
def test_who_does_not_end_when_asked_is_killed(monkeypatch):
    monkeypatch.setattr(children, "END_S", 0.1)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline() == b"ready\n"
        children.end(child)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("who", ["os.getppid()", "1 << 22"])
def test_a_process_ends_with_its_parent_and_with_no_other(who):
    """The second: the parent ended before its child could tie itself."""
    child = f"import os; from gateway.demo.children import tie; tie({who}); print('tied', flush=True); import signal; signal.pause()"
    parent = f"import subprocess, sys, signal; subprocess.Popen([sys.executable, '-c', {child!r}]); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        if who == "os.getppid()":
            assert process.stdout.readline() == b"tied\n"
        process.kill()
        assert process.stdout.read() == b""  # an end of file: the child, which holds the pipe too, is gone
