"""What most stories begin with: two PoPs and a gateway before them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.serving import Backend, Served, backends, served


@pytest.fixture
def pops() -> Iterator[list[Backend]]:
    with backends("fra", "nyc") as two:
        yield two


@pytest.fixture
def gateway(tmp_path: Path, pops: list[Backend]) -> Iterator[Served]:
    with served(tmp_path, fra=pops[0].address, nyc=pops[1].address) as one:
        yield one
