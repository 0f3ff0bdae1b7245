import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import (
    Address,
    Backend,
    Config,
    Identity,
    Jurisdiction,
    Listener,
    Match,
    Objects,
    Pop,
    Refused,
    Route,
    Rule,
    Service,
    Steering,
    Target,
    Timeouts,
    merged,
    refused_route,
)

NAMES = st.sampled_from("abcd")


def pop(name, **more):
    return Pop(name=name, lat=0, lon=0, **more)


def service(name, *pops, others=(), **more):
    return Service(name=name, backends=tuple(Backend(pop=one) for one in pops), on_unavailable=tuple(others), **more)


def route(name, *services, **more):
    return Route(name=name, targets=tuple(Target(one, 1) for one in services), **more)


def serving(config):
    return [one for one in config.routes if one.targets]


def test_of_one_source_that_is_whole_all_serve_in_their_order():
    one = Objects(
        listeners=(Listener(name="web", bind=Address("::", 80)),),
        pops=(pop("nyc"), pop("fra")),
        services=(service("shop", "fra", others=["spare"]), service("spare", "nyc")),
        routes=(route("all", "shop", "spare"),),
    )
    config = merged(Config(timeouts=Timeouts(connect=7)), [one])
    assert (config.listeners, config.pops, config.services, config.routes) == (one.listeners, one.pops, one.services, one.routes)
    assert config.timeouts.connect == 7 and config.refused == ()


def test_who_comes_first_keeps_a_name():
    first = Objects(pops=(pop("fra"),), services=(service("shop", "fra"),))
    then = Objects(pops=(pop("fra", source="kubernetes", namespace="a"), pop("nyc", source="kubernetes")))
    config = merged(Config(), [first, then])
    assert [one.identity.source for one in config.pops] == ["file", "kubernetes"]
    assert [str(one) for one in config.refused] == ["pop kubernetes:a/fra: its name is that of file:fra"]


def test_one_broken_object_costs_those_that_need_it_and_no_others():
    said = Objects(
        pops=(pop("fra"),),
        services=(service("shop", "fra"), service("cart", "fra", "nyc"), service("page", "fra", others=["cart"])),
        routes=(route("shop", "shop"), route("cart", "cart", "shop"), route("page", "page")),
        refused=(Refused("pop", pop("nyc").identity, "must have a lat"),),
    )
    config = merged(Config(), [said])
    assert [one.name for one in (*config.services, *serving(config))] == ["shop", "shop"]
    assert [str(one) for one in config.refused] == [
        "pop file:nyc: must have a lat",
        "service file:cart: there is no PoP nyc",
        "service file:page: there is no service cart",
        "route file:cart: there is no service cart",
        "route file:page: there is no service page",
    ]


@pytest.mark.parametrize("kind", ["pops", "services", "routes"])
def test_nothing_is_a_configuration_too(kind):
    assert merged(Config(), [Objects()]) == Config()
    assert getattr(merged(Config(), []), kind) == ()


def matched(*paths):
    return tuple(Match(hosts=("a",), path_prefix=path) for path in paths)


def test_a_route_that_is_refused_goes_on_matching_in_its_place():
    first = Objects(
        pops=(pop("fra"),),
        services=(service("shop", "fra"),),
        routes=(route("all", "shop"), route("cart", "cart", match=matched("/cart"))),
    )
    then = Objects(routes=(route("all", "shop", source="kubernetes", match=matched("/all")), route("good", "shop", match=matched("/good"))))
    config = merged(Config(), [first, then])
    assert [(one.name, bool(one.targets)) for one in config.routes] == [("all", True), ("cart", False), ("all", False), ("good", True)]
    assert [one.match for one in config.routes] == [(Match(),), matched("/cart"), matched("/all"), matched("/good")]
    assert [str(one) for one in config.refused] == [
        "route kubernetes:all: its name is that of file:all",
        "route file:cart: there is no service cart",
    ]


def test_nor_does_one_keep_a_name_from_a_route_that_leads_somewhere():
    refused = refused_route(Identity("folder", "", "all"), "has no service", matched("/a"))
    config = merged(Config(), [refused, Objects(pops=(pop("fra"),), services=(service("shop", "fra"),), routes=(route("all", "shop"),))])
    assert [(one.identity.source, bool(one.targets)) for one in config.routes] == [("folder", False), ("file", True)]
    assert [str(one) for one in config.refused] == ["route folder:all: has no service"]


@pytest.mark.parametrize(
    ("match", "hosts", "kept", "fault"),
    [
        (matched("/a", "/b"), None, matched("/a", "/b"), "is broken"),
        (
            None,
            ("a", "b"),
            (Match(hosts=("a", "b")),),
            "is broken; nor can be read what it matches: all requests of a, b that no other route takes",
        ),
        (None, (), (Match(),), "is broken; nor can be read what it matches: all requests of any host that no other route takes"),
        (None, None, None, "is broken; nor can be read what it matches: its requests are answered by other routes"),
    ],
)
def test_what_can_be_read_of_a_broken_route_matches(match, hosts, kept, fault):
    identity = Identity("folder", "team", "shop")
    found = refused_route(identity, "is broken", match, hosts)
    assert found.refused == (Refused("route", identity, fault),)
    assert [(one.identity, one.match, one.targets) for one in found.routes] == ([] if kept is None else [(identity, kept, ())])


