import pytest

from geoip.metadata import MARKER, read_layout
from tests.unit.geoip.mmdb import Float, Int32, Raw, city, encode, pointer, write

GOOD = write({"1.0.0.0/8": city(50, 8)})


def with_metadata(value):
    return bytes(100) + MARKER + encode(value)


def test_layout_of_a_good_file():
    layout = read_layout(write({"1.0.0.0/8": city(50, 8)}, ip_version=4, record_bits=28, metadata={"build_epoch": 123}))
    assert (layout.n_nodes, layout.record_bits, layout.ip_version, layout.build_epoch) == (8, 28, 4, 123)
    assert layout.tree_bytes == 8 * 7
    assert layout.data_bytes == len(encode(city(50, 8)))
    assert layout.values["description"] == {"en": "for tests"}


def test_values_of_every_type_are_read():
    more = {"a": [1, -0.5, Float(0.5), Int32(-3), True, b"xy", "x" * 300, 2**70], "epoch": 2**63}
    assert read_layout(write({"1.0.0.0/8": city(50, 8)}, metadata=more)).values["a"] == [1, -0.5, 0.5, -3, True, b"xy", "x" * 300, 2**70]


def test_pointers_are_followed():
    text = encode("a text")
    values = {"binary_format_major_version": 2, "node_count": 1, "record_size": 24, "ip_version": 4, "build_epoch": 7}
    first = Raw(head_of_map(len(values) + 2) + encode("one") + text)
    rest = b"".join(encode(key) + encode(value) for key, value in values.items())
    content = bytes(6 + 16) + MARKER + first + encode("two") + pointer(1 + len(encode("one")), 1 + 3) + rest
    assert read_layout(content).values["two"] == "a text"


def head_of_map(size):
    return bytes([7 << 5 | size])


def test_the_last_marker_counts():
    content = write({"1.0.0.0/8": city(50, 8, note=MARKER)})
    assert read_layout(content).ip_version == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"binary_format_major_version": 3}, "version 3"),
        ({"binary_format_major_version": None}, "binary_format_major_version"),
        ({"node_count": 0}, "node_count"),
        ({"node_count": "8"}, "node_count"),
        ({"node_count": True}, "node_count"),
        ({"node_count": 2**32}, "node_count"),
        ({"node_count": 2**32 - 1}, "cut short"),
        ({"record_size": 25}, "record_size 25"),
        ({"record_size": 64}, "record_size"),
        ({"ip_version": 5}, "ip_version 5"),
        ({"build_epoch": None}, "build_epoch"),
        ({"build_epoch": Int32(-1)}, "build_epoch"),
    ],
)
def test_what_is_not_legal_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        read_layout(write({"1.0.0.0/8": city(50, 8)}, metadata=change))


@pytest.mark.parametrize(
    "value",
    [
        "no map",
        [1],
        Raw(b""),
        Raw(b"\xe0"),  # an empty map
        Raw(b"\xff\xff\xff\xff"),  # 17 million entries
        Raw(b"\xe1\x42a"),  # a key cut short
        Raw(b"\xe1\xa1\x01\xa1\x01"),  # a key that is a number
        Raw(b"\xe1\x41\xff\xa1\x01"),  # not UTF-8
        Raw(b"\xe1\x41a\x20\x00"),  # a pointer to the map itself
        Raw(b"\x20\x00"),  # a pointer to itself
        Raw(b"\xe1\x41a\x00\xff"),  # a type that is not known
        Raw(b"\xe1\x41a\x61\x00"),  # a double of one byte
        Raw(b"\xe1\x41a\xa3\x00\x00\x00"),  # three bytes of uint16
        Raw(b"\xe1\x41a\x05\x01" + bytes(5)),  # five bytes of int32
        Raw(b"\xe1\x41a" + b"\x01\x04" * 50 + b"\xa0"),  # an array in an array in an array ...
    ],
)
def test_hostile_metadata_are_refused(value):
    with pytest.raises(ValueError, match="metadata"):
        read_layout(with_metadata(value))


@pytest.mark.parametrize("size", [0, 1, len(MARKER), len(GOOD) // 2, len(GOOD) - 1])
def test_a_file_cut_short_is_refused(size):
    with pytest.raises(ValueError, match=r"cut short|past the end"):
        read_layout(GOOD[:size])
