"""How kinds of values are read and said, whatever they are of."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.config import _leaves as leaves
from gateway.model import Size
from tests.unit.gateway.config.test_units import FOLDER, SIZE


def test_choice_names_all():
    assert leaves.choice("a").legal == "a"
    assert leaves.choice("a", "b").legal == "a or b"
    assert leaves.choice("a", "b", "c").legal == "a, b or c"
    assert leaves.choice(307, 308).legal == "307 or 308"
    assert leaves.choice("auto", True, False).legal == "auto, true or false"


def test_a_share_in_words():
    assert leaves.share(0.01, 1).legal == "a share from 1% to 100%, such as 10% or 0.1"


@given(st.integers(0, 1 << 40))
def test_any_size_is_written_back_as_itself(number):
    assert SIZE.parse(str(Size(number)), FOLDER) == number
