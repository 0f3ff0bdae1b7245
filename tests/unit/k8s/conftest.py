"""Certificates, made once a session."""

from pathlib import Path

import pytest

from tests.k8s.authority import make_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))
