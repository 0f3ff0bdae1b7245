"""New connections: who they are, how many may be, and who goes for them."""

import os
import socket
import subprocess
import sys
import textwrap

import pytest

from gateway.dataplane import Settings
from tests.support.dataplane import ANSWER, REQUEST, received


def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    server = socket.socket(family)
    server.bind(address)
    server.listen(100)
    server.setblocking(False)
    return server


def connect(door):
    end = socket.socket(door.family)
    end.connect(door.getsockname())
    end.setblocking(False)
    return end


@pytest.fixture
def connected():
    """connect(), closed in the end."""
    made = []

    def make(door):
        made.append(connect(door))
        return made[-1]

    yield make
    for end in made:
        end.close()


@pytest.mark.parametrize("family", ["IPv4", "IPv6", "unix"])
def test_families(make_bench, connected, tmp_path, family):
    address = {"IPv4": ("127.0.0.1", 0), "IPv6": ("::1", 0), "unix": str(tmp_path / "door")}[family]
    door = listening(getattr(socket, {"IPv4": "AF_INET", "IPv6": "AF_INET6", "unix": "AF_UNIX"}[family]), address)
    bench = make_bench(listeners=[door])
    client, upstream = connected(door), bench.upstream()
    bench.turn()
    peer = {"IPv4": b"127.0.0.1", "IPv6": b"::1", "unix": b"127.0.0.1"}[family]
    assert b"\r\nx-forwarded-for: " + peer + b"\r\n" in bench.ask(client, upstream)
    upstream.send(ANSWER)
    bench.turn()
    assert received(client) == ANSWER


def test_one_accept_an_event_and_figures_by_listener(make_bench, connected):
    doors = [listening(), listening()]
    bench = make_bench(listeners=doors)
    clients = [connected(doors[n]) for n in (0, 1, 1)]
    bench.turn()
    assert bench.counters.read()["idle"][:2] == [1, 1]
    bench.turn()
    assert bench.counters.read()["idle"][:2] == [1, 2]
    clients[2].close()
    bench.turn()
    assert bench.counters.read()["idle"][:2] == [1, 1]


def test_too_many_the_oldest_idle_one_of_the_same_listener_goes(make_bench, connected):
    doors = [listening(), listening()]
    bench = make_bench(Settings(connections_per_listener=3), listeners=doors)
    other = connected(doors[0])
    bench.turn(turns=2)
    upstream = bench.upstream()
    clients = []
    for _ in range(3):
        clients.append(connected(doors[1]))
        bench.turn(turns=2)
    bench.ask(clients[0], upstream)  # busy: not idle
    upstream.send(ANSWER)
    bench.turn()
    assert received(clients[0]) == ANSWER  # and now the youngest
    newest = connected(doors[1])
    bench.turn(turns=2)
    assert [received(end) for end in (other, *clients, newest)] == [None, None, b"", None, None]
    assert bench.counters.read()["idle"][:2] == [1, 3] and bench.causes == {"too_many_connections": 1}


def test_too_many_and_none_is_idle_the_new_one_goes(make_bench, connected):
    door = listening()
    bench = make_bench(Settings(connections_per_listener=2), listeners=[door])
    busy = []
    for text in (REQUEST, REQUEST[:5]):
        busy.append(connected(door))
        bench.turn()
        bench.upstream()
        busy[-1].send(text)
        bench.turn()
    refused = connected(door)
    bench.turn()
    assert received(refused) == b"" and [received(end) for end in busy] == [None, None]
    assert bench.counters.read()["active"][0] + bench.counters.read()["idle"][0] == 2


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_who_was_in_its_handshake_when_new_ones_were_held_back_is_heard(make_bench, connected, family):
    """Its connection has the listener's bound on distance, which nothing from loopback or from behind a router satisfies."""
    door = listening(getattr(socket, {"IPv4": "AF_INET", "IPv6": "AF_INET6"}[family]), ("127.0.0.1" if family == "IPv4" else "::1", 0))
    bench = make_bench(listeners=[door])
    upstream = bench.upstream()
    bench.snapshots.order("closing")
    bench.snapshots.order_listener(0, "last", door.fileno())
    client = connected(door)
    hops = [(socket.IPPROTO_IP, 21), (socket.IPPROTO_IPV6, 73)][: 1 + (family == "IPv6")]
    for level, option in hops:
        door.setsockopt(level, option, 255)
    # The kernel gives it on at the handshake's end, which loopback leaves no time before: so one that comes by the widest way.
    far = socket.socket(door.family)
    far.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if family == "IPv6" else (socket.IPPROTO_IP, socket.IP_TTL)), 255)
    far.connect(door.getsockname())
    far.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if family == "IPv6" else (socket.IPPROTO_IP, socket.IP_TTL)), 64)
    far.setblocking(False)
    bench.turn(turns=4)
    for one in (client, far):
        bench.turn()
        assert bench.ask(one, upstream)
        upstream.send(ANSWER)
        bench.turn()
        assert received(one).endswith(b"hello")
        upstream = bench.upstream()
    far.close()


