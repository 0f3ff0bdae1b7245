"""What all sections share, and who and where things are: derived values, alternatives, what a section refuses as a whole."""

import pytest
from pydantic import ValidationError

from gateway.config._places import Capacity, GeoIp, KubernetesAccess, Listener, Override, Pin, Pop, Section


def pop(**more):
    return Pop.model_validate({"name": "fra", "lat": 50, "lon": 8.68, **more})


def texts(section, data):
    with pytest.raises(ValidationError) as caught:
        section.model_validate(data)
    return [error["msg"] for error in caught.value.errors()]


def test_continent_follows_from_the_country():
    assert pop(country="DE").continent == "EU"
    assert pop(country="NO").continent == "EU"
    assert pop(country="US", continent="SA").continent == "SA"
    assert pop().continent is None
    assert len(texts(Pop, {"name": "x", "lat": 1, "lon": 1, "country": "XX"})) == 1


def test_a_list_may_be_one_value():
    assert GeoIp.model_validate({"city": "/a", "asn": ("/b", "/c")}).model_dump(include={"city", "asn"}) == {
        "city": ("/a",),
        "asn": ("/b", "/c"),
    }


def test_an_empty_value_is_a_key_left_out():
    assert GeoIp.model_validate({"city": None, "overrides": None}) == GeoIp()
    assert "Field required" in texts(Pop, {"name": "x", "lat": None, "lon": 1})


HERE = {"lat": 1, "lon": 1}


@pytest.mark.parametrize(
    ("section", "data", "words"),
    [
        (KubernetesAccess, {}, "must have context, kubeconfig or in_cluster"),
        (KubernetesAccess, {"in_cluster": False}, "must have context"),
        (KubernetesAccess, {"in_cluster": True, "context": "x"}, "in_cluster alone"),
        (Override, HERE, "must have prefix, asn or country"),
        (Override, {**HERE, "prefix": "10.0.0.0/8", "asn": 64500}, "either prefix or asn, got both"),
        (Override, {**HERE, "asn": 0}, "a whole number from 1 to 4294967295"),
        (Pin, {"prefix": "10.0.0.0/8", "pops": ("fra", "nyc", "fra")}, "must name each PoP once, got fra more"),
        (Pin, {"prefix": "10.0.0.0/8", "pops": ()}, "at least 1 item"),
        (Capacity, {"requests_in_flight": 0}, "a whole number from 1"),
        (Capacity, {"requests_in_flight": 10, "low": "90%", "high": 0.9}, "a low below its high, got low 90% and high 90%"),
        (Capacity, {"requests_in_flight": 10, "low": "80%", "high": "12.5%"}, "got low 80% and high 12.5%"),
        (Capacity, {"requests_in_flight": 10, "high": "101%"}, "at most 1"),
        (Listener, {"name": "a", "bind": "0.0.0.0:80", "dual": True}, 'must have the bind "[::]" and a port where dual is true'),
        (Listener, {"name": "a", "bind": "[::1]:80", "mode": "0660"}, "must have a unix socket as bind where there is mode"),
        (Listener, {"name": "a", "bind": "[::1]:80", "owner": "a"}, "must have a unix socket as bind where there is owner"),
        (Listener, {"name": "a", "bind": "unix:/x", "mode": 660}, 'must be the mode of a file in octal and in quotes, such as "0660"'),
    ],
)
def test_a_section_is_refused_as_a_whole(section, data, words):
    (text,) = texts(section, data)
    assert words in text


@pytest.mark.parametrize("more", [{"prefix": "10.0.0.0/8"}, {"asn": 64500}, {"country": "DE"}, {"asn": 1, "country": "DE"}])
def test_whose_location_an_override_is(more):
    written = Override.model_validate({**HERE, **more}).model_dump(exclude_unset=True)
    assert written == {**HERE, **more}


def test_watermarks_have_defaults():
    capacity = Capacity.model_validate({"requests_in_flight": 2000})
    assert (capacity.low, capacity.high) == (0.8, 1.0)


@pytest.mark.parametrize("data", [{"context": "a"}, {"kubeconfig": "/k"}, {"context": "a", "kubeconfig": "/k"}, {"in_cluster": True}])
def test_ways_to_a_cluster(data):
    assert KubernetesAccess.model_validate(data).model_dump(exclude_unset=True) == data


def test_models_are_frozen_and_hold_no_unknown_key():
    with pytest.raises(ValidationError, match="frozen"):
        pop().lat = 1.0
    assert texts(Pop, {"name": "x", "lat": 1, "lon": 1, "latitude": 1})


def inner_sections(section):
    return {section}.union(*(inner_sections(inner) for inner in section.__subclasses__()))


def test_every_key_says_what_it_means():
    for section in inner_sections(Section) - {Section}:
        assert section.__doc__, section
        for key, known in section.model_fields.items():
            assert known.description, f"{section.__name__}.{key}"


@pytest.mark.parametrize(("high", "low"), [(1.0, 0.8), ("70%", 0.56), (0.8, 0.64)])
def test_shedding_begins_at_four_fifths_of_where_it_ends(high, low):
    assert Capacity.model_validate({"requests_in_flight": 10, "high": high}).low == pytest.approx(low)
