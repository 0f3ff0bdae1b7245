"""The models of what is served: derived values, alternatives, what a section refuses as a whole."""

import pytest
from pydantic import ValidationError

from gateway._config_model import Backend, GeoIp, Health, Jurisdiction, KubernetesAccess, Match, Pop, Route, Section
from gateway._config_units import Statuses


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
    assert Health.model_validate({"expect": 204}).expect == (Statuses(204, 204),)
    assert Route.model_validate({"service": "x", "match": {"hosts": ("a.b",)}}).match == (Match(hosts=("a.b",)),)


def test_an_empty_value_is_a_key_left_out():
    assert GeoIp.model_validate({"city": None, "overrides": None}) == GeoIp()
    assert Health.model_validate({"path": None, "type": None, "expect": None}) == Health()
    assert "Field required" in texts(Pop, {"name": "x", "lat": None, "lon": 1})


@pytest.mark.parametrize(
    ("data", "kind", "path"),
    [
        ({}, "tcp", None),
        ({"path": "/healthz"}, "http", "/healthz"),
        ({"host": "a.b"}, "http", "/"),
        ({"expect": ("200",)}, "http", "/"),
        ({"type": "http"}, "http", "/"),
        ({"type": "tcp", "interval": "5s"}, "tcp", None),
    ],
)
def test_kind_of_probe_follows_from_what_is_said(data, kind, path):
    health = Health.model_validate(data)
    assert (health.type, health.path) == (kind, path)


@pytest.mark.parametrize(
    ("section", "data", "words"),
    [
        (Health, {"type": "tcp", "path": "/x"}, "no path when the type is tcp"),
        (Health, {"timeout": "11s"}, "a timeout of at most its interval 10s, got 11s"),
        (Health, {"interval": "1s", "timeout": "1s", "confirm_interval": "2s"}, "confirm_interval of at most"),
        (KubernetesAccess, {}, "must have context, kubeconfig or in_cluster"),
        (KubernetesAccess, {"in_cluster": False}, "must have context"),
        (KubernetesAccess, {"in_cluster": True, "context": "x"}, "in_cluster alone"),
        (Backend, {"pop": "x"}, "got neither"),
        (Backend, {"pop": "x", "endpoints": ("a:1",), "kubernetes": {"service": "s", "port": 1}}, "got both"),
        (Backend, {"pop": "x", "endpoints": ("a:1", "b:1", "A:1")}, "once, got a:1 more"),
        (Match, {"path_prefix": "/", "path_exact": "/"}, "got both"),
    ],
)
def test_a_section_is_refused_as_a_whole(section, data, words):
    (text,) = texts(section, data)
    assert words in text


@pytest.mark.parametrize("data", [{"context": "a"}, {"kubeconfig": "/k"}, {"context": "a", "kubeconfig": "/k"}, {"in_cluster": True}])
def test_ways_to_a_cluster(data):
    assert KubernetesAccess.model_validate(data).model_dump(exclude_unset=True) == data


@pytest.mark.parametrize(
    ("jurisdiction", "permits"),
    [
        ({}, True),
        ({"continents": ("EU",)}, True),
        ({"continents": ("NA",)}, False),
        ({"countries": ("FR", "DE")}, True),
        ({"regions": ("central",)}, True),
        ({"pops": ("fra",)}, True),
        ({"pops": ("nyc",)}, False),
        ({"continents": ("EU",), "countries": ("FR",)}, False),
        ({"continents": ("NA",), "pops": ("fra",)}, False),
    ],
)
def test_jurisdiction_asks_for_every_list_that_is_given(jurisdiction, permits):
    assert Jurisdiction.model_validate(jurisdiction).permits(pop(country="DE", region="central")) is permits


def test_jurisdiction_fails_closed_on_what_a_pop_does_not_say():
    for key, value in (("continents", "EU"), ("countries", "DE"), ("regions", "x")):
        assert not Jurisdiction.model_validate({key: (value,)}).permits(pop())


def test_a_jurisdiction_list_is_never_empty():
    assert texts(Jurisdiction, {"countries": ()})


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
