"""Predictors in other processes: one that was loaded by a name is pickled as that name, and loaded once a process."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.errors import NetworkError, RegardError

_HELD = 2
"""Networks that a process holds on to for the predictors that it will be sent."""
_held: OrderedDict[str, Any] = OrderedDict()
_holding = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """What loads a predictor again: the name or path of its network, and the other arguments."""

    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(model: Any, arguments: Mapping[str, Any]) -> "Recipe | None":
        """The recipe of what is named, with paths as other processes find them; None for a network that was given."""
        if not isinstance(model, str | Path):
            return None
        weights = arguments.get("weights")
        places = {} if weights is None else {"weights": str(Path(weights).absolute())}
        is_path = isinstance(model, Path) or Path(model).exists()
        return Recipe(str(Path(model).absolute() if is_path else model), {**arguments, **places})


def restored(kind: type, recipe: Recipe, digest: str) -> Any:
    """The predictor of a recipe, whose network this process loads once.

    Raises `NetworkError` where the name stands for other weights here, or for none.
    """
    with _holding:
        key = f"{kind.__module__}.{kind.__qualname__} {recipe} {digest}"
        predictor = _held.get(key)
        if predictor is None or predictor.network.weights_hash() != digest:  # what was written to is loaded anew
            predictor = _loaded(kind, recipe, digest)
        _held[key] = predictor
        _held.move_to_end(key)
        while len(_held) > _HELD:
            _held.popitem(last=False)
        return predictor


def _loaded(kind: type, recipe: Recipe, digest: str) -> Any:
    carry = f"give regard.{kind.__name__} what regard.load gave, which is pickled with its weights"
    try:
        predictor = kind(recipe.model, **recipe.arguments)
    except RegardError as error:
        raise NetworkError(f"{recipe.model} could not be loaded in this process: {error}; or {carry}") from error
    loaded = predictor.network.weights_hash()
    if loaded != digest:
        raise NetworkError(
            f"{recipe.model} is another network here than where it was pickled: its weights have the SHA-256 "
            f"{loaded[:12]}, and {digest[:12]} was pickled; give all machines the same files, or {carry}"
        )
    return predictor


class Pickled:
    """A predictor whose pickle holds the name of its network and the hash of its weights, not the weights.

    One around a network that was given, or that was changed since, is pickled with that network. Copies made by `copy`
    are of the predictor as it is.
    """

    network: Any
    provenance: Any
    _recipe: tuple[Recipe, Any, Any] | None = None  # of which network, and its weights as they were loaded

    def _remember(self, model: Any, arguments: Mapping[str, Any]) -> None:
        """Say what the network was loaded by."""
        recipe = Recipe.of(model, arguments)
        if recipe is not None:
            self._recipe = recipe, self.network, state_of(self.network.module)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._recipe is not None:
            recipe, network, state = self._recipe
            if network is self.network and state == state_of(network.module):
                return restored, (type(self), recipe, self.provenance["weights_sha256"])
        return type(self), (self.network,)

    def __copy__(self) -> Any:
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update(deepcopy(vars(self), memo))
        return copied


def state_of(module: Any) -> list[tuple[int, int | None]]:
    """What changes when a weight is replaced or written to, as torch counts it (not writes to `weight.data`)."""
    # by hand, as `parameters()` and `buffers()` walk the module once each, which would show in the time of a map
    tensors = (
        tensor
        for part in module.modules()
        for tensor in (*part._parameters.values(), *part._buffers.values())
        if tensor is not None
    )
    # what was made in inference mode has no version: of that only another tensor is seen
    return [(id(each), None if each.is_inference() else each._version) for each in tensors]
