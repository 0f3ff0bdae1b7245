import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import parse
from gateway.control.life.listeners import How, Listeners, bind
from gateway.errors import StartError
from gateway.model import Address

LOOPBACK = Address("127.0.0.1", 0)


def connect(address):
    family = socket.AF_UNIX if address.is_unix else socket.AF_INET6 if ":" in address.host else socket.AF_INET
    client = socket.socket(family)
    client.settimeout(2)
    try:
        client.connect(address.host if address.is_unix else (address.host, address.port))
    except BaseException:
        client.close()
        raise
    return client


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_accepted_sends_at_once(host):
    """The data plane sets nothing on a connection: it has TCP_NODELAY from its listener."""
    listeners = Listeners.open([("web", Address(host, 0))])
    listeners.listen()
    with connect(listeners.all[0].address), listeners.all[0].socket.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    listeners.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp_is_bound_first_and_listens_when_told(host):
    listeners = Listeners.open([("web", Address(host, 0))])
    address = listeners.all[0].address
    assert address.port != 0
    with pytest.raises(ConnectionRefusedError):
        connect(address)
    listeners.listen()
    connect(address).close()
    assert not os.get_inheritable(listeners.all[0].socket.fileno())
    assert not listeners.all[0].socket.getblocking()
    listeners.close()
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_the_queue_of_a_listener_holds_what_a_burst_brings():
    """As long as the kernel allows; of a listening socket tcp_info's second counter of packets is that length (tcp(7), linux/tcp.h)."""
    listeners = Listeners.open([("web", LOOPBACK)])
    listeners.listen()
    info = listeners.all[0].socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    assert struct.unpack_from("8x6I", info)[5] == min(4096, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    listeners.close()


def test_v6_any_and_v4_any_share_a_port():
    first = bind("v4", Address("0.0.0.0", 0))
    second = bind("v6", Address("::", first.address.port))
    first.close()
    second.close()


def test_address_in_use_is_one_clear_line_and_leaves_nothing_open():
    taken = Listeners.open([("a", LOOPBACK)])
    taken.listen()
    address = taken.all[0].address
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError) as caught:
        Listeners.open([("first", LOOPBACK), ("web", address)])
    assert str(caught.value) == f"listener web: 127.0.0.1:{address.port} is already in use"
    assert set(os.listdir("/proc/self/fd")) == before
    taken.close()


def test_two_that_bind_before_either_listens_are_told_apart_when_they_listen():
    one = Listeners.open([("a", LOOPBACK)])
    other = Listeners.open([("b", one.all[0].address)])
    one.listen()
    with pytest.raises(StartError, match=r"listener b: .* is already in use"):
        other.listen()
    one.close()
    other.close()


def test_address_of_another_machine_is_an_error_in_words():
    with pytest.raises(StartError, match=r"listener web: can't listen on 192\.0\.2\.1:0: Cannot assign"):
        bind("web", Address("192.0.2.1", 0))


def test_listening_twice_does_no_harm(tmp_path):
    listeners = Listeners.open([("a", LOOPBACK), ("b", Address(str(tmp_path / "s"), 0))])
    listeners.listen()
    listeners.listen()
    for one in listeners.all:
        connect(one.address).close()
    listeners.close()


def test_a_hollow_one_is_gone_for_clients_and_its_number_is_nobody_elses(tmp_path):
    listeners = Listeners.open([("a", LOOPBACK), ("b", Address(str(tmp_path / "s"), 0))])
    listeners.listen()
    for one in listeners.all:
        number = one.socket.fileno()
        queued = connect(one.address)
        one.hollow()
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            connect(one.address)
        with queued, pytest.raises(ConnectionResetError):
            queued.recv(1)
        assert os.fstat(number) and not one.is_closed and not os.get_inheritable(number)
        with pytest.raises(OSError, match="Invalid argument"):
            one.socket.accept()
        one.close()
        assert one.is_closed
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_hollow_one_that_is_shared_stays_as_it_is():
    listeners = Listeners.open([("a", LOOPBACK)])
    (one,) = listeners.all
    one.is_shared = True
    listeners.listen()
    one.hollow()
    connect(one.address).close()  # the other process goes on
    listeners.close()


