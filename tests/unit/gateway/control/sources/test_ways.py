import errno
import socket

import pytest

from gateway.control.sources import ways
from gateway.control.sources.ways import has_ipv4, has_ipv6, has_way, own_address


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


@pytest.mark.parametrize(("routes", "has"), [("Iface Destination\n", False), ("Iface Destination\neth0 0000000A\n", True), (None, True)])
def test_a_machine_without_a_default_route_has_ipv4_where_a_network_of_its_own_has_it(monkeypatch, tmp_path, routes, has):
    monkeypatch.setattr(ways, "has_way", lambda address: False)
    monkeypatch.setattr(ways, "ROUTES", tmp_path / "route")
    if routes is not None:
        (tmp_path / "route").write_text(routes)
    assert has_ipv4() == has


def test_where_everything_has_a_way_nobody_looks_further(monkeypatch, tmp_path):
    monkeypatch.setattr(ways, "has_way", lambda address: True)
    (tmp_path / "route").write_text("Iface Destination\n")
    monkeypatch.setattr(ways, "ROUTES", tmp_path / "route")
    assert has_ipv4()


LOCAL = f"""{"0" * 31}1 80 {"0" * 32} 00 {"0" * 32} 00000000 00000003 00000000 80200001       lo
fe80{"0" * 28} 40 {"0" * 32} 00 {"0" * 32} 00000100 00000001 00000000 00000001     eth0
ff00{"0" * 28} 08 {"0" * 32} 00 {"0" * 32} 00000100 00000005 00000000 00000001     eth0
"""
NETWORK = f"fd00{'0' * 28} 40 {'0' * 32} 00 {'0' * 32} 00000100 00000001 00000000 00000001     eth0\n"


@pytest.mark.parametrize(("routes", "has"), [(LOCAL, False), (LOCAL + NETWORK, True), ("", False), (None, False)])
def test_a_machine_has_ipv6_where_a_network_has_it(monkeypatch, tmp_path, routes, has):
    monkeypatch.setattr(ways, "has_way", lambda address: False)
    monkeypatch.setattr(ways, "ROUTES_IPV6", tmp_path / "route")
    if routes is not None:
        (tmp_path / "route").write_text(routes)
    assert has_ipv6() == has
    monkeypatch.setattr(ways, "has_way", lambda address: True)
    assert has_ipv6()
