"""`regard.Classifier`: a network that is loaded once and says of any number of pictures in memory what they show."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from regard.data.dataset import Picture
from regard.data.images.decode import drawable
from regard.data.images.preparation import STEPS
from regard.errors import DataError, NetworkError, UsageError
from regard.networks.predict import batch_probabilities, probabilities
from regard.predictors.inputs import PictureLike, Pictures, PreparedOpener, input_batches, pictures_of
from regard.predictors.predictor import Predictor
from regard.records import Float
from regard.records.classification import Classification
from regard.records.multilabel import THRESHOLD


class Classifier(Predictor):
    """The class of a picture and the probability of each, or its labels where the network gives several.

    >>> import numpy, timm
    >>> from regard import Classifier
    >>> classifier = Classifier(timm.create_model("vit_tiny_patch16_224", num_classes=2), classes=["cat", "dog"])
    >>> found = classifier(numpy.zeros((300, 400, 3), "uint8"))
    >>> found.labels[0] in ("cat", "dog")
    True
    >>> found.probabilities.shape
    (1, 2)
    """

    def __call__(
        self, pictures: Pictures, *, prepared: bool = False, batch_size: int = 32, workers: int = 0
    ) -> Classification:
        """What each picture shows; see `Explainer` for what a picture may be.

        Raises `UsageError` for an iterator (see `stream`) and `DataError` for a picture that cannot be one.
        """
        return self._classify(pictures_of(pictures, self.network, prepared), batch_size, workers)

    def stream(
        self, pictures: Iterable[PictureLike], *, prepared: bool = False, batch_size: int = 1
    ) -> Iterator[Classification]:
        """A record for each picture, one after the other: however many there are, memory stays the same."""
        for chunk in self._chunks(pictures, batch_size, prepared):
            record = self._classify(chunk, batch_size)
            yield from (record.select([index]) for index in range(len(record)))

    def batches(
        self,
        pictures: Sequence[Picture],
        *,
        start: int = 0,
        batch_size: int = 32,
        workers: int = 0,
        on_bad: Callable[[Picture, DataError], None] | None = None,
        tta: str | None = None,
    ) -> Iterator[tuple[list[int], Float]]:
        """Indices and class probabilities (batch, classes) from the picture `start` on, where batches begin.

        With `tta`, a name of `networks.arguments.VIEWS`, the mean over views of each, which prepared tensors have not.
        Raises `DataError` naming a picture that cannot be read, unless `on_bad` takes it.
        """
        if tta is not None:
            if any(isinstance(each.opener, PreparedOpener) for each in pictures):
                raise UsageError("prepared tensors are one view each; give pictures, or leave tta out")
            for indices, rows in probabilities(
                self.network, pictures[start:], batch_size=batch_size, workers=workers, on_bad=on_bad, tta=tta
            ):
                yield [start + index for index in indices], rows.numpy()
            return
        for batch in input_batches(self.network, pictures[start:], batch_size, workers, on_bad):
            yield [start + index for index in batch.indices], batch_probabilities(self.network, batch.pixels).numpy()

    @property
    def threshold(self) -> float | None:
        """From which probability on a label is given by a network that gives several; None for one class a picture."""
        return THRESHOLD if self.network.several_labels else None

    def labels_of(self, probabilities: Float) -> list[str]:
        """What each picture (batch, classes) is said to show; several labels as `cat|dog`."""
        names = tuple(str(index) for index in range(len(probabilities)))
        return list(Classification(names, self.classes, probabilities, threshold=self.threshold).labels)

    def fingerprint(self, *more: Any) -> str:
        """A hash of all that decides the network's answers, and of `more`, which decides what is made of them."""
        network = self.network
        about = [network.weights_hash(), network.preparation.as_json(), STEPS, network.precision, str(network.device)]
        about += ["several labels"] * network.several_labels
        return hashlib.sha256(json.dumps([about, self.classes, *more], sort_keys=True).encode()).hexdigest()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the network's outputs; their indices where they have none.

        Raises `NetworkError` for an encoder, whose outputs are features and no classes.
        """
        if not self.network.has_classes:
            raise NetworkError(
                f"{self.network.name} has no head, so that its {self.network.outputs} outputs are features and no "
                "classes; train one on it: `regard train DATA --model NETWORK --recipe probe --out RUN` takes seconds"
            )
        return self.network.classes or tuple(str(index) for index in range(self.network.outputs))

    def _classify(self, pictures: Sequence[Picture], batch_size: int, workers: int = 0) -> Classification:
        parts = [values for _, values in self.batches(pictures, batch_size=batch_size, workers=workers)]
        return Classification(
            names=tuple(picture.name for picture in pictures),
            classes=self.classes,
            probabilities=np.concatenate(parts),
            provenance=self.provenance,
            threshold=self.threshold,
            images=tuple(partial(drawable, picture.opener) for picture in pictures),
        )
