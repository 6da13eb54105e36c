"""Start Ray or connect to it, and check its resources."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eli5k.keras.backends import backend_name
from eli5k.keras.decoding import core_count

LOCAL = "local"
# Keep one processor free: Ray Data's own tasks would wait for ever.
RESERVE = 1
# Only names of documents and counts are sent.
OBJECTS = 200_000_000
# Seconds to wait for what others use, and between two looks.
WAIT, PAUSE = 30, 0.5
# For Ray on this machine alone, set before it is imported. The last one is what makes it listen on
# the loopback, on Linux too: given the address 127.0.0.1, it looks for another one.
ON_THIS_MACHINE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a run asks of a cluster.

    Attributes
    ----------
    workers : int
    gpus_per_worker : float
        Such as 0.5, for two workers on each.

    Examples
    --------
    >>> Demand(workers=4, gpus_per_worker=0.5).missing({"CPU": 4.0})
    ['5 CPUs (one for each worker, one for reading) and there are 4', '2 GPUs and there are 0']
    """

    workers: int
    gpus_per_worker: float = 0.0

    def missing(self, there: Mapping[str, float]) -> list[str]:
        """Describe the resources that a cluster lacks."""
        cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
        needed = self.workers + RESERVE
        # A worker can't be split between two machines.
        per_gpu = int(1 / self.gpus_per_worker + 1e-9) if 0 < self.gpus_per_worker < 1 else 1
        cards = -(-self.workers // per_gpu) * max(1, self.gpus_per_worker)
        found = []
        if cpus < needed:
            found.append(
                f"{needed} CPUs (one for each worker, one for reading) and there are {cpus:g}"
            )
        if self.gpus_per_worker and gpus < cards:
            found.append(f"{cards:g} GPUs and there are {gpus:g}")
        return found


def default_workers() -> int:
    """Return how many workers suit this machine: one for each core.

    Examples
    --------
    >>> default_workers() >= 1
    True
    """
    return core_count()


@contextlib.contextmanager
def connected(address: str | None, demand: Demand) -> Iterator[Any]:
    """Connect to Ray, and leave it as it was.

    Parameters
    ----------
    address : str or None
        Address of a cluster; None starts Ray on this machine, and stops it at the end.
    demand : Demand

    Yields
    ------
    module
        ``ray``.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ConnectionError
        If there is no cluster at the address.
    RuntimeError
        If Ray can't be started, or has too little for the demand.
    """
    is_local = address in (None, LOCAL)
    # A program that has imported Ray before has decided on its interfaces and its token.
    is_ours = "ray" not in sys.modules or _token.cache_info().currsize > 0
    with _environment(ON_THIS_MACHINE if is_local and is_ours else {}):
        ray = _imported()
        was_connected = ray.is_initialized()
        if not was_connected:
            if is_local:
                _start(ray, demand)
            else:
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    runtime_env=_of_workers(demand),
                )
        try:
            _check(ray, demand, address)
            with _quiet():
                yield ray
        finally:
            if not was_connected:
                ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave to Ray Data's log file what it would print about a run that goes well."""
    handlers = logging.getLogger("ray.data").handlers
    printing = [each for each in handlers if isinstance(each, logging.StreamHandler)]
    levels = [each.level for each in printing]
    for each in printing:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(printing, levels):
            each.setLevel(level)


def _imported() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            f"Ray Data could not be imported ({error}): pip install 'eli5k[ray]'."
        ) from error
    return ray


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables that the user has not set, for a while."""
    new = {name: value for name, value in variables.items() if name not in os.environ}
    if "RAY_AUTH_MODE" in new and "RAY_AUTH_TOKEN" not in os.environ:
        # Otherwise Ray writes one into the user's home.
        new["RAY_AUTH_TOKEN"] = _token()
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@functools.cache
def _token() -> str:
    """Return this process's token.

    Ray keeps the first one that it was given.
    """
    return secrets.token_hex(32)


def _start(ray: Any, demand: Demand) -> None:
    """Start Ray on this machine; try twice if it is busy."""
    for attempt in (1, 2):
        try:
            ray.init(
                address=LOCAL,
                num_cpus=demand.workers + RESERVE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                object_store_memory=OBJECTS,
                runtime_env=_of_workers(demand),
            )
        # Ray has no exception class for this.
        except Exception as error:
            ray.shutdown()
            if attempt == 2:
                raise RuntimeError(
                    f"Ray did not start on this machine in two attempts ({error}). Is it very "
                    "busy, or short of memory or of space in /tmp? Try again later, start Ray "
                    "yourself (ray start --head) and pass address='auto', or use one machine "
                    "without Ray: eli5k.explain_to, in the shell --engine local."
                ) from error
        else:
            return


def _of_workers(demand: Demand) -> dict[str, Any]:
    """Return the workers' environment: this backend, one thread each."""
    variables = {"KERAS_BACKEND": backend_name(), "OMP_NUM_THREADS": "1"}
    if 0 < demand.gpus_per_worker < 1:
        # Each worker would take all memory of the card.
        variables |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return {"env_vars": {name: os.environ.get(name, value) for name, value in variables.items()}}


def _check(ray: Any, demand: Demand, address: str | None) -> None:
    where = "Ray on this machine" if address in (None, LOCAL) else f"the Ray cluster at {address!r}"
    for there, seconds, hint in (
        (ray.cluster_resources, 0, "Pass fewer workers, or start Ray with more."),
        # Workers of a run that has just ended are there for a moment longer.
        (ray.available_resources, WAIT, "Others use the rest: wait, or pass fewer workers."),
    ):
        end = time.monotonic() + seconds
        while (missing := demand.missing(there())) and time.monotonic() < end:
            time.sleep(PAUSE)
        if missing:
            raise RuntimeError(
                f"workers={demand.workers} and gpus_per_worker={demand.gpus_per_worker:g} need "
                f"{', and '.join(missing)} in {where}. {hint}"
            )
