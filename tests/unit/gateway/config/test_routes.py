"""Routes and steering: service or split, who may see what, what keeps a client on its PoP; what each refuses."""

import pytest
from pydantic import ValidationError

from gateway.config._places import Pop
from gateway.config._routes import Affinity, ChangeControl, Clients, Jurisdiction, Match, Redirect, Route, Rule, Steering
from gateway.model import permits


def pop(**more):
    return Pop.model_validate({"name": "fra", "lat": 50, "lon": 8.68, **more})


def faults(section, data):
    with pytest.raises(ValidationError) as caught:
        section.model_validate(data)
    found = [(error["loc"], error["msg"]) for error in caught.value.errors()]
    # A list whose items are all faulty is called too short besides.
    return found[:1] if found[0][0][: len(found[-1][0])] == found[-1][0] else found


def test_a_list_may_be_one_value():
    assert Route.model_validate({"service": "x", "match": {"hosts": ("a.b",)}}).match == (Match(hosts=("a.b",)),)


SPLIT = ({"service": "new", "weight": 5}, {"service": "old", "weight": 95})


def test_a_route_has_targets_whether_split_or_not():
    route = Route.model_validate({"service": "x"})
    assert (route.targets, route.service, route.split) == ((("x", 1),), "x", None)
    route = Route.model_validate({"split": SPLIT, "split_sticky": True})
    assert (route.targets, route.service, route.split_sticky) == ((("new", 5), ("old", 95)), "new", True)
    assert Route.model_validate({"split": ({"service": "x"},)}).targets == (("x", 1),)


@pytest.mark.parametrize("data", [{"service": "x"}, {"split": SPLIT}])
def test_a_route_is_written_as_it_was_read(data):
    route = Route.model_validate({"name": "r", **data})
    written = route.model_dump()
    assert ("service" in written) == ("service" in data)
    assert Route.model_validate(written) == route


@pytest.mark.parametrize(
    ("section", "data", "loc", "words"),
    [
        (Match, {"path_prefix": "/", "path_exact": "/"}, (), "got both"),
        (Route, {}, (), "must have either service or split, got neither"),
        (Route, {"service": None}, (), "got neither"),
        (Route, {"service": "x", "split": SPLIT}, (), "must have either service or split, got both"),
        (Route, {"split": ()}, ("split",), "at least 1 item"),
        (Route, {"split": ({"service": "a b"},)}, ("split", 0, "service"), "a name"),
        (Route, {"split": ({"service": "x"}, {"service": "x"})}, (), "must name each service of its split once, got x more"),
        (Route, {"split": ({"service": "x", "weight": 0}, {"service": "y", "weight": 0})}, (), "a split with a weight above 0"),
        (Route, {"split": ({"service": "x", "weight": 1_000_001},)}, ("split", 0, "weight"), "from 0 to 1000000"),
        (Redirect, {"status": 302}, ("status",), "must be 307 or 308"),
        (Redirect, {"status": True}, ("status",), "must be 307 or 308"),
        (Redirect, {"methods": "GET"}, ("methods",), "must be safe or all"),
        (Affinity, {}, (), "exactly one of cookie, header and client: true, got none"),
        (Affinity, {"client": False}, (), "got none"),
        (Affinity, {"cookie": "pop", "client": True}, (), "got cookie and client"),
        (Affinity, {"cookie": "a b"}, ("cookie",), "a name of letters, digits"),
        (Affinity, {"header": "x-id", "within": "11s"}, ("within",), "from 0s to 10s"),
        (Affinity, {"cookie": "pop", "secure": "yes"}, ("secure",), "must be auto, true or false"),
        (Affinity, {"cookie": "pop", "secure": 1}, ("secure",), "must be auto, true or false"),
        (Affinity, {"cookie": "pop", "max_age": "0s"}, ("max_age",), "from 1s to 8760h"),
        (Affinity, {"cookie": "pop", "secure": False, "same_site": "none"}, (), "must not be secure: false with same_site: none"),
        (Clients, {}, (), "must have countries or continents"),
        (Clients, {"countries": ()}, ("countries",), "at least 1 item"),
        (Rule, {"clients": {"countries": ("DE",)}}, ("pops",), "Field required"),
        (Jurisdiction, {"countries": ()}, ("countries",), "at least 1 item"),
        (Steering, {"jurisdiction": ()}, ("jurisdiction",), "at least 1 item"),
        (Steering, {"jurisdiction": 5}, ("jurisdiction",), "valid dictionary or instance"),
        (Steering, {"jurisdiction": {"countries": ("XX",)}}, ("jurisdiction", "countries", 0), "ISO 3166"),
        (Steering, {"jurisdiction": ({"pops": {}}, {"pops": {"countries": ("XX",)}})}, ("jurisdiction", 1, "pops", "countries", 0), "ISO"),
        (Steering, {"jurisdiction": {"continents": ("EU",), "clients": {}}}, ("jurisdiction", "clients"), "not permitted"),
        (ChangeControl, {"pace": 0}, ("pace",), "a share from 1% to 100%, such as 10% or 0.1"),
        (ChangeControl, {"pace": "0.9%"}, ("pace",), "from 1% to 100%"),
        (ChangeControl, {"margin": 2}, ("margin",), "at most 1"),
    ],
)
def test_what_is_not_legal_is_refused_at_its_place(section, data, loc, words):
    ((at, text),) = faults(section, data)
    assert at == loc
    assert words in text


