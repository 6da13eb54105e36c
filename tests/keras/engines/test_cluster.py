"""Ray is started with care, and a run that can't work is refused before it begins."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from eli5k.keras.engines import cluster
from eli5k.keras.engines.cluster import Demand, connected

pytestmark = pytest.mark.once


class FakeRay:
    """Starts at the given attempt, with the given resources."""

    def __init__(self, starts_at=1, there=None, free=None):
        self.starts_at, self.there = starts_at, there or {"CPU": 3.0}
        self.free = free or self.there
        self.attempts, self.stops, self.keywords, self.token = 0, 0, {}, None

    def is_initialized(self):
        return False

    def init(self, **keywords):
        self.attempts += 1
        self.keywords, self.token = keywords, os.environ.get("RAY_AUTH_TOKEN")
        if self.attempts < self.starts_at:
            raise Exception("The current node timed out during startup")

    def shutdown(self):
        self.stops += 1

    def cluster_resources(self):
        return self.there

    def available_resources(self):
        return self.free


@pytest.fixture
def start(monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    cluster._token.cache_clear()
    for name in (*cluster.ON_THIS_MACHINE, "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def with_ray(ray, demand, address=None):
        monkeypatch.setattr(cluster, "_imported", lambda: ray)
        with connected(address, demand) as found:
            assert found is ray
            return SimpleNamespace(environment=dict(os.environ))

    return with_ray


def test_start_is_tried_twice_and_then_fails_with_what_to_do(start):
    ray = FakeRay(starts_at=2)
    start(ray, Demand(workers=2))
    assert (ray.attempts, ray.stops) == (2, 2)
    ray = FakeRay(starts_at=3)
    with pytest.raises(RuntimeError, match=r"two attempts .*timed out.* eli5k.explain_to"):
        start(ray, Demand(workers=2))
    assert ray.attempts == 2


def test_workers_get_one_processor_less_than_there_are(start, monkeypatch):
    monkeypatch.setattr(cluster, "WAIT", 0)
    ray = FakeRay(there={"CPU": 2.0})
    with pytest.raises(RuntimeError, match=r"workers=2 .* need 3 CPUs .* there are 2 in the Ray"):
        start(ray, Demand(workers=2), address="auto")
    assert ray.stops == 1
    ray = FakeRay(there={"CPU": 8.0}, free={"CPU": 1.0})
    with pytest.raises(RuntimeError, match=r"there are 1 .* Others use the rest"):
        start(ray, Demand(workers=2), address="auto")


def test_what_has_just_ended_is_waited_for(start, monkeypatch):
    monkeypatch.setattr(cluster, "PAUSE", 0)
    ray = FakeRay(there={"CPU": 8.0})
    free = iter([{"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 8.0}])
    monkeypatch.setattr(ray, "available_resources", lambda: next(free))
    start(ray, Demand(workers=2), address="auto")
    assert next(free, None) is None


@pytest.mark.parametrize(
    ("workers", "share", "cards", "is_enough"),
    [
        (4, 0.5, 2, True),
        (5, 0.5, 2, False),
        (3, 0.34, 1, False),
        (3, 0.33, 1, True),
        (2, 2, 4, True),
    ],
)
def test_worker_is_not_split_between_graphics_cards(workers, share, cards, is_enough):
    demand = Demand(workers=workers, gpus_per_worker=share)
    assert bool(demand.missing({"CPU": 99, "GPU": cards})) is not is_enough


def test_own_ray_has_a_token_of_its_own_and_leaves_no_variables(start):
    before = dict(os.environ)
    first, second = FakeRay(), FakeRay()
    inside = start(first, Demand(workers=2)).environment
    start(second, Demand(workers=2))
    assert inside["RAY_AUTH_MODE"] == "token"
    assert len(first.token) == 64
    # Ray keeps the first one that a process has.
    assert first.token == second.token
    assert os.environ == before
    assert first.keywords["num_cpus"] == 3
    # A cluster of the user's has its own rules.
    other = FakeRay()
    inside = start(other, Demand(workers=2), address="auto").environment
    assert inside == before
    assert other.keywords["address"] == "auto"


def test_half_a_card_leaves_memory_to_the_other_half(start):
    ray = FakeRay(there={"CPU": 3.0, "GPU": 1.0})
    start(ray, Demand(workers=2, gpus_per_worker=0.5))
    variables = ray.keywords["runtime_env"]["env_vars"]
    assert variables["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert variables["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")


def test_ray_of_a_program_that_has_imported_it_is_left_as_it_is(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    ray = FakeRay()
    inside = start(ray, Demand(workers=2)).environment
    assert "RAY_AUTH_MODE" not in inside
    assert ray.token is None
