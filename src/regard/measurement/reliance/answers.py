"""What a network answers to variants of pictures: the class and one probability, for each variant and picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.measurement.chance import generator_of
from regard.measurement.reliance.compositing import normalised
from regard.networks.network import Network
from regard.networks.predict import batch_probabilities

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """`predicted` (variants, pictures) int64, -1 where a picture has not that variant, and the `probability` (variants,
    pictures) of each picture's target, NaN there. `variants` are their names."""

    variants: tuple[str, ...]
    predicted: Ints
    probability: Floats

    def of(self, variant: str) -> tuple[Ints, Floats]:
        """(pictures,) each: predicted and probability of one variant."""
        row = self.variants.index(variant)
        return self.predicted[row], self.probability[row]

    def correct(self, labels: NDArray[Any]) -> Floats:
        """(variants, pictures): 1 where the class is the label (pictures,), 0 where not, NaN where either is missing; a
        label below 0 is none."""
        missing = (self.predicted < 0) | (np.asarray(labels) < 0)
        return np.where(missing, np.nan, self.predicted == labels)

    def joined(self, other: Self) -> Self:
        """The answers to these pictures and to the pictures after them."""
        predicted = np.concatenate([self.predicted, other.predicted], axis=1)
        return type(self)(self.variants, predicted, np.concatenate([self.probability, other.probability], axis=1))


def answers(
    network: Network,
    variants: Iterable[tuple[str, Tensor, Tensor | None]],
    targets: NDArray[Any],
    batch_size: int = 32,
) -> Answers:
    """What the network answers to variants (name, pictures in [0, 1], which of them (pictures,) bool: None for all).

    `targets` (pictures,) are the classes whose probability is wanted. One variant is in memory at a time.
    """
    goals = torch.from_numpy(np.asarray(targets, np.int64))
    names = []
    predicted = []
    probability = []
    for name, pictures, among in variants:
        rows = torch.arange(len(pictures)) if among is None else torch.nonzero(among.cpu())[:, 0]
        classes = np.full(len(pictures), -1, np.int64)
        chances = np.full(len(pictures), np.nan)
        for some in rows.split(batch_size):
            values = batch_probabilities(network, normalised(pictures[some.to(pictures.device)], network.preparation))
            classes[some] = values.argmax(dim=1)
            chances[some] = values.double().gather(1, goals[some, None])[:, 0]
        names.append(name)
        predicted.append(classes)
        probability.append(chances)
    return Answers(tuple(names), np.stack(predicted), np.stack(probability))


def noise(pictures: Tensor, seed: int, draws: int) -> Iterator[Tensor]:
    """Draws of standard normal noise (pictures, 3, height, width), from the seed and each picture's own values
    alone."""
    for draw in range(draws):
        generators = (generator_of(each, seed, f"noise {draw}") for each in pictures)
        fields = [each.standard_normal(pictures.shape[1:], np.float32) for each in generators]
        yield torch.from_numpy(np.stack(fields)).to(pictures)
