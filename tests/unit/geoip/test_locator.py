import math
import threading

import pytest

from geoip import Database, Found, Locator, Override, Pin
from geoip._locator import packed_address
from geoip._testing import locate_all, locate_one
from geoip.countries import COUNTRIES
from routing_core._memory import live_blocks, refuse
from tests.unit.geoip.mmdb import Raw, city, write

pytestmark = pytest.mark.usefixtures("nothing_left")
UNKNOWN = Found(None, None, None, None, None, None, "unknown")


def database(networks, **how):
    return Database(write(networks, **how))


def test_a_place_of_a_database():
    locator = Locator([database({"1.0.0.0/8": city(50.1109, 8.6821)})])
    assert locator.locate("1.2.3.4") == Found(50.1109, 8.6821, "DE", "EU", None, 20, "database")
    assert locator.locate("::ffff:1.2.3.4") == locator.locate("1.2.3.4")
    assert locator.locate("2.2.3.4") == UNKNOWN


def test_the_unit_vector():
    locator = Locator([database({"1.0.0.0/8": city(60.0, -30.0)})])
    (result, x, y, z, lat, lon, *_, source, pin), _ = locate_one(locator, packed_address("1.2.3.4"))
    assert result == "found"
    assert source == 1
    assert pin == 0
    assert (lat, lon) == (60, -30)
    assert (x, y, z) == pytest.approx((0.5 * math.cos(math.radians(30)), -0.25, math.sin(math.radians(60))), abs=1e-12)


def test_unknown_is_zero():
    fields, _ = locate_one(Locator(), packed_address("1.2.3.4"))
    assert fields == ("not found", 0, 0, 0, 0, 0, 0, 0, None, None, 0, 0)


def test_no_database_at_all():
    locator = Locator(overrides=[Override("1.0.0.0/8", 1, 2)])
    assert locator.locate("1.2.3.4") == Found(1, 2, None, None, None, None, "override")
    assert locator.locate("2.2.3.4") == UNKNOWN
    assert Locator().locate("2001:db8::1") == UNKNOWN


def test_a_country_alone_is_placed_at_its_middle_and_says_how_vague_that_is():
    locator = Locator([database({"1.0.0.0/8": {"country_code": "BR"}, "2.0.0.0/8": {"country_code": "ZZ"}})])
    brazil = COUNTRIES["BR"]
    assert locator.locate("1.2.3.4") == Found(brazil.lat, brazil.lon, "BR", "SA", None, brazil.radius_km, "database")
    assert locator.locate("2.2.3.4") == Found(None, None, "ZZ", None, None, None, "unknown")


def test_zero_zero_is_no_place():
    locator = Locator([database({"1.0.0.0/8": city(0.0, 0.0), "2.0.0.0/8": {"latitude": 0.0, "longitude": 0.0, "asn": 7}})])
    assert locator.locate("1.2.3.4").lat == COUNTRIES["DE"].lat
    assert locator.locate("2.2.3.4") == Found(None, None, None, None, 7, None, "unknown")


def test_the_continent_of_a_database_wins():
    locator = Locator([database({"1.0.0.0/8": city(1.0, 2.0, "TR", "EU"), "2.0.0.0/8": {"continent": {"code": "EU"}}})])
    assert locator.locate("1.2.3.4").continent == "EU"
    # A continent alone is no place, and yet enough for a jurisdiction.
    assert locator.locate("2.2.3.4") == Found(None, None, None, "EU", None, None, "unknown")


def test_two_files_by_family_and_in_order():
    four = database({"1.0.0.0/8": city(1.0, 2.0, "DE"), "3.0.0.0/8": {}}, ip_version=4)
    six = database({"2001:db8::/32": city(3.0, 4.0, "FR"), "1.0.0.0/8": city(5.0, 6.0), "3.0.0.0/8": city(7.0, 8.0)})
    for cities, expected in (([four, six], 1.0), ([six, four], 5.0)):
        locator = Locator(cities)
        assert locator.locate("1.2.3.4").lat == expected
        assert locator.locate("2001:db8::1").lat == 3.0
        assert locator.locate("3.2.3.4").lat == 7.0  # the first knows nothing there


def test_the_asn_is_from_its_own_file():
    cities = [database({"1.0.0.0/8": city(1.0, 2.0, asn=1)})]
    asns = [database({"1.2.0.0/16": {"autonomous_system_number": 2}, "10.0.0.0/8": {"asn": 3}, "9.0.0.0/8": {"asn": 4}})]
    locator = Locator(cities, asns, [Override("9.0.0.0/8", 1, 2)])
    assert [locator.locate(text).asn for text in ("1.2.3.4", "1.3.3.4", "10.1.1.1", "9.1.1.1", "8.1.1.1")] == [2, 1, 3, 4, None]
    assert locator.locate("10.1.1.1").source == "unknown"
    assert locator.locate("9.1.1.1").source == "override"


