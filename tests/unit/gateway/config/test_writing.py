import pytest
import yaml

from gateway.config import parse
from gateway.config._limits import Config
from tests.unit.gateway.config.test_reading import EXAMPLES, FULL


@pytest.mark.parametrize("text", [FULL, *(path.read_text() for path in EXAMPLES)], ids=["full", *(path.stem for path in EXAMPLES)])
def test_effective_tree_reads_back_as_itself(text):
    config = parse(text).config
    written = config.written(False)
    assert parse(written).config == config
    assert parse(written).config.written(False) == written
    assert set(yaml.safe_load(written)) == set(Config.model_fields)
