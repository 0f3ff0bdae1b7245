import pytest

from geoip import Database, DatabaseError
from geoip._locator import packed_address
from geoip._testing import read
from tests.unit.geoip.mmdb import MARKER, Raw, city, encode, write

BERLIN = {"lat": 52.5, "lon": 13.4, "accuracy_km": 20, "country": "DE", "continent": "EU"}


@pytest.mark.parametrize("record_bits", [24, 28, 32])
@pytest.mark.parametrize("ip_version", [4, 6])
def test_a_lookup(record_bits, ip_version):
    content = write({"1.0.0.0/8": city(52.5, 13.4), "1.2.3.0/24": {"country": "FR"}}, record_bits=record_bits, ip_version=ip_version)
    database = Database(content)
    assert read(database, packed_address("1.9.9.9")) == ("found", BERLIN, 96 + 13)
    assert read(database, packed_address("1.2.3.4")) == ("found", {"country": "FR"}, 96 + 24)
    assert read(database, packed_address("2.0.0.1")) == ("absent", {}, 96 + 7)
    assert read(database, packed_address("2001:db8::1"))[:2] == ("absent", {})


def test_ipv6():
    database = Database(write({"2001:db8::/32": city(52.5, 13.4), "2001:db8:1::/48": {"country_code": "FR"}}))
    assert read(database, packed_address("2001:db8:2::1"))[:2] == ("found", BERLIN)
    assert read(database, packed_address("2001:db8:1::1")) == ("found", {"country": "FR"}, 48)


def test_all_of_ipv4_in_one_record():
    database = Database(write({"::/8": {"country_code": "DE"}}))
    assert read(database, packed_address("1.2.3.4")) == ("found", {"country": "DE"}, 96)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (city(1.0, 2.0), "city"),
        ({"latitude": 1.0, "longitude": 2.0}, "city"),
        ({"country": {"iso_code": "DE"}}, "country"),
        ({"country_code": "DE", "asn": 7}, "country"),
        ({"continent": {"code": "EU"}}, "country"),
        ({"autonomous_system_number": 7}, "asn"),
    ],
)
def test_the_kind_is_what_is_in_it(record, kind):
    database = Database(write({"1.0.0.0/8": record, "2.0.0.0/8": {}}, metadata={"database_type": "Misleading-ASN-City"}))
    assert database.kind == kind


def test_what_it_says_of_itself():
    database = Database(write({"1.0.0.0/8": city(1, 2)}, ip_version=4, metadata={"build_epoch": 2**64 - 1}), "a.mmdb")
    assert (database.name, database.ip_version, database.build_epoch) == ("a.mmdb", 4, 2**64 - 1)
    database.metadata.clear()
    assert database.metadata["database_type"] == "Test"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no MaxMind DB file"),
        (b"PK\x03\x04" * 1000, "no MaxMind DB file"),
        (MARKER, "metadata"),
        (write({"1.0.0.0/8": city(1, 2)})[:-20], "metadata"),
        (write({"1.0.0.0/8": city(1, 2)}, metadata={"node_count": 50_000}), "cut short"),
        (write({"1.0.0.0/8": city(1, 2)}, metadata={"node_count": 100}), "search tree: node 103 leads to|search tree: node"),
        (write({"1.0.0.0/8": {"isp": "x"}}), "no coordinates, country or AS number in it .*Test"),
        (write({"1.0.0.0/8": Raw(b"\xe1")}), "record at 0 of the data section is broken"),
    ],
)
def test_what_can_not_be_used_says_why(content, words):
    with pytest.raises(DatabaseError, match=f"^here.mmdb: .*({words})"):
        Database(content, "here.mmdb")


def test_arguments_are_checked():
    with pytest.raises(TypeError):
        Database("text")
    with pytest.raises(TypeError):
        Database(None)


def test_what_the_sample_misses_is_broken_at_lookup():
    # More records than the sample takes, so it takes every second one.
    networks = {f"{1 + i // 256}.{i % 256}.0.0/16": {"country_code": "DE"} for i in range(6000)}
    names = sorted(networks, key=lambda name: tuple(map(int, name.split("/")[0].split("."))))
    networks[names[3001]] = Raw(b"\x00\x00")
    database = Database(write(networks))
    assert read(database, packed_address(names[3001].split("/")[0]))[:2] == ("broken", {})
    assert read(database, packed_address(names[3000].split("/")[0]))[:2] == ("found", {"country": "DE"})


def test_every_cut_of_a_file_is_refused():
    content = write({"1.0.0.0/8": city(1, 2), "2001::/16": city(3, 4)})
    start = content.index(encode("binary_format_major_version"))
    for end in range(start + 20, len(content), 7):
        with pytest.raises(DatabaseError):
            Database(content[:end])