def test_unix_socket_is_there_and_gone(tmp_path):
    address = Address(str(tmp_path / "s"), 0)
    listeners = Listeners.open([("u", address)])
    listeners.listen()
    connect(address).close()
    listeners.close()
    listeners.close()  # twice does no harm
    assert not os.path.exists(address.host)


def test_unix_file_of_a_dead_process_is_replaced(tmp_path):
    address = Address(str(tmp_path / "s"), 0)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(address.host)
    dead.close()
    listeners = Listeners.open([("u", address)])
    listeners.listen()
    connect(address).close()
    listeners.close()


def test_unix_socket_with_somebody_behind_it_is_in_use(tmp_path):
    address = Address(str(tmp_path / "s"), 0)
    first = Listeners.open([("u", address)])
    first.listen()
    with pytest.raises(StartError, match=r"listener v: unix:.*/s is already in use"):
        bind("v", address)
    connect(address).close()
    first.close()


def test_a_unix_socket_that_does_not_listen_yet_is_in_use(tmp_path):
    address = Address(str(tmp_path / "s"), 0)
    first = Listeners.open([("u", address)])  # nobody answers behind it, as behind a dead process's
    with pytest.raises(StartError, match=r"listener v: unix:.*/s is already in use"):
        bind("v", address)
    first.listen()
    connect(address).close()
    first.close()


def test_of_two_that_start_at_once_and_can_not_see_each_other_one_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.control.life.listeners._is_bound", lambda path: False)  # another network namespace
    address = Address(str(tmp_path / "s"), 0)
    first = Listeners.open([("u", address)])
    second = Listeners.open([("u", address)])
    second.listen()
    with pytest.raises(StartError, match=r"listener u: unix:.*/s was taken by another process"):
        first.listen()
    first.close()
    connect(address).close()
    second.close()