@pytest.mark.parametrize(
    ("jurisdiction", "is_permitted"),
    [
        ({}, True),
        ({"continents": ("EU",)}, True),
        ({"continents": ("NA",)}, False),
        ({"countries": ("FR", "DE")}, True),
        ({"regions": ("central",)}, True),
        ({"pops": ("fra",)}, True),
        ({"pops": ("nyc",)}, False),
        ({"continents": ("EU",), "countries": ("FR",)}, False),
        ({"countries": ("EU27",)}, True),
        ({"countries": ("EEA", "US")}, True),
        ({"continents": ("NA",), "pops": ("fra",)}, False),
    ],
)
def test_jurisdiction_asks_for_every_list_that_is_given(jurisdiction, is_permitted):
    assert permits(Jurisdiction.model_validate(jurisdiction), pop(country="DE", region="central")) is is_permitted


def test_groups_of_countries_stand_for_their_states():
    union = Jurisdiction.model_validate({"countries": ("EU27",)})
    assert [permits(union, pop(country=code)) for code in ("FR", "CY", "GB", "CH", "NO", "RE")] == [True, True, False, False, False, False]
    area = Jurisdiction.model_validate({"countries": ("DE", "EEA", "GB")})
    assert (area.countries[0], len(area.countries), area.countries.count("DE")) == ("DE", 31, 1)
    assert permits(area, pop(country="NO"))
    assert Clients.model_validate({"countries": ("EU27",)}).countries == union.countries
    assert Jurisdiction.model_validate(area.model_dump()) == area  # written back as what it stands for


def test_jurisdiction_fails_closed_on_what_a_pop_does_not_say():
    for key, value in (("continents", "EU"), ("countries", "DE"), ("regions", "x")):
        assert not permits(Jurisdiction.model_validate({key: (value,)}), pop())


def test_a_jurisdiction_is_one_for_all_or_a_list_of_rules():
    everyone = Steering.model_validate({"jurisdiction": {"continents": ("EU",)}})
    assert everyone.rules == (Rule(clients=None, pops=Jurisdiction(continents=("EU",))),)
    assert Steering().rules == (Rule(pops=Jurisdiction()),)
    rules = Steering.model_validate(
        {"jurisdiction": ({"clients": {"continents": ("EU",), "countries": ("TR",)}, "pops": {"countries": ("DE",)}}, {"pops": {}})}
    ).rules
    assert [(rule.clients and (rule.clients.countries, rule.clients.continents), rule.pops.countries) for rule in rules] == [
        ((("TR",), ("EU",)), ("DE",)),
        (None, None),
    ]


@pytest.mark.parametrize(
    "data",
    [
        {"cookie": "pop", "same_site": "none", "secure": True},
        {"cookie": "pop", "secure": False},
        {"header": "x-tenant", "within": "20ms"},
        {"client": True},
    ],
)
def test_kinds_of_affinity(data):
    affinity = Steering.model_validate({"affinity": data}).affinity
    assert {key: str(value) if key == "within" else value for key, value in affinity.model_dump(exclude_unset=True).items()} == data


def test_what_a_route_is_given_unasked():
    steering = Steering()
    assert (steering.mode, steering.redirect.status, steering.redirect.methods, steering.affinity) == ("proxy", 307, "safe", None)
    assert (ChangeControl().pace, ChangeControl().margin) == (0.1, 0.05)
    affinity = Affinity(client=True)
    assert (affinity.within, affinity.same_site, affinity.secure, affinity.max_age) == (0, "lax", "auto", None)