TEAM = {"source": "kubernetes", "namespace": "team"}
OTHERS = {"source": "kubernetes", "namespace": "others"}
FILE = Objects(pops=(pop("fra"),), services=(service("shop", "fra"), service("cart", "fra")), routes=(route("all", "shop"),))


@pytest.mark.parametrize(
    ("said", "faults"),
    [
        # Its own service of that name is the one it means, and that is refused.
        (
            Objects(services=(service("shop", "fra", **TEAM),), routes=(route("team", "shop", **TEAM),)),
            ["service kubernetes:team/shop: its name is that of file:shop", "service shop is another's, file:shop"],
        ),
        (
            Objects(
                refused=(Refused("service", Identity("kubernetes", "team", "shop"), "is broken"),), routes=(route("team", "shop", **TEAM),)
            ),
            ["service kubernetes:team/shop: is broken", "service shop is another's, file:shop"],
        ),
        # Nor does what another namespace has by that name become its own where it has none.
        (
            Objects(services=(service("db", "fra", **OTHERS),), routes=(route("team", "db", "none", **TEAM),)),
            ["there is no service none; service db is another's, kubernetes:others/db"],
        ),
        (
            Objects(pops=(pop("fra", **TEAM),), services=(service("db", "fra", **TEAM),), routes=(route("team", "db", **TEAM),)),
            [
                "pop kubernetes:team/fra: its name is that of file:fra",
                "service kubernetes:team/db: PoP fra is another's, file:fra",
                "there is no service db",
            ],
        ),
        (
            Objects(
                services=(service("shop", "fra", **TEAM), service("db", "fra", others=["shop"], **TEAM)),
                routes=(route("team", "db", **TEAM),),
            ),
            [
                "service kubernetes:team/shop: its name is that of file:shop",
                "service kubernetes:team/db: service shop is another's, file:shop",
                "there is no service db",
            ],
        ),
        (
            Objects(
                pops=(pop("fra", **TEAM),),
                routes=(route("team", "shop", steering=Steering(rules=(Rule(pops=Jurisdiction(pops=("fra",))),)), **TEAM),),
            ),
            ["pop kubernetes:team/fra: its name is that of file:fra", "PoP fra is another's, file:fra"],
        ),
    ],
)
def test_a_name_never_leads_to_an_object_that_is_not_meant_by_it(said, faults):
    config = merged(Config(), [FILE, said])
    assert [str(one) for one in config.refused] == [*faults[:-1], f"route kubernetes:team/team: {faults[-1]}"]
    assert [(one.name, bool(one.targets)) for one in config.routes] == [("all", True), ("team", False)]
    assert merged(config, []) == config


def test_what_is_in_no_namespace_is_named_by_all_and_a_jurisdiction_may_name_a_pop_that_is_not_there():
    steering = Steering(rules=(Rule(pops=Jurisdiction(pops=("fra", "none"))),))
    said = Objects(services=(service("db", "fra", **TEAM),), routes=(route("team", "db", "shop", steering=steering, **TEAM),))
    assert merged(Config(), [FILE, said]).refused == ()


SOURCES = st.lists(
    st.builds(
        Objects,
        pops=st.lists(st.builds(pop, NAMES), max_size=3).map(tuple),
        services=st.lists(
            st.builds(
                lambda name, pops, others: service(name, *pops, others=others),
                NAMES,
                st.sets(NAMES, min_size=1),
                st.sets(NAMES, max_size=2),
            ),
            max_size=4,
        ).map(tuple),
        routes=st.lists(st.builds(lambda name, to: route(name, *to), NAMES, st.sets(NAMES, min_size=1)), max_size=4).map(tuple),
    ),
    max_size=3,
)


@given(SOURCES)
def test_what_serves_is_whole_nobody_is_lost_and_merging_again_changes_nothing(sources):
    config = merged(Config(), sources)
    pops, services = ({one.name for one in some} for some in (config.pops, config.services))
    assert all(backend.pop in pops for one in config.services for backend in one.backends)
    assert all(set(one.on_unavailable) <= services for one in config.services)
    assert all(target.service in services for one in config.routes for target in one.targets)
    for kind, kept in (("pops", config.pops), ("services", config.services), ("routes", serving(config))):
        said = [one for source in sources for one in getattr(source, kind)]
        assert len({one.name for one in kept}) == len(kept)
        assert len(kept) + sum(one.kind == kind.removesuffix("s") for one in config.refused) == len(said)
    assert [(one.name, one.match) for one in config.routes] == [(one.name, one.match) for source in sources for one in source.routes]
    assert merged(config, []) == config
    assert merged(dataclasses.replace(config, routes=()), [Objects(routes=config.routes)]) == config
