import os
import socket

import pytest

from gateway.control.life.inherited import FIRST, Inherited
from gateway.control.life.listeners import IP_MINTTL, How
from gateway.errors import StartError
from gateway.model import Address

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def passed():
    """Descriptors as a service manager passes them: in a row, inheritable. They are this test's until `Inherited.of` has taken them."""
    begun = []

    def pass_on(*sockets):
        first = 700
        for number, one in enumerate(sockets, first):
            os.dup2(one.fileno(), number, inheritable=True)
            begun.append(number)
        return first

    yield pass_on
    for number in begun:
        try:
            os.close(number)
        except OSError:
            pass  # taken, and closed since


def environment(*names, pid=None, count=None):
    return {
        "LISTEN_PID": str(os.getpid() if pid is None else pid),
        "LISTEN_FDS": str(len(names) if count is None else count),
        "LISTEN_FDNAMES": ":".join(names),
        "PATH": "/bin",
    }


def listening(family=socket.AF_INET, at=("127.0.0.1", 0)):
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.bind(at)
    opened.listen(7)
    return opened


def test_the_protocols_first_descriptor_is_the_one_after_standard_error():
    assert FIRST == 3


def test_one_is_taken_by_its_name_the_others_are_bound(passed):
    with listening() as one:
        given = environment("web")
        inherited = Inherited.of(given, passed(one))
        assert given == {"PATH": "/bin"}
        other = inherited.open("other", LOOPBACK)
        web = inherited.open("web", LOOPBACK)
        inherited.check_all_taken()
        assert web.address.port == one.getsockname()[1] != other.address.port
        assert (web.is_shared, web.is_listening, other.is_shared, other.is_listening) == (True, True, False, False)
        assert not os.get_inheritable(web.socket.fileno())
        # What is done to it at the end of its use here is done to whoever has it too.
        web.refuse_new()
        other.refuse_new()
        web.close()
        other.close()
        assert one.getsockopt(socket.IPPROTO_IP, IP_MINTTL) == 0
        with socket.create_connection(one.getsockname(), 5), one.accept()[0]:
            pass


def test_the_file_of_a_unix_socket_is_its_makers(passed, tmp_path):
    path = str(tmp_path / "s")
    with listening(socket.AF_UNIX, path) as one:
        listener = Inherited.of(environment("web"), passed(one)).open("web", Address(path, 0))
        assert listener.address.is_unix
        listener.close()
        assert os.path.exists(path)


def test_one_that_is_only_bound_is_not_said_to_listen(passed):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        listener = Inherited.of(environment("web"), passed(one)).open("web", LOOPBACK)
        assert not listener.is_listening
        listener.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (environment("web", count=2), "must name each of the 2 sockets"),
        (environment("web", "web"), "must name each of the 2 sockets"),
        (environment("", count=1), "must name each of the 1 sockets"),
        (environment("web", count="x"), "must be a number"),
        (environment("web", count="99999"), "must be a number"),
        (environment("web"), "descriptor 900 .web.: Bad file descriptor"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(given, said):
    with pytest.raises(StartError, match=said):
        Inherited.of(given, 900)


def test_a_datagram_socket_is_none(passed):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, pytest.raises(StartError, match="must be a stream socket"):
        Inherited.of(environment("web"), passed(one))


@pytest.mark.parametrize("given", [{}, environment("web", pid=1), {"LISTEN_PID": str(os.getpid())}])
def test_variables_of_another_process_are_nobodys(given):
    assert Inherited.of(given, 900).sockets == {}


@pytest.mark.parametrize(
    ("address", "how"),
    [(Address("127.0.0.2", 0), How()), (Address("127.0.0.1", 1), How()), (Address("/run/x", 0), How()), (LOOPBACK, How(is_dual=True))],
)
def test_a_socket_that_is_not_what_the_configuration_says_is_refused(passed, address, how):
    with listening() as one:
        inherited = Inherited.of(environment("web"), passed(one))
        with pytest.raises(StartError, match=r"^listener web: the inherited socket is bound to 127\.0\.0\.1:[0-9]+, bind says "):
            inherited.open("web", address, how)


def test_a_dual_one_is_known_by_its_option(passed):
    with socket.socket(socket.AF_INET6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::", 0))
        listener = Inherited.of(environment("web"), passed(one)).open("web", Address("::", 0), How(is_dual=True))
        assert listener.is_dual
        listener.close()


@pytest.mark.parametrize("is_mine", [True, False])
def test_of_two_with_one_name_it_is_whose_bind_it_has(passed, is_mine):
    with listening() as one:
        port = one.getsockname()[1]
        inherited = Inherited.of(environment("admin"), passed(one))
        mine = inherited.open_listener("admin", Address("127.0.0.1", port) if is_mine else Address("127.0.0.2", 0), How(), ("admin",))
        assert mine.is_shared is is_mine
        api = inherited.open("admin", LOOPBACK if is_mine else Address("127.0.0.1", port))
        assert api.is_shared is not is_mine
        inherited.check_all_taken()
        mine.close()
        api.close()


def test_where_nothing_else_has_the_name_a_listener_says_what_is_wrong(passed):
    with listening() as one:
        inherited = Inherited.of(environment("status"), passed(one))
        with pytest.raises(StartError, match=r"^listener status: the inherited socket is bound to "):
            inherited.open_listener("status", Address("127.0.0.2", 0), How(), ("admin",))


def test_one_that_nobody_asks_for_is_a_fault(passed):
    with listening() as one:
        inherited = Inherited.of(environment("nobody"), passed(one))
        with pytest.raises(StartError, match="named as: nobody"):
            inherited.check_all_taken()
        inherited.close()
