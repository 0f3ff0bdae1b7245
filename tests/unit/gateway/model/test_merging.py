import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Address, Backend, Config, Listener, Objects, Pop, Refused, Route, Service, Target, Timeouts, merged

NAMES = st.sampled_from("abcd")


def pop(name, **more):
    return Pop(name=name, lat=0, lon=0, **more)


def service(name, *pops, others=(), **more):
    return Service(name=name, backends=tuple(Backend(pop=one) for one in pops), on_unavailable=tuple(others), **more)


def route(name, *services, **more):
    return Route(name=name, targets=tuple(Target(one, 1) for one in services), **more)


def test_of_one_source_that_is_whole_all_serve_in_their_order():
    one = Objects(
        listeners=(Listener(name="web", bind=Address("::", 80)),),
        pops=(pop("nyc"), pop("fra")),
        services=(service("shop", "fra", others=["spare"]), service("spare", "nyc")),
        routes=(route("all", "shop", "spare"),),
    )
    config, refused = merged(Config(timeouts=Timeouts(connect=7)), [one])
    assert (config.listeners, config.pops, config.services, config.routes) == (one.listeners, one.pops, one.services, one.routes)
    assert config.timeouts.connect == 7 and refused == ()


def test_who_comes_first_keeps_a_name():
    first = Objects(pops=(pop("fra"),), services=(service("shop", "fra"),))
    then = Objects(pops=(pop("fra", source="kubernetes", namespace="a"), pop("nyc", source="kubernetes")))
    config, refused = merged(Config(), [first, then])
    assert [one.identity.source for one in config.pops] == ["file", "kubernetes"]
    assert [str(one) for one in refused] == ["pop kubernetes:a/fra: its name is that of file:fra"]


def test_one_broken_object_costs_those_that_need_it_and_no_others():
    said = Objects(
        pops=(pop("fra"),),
        services=(service("shop", "fra"), service("cart", "fra", "nyc"), service("page", "fra", others=["cart"])),
        routes=(route("shop", "shop"), route("cart", "cart", "shop"), route("page", "page")),
        refused=(Refused("pop", pop("nyc").identity, "must have a lat"),),
    )
    config, refused = merged(Config(), [said])
    assert [one.name for one in (*config.services, *config.routes)] == ["shop", "shop"]
    assert [str(one) for one in refused] == [
        "pop file:nyc: must have a lat",
        "service file:cart: there is no PoP nyc",
        "service file:page: there is no service cart",
        "route file:cart: there is no service cart",
        "route file:page: there is no service page",
    ]


@pytest.mark.parametrize("kind", ["pops", "services", "routes"])
def test_nothing_is_a_configuration_too(kind):
    assert merged(Config(), [Objects()]) == (Config(), ())
    assert getattr(merged(Config(), [])[0], kind) == ()


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
    config, refused = merged(Config(), sources)
    pops, services = ({one.name for one in some} for some in (config.pops, config.services))
    assert all(backend.pop in pops for one in config.services for backend in one.backends)
    assert all(set(one.on_unavailable) <= services for one in config.services)
    assert all(target.service in services for one in config.routes for target in one.targets)
    for kind in ("pops", "services", "routes"):
        kept, said = getattr(config, kind), [one for source in sources for one in getattr(source, kind)]
        assert len({one.name for one in kept}) == len(kept)
        assert len(kept) + sum(one.kind == kind.removesuffix("s") for one in refused) == len(said)
    assert merged(config, []) == (config, ())
    assert merged(dataclasses.replace(config, routes=()), [Objects(routes=config.routes)]) == (config, ())
