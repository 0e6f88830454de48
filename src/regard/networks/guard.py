"""The one guard for working on somebody's network: whatever happens inside, it is handed back exactly as it was."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from regard.errors import UsageError

FUSED = "sdpa"
"""What transformers calls torch's fused attention."""

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_locking = threading.Lock()


def lock_of(module: nn.Module) -> threading.RLock:
    """The one lock of a module, held while it runs: hooks and modes set for one call must not meet another's."""
    with _locking:
        return _locks.setdefault(module, threading.RLock())


def is_sealed(module: nn.Module) -> bool:
    """Whether a module is TorchScript: it runs, but its parts cannot be watched."""
    return isinstance(module, torch.jit.ScriptModule)


def is_quantised(module: nn.Module) -> bool:
    """Whether parts of a module compute in whole numbers, through which no gradient comes."""
    return any(".quantized" in type(part).__module__ for part in module.modules())


@contextmanager
def usable(device: object) -> Iterator[None]:
    """While a network is moved to a device: `UsageError` where that cannot be used."""
    try:
        yield
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UsageError(f"device {str(device)!r} cannot be used here ({reason}); give cpu, cuda or mps") from error


@contextmanager
def borrowed(
    module: nn.Module, *, frozen: bool = False, switches: Iterable[tuple[str, Any]] = ()
) -> Iterator[list[RemovableHandle]]:
    """`module` in evaluation mode; hooks appended to the list it yields are removed at the end.

    The training flag of every submodule is put back one by one, because a user may have frozen only some of them.
    Compiled calls are off, since what passes inside them cannot be seen, and fused attention is on, since that is where
    it is seen. `frozen`: no weight asks for a gradient, so that gradients cost no more than what is differentiated.
    `switches` are attributes of transformers' configurations with the values they have inside.
    """
    handles: list[RemovableHandle] = []
    parts = list(module.modules())
    modes = [(part, "training", True, False) for part in parts if part.training]
    changes = [*modes, *_calling(parts), *_configurations(parts, switches)]
    if frozen:
        changes += [(weight, "requires_grad", True, False) for weight in module.parameters() if weight.requires_grad]
    try:
        for owner, name, _, value in changes:
            setattr(owner, name, value)
        yield handles
    finally:
        for handle in handles:
            handle.remove()
        for owner, name, value, _ in reversed(changes):
            setattr(owner, name, value)


def _calling(parts: list[nn.Module]) -> Iterator[tuple[Any, str, Any, Any]]:
    """(owner, attribute, value outside, value inside) of how parts are called and attend.

    Attributes are looked up in `vars`: a module's own look-up is slow where there is none, and there are hundreds.
    """
    for part in parts:
        if is_sealed(part):
            continue
        has = vars(part)
        if has.get("_compiled_call_impl") is not None:
            yield part, "_compiled_call_impl", part._compiled_call_impl, None
        inside: Any = part._modules.get("_orig_mod")
        if inside is not None:  # torch.compile's wrapper around a part
            yield part, "forward", part.forward, inside.__call__
        if has.get("fused_attn", True) is False:
            yield part, "fused_attn", False, True
        if has.get("grad_checkpointing", False) is True:  # would run every block twice, and record it twice
            yield part, "grad_checkpointing", True, False


def _configurations(parts: list[nn.Module], switches: Iterable[tuple[str, Any]]) -> Iterator[tuple[Any, str, Any, Any]]:
    """The same of transformers' configurations, which many parts share."""
    configurations: dict[int, Any] = {id(part.config): part.config for part in parts if "config" in vars(part)}
    for config in configurations.values():
        if getattr(config, "_attn_implementation", None) not in (None, FUSED):
            yield config, "_attn_implementation_internal", config._attn_implementation_internal, FUSED
        for name, value in switches:
            if hasattr(config, name):
                yield config, name, getattr(config, name), value


@contextmanager
def eager_attention(part: Any, on: bool = True) -> Iterator[None]:
    """Inside, with `on`, a part of transformers' (a decoder, say) writes its attention out instead of fusing it."""
    before = part.config._attn_implementation_internal
    if on:
        part.config._attn_implementation_internal = "eager"
    try:
        yield
    finally:
        part.config._attn_implementation_internal = before


@contextmanager
def replaced_forwards(module: nn.Module, forwards: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Parts of `module`, by path, with other functions in the place of their forward; put back at the end."""
    parts = {path: module.get_submodule(path) for path in forwards}
    before = {path: vars(part).get("forward") for path, part in parts.items()}
    try:
        for path, part in parts.items():
            part.__dict__["forward"] = forwards[path]
        yield
    finally:
        for path, part in parts.items():
            if before[path] is None:
                part.__dict__.pop("forward", None)
            else:
                part.__dict__["forward"] = before[path]
