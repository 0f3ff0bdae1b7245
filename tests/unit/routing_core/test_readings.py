from routing_core import EndpointFigures, Figures, PoolFigures


def test_what_is_read_has_the_keys_that_are_promised():
    figures = Figures(1)
    assert set(figures.read_endpoint(figures.acquire("endpoint"))) == EndpointFigures.__required_keys__
    assert set(figures.read_pool(figures.acquire("pool"))) == PoolFigures.__required_keys__
