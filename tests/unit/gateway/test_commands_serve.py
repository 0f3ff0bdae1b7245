import argparse
import resource
import signal

import pytest

from gateway.commands import serve
from gateway.errors import ConfigError


@pytest.fixture(autouse=True)
def signals():
    """As they were before."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_broken_file_is_a_config_error(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("pops: 1")
    parser = argparse.ArgumentParser()
    serve.register(parser.add_subparsers())
    with pytest.raises(ConfigError, match="pops"):
        serve.run(parser.parse_args(["serve", "-c", str(path)]))


def test_the_soft_limit_of_descriptors_becomes_the_hard_one(monkeypatch):
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: told.append(limits))
    serve.raise_descriptors()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (4096, 4096))
    serve.raise_descriptors()
    assert told == [(4096, 4096)]
