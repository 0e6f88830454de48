"""What a fine-tuning of several labels a picture learns, and how it is scored on the way."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from regard.data.dataset import Dataset
from regard.data.label_sets import LabelSets
from regard.errors import DataError
from regard.measurement.multilabel.scores import label_nll, mean_ap
from regard.measurement.multilabel.scoring import label_predictions
from regard.training.objectives import LabelSetObjective, Objective
from regard.training.tasks.multilabel.head import fit_labels
from regard.training.tasks.phases import Array
from regard.training.tasks.probe import Probe
from regard.training.tasks.table import ClassifierSettings

MOST = 100.0
"""How much a rare label's pictures may count, at most."""


class SeveralLabels:
    """Any number of labels for each picture: see `phases.Targets`."""

    several = True

    def check(self, training: Dataset) -> None:
        missing = [name for name in training.classes if not training.counts[name]]
        if missing:
            raise DataError(f"label {missing[0]!r} has no picture to train on; add some")

    def objective(self, part: Dataset, settings: ClassifierSettings) -> Objective:
        truth = sets(part).truth
        return LabelSetObjective(truth.astype(np.float32), positive_weights(truth, settings), settings.smoothing)

    def score(self, logits: Array, part: Dataset) -> dict[str, float]:
        """Mean log-loss, and mAP where some label is decided."""
        predictions = label_predictions(sets(part), expit(logits).astype(np.float32), None, ())
        scores = {"validation_loss": label_nll(predictions).value, "validation_map": mean_ap(predictions).value}
        return {name: value for name, value in scores.items() if np.isfinite(value) or name == "validation_loss"}

    def fit_head(self, features: Array, training: Dataset, groups: Array | None, folds: int, seed: int) -> Probe:
        return fit_labels(features, sets(training).truth, training.classes, groups, folds=folds, seed=seed)


def positive_weights(truth: NDArray[np.bool_], settings: ClassifierSettings) -> Tensor | None:
    """(labels,) what a picture with the label counts, so that those with it weigh as much as those without."""
    if settings.class_weights == "none":
        return None
    counts = np.maximum(truth.sum(axis=0), 1)
    return torch.tensor(np.clip((len(truth) - counts) / counts, 1 / MOST, MOST), dtype=torch.float32)


def sets(part: Dataset) -> LabelSets:
    """The data set as the one of sets that this task reads."""
    assert isinstance(part, LabelSets)  # `read_multilabelled` gives no other
    return part
