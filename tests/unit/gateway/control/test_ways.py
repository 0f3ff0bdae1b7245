import errno
import socket

import pytest

from gateway.control.ways import has_way, own_address


def test_to_itself_this_machine_speaks_from_there():
    assert own_address("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("number", "has"), [(errno.ENETUNREACH, False), (errno.EADDRNOTAVAIL, False), (errno.EAFNOSUPPORT, False), (errno.EMFILE, True)]
)
def test_a_way_is_a_family_and_a_route(monkeypatch, number, has):
    assert has_way("127.0.0.1")

    def fail(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(socket, "socket", fail)
    assert has_way("192.0.2.1") == has
