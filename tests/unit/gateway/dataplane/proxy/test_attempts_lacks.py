"""What a request does that finds no descriptor for its upstream, or no port towards it: in processes with limits of their own."""

import os
import shutil
import textwrap

import pytest

from tests.unit.gateway.dataplane.downstream.test_accept import run_apart

pytestmark = pytest.mark.slow

APART = [shutil.which("unshare") or "unshare", *(() if os.geteuid() == 0 else ("-Ur",)), "-n"]

FULL = """
    import os, resource, socket
    from tests.support.dataplane import ANSWER, NOWHERE, REQUEST, Bench, received
    from gateway.dataplane import Settings

    TWO = ((("127.0.0.1", NOWHERE), ("127.0.0.2", NOWHERE)), ())
    bench = Bench(Settings(queue_ms=1000), endpoints=TWO, n_workers=2)
    server = bench.listen()
    client = bench.client()

    def fill():
        # Nothing is free below what is not for upstreams; and of the number above it each look says so.
        soft = max(map(int, os.listdir("/proc/self/fd"))) + 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        hogs = []
        try:
            while True:
                hogs.append(socket.socket())
        except OSError:
            return hogs

    def goes_up():
        # The far end is accepted by a descriptor that is freed for it.
        hogs.pop().close()
        return bench.accepted(server).recv(65536).startswith(b"GET /x ")

    def shut_the_other():
        bench.figures.set_endpoint(bench.rows[0][1], state="shut")
"""
AN_IDLE_CLIENT = """
    idle, begun = bench.client("192.0.2.1"), bench.client("192.0.2.2")
    begun.send(REQUEST[:5])
    bench.turn()
    shut_the_other()
    hogs = fill()
    client.send(REQUEST)
    bench.turn(turns=2)
    assert received(idle) == b"" and received(begun) is None and received(client) is None
    assert goes_up() and bench.causes == {} and bench.figures_read["evicted"] == 1
"""
OF_WHO_HOLDS_MOST = """
    one = bench.client("192.0.2.1")
    many = [bench.client("198.51.100.1") for _ in range(3)]
    bench.turn()
    shut_the_other()
    hogs = fill()
    client.send(REQUEST)
    bench.turn(turns=2)
    assert received(one) is None and [received(each) for each in many].count(b"") == 1
    assert goes_up() and bench.causes == {}
"""
NOBODY_UNDER_WAY = """
    far = bench.upstream(0, 1)
    other = [bench.client("198.51.100.1") for _ in range(3)]
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    assert bench.ask(other[0], far)
    bench.figures.set_endpoint(bench.rows[0][0], state="admitting")
    for each in other[1:]:
        each.close()
    bench.turn()
    shut_the_other()
    hogs = fill()
    client.send(REQUEST)
    bench.pass_ms(500)
    assert received(client) is received(other[0]) is None and bench.causes == {}, "it waits"
    far.send(ANSWER)
    bench.turn(turns=2)
    assert received(other[0]) == ANSWER
    bench.pass_ms(200)
    assert received(other[0]) is None and goes_up() and bench.causes == {}, "what has come free serves it"
"""
AN_IDLE_UPSTREAM = """
    far = bench.upstream(0, 1)
    bench.turn()
    shut_the_other()
    hogs = fill()
    client.send(REQUEST)
    bench.turn(turns=2)
    assert received(far) == b"" and received(client) is None
    assert goes_up() and bench.causes == {}
"""
AT_ANOTHER_WORKER = """
    idle = bench.client("192.0.2.1", worker=1)
    bench.turn()
    shut_the_other()
    hogs = fill()
    client.send(REQUEST)
    bench.turn(turns=2)
    assert received(idle) == b"" and received(client) is None
    bench.pass_ms(200)
    bench.turn(turns=2)
    assert goes_up() and bench.causes == {}
"""
IN_THE_END_NONE = """
    shut_the_other()
    hogs = fill()
    client.send(REQUEST)
    bench.pass_ms(900)
    assert received(client) is None, "it waits as long as for a connection"
    bench.pass_ms(300)
    assert received(client).startswith(b"HTTP/1.1 503 ") and bench.causes == {"no_descriptors": 1}
    assert all(bench.figures.read_endpoint(row)["connect_failures"] == 0 for row in bench.rows[0]), "no endpoint's fault"
    assert bench.figures.read_pool(bench.pool_rows[0])["failures"] == 0
"""


@pytest.mark.parametrize(
    "then",
    [AN_IDLE_CLIENT, OF_WHO_HOLDS_MOST, NOBODY_UNDER_WAY, AN_IDLE_UPSTREAM, AT_ANOTHER_WORKER, IN_THE_END_NONE],
    ids=["an idle client", "of who holds most", "nobody under way", "an idle upstream", "at another worker", "in the end none"],
)
def test_who_is_idle_makes_room_for_a_request(then):
    run_apart(textwrap.dedent(FULL) + textwrap.dedent(then) + "\nfor hog in hogs: hog.close()\nbench.close()\n")


