from hypothesis import given
from hypothesis import strategies as st

from gateway.control.sources.others import derived, ends_of, others


def test_others_are_other_objects_not_other_values():
    one, equal, other = [1], [1], [2]
    assert others([one, equal, other], [one]) == ([1, 2], [])
    assert others([one, other], [other, one]) == ([], [])
    assert others([], [one]) == ([], [0])
    assert others([one, one], []) == ([1], [])  # who stands twice is told once


def test_they_come_in_order():
    these = [object() for _ in range(1000)]
    assert others(these, these[100:]) == (list(range(100)), [])


OBJECTS = [[n] for n in range(6)]
sequences = st.lists(st.integers(0, 5), unique=True).map(lambda numbers: [OBJECTS[n] for n in numbers])


@given(sequences, sequences)
def test_they_are_those_that_the_other_one_has_not(some, than):
    came, went = others(some, than)
    assert came == [place for place, one in enumerate(some) if one not in than]
    assert went == [place for place, one in enumerate(than) if one not in some]


@given(sequences, sequences)
def test_ends_are_the_same_objects_and_no_longer_than_either(some, than):
    first, last = ends_of(some, than)
    assert some[:first] == than[:first] and first + last <= min(len(some), len(than))
    assert some[len(some) - last :] == than[len(than) - last :]
    middle, other = some[first : len(some) - last], than[first : len(than) - last]
    assert not middle or not other or (middle[0] is not other[0] and middle[-1] is not other[-1])


@given(sequences, sequences)
def test_what_is_derived_is_made_once(some, than):
    made = []
    before = tuple(str(one) for one in than)
    assert derived(some, than, before, lambda one: made.append(one) or str(one)) == tuple(map(str, some))
    assert made == [one for one in some if one not in than]
