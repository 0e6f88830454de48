"""Pictures with several labels each: what is written in one cell or annotated in one picture, as a set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Dataset, Picture, class_order, composed, listed, several
from regard.errors import DataError
from regard.records.multilabel import SEPARATOR

Truth = NDArray[np.bool_]


def labels_in(text: str) -> tuple[str, ...]:
    """The labels of a picture, as they are written: `cat|dog` → `("cat", "dog")`, each once; of "" none.

    Raises `DataError` for a label without a name, as in `cat||dog`.
    """
    if not text.strip():
        return ()
    names = [name.strip() for name in text.split(SEPARATOR)]
    if not all(names):
        raise DataError(
            f"the labels {text!r} hold one without a name; write them as `cat|dog`, and a cell for no label empty"
        )
    return tuple(dict.fromkeys(names))


def joined(names: Iterable[str]) -> str:
    """The labels of a picture as one text, in the order of classes: `cat|dog`."""
    return SEPARATOR.join(class_order(names))


@dataclass(frozen=True, repr=False)
class LabelSets(Dataset):
    """A data set whose pictures have any number of labels; `classes` are all that occur, in the order of classes.

    A picture's `label` is the text of its labels (`joined`), "" where it has none of them, None where they are not
    known.
    """

    @property
    def truth(self) -> Truth:
        """(pictures, labels) bool: whether each of `classes` is there. Raises `DataError` as `labelled` does."""
        place = {name: index for index, name in enumerate(self.classes)}
        truth = np.zeros((len(self), len(place)), bool)
        for row, picture in enumerate(self.labelled().pictures):
            truth[row, [place[name] for name in labels_in(picture.label or "")]] = True
        return truth

    @property
    def counts(self) -> Counter[str | None]:
        counts = Counter[str | None](name for picture in self.pictures for name in labels_in(picture.label or ""))
        counts[None] = sum(picture.label is None for picture in self.pictures)
        return counts

    def fitted(self, classes: Sequence[str]) -> Self:
        """This data set with a network's labels as its own. Raises `DataError` naming labels that it does not know."""
        names = {composed(name): name for name in classes}
        strange = [name for name in self.classes if composed(name) not in names and self.counts[name]]
        if strange:
            raise DataError(
                f"labels that do not fit the network: in {self.source} {several(strange, 'label')} not among its "
                f"{len(classes)} labels ({listed(classes)}); give data with those labels, or train on these"
            )
        pictures = (
            picture
            if not picture.label
            else replace(picture, label=joined(names[composed(name)] for name in labels_in(picture.label)))
            for picture in self.pictures
        )
        return replace(self, pictures=tuple(pictures), classes=tuple(classes))


def label_sets(dataset: Dataset) -> LabelSets:
    """A data set whose labels are texts of several, as one of sets. Raises `DataError` naming a picture whose text is
    none, and where no picture has a label."""
    pictures: list[Picture] = []
    first: dict[str, str] = {}  # one spelling of a label whose accents are written in two ways
    for picture in dataset.pictures:
        label = picture.label
        if label is not None:
            try:
                names = [first.setdefault(composed(name), name) for name in labels_in(label)]
            except DataError as error:
                raise DataError(f"{dataset.source}, {picture.filename or picture.name}: {error}") from error
            label = joined(names)
        pictures.append(replace(picture, label=label))
    if not first:
        raise DataError(f"no picture of {dataset.source} has a label; give data that have some (see docs/data.md)")
    return LabelSets(dataset.source, dataset.layout, tuple(pictures), class_order(first.values()))
