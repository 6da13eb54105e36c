"""What the page about millions of documents says of time is what a simulation of workers gives."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

schedule = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "schedule.py"))
HOUR, simulate, formula = (schedule[name] for name in ("HOUR", "simulate", "formula"))
PLAN = schedule["Plan"](
    documents=500_000, workers=16, rows_per_part=256, each=0.03, between_losses=0.2 * HOUR
)


@pytest.mark.parametrize(
    "change",
    [{}, {"rows_per_part": 2048}, {"workers": 4}, {"between_losses": HOUR}, {"alone": 1.0}],
)
def test_formula_is_what_workers_take(change):
    plan = replace(PLAN, **change)
    hours = [simulate(plan, seed).hours for seed in range(4)]
    assert sum(hours) / 4 == pytest.approx(formula(plan), rel=0.1)


def test_workers_that_are_never_lost_share_the_work_out():
    plan = replace(PLAN, documents=1600, rows_per_part=10, between_losses=float("inf"))
    found = simulate(plan)
    # Ten parts each, after the start.
    assert found.hours * HOUR == pytest.approx(60 + 10 * (10 * 0.03 + 0.1))
    assert (found.again, found.losses) == (0, 0)


def test_best_part_is_better_than_a_far_smaller_or_larger_one():
    best = schedule["best_rows"](PLAN)
    times = [
        sum(simulate(replace(PLAN, rows_per_part=rows), seed).hours for seed in range(6))
        for rows in (best // 8, best, best * 8)
    ]
    assert times[1] == min(times)
