"""PyTorch: run eagerly, with autograd from the first tap on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import torch

from eli5k.keras.backends import Tensor, to_tensors

_flags_lock = threading.Lock()
# How many runs each wrapped module is in, and which of its parts the user had in training mode.
_running: dict[torch.nn.Module, tuple[int, dict[torch.nn.Module, bool]]] = {}


def differentiate(forward: Callable[..., Any]) -> tuple[Any, list[Tensor], list[Tensor | None]]:
    """Run ``forward`` and differentiate its scores at the taps, all detached.

    See :class:`eli5k.keras.backends.Backend`.
    """
    tapped: list[torch.Tensor] = []

    def tap(tensor: torch.Tensor) -> torch.Tensor:
        torch.set_grad_enabled(True)
        # A tensor after an earlier tap must stay connected to that tap.
        point = tensor.view_as(tensor) if tensor.requires_grad else _leaf(tensor)
        tapped.append(point)
        # The model may work in place, which would change the point, and is an error on a leaf.
        return point.clone()

    with torch.inference_mode(False), torch.no_grad():
        scores, rest = forward(tap)
        if tapped and not torch.is_grad_enabled():
            # The model turned gradients off for a while, and then restored the mode.
            tapped.clear()
            with torch.enable_grad():
                scores, rest = forward(tap)
        with torch.enable_grad():
            # Samples don't mix at inference, so the gradient of the sum is each sample's own.
            totals = scores.sum(dim=0)
        gradients = _gradients(totals, tapped)
    results, tapped = keras.tree.map_structure(_detached, ((scores, rest), tapped))
    return results, tapped, gradients


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    return _usable(tensor).detach().requires_grad_()


def _usable(value: Any) -> Any:
    """Copy a tensor of inference mode, which autograd refuses."""
    return value.clone() if isinstance(value, torch.Tensor) and value.is_inference() else value


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _gradients(totals: torch.Tensor, tapped: list[torch.Tensor]) -> list[torch.Tensor | None]:
    """Compute gradients ``(targets, batch, ...)`` with respect to each tapped tensor."""
    if not totals.requires_grad:
        return [None] * len(tapped)
    if len(totals) == 1:
        gradients = torch.autograd.grad(totals[0], tapped, allow_unused=True)
        return [None if gradient is None else gradient[None] for gradient in gradients]
    each = torch.eye(len(totals), dtype=totals.dtype, device=totals.device)
    again = {"retain_graph": True, "allow_unused": True}
    try:
        return list(torch.autograd.grad(totals, tapped, each, is_grads_batched=True, **again))
    except RuntimeError:  # Some operation has no rule for several gradients at once.
        rows = [torch.autograd.grad(totals, tapped, one, **again) for one in each]
        return [None if column[0] is None else torch.stack(column) for column in zip(*rows)]


def compiled(
    function: Callable[..., Any],
    model_of: Callable[[], keras.Model],
    layers_of: Callable[[keras.Model], list[keras.Layer]],
    is_new: bool,
) -> Callable[..., Any]:
    """Wrap ``function`` to run eagerly in any mode of the user."""
    del is_new
    return _Eager(function, model_of, layers_of)


class _Eager:
    """Function that runs on the model's device and keeps PyTorch's state."""

    def __init__(
        self,
        function: Callable[..., Any],
        model_of: Callable[[], keras.Model],
        layers_of: Callable[[keras.Model], list[keras.Layer]],
    ) -> None:
        self.function = function
        self.model_of = model_of
        self.layers_of = layers_of
        self.is_random = False  # As far as a run has shown it.

    def __call__(self, *args: Any) -> Any:
        model = self.model_of()
        with torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            with at_inference(model, self.layers_of), _assignments_forgotten(model):
                tensors = keras.tree.map_structure(_usable, to_tensors(args))
                result = self.function(*tensors)
            self.is_random = self.is_random or not torch.equal(before, torch.get_rng_state())
        return result


def dry_run(
    function: Callable[[], Any],
    model: keras.Model,
    layers_of: Callable[[keras.Model], list[keras.Layer]],
) -> None:
    """Run ``function`` eagerly."""
    compiled(function, lambda: model, layers_of, is_new=True)()


def draws_random_numbers(function: Any) -> bool:
    """Tell whether a compiled function draws PyTorch's own random numbers."""
    return bool(function.is_random)


def free_memory() -> int | None:
    """Return the card's free bytes, including those that PyTorch caches."""
    if not torch.cuda.is_available():
        return None
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return int(torch.cuda.mem_get_info()[0]) + int(kept)


def limit_threads(count: int) -> None:
    """Limit the number of cores, at any time."""
    torch.set_num_threads(count)


def _assignments_forgotten(model: keras.Model) -> keras.StatelessScope:
    """Keep assignments, such as a seed's next state, out of the variables."""
    inference = [variable for variable in model.variables if variable._value.is_inference()]
    return keras.StatelessScope([(variable, variable.value.clone()) for variable in inference])


@contextmanager
def at_inference(
    model: keras.Model, layers_of: Callable[[keras.Model], list[keras.Layer]]
) -> Iterator[None]:
    """Run on the model's device, and leave every mode as it was."""
    wrapped = [x for x in layers_of(model) if isinstance(x, keras.layers.TorchModuleWrapper)]
    device = next((variable._value.device for variable in model.variables), None)
    # Keras makes new tensors on the device of its own setting.
    there = nullcontext() if device is None else keras.device(_name_of(device))
    # User-compiled code runs as plain Python: a hook that is traced into it would stay there.
    uncompiled = torch.compiler.set_stance("force_eager")
    with torch.inference_mode(False), torch.no_grad(), _flags_kept(wrapped), there, uncompiled:
        yield


def _name_of(device: torch.device) -> str:
    """Return a device's name as Keras compares it, such as "cuda"."""
    is_default = torch.empty(0, device=device.type).device == device
    return device.type if is_default else str(device)


@contextmanager
def _flags_kept(wrapped: list[torch.nn.Module]) -> Iterator[None]:
    """Restore wrapped modules, which Keras switches to evaluation when called."""
    with _flags_lock:
        for module in wrapped:
            runs, flags = _running.get(module) or (0, {m: m.training for m in module.modules()})
            _running[module] = runs + 1, flags
    try:
        yield
    finally:
        with _flags_lock:
            for module in wrapped:
                runs, flags = _running.pop(module)
                if runs > 1:
                    _running[module] = runs - 1, flags
                    continue
                for part, training in flags.items():
                    part.training = training
