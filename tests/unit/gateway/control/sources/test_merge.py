import pytest

from gateway.control.sources.merge import Merge, Said
from gateway.model import Backend, Config, Match, Objects, Pop, Refused, Route, Service, Target

FRA = Pop(name="fra", lat=50.0, lon=8.0)
SHOP = Service(name="shop", backends=(Backend(pop="fra"),))
CONFIG = Config(pops=(FRA,), services=(SHOP,), routes=(Route(name="all", targets=(Target("shop", 1),)),))


def route(name, service, source="folder"):
    return Route(name=name, source=source, match=(Match(path_prefix=f"/{name}"),), targets=(Target(service, 1),))


def names(config):
    return [(one.name, bool(one.targets)) for one in config.routes]


def use(merge, *sources):
    for source in sources:
        merge.in_use = merge.with_word(source)


def test_alone_a_file_is_what_is_used_as_it_is():
    merge = Merge(CONFIG)
    assert merge.with_file(CONFIG).merged() is CONFIG and merge.silent == [] and merge.refused(CONFIG) == {"file": 0}


def test_what_one_source_says_leaves_what_the_others_said():
    merge = Merge(CONFIG)
    one, other = merge.add("one"), merge.add("other")
    one(Objects(routes=(route("a", "shop", "one"), route("b", "none", "one"))))
    other(Objects(routes=(route("c", "shop", "other"),)))
    use(merge, "one", "other")
    config = merge.in_use.merged()
    assert names(config) == [("all", True), ("a", True), ("b", False), ("c", True)]
    assert merge.refused(config) == {"file": 0, "one": 1, "other": 0}
    one(Objects(refused=(Refused("route", route("a", "shop", "one").identity, "is broken"),)))
    config = merge.with_word("one").merged()
    assert names(config) == [("all", True), ("c", True)] and merge.refused(config) == {"file": 0, "one": 1, "other": 0}
    assert merge.refused(CONFIG) == {"file": 0, "one": 0, "other": 0}


def test_sources_keep_their_places_whoever_speaks_first():
    merge = Merge(CONFIG)
    one, other = merge.add("one"), merge.add("other")
    other(Objects(routes=(route("a", "shop", "other"),)))
    one(Objects(routes=(route("a", "shop", "one"),)))
    use(merge, "other", "one")
    config = merge.in_use.merged()
    assert [(one.source, bool(one.targets)) for one in config.routes] == [("file", True), ("one", True), ("other", False)]


def test_who_was_not_heard_is_silent_until_its_word_is_in_use():
    merge = Merge(CONFIG)
    one = merge.add("one")
    one(Objects())
    other = merge.add("other")
    assert merge.silent == ["one", "other"] and merge.news["one"].is_set() and not merge.news["other"].is_set()
    use(merge, "one", "other")
    assert merge.silent == ["other"] and merge.in_use == Said(CONFIG, (Objects(), None))
    other(Objects())
    assert merge.silent == ["other"] and merge.with_file(CONFIG) == merge.with_word("one") == merge.in_use
    use(merge, "other")
    assert merge.silent == []


@pytest.mark.parametrize("name", ["file", "one"])
def test_a_name_is_one_sources(name):
    merge = Merge(CONFIG)
    merge.add("one")
    with pytest.raises(ValueError, match=f"must have a name of its own, got '{name}'"):
        merge.add(name)
