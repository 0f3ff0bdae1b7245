"""The budget: what is owed for work, and what a quiet time pays."""

import pytest

from k8s import Budget


def test_work_owes_as_much_rest_and_a_little_is_put_off() -> None:
    budget = Budget(0.5)
    assert budget.rest_s(10.0, 10.015) == 0
    assert budget.rest_s(10.015, 10.025) == pytest.approx(0.025)
    assert Budget(0.25).rest_s(0.0, 0.1) == pytest.approx(0.3)


def test_a_quiet_time_pays_and_is_not_saved_up() -> None:
    budget = Budget(0.5)
    budget.rest_s(0.0, 0.1)
    assert budget.rest_s(0.15, 0.2) == pytest.approx(0.1)
    assert budget.rest_s(1000.0, 1000.1) == pytest.approx(0.1)


def test_many_who_share_it_take_no_more_than_one() -> None:
    budget, now, worked = Budget(0.5), 0.0, 0.0
    free_at = [0.0] * 10
    while now < 20.0:  # each decodes for 10 ms whenever it may
        one = min(range(10), key=free_at.__getitem__)
        now = max(now, free_at[one])
        now, worked = now + 0.01, worked + 0.01
        free_at[one] = now + budget.rest_s(now - 0.01, now)
    assert worked == pytest.approx(now / 2, rel=0.05)
