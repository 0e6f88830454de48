"""Predictions of a classifier for pictures without labels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.records.display import Displayed, few
from regard.records.grid import Float
from regard.records.multilabel import label_texts

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, repr=False)
class Classification(Displayed):
    """The predictions of a classifier: `probabilities` (pictures, classes) float32, whose rows sum to 1.

    Where a picture may have several labels, each probability is of its own label, which is given from `threshold` on;
    else that is None. `images` open each picture to be drawn at about so many pixels.

    >>> record = Classification(("a.jpg",), ("cat", "dog"), np.array([[0.25, 0.75]], np.float32))
    >>> record.labels
    ('dog',)
    >>> record.top(0)
    {'dog': 0.75, 'cat': 0.25}
    >>> Classification(("a.jpg",), ("cat", "dog"), np.array([[0.5, 0.9]], np.float32), threshold=0.5).labels
    ('cat|dog',)
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    images: "tuple[Callable[[int], Image.Image], ...]" = field(default=(), repr=False)
    threshold: float | None = None

    def __str__(self) -> str:
        rows = zip(self.names, self.labels, self.probabilities.max(axis=1), strict=True)
        return few([f"{name}: {label} {probability:.3f}" for name, label, probability in rows])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(pictures,): the index of the class or label with the largest probability."""
        return np.argmax(self.probabilities, axis=1)

    @property
    def labels(self) -> tuple[str, ...]:
        """The same by name; of several labels all that are given, as `cat|dog`, "" for none."""
        if self.threshold is None:
            return tuple(self.classes[index] for index in self.predicted)
        return tuple(label_texts(self.classes, self.probabilities >= np.float32(self.threshold)))

    def top(self, index: int, count: int = 5) -> dict[str, float]:
        """The likeliest classes of one picture, with their probabilities, the likeliest first."""
        row = self.probabilities[index]
        return {self.classes[place]: float(row[place]) for place in np.argsort(-row, kind="stable")[:count]}

    def select(self, indices: Iterable[int]) -> Self:
        """The predictions of some pictures, in this order."""
        chosen = list(indices)
        return replace(
            self,
            names=tuple(self.names[index] for index in chosen),
            probabilities=self.probabilities[chosen],
            images=tuple(self.images[index] for index in chosen if self.images),
        )
