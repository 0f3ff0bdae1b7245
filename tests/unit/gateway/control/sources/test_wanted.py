from gateway.control.sources.wanted import names_of, sources_of
from k8s import ServiceKey
from tests.unit.gateway.control.following import KEY, TEXT
from tests.unit.gateway.control.helpers import TWO_POPS, config_of


def test_names_are_those_that_need_resolving():
    assert names_of(config_of(TEXT)) == {"web.example.com"}


def test_each_pool_has_the_service_it_is_of_or_none():
    config = config_of(TEXT)
    fra, nyc = config.pops[0].kubernetes, config.pops[1].kubernetes
    found = [(backend.pop, source) for _, backend, source in sources_of(config)]
    assert found == [("fra", (fra, KEY)), ("nyc", (nyc, ServiceKey("shop", "web", 80))), ("sin", None)]


def test_a_name_is_looked_up_as_it_was_written():
    """With the dot that keeps search domains away."""
    config = config_of(TWO_POPS.replace("192.0.2.1:80", "Web.Example.com.:80").replace("192.0.2.3:80", "web:80"))
    assert names_of(config) == {"web.example.com.", "web"}
