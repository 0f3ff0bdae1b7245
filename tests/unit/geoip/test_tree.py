"""The search tree: naive walks over lists of nodes are the model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoip._locator import packed_address
from geoip._testing import walk
from tests.unit.geoip.mmdb import node_bytes

SIZES = [24, 28, 32]
V6 = packed_address("2001:db8::1")


def pack(nodes, record_bits):
    return b"".join(node_bytes(*node, record_bits) for node in nodes)


def model(nodes, bits, taken):
    """(what ends the walk, bits taken)"""
    node = 0
    while node < len(nodes) and taken < 128:
        node = nodes[node][bits >> (127 - taken) & 1]
        taken += 1
    return node, taken


@pytest.mark.parametrize("record_bits", SIZES)
def test_records_of_each_size(record_bits):
    big = (1 << record_bits) - 1
    nodes = [(1, 2), (3 + 16 + 5, 3), (big, 3)]
    data_size = big
    for address, expected in {
        "0.0.0.1": ("found", 5, 98),
        "64.0.0.1": ("absent", 0, 98),
        "128.0.0.1": ("found", big - 3 - 16, 98),
        "192.0.0.1": ("absent", 0, 98),
    }.items():
        assert walk(pack(nodes, record_bits), record_bits, 32, data_size, packed_address(address)) == expected


@given(st.data(), st.sampled_from(SIZES))
def test_any_tree_as_the_naive_walk(data, record_bits):
    size = data.draw(st.integers(1, 12))
    record = st.integers(0, size + 16 + 20).filter(lambda value: not size < value < size + 16)
    nodes = data.draw(st.lists(st.tuples(record, record), min_size=size, max_size=size))
    address = data.draw(st.integers(0, 2**128 - 1))
    is_mapped = address >> 32 == 0xFFFF
    node, taken = model(nodes, address, 0)
    result, offset, bits = walk(pack(nodes, record_bits), record_bits, 128, 21, address.to_bytes(16, "big"))
    if not is_mapped:
        assert bits == taken
        assert (result, offset) == answer_of(node, size)


@given(st.data(), st.sampled_from(SIZES))
def test_ipv4_in_either_tree(data, record_bits):
    size = data.draw(st.integers(1, 8))
    record = st.integers(0, size + 16 + 20).filter(lambda value: not size < value < size + 16)
    nodes = data.draw(st.lists(st.tuples(record, record), min_size=size, max_size=size))
    v4 = data.draw(st.integers(0, 2**32 - 1))
    address = ((0xFFFF << 32) | v4).to_bytes(16, "big")
    # In a tree of IPv4 alone the 32 bits begin at the root.
    node, taken = model(nodes, v4, 96)
    result, offset, bits = walk(pack(nodes, record_bits), record_bits, 32, 21, address)
    assert ((result, offset), bits) == (answer_of(node, size), taken)
    # In one of IPv6 they lie in ::/96, whatever the walk there finds.
    node, taken = model(nodes, v4, 0)
    result, offset, bits = walk(pack(nodes, record_bits), record_bits, 128, 21, address)
    assert ((result, offset), bits) == (answer_of(node, size), max(taken, 96))


def answer_of(node, size):
    if node < size:
        return "broken", 0
    return ("absent", 0) if node == size else ("found", node - size - 16)


def test_a_tree_deeper_than_an_address_is_broken():
    assert walk(pack([(0, 0)], 24), 24, 128, 10, V6) == ("broken", 0, 128)
    assert walk(pack([(0, 0)], 24), 24, 32, 10, packed_address("1.2.3.4")) == ("broken", 0, 128)


def test_a_tree_of_ipv4_knows_no_ipv6():
    assert walk(pack([(17, 17)], 24), 24, 32, 10, V6) == ("absent", 0, 0)


@pytest.mark.parametrize("record_bits", SIZES)
@pytest.mark.parametrize("value", [3, 17, 2 + 16 + 10, 2**24 - 1])
@pytest.mark.parametrize("side", [0, 1])
def test_a_record_that_leads_nowhere_is_found(record_bits, value, side):
    nodes = [[1, 2], [2, 2]]
    nodes[1][side] = value
    assert walk(pack(nodes, record_bits), record_bits, 128, 10, V6) == (1, value)
    nodes[1][side] = 18
    assert walk(pack(nodes, record_bits), record_bits, 128, 10, V6)[0] in ("found", "absent")
