from gateway.control.others import places_of_others


def test_others_are_other_objects_not_other_values():
    one, equal, other = [1], [1], [2]
    assert places_of_others([one, equal, other], [one]) == [1, 2]
    assert places_of_others([one, other], [other, one]) == []
    assert places_of_others([], [one]) == []
    assert places_of_others([one, one], []) == [1]  # who stands twice is told once


def test_they_come_in_order():
    these = [object() for _ in range(1000)]
    assert places_of_others(these, these[100:]) == list(range(100))
