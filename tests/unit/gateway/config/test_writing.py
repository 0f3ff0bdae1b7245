import pytest
import yaml

from gateway.config import effective, parse
from tests.unit.gateway.config.test_reading import EXAMPLES, FULL


@pytest.mark.parametrize("text", [FULL, *(path.read_text() for path in EXAMPLES)], ids=["full", *(path.stem for path in EXAMPLES)])
def test_effective_tree_reads_back_as_itself(text):
    config = parse(text).config
    written = effective(config)
    assert parse(written).config == config
    assert effective(parse(written).config) == written
    assert set(yaml.safe_load(written)) == set(type(config).model_fields)
