"""What is to be learned from each picture: its label, its labels, or one of its captions; and the loss of an answer.

The loop knows pictures and steps; all that differs between tasks is here. A picture's target is a function of (seed,
epoch, index) and of the random changes that were drawn for it, like the order of pictures and those changes themselves.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import default_rng
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from regard.data.images.augment import Changes
from regard.errors import UsageError
from regard.networks.network import logits_of

CHOICE = 0xCA97  # keeps the numbers that choose captions apart from those that order and change pictures

Indices = Sequence[int] | NDArray[np.int64]


class Objective(ABC):
    """The targets of all pictures of a part, and how answers are scored against them.

    `best_by` names the score of an epoch, among what `validate` gives, by which the best is kept.
    """

    best_by = "validation_top1"

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    @abstractmethod
    def target(self, index: int, epoch: int, changes: Changes) -> NDArray[Any]:
        """What a picture teaches in an epoch, as it was changed: () for a label, (labels,) for which of several there
        are, (tokens,) for a caption."""

    def mixed(self, one: NDArray[Any], other: NDArray[Any], share: float) -> NDArray[Any]:
        """What two pictures in one teach, `share` of it the first. Raises `UsageError` where that is nothing."""
        raise UsageError("two pictures in one have no one caption; leave --mixup and --cutmix out")

    @abstractmethod
    def weight(self, indices: Indices, epoch: int) -> float:
        """How much these pictures count together: a step's loss is divided by it."""

    @abstractmethod
    def logits(self, module: nn.Module, inputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """The logits for a batch: `inputs` as the loader gives them, `targets` as `collate` made them."""

    @abstractmethod
    def losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(pictures,) each: the summed loss of a picture, and how many answers of it are right."""

    @abstractmethod
    def chance_loss(self) -> float:
        """The loss of guessing evenly, for each unit of weight."""

    @abstractmethod
    def summary(self, loss: float, right: float, weight: float, pictures: int) -> Mapping[str, Any]:
        """An epoch's sums as a line of metrics has them."""

    def collate(self, targets: Sequence[NDArray[Any]]) -> Tensor:
        """The targets of several pictures as one tensor: padded at the end with -1 where they differ in length."""
        longest = max((target.shape[0] for target in targets if target.ndim), default=0)
        rows = [
            np.pad(target, (0, longest - len(target)), constant_values=-1) if longest else target for target in targets
        ]
        return torch.from_numpy(np.stack(rows))  # (pictures,) or (pictures, tokens)


class LabelObjective(Objective):
    """A class for each picture: `labels` (pictures,) among `classes`; `class_weights` (classes,) or None."""

    def __init__(
        self, labels: NDArray[np.int64], classes: int, class_weights: Tensor | None = None, smoothing: float = 0.0
    ) -> None:
        self.labels = labels
        self.classes = classes
        self.class_weights = class_weights
        self.smoothing = smoothing

    def __len__(self) -> int:
        return len(self.labels)

    def target(self, index: int, epoch: int, changes: Changes) -> NDArray[np.int64]:
        return self.labels[index]

    def mixed(self, one: NDArray[Any], other: NDArray[Any], share: float) -> NDArray[Any]:
        """(classes,) float32: how much of the picture each class is."""
        target = np.zeros(self.classes, np.float32)
        target[int(one)] = share
        target[int(other)] += 1 - share
        return target

    def weight(self, indices: Indices, epoch: int) -> float:
        if self.class_weights is None:
            return float(len(indices))
        return float(self.class_weights[torch.from_numpy(self.labels[indices])].sum())

    def logits(self, module: nn.Module, inputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        return logits_of(module(*inputs)).float()  # (pictures, classes)

    def losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        losses = F.cross_entropy(logits, targets, weight=weights, label_smoothing=self.smoothing, reduction="none")
        likeliest = targets if targets.ndim == 1 else targets.argmax(1)  # of pictures that are mixed
        return losses, (logits.argmax(1) == likeliest).float()

    def chance_loss(self) -> float:
        return math.log(max(2, self.classes))

    def summary(self, loss: float, right: float, weight: float, pictures: int) -> Mapping[str, Any]:
        return {"training_loss": loss / weight, "training_top1": right / pictures, "training_right": int(right)}


class LabelSetObjective(Objective):
    """Whether each of several labels is there: `truth` (pictures, labels), 0, 1 or between; binary cross-entropy.

    A picture's loss is the mean over labels. `positive_weights` (labels,) or None: how much a label that is there
    counts against one that is not. An answer is right where its side of 1/2 is.
    """

    best_by = "validation_map"

    def __init__(
        self, truth: NDArray[np.float32], positive_weights: Tensor | None = None, smoothing: float = 0.0
    ) -> None:
        self.truth = truth
        self.positive_weights = positive_weights
        self.smoothing = smoothing

    def __len__(self) -> int:
        return len(self.truth)

    def target(self, index: int, epoch: int, changes: Changes) -> NDArray[Any]:
        return self.truth[index]  # (labels,)

    def mixed(self, one: NDArray[Any], other: NDArray[Any], share: float) -> NDArray[Any]:
        return (share * one + (1 - share) * other).astype(np.float32)

    def collate(self, targets: Sequence[NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.stack(targets))  # (pictures, labels)

    def weight(self, indices: Indices, epoch: int) -> float:
        return float(len(indices))

    def logits(self, module: nn.Module, inputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        return logits_of(module(*inputs)).float()  # (pictures, labels)

    def losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        weights = None if self.positive_weights is None else self.positive_weights.to(logits.device)
        smooth = targets * (1 - self.smoothing) + self.smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none")
        return losses.mean(1), ((logits > 0) == (targets > 0.5)).float().mean(1)

    def chance_loss(self) -> float:
        return math.log(2)

    def summary(self, loss: float, right: float, weight: float, pictures: int) -> Mapping[str, Any]:
        return {"training_loss": loss / weight, "training_answers": right / pictures}


class CaptionObjective(Objective):
    """One of each picture's captions, chosen anew in every epoch, as tokens with the stop; padding counts nothing.

    An answer is the likeliest token at a step, given those before it as the caption has them: top1 is their share.

    `captions` has, for each picture, its captions, each as a pair: tokens as it stands, and of the mirror image.
    Without `choose` it is always the first. `start` is the token before every caption, `vocabulary` counts tokens.
    """

    def __init__(
        self,
        captions: Sequence[Sequence[tuple[Sequence[int], Sequence[int]]]],
        start: int,
        vocabulary: int,
        seed: int = 0,
        smoothing: float = 0.0,
        choose: bool = True,
    ) -> None:
        self.captions = captions
        self.start = start
        self.vocabulary = vocabulary
        self.seed = seed
        self.smoothing = smoothing
        self.choose = choose

    def __len__(self) -> int:
        return len(self.captions)

    def target(self, index: int, epoch: int, changes: Changes) -> NDArray[np.int64]:
        return np.array(self._choice(index, epoch)[changes.flip], np.int64)

    def weight(self, indices: Indices, epoch: int) -> float:
        return float(sum(len(self._choice(int(index), epoch)[0]) for index in indices))

    def _choice(self, index: int, epoch: int) -> tuple[Sequence[int], Sequence[int]]:
        several = self.captions[index]
        if not self.choose or len(several) == 1:
            return several[0]
        return several[int(default_rng((self.seed, epoch, index, CHOICE)).integers(len(several)))]

    def logits(self, module: nn.Module, inputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """(pictures, tokens, vocabulary): for each token, given those before it."""
        start = torch.full_like(targets[:, :1], self.start)
        before = torch.cat([start, targets[:, :-1].clamp(min=0)], 1)  # (pictures, tokens)
        pixels, *mask = inputs
        return module(pixels, before, *mask).float()

    def losses(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        losses = F.cross_entropy(
            logits.transpose(1, 2), targets, ignore_index=-1, label_smoothing=self.smoothing, reduction="none"
        )  # (pictures, tokens)
        right = (logits.argmax(2) == targets) & (targets >= 0)
        return losses.sum(1), right.float().sum(1)

    def chance_loss(self) -> float:
        return math.log(max(2, self.vocabulary))

    def summary(self, loss: float, right: float, weight: float, pictures: int) -> Mapping[str, Any]:
        return {"training_loss": loss / weight, "training_top1": right / weight}