def test_a_file_that_is_no_socket_is_never_taken_away(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(StartError, match="is not a socket and in the way"):
        bind("u", Address(str(path), 0))
    assert path.read_text() == "precious"


def test_a_successors_unix_file_stays(tmp_path):
    path = str(tmp_path / "s")
    first = bind("u", Address(path, 0))
    os.rename(path, path + ".old")  # as a successor does that binds beside and renames
    second = bind("u", Address(path, 0))
    first.close()
    assert os.path.exists(path)
    second.close()
    assert not os.path.exists(path)


UNPRIVILEGED = """
import os, select, socket, sys
import encodings.idna
from gateway.model import Address
from gateway.control.life.listeners import Listener, Listeners
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)

host, is_dual = sys.argv[1], sys.argv[1] == "dual"
door = socket.create_server(("::" if is_dual else host, 0), family=socket.AF_INET6 if ":" in host or is_dual else socket.AF_INET,
                            dualstack_ipv6=is_dual)
listeners = Listeners([Listener("web", Address(host, door.getsockname()[1]), door)])
for target in ("::1", "127.0.0.1") if is_dual else (host,):
    early = socket.create_connection((target, door.getsockname()[1]), 2)
listeners.all[0].refuse_new()
for target in ("::1", "127.0.0.1") if is_dual else (host,):
    late = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET)
    late.setblocking(False)
    late.connect_ex((target, door.getsockname()[1]))
    assert select.select([], [late], [], 0.1)[1] == [], f"{target}: neither accepted nor reset"
early.sendall(b"x")  # the last that connected, the last in the queue
for target in ("::1", "127.0.0.1") if is_dual else (host,):
    accepted, _ = door.accept()
accepted.settimeout(2)
assert accepted.recv(1) == b"x"
"""


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "dual"])
def test_new_connections_are_held_back_without_any_right(host):
    """Those in the queue come through; new ones wait."""
    ran = subprocess.run([sys.executable, "-c", UNPRIVILEGED, host], capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_one_socket_for_both_families():
    listeners = Listeners.open([("web", Address("::", 0))], {"web": How(is_dual=True)})
    listeners.listen()
    port = listeners.all[0].address.port
    for host in ("127.0.0.1", "::1"):
        connect(Address(host, port)).close()
    assert listeners.all[0].addresses == [Address("::", port), Address("0.0.0.0", port)]
    with pytest.raises(StartError, match="already in use"):
        bind("v4", Address("0.0.0.0", port))
    listeners.close()


def test_mode_and_owner_of_a_unix_socket(tmp_path, monkeypatch):
    path = str(tmp_path / "s")
    asked = []
    monkeypatch.setattr(os, "chown", lambda *how: asked.append(how))
    for owner, ids in (("root", (0, -1)), (":0", (-1, 0)), ("7:root", (7, 0))):
        bind("u", Address(path, 0), How(mode="0620", owner=owner)).close()
        assert asked.pop() == (path, *ids)
    one = bind("u", Address(path, 0), How(mode="0620"))
    assert os.stat(path).st_mode & 0o777 == 0o620 and asked == []
    one.close()


def test_a_file_that_can_not_be_taken_away_stays_and_holds_nobody(tmp_path, monkeypatch, caplog):
    listeners = Listeners.open([("u", Address(str(tmp_path / "s"), 0)), ("web", LOOPBACK)])

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    listeners.close()
    assert [one.socket.fileno() for one in listeners.all] == [-1, -1]
    assert [(record.message, record.error) for record in caplog.records] == [("the file of a unix socket stays", "Permission denied")]


def test_the_mode_is_set_while_the_file_is_ours(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(os, "chown", lambda *_: steps.append("chown"))
    monkeypatch.setattr(os, "chmod", lambda *_: steps.append("chmod"))
    bind("u", Address(str(tmp_path / "s"), 0), How(mode="0660", owner="0")).close()
    assert steps == ["chmod", "chown"]


def test_an_owner_that_can_not_be(tmp_path, monkeypatch):
    """Nothing is left behind."""
    path = str(tmp_path / "s")
    with pytest.raises(StartError, match="listener u: owner nobody-of-that-name: there is no such user or group"):
        bind("u", Address(path, 0), How(owner="nobody-of-that-name"))

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(StartError, match="listener u: owner root: Operation not permitted"):
        bind("u", Address(path, 0), How(owner="root"))
    assert not os.path.exists(path)


def test_how_follows_from_the_configuration():
    text = """
listeners: [{name: web, bind: "[::]:80", dual: true}, {name: unix, bind: "unix:/run/x", mode: "0660", owner: "a:b"}]
pops: [{name: fra, lat: 50, lon: 8}]
services: [{name: shop, backends: [{pop: fra, endpoints: ["192.0.2.1:80"]}]}]
routes: [{service: shop}]
"""
    assert How.of(parse(text).config.listeners) == {"web": How(is_dual=True), "unix": How(mode="0660", owner="a:b")}


def test_a_shared_socket_is_not_held_back():
    listeners = Listeners.open([("web", LOOPBACK)])
    listeners.listen()
    listeners.all[0].is_shared = True
    listeners.all[0].refuse_new()
    connect(listeners.all[0].address).close()  # the other process goes on
    listeners.close()


def test_a_unix_socket_that_takes_nobody_new_is_not_found(tmp_path):
    path = str(tmp_path / "s")
    listeners = Listeners.open([("u", Address(path, 0))])
    listeners.listen()
    with connect(Address(path, 0)):
        listeners.all[0].refuse_new()
        with pytest.raises(FileNotFoundError):
            connect(Address(path, 0))
        listeners.all[0].socket.accept()[0].close()  # who is in the queue comes through
    successor = Listeners.open([("u", Address(path, 0))])
    listeners.close()
    assert os.path.exists(path)
    successor.close()


def test_refuse_new_says_when_the_kernel_cannot(caplog):
    listeners = Listeners.open([("web", LOOPBACK)])
    listeners.listen()
    listeners.all[0].socket.close()
    listeners.all[0].refuse_new()
    assert "can't hold new connections back" in caplog.text
