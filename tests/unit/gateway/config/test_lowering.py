"""Each section has its like in the model, with the same keys and the same defaults: there they are for other sources."""

import dataclasses

import pytest

from gateway import model
from gateway.config import parse
from gateway.config._faults import all_sections
from gateway.config._lowering import lower
from gateway.config._places import Section
from tests.unit.gateway.config.test_reading import FULL

SAID_OTHERWISE = {"Route": {"service", "split"}, "Steering": {"jurisdiction"}}  # targets, rules
ADDED = {
    "Route": {"targets"},
    "Steering": {"rules"},
    "KubernetesAccess": {"also"},
    "Config": {"refused", "written"},
    **{name: {"source", "namespace"} for name in ("Listener", "Pop", "Service")},
}
SECTIONS = {section.__name__: section for section in all_sections()}


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "Target"])
def test_a_section_and_its_like_have_the_same_keys_and_defaults(name):
    section = SECTIONS[name]
    fields = {one.name: one.default for one in dataclasses.fields(getattr(model, name))}
    named = {"source", "namespace"} if issubclass(getattr(model, name), model.Named) else set()
    assert fields.keys() - ADDED.get(name, set()) - named == section.model_fields.keys() - SAID_OTHERWISE.get(name, set())
    for key, known in section.model_fields.items():
        if key in fields and not known.is_required() and (name, key) != ("Route", "name"):  # which has one in its company alone
            assert fields[key] == lower(known.default), key


def parts(value):
    yield value
    inner = value if isinstance(value, tuple) else ()
    if dataclasses.is_dataclass(value):
        inner = [getattr(value, one.name) for one in dataclasses.fields(value)]
    for part in inner:
        yield from parts(part)


def test_nothing_of_a_file_is_left_in_it():
    config = parse(FULL).config
    assert not any(isinstance(part, Section) for part in parts(config))
    assert len(list(parts(config))) > 300


def test_what_a_file_may_say_in_two_ways_is_said_in_one():
    config = parse(FULL).config
    targets = {route.name: route.targets for route in config.routes}
    assert (targets["shop"], targets["canary"]) == ((("shop", 1),), (("shop", 95), ("spare", 5)))
    assert {route.name: len(route.steering.rules) for route in config.routes if len(route.steering.rules) != 1} == {"canary": 2}
    assert {one.identity.source for one in (*config.listeners, *config.pops, *config.services, *config.routes)} == {"file"}


def test_it_is_written_as_its_file_would_have_it():
    config = parse(FULL).config
    assert parse(config.written(False)).config == parse(config.written(True)).config == config
