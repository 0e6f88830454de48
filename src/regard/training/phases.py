"""The pieces that the phases of a run are made of: the probe as head, one training, scores; what they share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regard.data.dataset import Dataset
from regard.data.images.longest_side import LongestSide
from regard.data.images.preparation import Preparation, batches
from regard.errors import NetworkError
from regard.networks.network import Network
from regard.training.journal import Progress
from regard.training.learner import Learner
from regard.training.loader import Feed
from regard.training.loop import Position, Session, Work, train
from regard.training.objectives import Labels, Lessons
from regard.training.optimise import Average, State, dropping, optimiser, put
from regard.training.probe import fit_probe
from regard.training.recipe import Settings

Array = NDArray[Any]


@dataclass
class Run:
    """What the phases of one run share."""

    network: Network
    training: Dataset
    validation: Dataset
    settings: Settings
    session: Session
    precision: str
    groups: Array | None


def prepared(preparation: Preparation, settings: Settings) -> Preparation:
    """How pictures become the input where the settings ask for another way than the network's own."""
    if settings.fit != "own":
        preparation = replace(preparation, mode=settings.fit)
    half = (0.5, 0.5, 0.5)
    return replace(preparation, mean=half, std=half) if settings.values == "half" else preparation


def fit_head(the: Run) -> float:
    """Fit the probe and put it in; returns its strength."""
    keeper, network = the.session.keeper, the.network
    if "head" not in keeper.done:
        features = compute_features(the)
        probe = the.session.world.shared(
            fit_probe(features.numpy(), the.training.labels, the.training.classes, the.groups, seed=the.session.seed)
            if the.session.world.main
            else None
        )
        if probe is None:
            raise NetworkError("the first process sent no probe")
        for trial in probe.trials:
            the.session.journal.row(phase="head", **vars(trial))
        tensors = {"weight": torch.from_numpy(probe.weight), "bias": torch.from_numpy(probe.bias)}
        if the.settings.search == "always":
            tensors["features"] = features
        keeper.finish("head", probe.strength, tensors)
    network.replace_head(keeper.kept["weight"], keeper.kept["bias"], the.training.classes)
    return float(keeper.done["head"])


def compute_features(the: Run) -> Tensor:
    """(training pictures, width) on the CPU, in chunks of 16 batches, each of which a checkpoint may follow."""
    session, count = the.session, len(the.training)
    given = session.keeper.begin("features")
    parts = [] if given is None else [given[1]["features"]]
    done = sum(len(part) for part in parts)
    for start in range(done, count, 512):
        part = the.training.select(range(start, min(start + 512, count)))
        parts.append(over_pictures(the, part, lambda pixels: the.network.features(pixels)[0]))
        done = start + len(part)
        session.journal.progress(Progress("features", done, count))
        now = {"features": torch.cat(parts)}
        _rest(session, "features", lambda now=now: ({}, now), now["features"].nbytes)  # type: ignore[misc]
    return torch.cat(parts)


def _rest(session: Session, phase: str, state: Callable[[], tuple[dict[str, Any], State]], size: int) -> None:
    """Between two pieces of work: a checkpoint if one is due, or wanted because of Ctrl-C."""
    if session.world.shared(session.stop.asked):
        session.keeper.save(session.journal.rows, phase, *state())
        raise session.interrupt(phase)
    session.keeper.maybe(session.journal.rows, phase, state, size)


def over_pictures(the: Run, part: Dataset, compute: Callable[[Tensor], Tensor], batch_size: int = 32) -> Tensor:
    """(pictures, d) float32 on the CPU: `compute` over prepared pictures, shared out over processes, in order."""
    world, preparation = the.session.world, the.network.preparation
    own = np.arange(len(part))[world.rank * batch_size :]
    own = own[own // batch_size % world.size == world.rank]
    results: list[Tensor] = []
    for batch in batches(part.select(own).pictures, preparation, batch_size, the.session.workers):
        results.append(compute(preparation.normalise(batch.pixels.to(world.device))).float().cpu())
    found = torch.zeros(len(part), world.most(results[0].shape[1] if results else 0))
    if results:
        found[torch.from_numpy(own)] = torch.cat(results)
    return world.total(found.to(world.device)).cpu()


def compute_logits(the: Run, part: Dataset) -> NDArray[np.float32]:
    return over_pictures(the, part, the.network.logits).numpy()


def score(logits: Array, labels: Array) -> dict[str, float]:
    """Mean log-loss and accuracy, as the lines of metrics have them."""
    loss = float(F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels)))
    return {"validation_loss": loss, "validation_top1": float((logits.argmax(1) == labels).mean())}


def train_part(the: Run, name: str, settings: Settings, indices: Any, validation: Dataset | None) -> Position:
    """The loop on some of the training pictures; the network is left with the weights that the settings keep."""
    part = the.training.select(int(index) for index in indices)
    lessons = Labels(part.labels, len(part.classes), _class_weights(settings, part), settings.smoothing)
    feed = feed_of(part, lessons, the.network.preparation, settings, the.session)
    validate = None if validation is None else lambda: score(compute_logits(the, validation), validation.labels)
    return train_on(the.network, name, settings, feed, the.session, the.precision, validate)


def feed_of(
    part: Dataset, lessons: Lessons, preparation: Preparation | LongestSide, settings: Settings, session: Session
) -> Feed:
    """Pictures and what they teach, in batches as the settings have them."""
    how = settings.batch_size, settings.accumulate, session.seed, session.workers, session.world
    return Feed(part.pictures, lessons, preparation, settings.augmentation, *how)


def train_on(
    learner: Learner,
    name: str,
    settings: Settings,
    feed: Feed,
    session: Session,
    precision: str,
    validate: Callable[[], Mapping[str, float]] | None,
) -> Position:
    """The loop with the optimiser, average and dropout that the settings ask for; the best or averaged weights stay."""
    module = learner.module
    with dropping(learner, settings):
        average = Average(module, settings, settings.epochs * feed.per_epoch)
        work = Work(name, module, feed, settings, optimiser(learner, settings), average, precision, validate)
        at = train(work, session)
    put(module, work.best if settings.keep == "best" and work.best else work.average.values)
    return at


def _class_weights(settings: Settings, part: Dataset) -> Tensor | None:
    """(classes,), 1 on average over the pictures: rare classes count more."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(part.labels, minlength=len(part.classes))
    return torch.tensor(len(part) / (np.count_nonzero(counts) * np.maximum(counts, 1)), dtype=torch.float32)
