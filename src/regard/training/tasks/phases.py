"""The pieces that the phases of a fine-tuning are made of: the probe as head, one training, scores."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regard.data.dataset import Dataset
from regard.data.images.preparation import batches
from regard.errors import DataError, NetworkError
from regard.networks.network import Network
from regard.training.journal import Progress
from regard.training.loop import Position, fit, loader_of
from regard.training.objectives import LabelObjective, Objective
from regard.training.optimise import State
from regard.training.schedule import Schedule
from regard.training.session import Session
from regard.training.tasks.probe import Probe, fit_probe
from regard.training.tasks.table import ClassifierSettings
from regard.training.tasks.views import ViewLoader, Views

Array = NDArray[Any]


class Targets(Protocol):
    """What the head is to give of a picture; `several`: any number of labels instead of one."""

    several: bool

    def check(self, training: Dataset) -> None:
        """Raise `DataError` for pictures that do not do to train on."""

    def objective(self, part: Dataset, settings: ClassifierSettings) -> Objective:
        """The targets of these pictures, and the loss."""

    def score(self, logits: Array, part: Dataset) -> dict[str, float]:
        """The scores of these pictures, as the lines of metrics have them."""

    def fit_head(self, features: Array, training: Dataset, groups: Array | None, folds: int, seed: int) -> Probe:
        """A head on (pictures, width) features, which the training begins with."""


class OneLabel:
    """A class for each picture."""

    several = False

    def check(self, training: Dataset) -> None:
        classes = len(training.classes)
        if len(training) < classes:
            raise DataError(
                f"{len(training)} pictures to train on are fewer than the {classes} classes; each class needs at least "
                "one: add pictures or take classes out"
            )
        counts = np.bincount(training.labels, minlength=classes)
        if (counts == 0).any():
            raise DataError(f"class {training.classes[int(np.argmin(counts))]!r} has no picture to train on; add some")

    def objective(self, part: Dataset, settings: ClassifierSettings) -> Objective:
        return LabelObjective(part.labels, len(part.classes), _class_weights(settings, part), settings.smoothing)

    def score(self, logits: Array, part: Dataset) -> dict[str, float]:
        return score(logits, part.labels)

    def fit_head(self, features: Array, training: Dataset, groups: Array | None, folds: int, seed: int) -> Probe:
        return fit_probe(features, training.labels, training.classes, groups, folds=folds, seed=seed)


@dataclass
class Finetuning:
    """What the phases of one run share; `groups` (training pictures,) keep equal values in one fold.

    `views` are what the frozen blocks give of the training pictures, `validation_views` of those set aside, where only
    the last blocks are trained. `schedule` knows the steps, `head_seconds` how long it took to the probe, if it was
    fitted here; `base` what an adapter is of (`lora.base_of`).
    """

    network: Network
    training: Dataset
    validation: Dataset
    settings: ClassifierSettings
    session: Session
    precision: str
    groups: Array | None
    targets: Targets = field(default_factory=OneLabel)
    base: Mapping[str, Any] = field(default_factory=dict)
    views: Views | None = None
    validation_views: Views | None = None
    schedule: Schedule | None = None
    head_seconds: float | None = None


def fit_head(job: Finetuning) -> float:
    """Fit the probe and put it in; returns its strength."""
    checkpoints = job.session.checkpoints
    network = job.network
    searches = job.settings.search == "always"
    if "head" not in checkpoints.results or (searches and "folds" not in checkpoints.tensors):  # of an earlier version
        features = compute_features(job)
        probe = job.session.world.shared(
            job.targets.fit_head(
                features.numpy(), job.training, job.groups, folds=job.settings.folds, seed=job.session.seed
            )
            if job.session.world.main
            else None
        )
        if probe is None:
            raise NetworkError("the first process sent no probe")
        for trial in probe.trials:
            job.session.journal.row(phase="head", **vars(trial))
        tensors = {"weight": torch.from_numpy(probe.weight), "bias": torch.from_numpy(probe.bias)}
        if searches:
            tensors |= {"features": features, "folds": torch.from_numpy(probe.folds)}
        checkpoints.finish("head", probe.strength, tensors)
        job.head_seconds = None if job.schedule is None else job.schedule.elapsed
    network.replace_head(checkpoints.tensors["weight"], checkpoints.tensors["bias"], job.training.classes)
    return float(checkpoints.results["head"])


def compute_features(job: Finetuning) -> Tensor:
    """(training pictures, width) on the CPU, in chunks of 16 batches, each of which a checkpoint may follow."""
    session = job.session
    count = len(job.training)
    checkpoints = session.checkpoints
    saved = checkpoints.resume("features")
    parts = [] if saved is None else [saved[1]["features"]]
    for start in range(sum(len(part) for part in parts), count, 512):
        part = job.training.select(range(start, min(start + 512, count)))
        parts.append(over_pictures(job, part, lambda pixels: job.network.features(pixels)[0]))
        session.journal.progress(Progress("features", start + len(part), count))
        features = torch.cat(parts)  # (pictures so far, width)
        if session.world.shared(session.stop.pending):
            checkpoints.save(session.journal.rows, "features", *_state(features))
            raise session.interrupt("features")
        checkpoints.save_if_due(session.journal.rows, "features", partial(_state, features), features.nbytes)
    return torch.cat(parts)


def _state(features: Tensor) -> tuple[dict[str, Any], State]:
    """Of the features that are computed, the position is their number."""
    return {}, {"features": features}


def over_pictures(job: Finetuning, part: Dataset, compute: Callable[[Tensor], Tensor], batch_size: int = 32) -> Tensor:
    """(pictures, d) float32 on the CPU: `compute` over prepared pictures, shared out over processes, in order."""
    world = job.session.world
    preparation = job.network.preparation
    places = np.arange(len(part))[world.rank * batch_size :]
    places = places[places // batch_size % world.size == world.rank]  # this process's batches, one in world.size
    results: list[Tensor] = []
    for batch in batches(part.select(places).pictures, preparation, batch_size, job.session.workers):
        results.append(compute(preparation.normalise(batch.pixels.to(world.device))).float().cpu())
    if job.session.shard_weights:  # every process computes as often: each lends the others its part of the weights
        blank = torch.zeros(1, preparation.channels, preparation.height, preparation.width, device=world.device)
        for _ in range(-(-len(part) // (batch_size * world.size)) - len(results)):
            compute(blank)
    # Zeros where another process has the values: their sum over processes is the whole.
    values = torch.zeros(len(part), world.most(results[0].shape[1] if results else 0))  # (pictures, d)
    if results:
        values[torch.from_numpy(places)] = torch.cat(results)
    values = world.total(values.to(world.device)).cpu()
    return values if job.session.ranks is None else values + 0.0  # the sum of several has no -0.0


def compute_logits(job: Finetuning, part: Dataset) -> NDArray[np.float32]:
    return over_pictures(job, part, job.network.logits).numpy()


def score(logits: Array, labels: Array) -> dict[str, float]:
    """Mean log-loss and accuracy, as the lines of metrics have them."""
    loss = float(F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels)))
    return {"validation_loss": loss, "validation_top1": float((logits.argmax(1) == labels).mean())}


def train_part(job: Finetuning, name: str, settings: ClassifierSettings, indices: Array, validates: bool) -> Position:
    """The loop on some of the training pictures; the network is left with the weights that the settings keep.

    Where it `validates`, each epoch is scored on the pictures set aside.
    """
    part = job.training.select(indices.tolist())
    loader = loader_of(part, job.targets.objective(part, settings), job.network.preparation, settings, job.session)
    place: AbstractContextManager[None] = nullcontext()
    if job.views is not None:
        loader = ViewLoader(**vars(loader) | {"workers": 0}, views=job.views, rows=indices)  # nothing to read
        place = job.views.entering(job.network)

    def validate() -> dict[str, float]:
        if job.validation_views is None:
            return job.targets.score(compute_logits(job, job.validation), job.validation)
        everything = range(len(job.validation))
        logits = job.validation_views.logits(job.network, everything, job.precision).numpy()
        return job.targets.score(logits, job.validation)

    with place:
        return fit(job.network, name, settings, loader, job.session, job.precision, validate if validates else None)


def _class_weights(settings: ClassifierSettings, part: Dataset) -> Tensor | None:
    """(classes,), 1 on average over the pictures: rare classes count more."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(part.labels, minlength=len(part.classes))
    return torch.tensor(len(part) / (np.count_nonzero(counts) * np.maximum(counts, 1)), dtype=torch.float32)
