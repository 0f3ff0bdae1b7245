"""Records of every shape, and every way in which one can be broken."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoip._testing import decode
from tests.unit.geoip.mmdb import Float, Int32, Raw, city, encode, head, pointer

PLACE = {"lat": 50.1, "lon": 8.7}


def test_nested_shape():
    record = city(50.1, 8.7, "DE", "EU", traits={"is_anycast": False})
    assert decode(encode(record)) == ("found", {"lat": 50.1, "lon": 8.7, "accuracy_km": 20, "country": "DE", "continent": "EU"})


@pytest.mark.parametrize("number", [float, Float])
def test_flat_shape(number):
    record = {"latitude": number(50.5), "longitude": number(-8.25), "country_code": "de", "continent_code": "EU", "accuracy_radius": 7}
    expected = {"lat": 50.5, "lon": -8.25, "accuracy_km": 7, "country": "DE", "continent": "EU"}
    assert decode(encode(record)) == ("found", expected)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"country": {"iso_code": "FR"}}, {"country": "FR"}),
        ({"country": "FR", "continent": "EU"}, {"country": "FR", "continent": "EU"}),
        ({"country_code": "FR", "country": "France"}, {"country": "FR"}),
        ({"registered_country": {"iso_code": "FR"}}, {"country": "FR"}),
        ({"registered_country": {"iso_code": "FR"}, "country": {"iso_code": "BE"}}, {"country": "BE"}),
        ({"registered_country": {"iso_code": "FR"}, "country": {"names": {}}}, {"country": "FR"}),
        ({"continent": {"code": "EU"}}, {"continent": "EU"}),
        ({"autonomous_system_number": 64500, "autonomous_system_organization": "x"}, {"asn": 64500}),
        ({"asn": "AS64500"}, {"asn": 64500}),
        ({"asn": "64500"}, {"asn": 64500}),
        ({"asn": 64500}, {"asn": 64500}),
        ({"traits": {"autonomous_system_number": 64500}}, {"asn": 64500}),
        ({"autonomous_system_number": 4294967295}, {"asn": 4294967295}),
    ],
)
def test_other_shapes(record, expected):
    assert decode(encode(record)) == ("found", expected)


@pytest.mark.parametrize(
    "place",
    [
        {"latitude": 0.0, "longitude": 0.0},
        {"latitude": math.nan, "longitude": 8.7},
        {"latitude": 50.1, "longitude": math.inf},
        {"latitude": 90.1, "longitude": 8.7},
        {"latitude": 50.1, "longitude": -180.1},
        {"latitude": 50.1},
        {"longitude": 8.7},
        {"latitude": "50.1", "longitude": "8.7"},
        {"latitude": {}, "longitude": []},
        {"latitude": True, "longitude": True},
        {},
        "Berlin",
        [50.1, 8.7],
    ],
)
def test_no_place_is_made_of_what_is_none(place):
    assert decode(encode({"location": place, "country": {"iso_code": "DE"}})) == ("found", {"country": "DE"})
    flat = place if isinstance(place, dict) else {}
    assert decode(encode(flat)) == ("absent", {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(51, 51.0), (Int32(-33), -33.0), (Int32(33), 33.0), (Raw(b"\x01\x01\xff"), None), (Raw(b"\x00\x01"), None), (0, 0.0), (90.0, 90.0)],
)
def test_numbers_of_every_type_are_numbers(value, expected):
    result, fields = decode(encode({"latitude": value, "longitude": 1.0}))
    assert result == ("found" if expected is not None or value == Raw(b"\x00\x01") else "absent")
    if expected is not None:
        assert fields["lat"] == expected


@pytest.mark.parametrize("radius", [0, -5.0, math.nan, math.inf, 30_000, "far", {}])
def test_no_accuracy_is_made_of_what_is_none(radius):
    record = {"latitude": 50.1, "longitude": 8.7, "accuracy_radius": radius}
    assert decode(encode(record)) == ("found", {"lat": 50.1, "lon": 8.7})


@pytest.mark.parametrize("code", ["D", "DEU", "D1", "", "\0E", "ß", 276, ["DE"], b"DE"])
def test_no_code_is_made_of_what_is_none(code):
    assert decode(encode({"country": {"iso_code": code}})) == ("absent", {})
    assert decode(encode({"country_code": code, "continent": code})) == ("absent", {})


@pytest.mark.parametrize("asn", [0, 2**32, 2**64 - 1, "AS", "AS12x", "AS99999999999", "A" * 40, -1.0, math.nan, {}, "", 2**100])
def test_no_asn_is_made_of_what_is_none(asn):
    assert decode(encode({"asn": asn, "autonomous_system_number": asn})) == ("absent", {})


@pytest.mark.parametrize("value", ["text", 7, 1.5, [1, 2], True, b"x", {}])
def test_a_record_of_another_kind_is_absent(value):
    assert decode(encode(value)) == ("absent", {})


def test_the_last_of_two_keys_counts():
    first, second = encode({"country": {"iso_code": "DE"}})[1:], encode({"country": {"iso_code": "FR"}})[1:]
    assert decode(head(7, 2) + first + second) == ("found", {"country": "FR"})
    assert decode(head(7, 2) + first + encode({"country": {}})[1:]) == ("absent", {})


@pytest.mark.parametrize(("width", "gap"), [(1, 0), (2, 2048), (3, 526336), (4, 600_000)])
def test_pointers_of_each_width(width, gap):
    key, place = encode("location"), encode({"latitude": 50.1, "longitude": 8.7})
    record = head(7, 2) + pointer(gap, width) + pointer(gap + len(key), width) + encode({"country_code": "DE"})[1:]
    data = bytes(gap) + key + place + record
    expected = {"lat": 50.1, "lon": 8.7, "country": "DE"}
    assert decode(data, len(data) - len(record)) == ("found", expected)
    whole = data + pointer(len(data) - len(record))
    assert decode(whole, len(data)) == ("found", expected)


def test_what_is_skipped_is_passed_exactly():
    many = {
        "skipped": {
            "map": {"a": [1, [2, {"b": b"x" * 300}], "y" * 70_000]},
            "deep": [[[[[[]]]]]],
            "flag": True,
            "p": pointer(0),
            "big": 2**100,
        }
    }
    assert decode(encode({**many, "country_code": "DE"})) == ("found", {"country": "DE"})


POINTERS = {
    "past the end": pointer(10_000),
    "far past the end": pointer(2**32 - 1),
    "cut short": Raw(b"\x38\x00\x00"),
}
BROKEN = {
    "empty": Raw(b""),
    "a type that is none": Raw(b"\x00\x09"),
    "an extended type below 8": Raw(b"\x00\x00"),
    "the container type": Raw(b"\x00\x05"),
    "the end marker": Raw(b"\x00\x06"),
    "an extended type cut off": Raw(b"\x00"),
    "a size cut off": Raw(b"\x5d"),
    "a long size cut off": Raw(b"\x5f\xff\xff"),
    "text past the end": Raw(b"\x45abc"),
    "text of 16 MB": Raw(b"\x5f\xff\xff\xffabc"),
    "a double of four bytes": Raw(b"\x64" + bytes(4)),
    "a float of eight bytes": Raw(b"\x08\x08" + bytes(8)),
    "uint16 of three bytes": Raw(b"\xa3" + bytes(3)),
    "uint32 of five bytes": Raw(b"\xc5" + bytes(5)),
    "uint64 of nine bytes": Raw(b"\x09\x02" + bytes(9)),
    "uint128 of 17 bytes": Raw(b"\x11\x03" + bytes(17)),
    "int32 of five bytes": Raw(b"\x05\x01" + bytes(5)),
    "a truth of two": Raw(b"\x02\x07"),
    "a map of 16 million": Raw(b"\xff\xff\xff\xff"),
    "an array of 16 million": Raw(b"\x1f\x04\xff\xff\xff"),
    "a map without its value": Raw(b"\xe1\x41a"),
}


@pytest.mark.parametrize("value", [*POINTERS.values(), *BROKEN.values()], ids=[*POINTERS, *BROKEN])
@pytest.mark.parametrize("key", ["location", "country", "registered_country", "continent", "traits", "latitude", "asn", "country_code"])
def test_broken_values_are_broken_wherever_they_are_used(key, value):
    data = head(7, 1) + encode(key) + bytes(value)
    assert decode(data) == ("broken", {})


@pytest.mark.parametrize("key", ["location", "country", "latitude", "asn"])
def test_a_pointer_to_a_pointer_is_broken(key):
    start = head(7, 1) + encode(key)
    to_itself = start + pointer(len(start))
    to_the_next = start + pointer(len(start) + 5) + pointer(0)
    assert decode(to_itself) == decode(to_the_next) == ("broken", {})
    assert decode(bytes(pointer(0))) == decode(pointer(5) + pointer(0)) == ("broken", {})


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    "around",
    [
        lambda value: head(7, 1) + encode("location") + head(7, 1) + encode("latitude") + value,
        lambda value: head(7, 1) + encode("country") + head(7, 1) + encode("iso_code") + value,
        lambda value: head(7, 1) + encode("skipped") + head(11, 2) + encode(1) + value,
        lambda value: head(7, 1) + value,
    ],
)
def test_broken_values_are_broken_inside(around, value):
    assert decode(around(bytes(value))) == ("broken", {})


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    ("outer", "inner"),
    [("location", "latitude"), ("country", "iso_code"), ("registered_country", "iso_code"), ("continent", "code"), ("traits", "names")],
)
def test_broken_values_are_broken_behind_a_pointer(outer, inner, value):
    """What a pointer leads to is not passed over by the walk of the outer map, so it is only looked at when used."""
    start = head(7, 1) + encode(outer)
    data = start + pointer(len(start) + 5) + head(7, 1) + encode(inner) + bytes(value)
    assert decode(data) == ("broken", {})


def test_a_key_that_is_no_text_is_broken():
    assert decode(head(7, 1) + encode(7) + encode(8)) == ("broken", {})
    assert decode(encode("ab") + head(7, 1) + pointer(99) + encode(8), 3) == ("broken", {})


@pytest.mark.parametrize("offset", [1, 2, 1000, 2**32, 2**63, 2**64 - 1])
def test_an_offset_past_the_end_is_broken(offset):
    assert decode(b"\xe0", offset) == ("broken", {})


def test_a_record_can_not_cost_more_than_its_budget():
    assert decode(encode({"a": [0] * 4000, "country_code": "DE"})) == ("found", {"country": "DE"})
    assert decode(encode({"a": [0] * 5000, "country_code": "DE"})) == ("broken", {})
    assert decode(encode({str(i): i for i in range(5000)})) == ("broken", {})


def test_the_budget_may_end_at_any_value():
    """From just enough to far too little, one value at a time: whole or broken, and nothing between."""
    record = city(1.0, 2.0, asn=7, traits={"autonomous_system_number": 8})
    results = [decode(encode({"padding": [0] * size, **record}))[0] for size in range(3900, 4096)]
    n_found = results.count("found")
    assert 0 < n_found < len(results)
    assert results == ["found"] * n_found + ["broken"] * (len(results) - n_found)


def test_cycles_in_what_is_skipped_are_not_entered():
    assert decode(head(7, 2) + encode("a") + pointer(0) + encode({"country_code": "DE"})[1:]) == ("found", {"country": "DE"})


@given(st.binary(max_size=200), st.integers(0, 210))
def test_any_bytes_have_an_answer(data, offset):
    result, fields = decode(data, offset)
    assert result in ("found", "absent", "broken")
    assert bool(fields) == (result == "found")


RECORDS = st.recursive(
    st.one_of(st.integers(0, 2**64), st.floats(), st.text(max_size=40), st.booleans(), st.binary(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["location", "latitude", "longitude", "country", "iso_code", "continent", "code", "traits", "asn", "names", "x"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@given(RECORDS)
def test_well_formed_is_never_broken_and_cut_short_is_never_read_past(record):
    data = encode(record)
    assert decode(data)[0] != "broken"
    # What is no map is not looked into: there is nothing to be wrong about.
    for end in range(len(data) if isinstance(record, dict) else 0):
        assert decode(data[:end])[0] == "broken"


def test_a_float_is_what_its_bytes_say():
    lat = struct.unpack(">f", struct.pack(">f", 51.5333))[0]
    assert decode(encode({"latitude": Float(51.5333), "longitude": Float(1)}))[1]["lat"] == lat
