"""How long many workers take, and which numbers to choose: simulated, and by a formula.

python benchmarks/schedule.py

A worker takes a part, explains its documents and writes them. Now and then one is lost, with the
part that it was at; another one starts, and does that part again, one document at a time.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

import numpy as np

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Times in seconds.

    A worker is lost every ``between_losses`` seconds of its time, on average. ``alone`` is how many
    times longer a document takes alone than in a batch.
    """

    documents: int
    workers: int
    rows_per_part: int
    each: float
    part: float = 0.1
    start: float = 60.0
    between_losses: float = math.inf
    alone: float = 3.0


@dataclass(frozen=True)
class Result:
    hours: float
    again: float
    losses: int


def simulate(plan: Plan, seed: int = 0) -> Result:
    random = np.random.default_rng(seed)
    full, rest = divmod(plan.documents, plan.rows_per_part)
    waiting = [plan.rows_per_part] * full + ([rest] if rest else [])
    again: list[int] = []
    # When each worker is ready for its next part, and when it will be lost.
    ready = [(plan.start, number) for number in range(plan.workers)]
    heapq.heapify(ready)

    def life() -> float:
        return (
            random.exponential(plan.between_losses) if plan.between_losses < math.inf else math.inf
        )

    lost_at = [life() for _ in range(plan.workers)]
    end, tried, losses = 0.0, 0, 0
    while waiting or again:
        now, number = heapq.heappop(ready)
        is_again = bool(again)
        size = again.pop() if is_again else waiting.pop()
        each = plan.each * (plan.alone if is_again else 1)
        done = now + size * each + plan.part
        if done > lost_at[number]:
            tried += min(size, int(max(0.0, lost_at[number] - now) / each))
            again.append(size)
            losses += 1
            done = max(now, lost_at[number]) + plan.start
            lost_at[number] = done + life()
        else:
            tried += size
            end = max(end, done)
        heapq.heappush(ready, (done, number))
    return Result(end / HOUR, tried / plan.documents - 1, losses)


def formula(plan: Plan) -> float:
    """Hours: the work, the parts, what losses cost, the start and, at the end, half a part."""
    of_part = plan.rows_per_part * plan.each
    work = plan.documents * plan.each / plan.workers * (1 + plan.part / of_part)
    # Half a part is lost, a worker starts, and the whole part is done alone, instead of together.
    loss = of_part / 2 + plan.start + of_part * (plan.alone - 1)
    return (work * (1 + loss / plan.between_losses) + plan.start + of_part / 2) / HOUR


def best_rows(plan: Plan) -> int:
    """What writing parts costs is then half of what is lost with them: as for checkpoints."""
    seconds = math.sqrt(plan.part * plan.between_losses / (plan.alone - 0.5))
    return max(1, round(seconds / plan.each))


def main() -> None:
    million = Plan(documents=1_000_000, workers=8, rows_per_part=256, each=0.03)
    ten = replace(million, documents=10_000_000, workers=64, between_losses=24 * HOUR)
    # A billion: a hundred folders of ten million each, one after the other on 1,000 cores.
    folder = replace(ten, workers=1000, rows_per_part=2048, between_losses=6 * HOUR)
    print("documents  workers  rows  a loss every  simulated  formula  again  losses")
    for plan in (
        million,
        ten,
        *(replace(ten, rows_per_part=rows) for rows in (32, 1024, 8192)),
        folder,
    ):
        found = simulate(plan)
        every = "never" if plan.between_losses == math.inf else f"{plan.between_losses / HOUR:g} h"
        print(
            f"{plan.documents:9,}  {plan.workers:7}  {plan.rows_per_part:4}  {every:>12}  "
            f"{found.hours:7.2f} h  {formula(plan):5.2f} h  {found.again:5.2%}  {found.losses:6}"
        )
    print(f"\nbest rows per part for ten million: {best_rows(ten):,}")


if __name__ == "__main__":
    main()