PORTS = """
    import socket
    from gateway.dataplane import Settings
    from tests.support.dataplane import ANSWER, REQUEST, Bench, received, reset

    ADDRESSES = [("127.0.0.1", 15001), ("127.0.0.2", 15002), ("127.0.0.3", 15003)]
    servers = [socket.create_server(address) for address in ADDRESSES]
    bench = Bench(Settings(queue_ms=1000, queue_per_endpoint=2), endpoints=((ADDRESSES[0], ADDRESSES[1]), (ADDRESSES[2],)))
    hogs, far = [], []

    def use_up(address):
        try:
            while True:
                hogs.append(socket.create_connection(address))
        except OSError:
            return

    def ask():
        client = bench.client()
        client.send(REQUEST)
        bench.turn(turns=4)
        return client

    def went_to():
        for number, server in enumerate(servers):
            server.setblocking(False)
            try:
                while True:
                    end = server.accept()[0]
                    far.append(end)
                    end.settimeout(0.1)
                    try:
                        if end.recv(65536).startswith(b"GET /x "):
                            return number
                    except TimeoutError:
                        pass
            except BlockingIOError:
                pass

    def free(address):
        # A reset leaves no trace of the connection: the port is free at once.
        hog = next(each for each in hogs if each.getpeername() == address)
        hogs.remove(hog)
        reset(hog)

    def is_refused(client):
        return (received(client) or b"").startswith(b"HTTP/1.1 503 ")
"""
OTHERS_ARE_ASKED = """
    use_up(ADDRESSES[0])
    assert went_to() is None
    clients = [ask() for _ in range(4)]
    assert [went_to() for _ in clients] == [1] * 4, "the sibling"
    use_up(ADDRESSES[1])
    clients.append(ask())
    assert went_to() == 2, "the next PoP"
"""
A_PORT_COMES_FREE = """
    for address in ADDRESSES:
        use_up(address)
    assert went_to() is None
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    client = ask()
    bench.pass_ms(300)
    assert received(client) is None and bench.causes == {}, "it waits"
    free(ADDRESSES[1])
    bench.pass_ms(200)
    assert went_to() == 1
    far[-1].send(ANSWER)
    bench.turn(turns=2)
    assert received(client) == ANSWER
"""
A_CONNECTION_COMES_FREE = """
    use_up(ADDRESSES[0])
    use_up(ADDRESSES[1])
    assert went_to() is None
    first = ask()
    assert went_to() == 2
    upstream = far[-1]
    use_up(ADDRESSES[2])
    bench.figures.set_endpoint(bench.rows[0][0], state="shut")
    bench.figures.set_endpoint(bench.rows[0][1], state="shut")
    second = ask()
    assert received(second) is None
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(first) == ANSWER and upstream.recv(65536).startswith(b"GET /x "), "within the turn, not at the next tick"
    upstream.send(ANSWER)
    bench.turn(turns=2)
    assert received(second) == ANSWER
"""
AS_MANY_AS_MAY = """
    for address in ADDRESSES:
        use_up(address)
    clients = [ask() for _ in range(7)]
    assert [is_refused(each) for each in clients] == [False] * 6 + [True], "two at each endpoint"
    assert bench.causes == {"queue_full": 1}
    bench.pass_ms(900)
    assert not any(map(is_refused, clients))
    bench.pass_ms(2500)     # in the first PoP, and as long again in the next one
    assert all(map(is_refused, clients[:6]))
    assert bench.causes["no_descriptors"] + bench.causes["queue_full"] == 7 and bench.causes["no_descriptors"] >= 2
"""
THOSE_WITH_ANOTHER_POP = """
    use_up(ADDRESSES[0])
    use_up(ADDRESSES[1])
    bench.figures.set_pool(bench.pool_rows[1], admit=0, availability=0)
    bench.figures.set_endpoint(bench.rows[1][0], state="shut")
    first = ask()
    second = ask()
    assert went_to() is None and received(first) is received(second) is None
    bench.figures.set_pool(bench.pool_rows[1], admit=1, availability=1)
    bench.figures.set_endpoint(bench.rows[1][0], state="admitting")
    later = ask()
    assert went_to() == 2, "who has somebody else does not wait behind those who have nobody"
"""
NOBODY_FAILED = """
    rows = [row for rows in bench.rows for row in rows]
    assert [bench.figures.read_endpoint(row)["connect_failures"] for row in rows] == [0, 0, 0]
    assert [bench.figures.read_pool(row)["failures"] for row in bench.pool_rows] == [0, 0]
    for end in (*hogs, *far, *servers):
        end.close()
    bench.close()
"""


@pytest.mark.parametrize(
    "then",
    [OTHERS_ARE_ASKED, A_PORT_COMES_FREE, A_CONNECTION_COMES_FREE, AS_MANY_AS_MAY, THOSE_WITH_ANOTHER_POP],
    ids=["others are asked", "a port comes free", "a connection comes free", "as many as may", "those with another PoP"],
)
def test_without_a_port_towards_one_the_others_are_asked_then_it_waits(then):
    """Eight ports for each address."""
    begin = "ip link set lo up && echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range"
    script = textwrap.dedent(PORTS) + textwrap.dedent(then) + textwrap.dedent(NOBODY_FAILED)
    run_apart(script, under=[*APART, "sh", "-c", f'{begin} && exec "$@"', "sh"])
