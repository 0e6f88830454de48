"""Of which class a map is: the predicted one, one that the user names, or the contrast of two."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regard.errors import UsageError
from regard.explanation import Target
from regard.networks.network import Network


def resolve(logits: Tensor, target: Target | list[int]) -> tuple[Target, ...]:
    """The class of each picture: `target` where it is given, a list of one for each, else the one with the largest of
    its logits (batch, classes). Raises `UsageError` for a class that does not exist, naming the range."""
    if isinstance(target, list):
        return tuple(resolve(row[None], each)[0] for row, each in zip(logits, target, strict=True))
    count = logits.shape[1]
    classes = target if isinstance(target, tuple) else () if target is None else (target,)
    wrong = [index for index in classes if not 0 <= index < count]
    if wrong:
        raise UsageError(f"there is no class {wrong[0]}; classes go from 0 to {count - 1}")
    if len(classes) == 2 and classes[0] == classes[1]:
        raise UsageError(f"the contrast of class {classes[0]} with itself is nothing; give two classes")
    return (target,) * len(logits) if classes else tuple(int(index) for index in logits.argmax(dim=1))


def scores(logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """(batch,): each picture's logit of its class, or the difference of two."""
    first = torch.tensor([each[0] if isinstance(each, tuple) else each for each in targets], device=logits.device)
    picked = logits.gather(1, first[:, None])[:, 0]
    pairs = [index for index, each in enumerate(targets) if isinstance(each, tuple)]
    if not pairs:
        return picked
    against = torch.zeros_like(picked)
    for index in pairs:
        against[index] = logits[index, targets[index][1]]  # type: ignore[index]
    return picked - against


def as_pairs(targets: tuple[Target, ...]) -> list[tuple[int, int]]:
    """Each class with the one it is contrasted with, -1 for none: tensors are all that captum hands on."""
    return [each if isinstance(each, tuple) else (int(each or 0), -1) for each in targets]


def scorer(network: Network) -> Callable[[Tensor, Tensor], Tensor]:
    """(pictures, their pairs as `as_pairs` gives them) → (pictures,) scores: a network as captum wants it."""

    def score(x: Tensor, pairs: Tensor) -> Tensor:
        targets = [(a, b) if b >= 0 else a for a, b in pairs.tolist()]
        return scores(network.forward(x), targets)

    return score