def run_apart(code, under=()):
    """In a process of its own, whose limits are its own. under: words of a command that runs it."""
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), os.getcwd())))  # an instrumented build stays first
    environment = {**os.environ, "PYTHONPATH": path}
    preloaded = environment.pop("LD_PRELOAD", "")  # a sanitizer's: for us, not for what runs us
    command = [*under, "env", f"LD_PRELOAD={preloaded}", sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ran.returncode == 0, ran.stderr


def test_what_is_left_of_descriptors_is_not_for_clients():
    code = textwrap.dedent(
        """
        import os, resource, socket
        soft = len(os.listdir("/proc/self/fd")) + 150
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        from tests.support.dataplane import ANSWER, REQUEST, Bench, received
        door = socket.create_server(("127.0.0.1", 0), backlog=100)
        door.setblocking(False)
        bench = Bench(listeners=[door])
        clients = []
        for _ in range(100):  # each takes one here and one there, and is busy
            clients.append(socket.create_connection(door.getsockname()))
            clients[-1].send(REQUEST[:5])
            bench.turn(after_ms=100, turns=3)
            if bench.causes:
                break
        n = bench.figures_read["accepted"]
        assert bench.causes == {"no_descriptors": 1}, bench.causes
        spare = os.dup(0)
        os.close(spare)
        kept = min(34 + soft // 32, soft // 4)
        assert soft - kept <= spare <= soft - kept + 2, (spare, soft)
        clients.append(socket.create_connection(door.getsockname()))
        bench.pass_ms(1000)
        assert bench.figures_read["accepted"] == n and bench.causes == {"no_descriptors": 1}, "nor one a tick"
        for client in clients[:4]:
            client.close()
        bench.pass_ms(300)
        assert bench.figures_read["accepted"] == n + 1
        for client in clients:
            client.close()
        bench.close()
        """
    )
    run_apart(code)


def test_a_low_number_that_comes_free_moves_who_is_above():
    code = textwrap.dedent(
        """
        import os, resource, socket
        from tests.support.dataplane import REQUEST, Bench, received
        low = [os.dup(0) for _ in range(10)]
        clients = [socket.socket() for _ in range(60)]
        soft = max(map(int, os.listdir("/proc/self/fd"))) + 80
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        door = socket.create_server(("127.0.0.1", 0), backlog=100)
        door.setblocking(False)
        bench = Bench(listeners=[door])

        def highest():
            return max(map(int, os.listdir("/proc/self/fd")))

        for client in clients:  # each is busy
            client.connect(door.getsockname())
            client.send(REQUEST[:5])
            bench.turn(turns=3)
        n, top = bench.figures_read["accepted"], highest()
        kept = min(34 + soft // 32, soft // 4)
        assert bench.causes == {"no_descriptors": 1} and n < 50 and soft - kept <= top <= soft - kept + 2, (bench.causes, n, top, soft)
        for number in low:
            os.close(number)
            bench.pass_ms(200)
            assert highest() <= top, "or they would run out in steps"
        assert bench.figures_read["accepted"] > n
        for client, what in ((clients[0], "all are heard as before"), (clients[n - 1], "and who has moved")):
            client.send(b" \\r\\n\\r\\n")
            bench.turn(turns=2)
            assert received(client).startswith(b"HTTP/1.1 400 "), what
        for client in clients:
            client.close()
        bench.close()
        """
    )
    run_apart(code)


STARVED = """
    import resource, socket
    from tests.support.dataplane import ANSWER, REQUEST, Bench, received
    from gateway.dataplane import Settings

    door = socket.create_server(("127.0.0.1", 0))
    door.setblocking(False)
    bench = Bench(listeners=[door])
    server = bench.listen()
    upstream = bench.upstream(1)
    idle, busy = [], []
    for kind, text in ((idle, b""), (busy, REQUEST[:5])):
        kind.append(socket.create_connection(door.getsockname()))
        kind[0].setblocking(False)
        bench.turn(turns=2)
        kind[0].send(text) if text else None
        bench.turn()
    waiting = [socket.create_connection(door.getsockname()) for _ in range(WAITING)]
    for end in waiting:
        end.setblocking(False)
    late = socket.socket()
    hogs = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (upstream.fileno() + 40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            hogs.append(socket.socket())
    except OSError:
        pass
"""
EVICTS = """
    bench.turn(turns=6)
    assert received(idle[0]) == b"" and received(busy[0]) is None
    assert bench.causes["no_descriptors"] >= 1
    for end in waiting[:2]:
        end.close()
    hogs.pop().close(); hogs.pop().close(); hogs.pop().close()
    bench.pass_ms(300)
    assert bench.figures_read["accepted"] == 5
"""
REACHES = """
    busy[0].send(REQUEST[5:])
    bench.turn(turns=2)
    assert received(busy[0]) is None and received(idle[0]) == b"", "who is idle makes room for a request"
    hogs.pop().close()
    assert bench.accepted(server).recv(65536).startswith(b"GET /x ") and bench.causes == {}
    assert all(bench.figures.read_endpoint(row)["connect_failures"] == 0 for row, in bench.rows), "no endpoint's fault"
"""
STOPS = """
    idle[0].send(REQUEST[:5])
    bench.turn()
    late.connect(door.getsockname())
    bench.turn()
    assert bench.causes == {"no_descriptors": 1} and received(idle[0]) is received(busy[0]) is None
    assert [bench.worker.turn(bench.now_us) for _ in range(3)] == [0, 0, 0], "it does not spin: the listener is off"
    hogs.pop().close()
    bench.pass_ms(300)
    assert bench.figures_read["accepted"] == 3, "the next tick tries anew"
"""
CLOSES = """
    bench.snapshots.order_listener(0, "empty")
    bench.turn(turns=2)
    assert bench.figures_read["accepted"] >= 3, "the idle one made room, and the loop went on"
"""
WAITS = """
    idle[0].send(REQUEST[:5])
    bench.turn()
    late.connect(door.getsockname())
    version = bench.snapshots.order_listener(0, "empty")
    bench.pass_ms(1000)
    assert bench.counters.read()["versions"] == [version - 1], "who waits would be reset by the close that follows"
    assert bench.causes == {"no_descriptors": 1} and received(idle[0]) is received(busy[0]) is None
    assert [bench.worker.turn(bench.now_us) for _ in range(3)] == [0, 0, 0], "it does not spin"
    hogs.pop().close()
    bench.pass_ms(200)
    assert bench.counters.read()["versions"] == [version] and bench.figures_read["accepted"] == 3
"""
SPARES = """
    late.connect(door.getsockname())
    idle[0].send(REQUEST)
    bench.turn(turns=2)
    assert received(idle[0]) != b"", "it is about to be heard, and no less busy than who has been"
"""
NOBODY = """
    bench.pass_ms(1000)
    assert received(idle[0]) is None and not bench.causes, "nobody goes for nobody"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "then",
    [EVICTS, REACHES, STOPS, CLOSES, WAITS, SPARES, NOBODY],
    ids=["evicts", "reaches", "stops", "closes", "waits", "spares", "nobody"],
)
def test_out_of_descriptors(then):
    code = (
        f"WAITING = {0 if then in (REACHES, STOPS, WAITS, SPARES, NOBODY) else 3}\n"
        + textwrap.dedent(STARVED)
        + textwrap.dedent(then)
        + "\nfor end in hogs: end.close()\nlate.close()\nbench.close()\n"
    )
    run_apart(code)