def test_overrides_win_and_the_longest_of_them():
    overrides = [Override("1.0.0.0/8", 10, 20, "FR"), Override("1.2.3.4/32", -10, -20), Override("2001:db8::/32", 1, 2, "US")]
    locator = Locator([database({"1.0.0.0/8": city(1.0, 2.0)})], overrides=overrides)
    assert locator.locate("1.2.3.5") == Found(10, 20, "FR", "EU", None, None, "override")
    assert locator.locate("1.2.3.4") == Found(-10, -20, "FR", "EU", None, None, "override")
    assert locator.locate("2001:db8::1") == Found(1, 2, "US", "NA", None, None, "override")
    assert locate_one(locator, packed_address("1.2.3.4"))[0][0] == "overridden"


def test_an_operator_may_mean_zero_zero():
    assert Locator(overrides=[Override("1.0.0.0/8", 0, 0)]).locate("1.2.3.4").lat == 0.0


def test_a_mapped_override_is_one_of_ipv4():
    assert Locator(overrides=[Override("::ffff:1.2.0.0/112", 1, 2)]).locate("1.2.3.4").source == "override"


def test_private_clients_stand_at_home():
    locator = Locator(overrides=[Override("10.1.0.0/16", 1, 2)], home=(50.1, 8.7))
    for text in ("127.0.0.1", "10.0.0.1", "::1", "fe80::1%eth0", "fd00::1", "100.64.1.1"):
        assert locator.locate(text) == Found(50.1, 8.7, None, None, None, None, "override")
    assert locator.locate("10.1.0.1").lat == 1
    assert locator.locate("8.8.8.8") == UNKNOWN
    assert Locator().locate("10.0.0.1") == UNKNOWN


def test_bad_words_of_the_operator_are_refused():
    for words in ({"overrides": [Override("10.0.0.1/8", 1, 2)]}, {"overrides": [Override(None, 1, 2)]}, {"pins": [Pin("10.0.0.0/8", 0)]}):
        with pytest.raises(ValueError, match="must "):
            Locator(**words)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="occurs twice"):
        Locator(overrides=[Override("10.0.0.0/8", 1, 2)] * 2)
    with pytest.raises(ValueError, match="home: lat"):
        Locator(home=(100, 0))
    with pytest.raises(ValueError, match="holds no locations"):
        Locator([database({"1.0.0.0/8": {"asn": 7}})])
    with pytest.raises(ValueError, match="holds no AS numbers"):
        Locator(asns=[database({"1.0.0.0/8": {"country_code": "DE"}})])
    for impostor in (None, "GeoLite2-City.mmdb"):
        with pytest.raises(TypeError, match="must be a Database"):
            Locator([impostor])
    with pytest.raises(ValueError, match="does not appear to be"):
        Locator().locate("example.com")


def test_a_broken_record_is_unknown_or_found_in_the_next_file():
    bad = {f"{1 + i // 256}.{i % 256}.0.0/16": {"country_code": "DE"} for i in range(6000)}
    bad["12.185.0.0/16"] = Raw(b"\x00\x00")  # not in the sample, see test_reader
    broken = database(bad)
    fields, _ = locate_one(Locator([broken]), packed_address("12.185.1.1"))
    assert fields == ("broken", 0, 0, 0, 0, 0, 0, 0, None, None, 0, 0)
    assert Locator([broken, database({"12.0.0.0/8": city(1.0, 2.0)})]).locate("12.185.1.1").lat == 1.0


def test_no_memory():
    refuse(True)
    try:
        with pytest.raises(MemoryError):
            Locator()
    finally:
        refuse(False)


def test_the_memory_is_given_back(nothing_left):
    before = live_blocks()["database"]
    locator = Locator(overrides=[Override("10.0.0.0/8", 1, 2)])
    assert live_blocks()["database"] == before + 1
    del locator
    assert live_blocks()["database"] == before


def test_a_locator_keeps_its_databases():
    locator = Locator([database({"1.0.0.0/8": city(1.0, 2.0)})])
    junk = [bytes(1000) for _ in range(1000)]
    assert locator.locate("1.2.3.4").lat == 1.0
    assert junk


def test_ten_thousand_overrides_are_all_found():
    overrides = [Override(f"{20 + i // 256}.{i % 256}.0.0/24", i % 90, i % 180) for i in range(10_000)]
    locator = Locator(overrides=overrides)
    for i in range(0, 10_000, 97):
        assert locator.locate(f"{20 + i // 256}.{i % 256}.0.9")[:2] == (i % 90, i % 180)
        assert locator.locate(f"{20 + i // 256}.{i % 256}.1.9") == UNKNOWN


def test_two_threads_while_locators_come_and_go():
    """Each looks up with the locator it holds; a replaced one is freed under neither."""
    content = write({"1.0.0.0/8": city(1.0, 2.0), "2001:db8::/32": city(3.0, 4.0)})
    block = (packed_address("1.2.3.4") + packed_address("2001:db8::1") + packed_address("9.9.9.9") + packed_address("10.0.0.1")) * 500
    current = [Locator([Database(content)], home=(5, 6))]
    stop = threading.Event()
    answers = []

    def look_up():
        while not stop.is_set():
            answers.append(locate_all(current[0], block))

    threads = [threading.Thread(target=look_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        current[0] = Locator([Database(content)], home=(5, 6))
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(answers) >= 2
    assert all(answer == [1000, 500, 500, 0] for answer in answers)
