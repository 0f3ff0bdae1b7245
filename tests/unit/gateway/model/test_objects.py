import dataclasses

import pytest

from gateway.model import Backend, Config, Identity, Jurisdiction, Pop, Route, Service, Target


def test_an_object_is_known_by_who_said_it_and_its_name():
    one = Service(name="shop", backends=(Backend(pop="fra"),))
    other = Service(name="shop", source="kubernetes", namespace="team-a", backends=(Backend(pop="fra"),))
    assert one.identity == Identity("file", "", "shop") != other.identity
    assert (str(one.identity), str(other.identity)) == ("file:shop", "kubernetes:team-a/shop")
    assert one != other


def test_objects_can_be_compared_hashed_and_not_changed():
    one = Route(name="all", targets=(Target("shop", 1),))
    assert one == Route(name="all", targets=(Target("shop", 1),)) and hash(one) == hash(dataclasses.replace(one))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "none"


def test_how_a_source_writes_it_makes_no_difference():
    assert Config() == Config(written=lambda is_ascii: "gateway: {}")
    assert Config().written(True) == ""


@pytest.mark.parametrize(
    ("jurisdiction", "is_permitted"),
    [
        (Jurisdiction(), True),
        (Jurisdiction(countries=("DE", "FR")), True),
        (Jurisdiction(countries=("DE",), continents=("NA",)), False),
        (Jurisdiction(regions=("west",)), False),  # it says none
        (Jurisdiction(pops=("fra",)), True),
        (Jurisdiction(pops=()), False),
    ],
)
def test_a_pop_must_be_in_every_list_that_is_given(jurisdiction, is_permitted):
    assert jurisdiction.permits(Pop(name="fra", lat=50, lon=8, country="DE", continent="EU")) is is_permitted
