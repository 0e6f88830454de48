"""What the recipes that mend a run share: they begin from its network as it is, and judge by slices."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import CLASS, CROSS, Dataset
from regard.errors import NetworkError
from regard.networks.load import load
from regard.networks.network import Network
from regard.records import Mending
from regard.training.recipe import Recipe
from regard.training.tasks.base import Evaluated, PageContent, Parts
from regard.training.tasks.classification import Classification


@dataclass(frozen=True)
class Slices:
    """The slice of each picture, an index into `names`; `empty` are those that a class has no picture in."""

    cells: NDArray[np.int64]  # (pictures,)
    names: tuple[str, ...]
    empty: tuple[str, ...] = ()


class MendingTask(Classification):
    """See `base.Task`."""

    excluded = 0
    """How many pictures of DATA the network was trained on."""

    def build(self, recipe: Recipe, training: Dataset, device: str | None, precision: str | None) -> Network:
        """The run's network with the head that it has."""
        names: dict[str, Any] = {
            name: recipe.arguments.get(name) for name in ("model", "weights", "weights_part", "size", "seed")
        }
        precision = (precision or "float32") if recipe.settings is None else "float32"
        network = load(device=device, precision=precision, **names)
        network.check_one_class(f"the recipe {recipe.name}")
        if network.classes is None:
            raise NetworkError(
                f"the outputs of {network.name} have no names, so that it has no classes to learn again; give --model "
                "RUN, a run that `regard train` made"
            )
        return network

    def page(
        self, result: Evaluated, facts: Mapping[str, str] | None = None, parts: Parts | None = None
    ) -> PageContent:
        content = super().page(result, facts, parts)
        mending: Mending | None = getattr(result.evaluation, "mending", None)
        return content if parts is None or mending is None else replace(content, facts=self.lines(content, parts))

    def lines(self, content: PageContent, parts: Parts) -> Mapping[str, str]:
        """The facts of a training, as its page has them."""
        return content.facts


def columns_of(recipe: Recipe, dataset: Dataset) -> tuple[str, ...]:
    """The columns that `--slice` names; the class is crossed with them anyway."""
    names: dict[str, None] = {}
    for name in recipe.arguments["slices"] or ():
        parts = [name] if name in dataset.columns else [part for part in name.split(CROSS) if part != CLASS]
        names |= dict.fromkeys(parts)
    return tuple(names)


def crossed(part: Dataset, columns: tuple[str, ...], units: NDArray[np.int64]) -> tuple[Slices, NDArray[np.int64]]:
    """Each class crossed with each value that the columns have, and how many units (classes, values) are in each; the
    classes alone without columns."""
    labels = part.labels
    if not columns:
        present = np.unique(labels)
        every = np.array([[len(np.unique(units[labels == label]))] for label in range(len(part.classes))])
        names = tuple(part.classes[label] for label in present)
        return Slices(np.searchsorted(present, labels), names), every
    values = np.stack([part.column(name) for name in columns], axis=1)  # (pictures, columns) text
    distinct, value = np.unique(values, axis=0, return_inverse=True)
    value = value.reshape(-1)
    named = [", ".join(f"{name}={each or 'none'}" for name, each in zip(columns, row, strict=True)) for row in distinct]
    among = np.zeros((len(part.classes), len(named)), np.int64)  # units by class and value
    for label, each in dict.fromkeys(zip(labels.tolist(), value.tolist(), strict=True)):
        among[label, each] = len(np.unique(units[(labels == label) & (value == each)]))
    text = np.array([[f"{label}, {each}" for each in named] for label in part.classes], object)
    place = np.full(among.shape, -1)
    place[among > 0] = np.arange((among > 0).sum())
    return Slices(place[labels, value], tuple(text[among > 0].tolist()), tuple(text[among == 0].tolist())), among
