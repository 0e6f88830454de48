"""The recipe `reweigh`: a run's last layer fitted again, on balanced slices of pictures that it was not trained on.

    regard train DATA --model RUN --recipe reweigh --slice COLUMN --out runs/new

Three sets, none in another: what the run was trained on, and two halves of the rest, each of which is answered for by a
layer that was fitted on the other. A placebo is fitted as the layer is, on draws that are not balanced.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from regard.data.dataset import Dataset, several
from regard.data.hashes import picture_hashes
from regard.data.regions import own_regions, regions_of
from regard.data.splits import all_in, folds_of
from regard.errors import DataError, UsageError
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.mending import paired_measures
from regard.measurement.classification.scoring import predictions_of
from regard.measurement.selection import CROSS_VALIDATED, learnt_by
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.records import Evaluation, Mending
from regard.training.recipe import Recipe
from regard.training.session import Options
from regard.training.settings import option_of
from regard.training.tasks.base import CrossValidation, Outcome, PageContent, Parts
from regard.training.tasks.classification import Times, features_of
from regard.training.tasks.mending.background import COLUMN, with_backgrounds
from regard.training.tasks.mending.balance import DRAWS, Layer, Pictures, fit_layer
from regard.training.tasks.mending.mending import MendingTask, Slices, columns_of, crossed
from regard.training.tasks.probe import check_finite

log = logging.getLogger("regard")

USELESS = ("val", "few", "folds")
"""Settings of other recipes that take features."""
BALANCED = {"after": True, "placebo": False}


class Reweighing(MendingTask):
    """See `base.Task`."""

    def check(self, recipe: Recipe) -> None:
        useless = [option_of(name) for name in USELESS if recipe.arguments.get(name) is not None]
        if useless:
            raise UsageError(
                f"{', '.join(useless)} has no use for reweigh, which halves the pictures that the run was not trained "
                "on; leave it out"
            )

    def split(self, dataset: Dataset, recipe: Recipe, twins: Iterable[tuple[int, int]]) -> tuple[Dataset, Dataset]:
        """What the network was not trained on, and nothing; neither copies of what it learnt, nor a `test` of DATA."""
        model = recipe.arguments["model"]
        learnt = learnt_by(model)
        former = np.array([each in learnt for each in picture_hashes(dataset.pictures).values()], bool)
        for one, other in twins:
            former[one] = former[other] = former[one] or former[other]
        test = np.array([picture.split == "test" for picture in dataset.pictures], bool)
        if test.any():
            log.info(f"{int(test.sum())} pictures are left for a test, as {dataset.source} calls them")
        rest = np.flatnonzero(~former & ~test).tolist()
        self.excluded = int(former.sum())
        if not rest:
            raise DataError(
                f"no picture of {dataset.source} is held out: {model} was trained on {self.excluded} of "
                f"{len(dataset)}, or on copies of them; give pictures that it was not trained on"
            )
        log.info(
            f"{len(rest)} pictures to fit the last layer on; {self.excluded} that {model} was trained on are left out"
        )
        training = all_in(dataset.select(rest).labelled(), "train")
        return training, training.select([])

    def train(self, network: Network, parts: Parts, recipe: Recipe, folder: Path, options: Options) -> Outcome:
        assert network.classes is not None
        classes = network.classes
        messages = []
        model = recipe.arguments["model"]
        if not learnt_by(model):
            messages.append(f"what {model} was trained on is not known: that these pictures are others, you must know")
        parts = replace(parts, training=parts.training.fitted(classes))
        times = Times()
        features, parts, remarks = features_of(network, parts, options, times)
        messages += remarks
        check_finite(features)
        training = parts.training
        labels = training.labels
        columns = columns_of(recipe, training)
        units = np.unique([parts.together[name] for name in training.names], return_inverse=True)[1]
        how = f"the class by {' and '.join(columns)}"
        if not columns:
            with times.phase("backgrounds"):
                reading: dict[str, Any] = {"batch_size": options.batch_size or 16, "workers": options.workers}
                masks = recipe.arguments.get("masks")
                where = own_regions(training.source) if masks is None else regions_of(masks)
                training, found = with_backgrounds(
                    network, training, where, units=units, seed=options.seed, progress=options.bar, **reading
                )
            columns = (COLUMN,)
            how = f"the class by {found}"
            parts = replace(parts, training=training)
        slices = slices_of(training, columns, units)
        if slices.empty:
            text = several(slices.empty, "slice")
            messages.append(f"{text} without a picture: nothing is balanced there, and the worst is that of the others")
        halves = _halves(slices, units, options.seed)
        data = Pictures(features, labels, slices.cells, units, len(classes))
        with times.phase("fit"):
            logits = {"before": _logits(network, features)}
            logits |= {name: _crossed(data, halves, balanced, options.seed) for name, balanced in BALANCED.items()}
            used = fit_layer(data, seed=options.seed)
        groups = None if recipe.arguments["group"] is None else training.column(recipe.arguments["group"])
        right = {name: values.argmax(axis=1) == labels for name, values in logits.items()}
        rows = paired_measures(right, slices.cells, slices.names, halves, groups)
        done = (
            f"The last layer alone was fitted again, on {used.each} pictures of each slice that the run was not "
            f"trained on, {DRAWS} times, and the mean was taken. The placebo was fitted on as many, not balanced."
        )
        numbers = (used.each, DRAWS, used.strength)
        mending = Mending(columns, rows, len(labels), self.excluded, *numbers, slices.empty, done=done)
        network.replace_head(torch.from_numpy(used.weight), torch.from_numpy(used.bias), classes)
        network.choose_one_class()
        return Outcome(
            metrics=tuple({"phase": "reweigh", **row.as_json()} for row in rows),
            messages=tuple(messages),
            facts=_facts(mending, used, how),
            selected=False,
            main=True,
            cross_validation=CrossValidation(halves, logits["after"][None], 0),
            parts=parts,
            times=tuple(times),
            mending=mending,
        )

    def score(
        self, network: Network, parts: Parts, outcome: Outcome, recipe: Recipe, options: Options
    ) -> Evaluation | None:
        """Each picture by the layer that was fitted on the other half; nothing was chosen by these answers."""
        assert outcome.cross_validation is not None
        probabilities = softmax(outcome.cross_validation.logits[0], axis=1).astype(np.float32)
        assert outcome.mending is not None
        predictions = predictions_of(parts.training, probabilities, recipe.arguments["group"], outcome.mending.columns)
        facts = {"recipe": recipe.name, "folds": 2}
        seed = recipe.arguments["seed"]
        how = {"note": CROSS_VALIDATED, "seed": seed, "provenance": provenance(network, **facts)}
        return replace(evaluate(predictions, **how), mending=outcome.mending)

    def lines(self, content: PageContent, parts: Parts) -> Mapping[str, str]:
        count = len(parts.training)
        return {
            **content.facts,
            "Trained on": f"the last layer alone, on {count} pictures of {len(parts.training.classes)} classes",
            "Scored by": f"each of the {count} pictures by a layer fitted on the half without it; the layer that is "
            "kept is fitted on both",
        }


def slices_of(training: Dataset, columns: tuple[str, ...], units: NDArray[np.int64]) -> Slices:
    """Each class crossed with each value that the columns have. Raises `DataError` where nothing can be balanced."""
    counts = np.bincount(training.labels, minlength=len(training.classes))
    if (counts == 0).any():
        missing = [training.classes[at] for at in np.flatnonzero(counts == 0)]
        raise DataError(
            f"{several(missing, 'class', 'classes')} without a picture held out, and a new last layer would never "
            "answer with it; add some that the network was not trained on"
        )
    slices, among = crossed(training, columns, units)
    if ((among > 0).sum(axis=1) < 2).all():
        raise DataError(
            f"within each class {' and '.join(map(repr, columns))} has one value alone, as where it is the class "
            "itself: there are no slices to balance; give --slice another column"
        )
    alone = [name for name, count in zip(slices.names, among[among > 0].tolist(), strict=True) if count == 1]
    if alone:
        raise DataError(
            f"{several(alone, 'slice')} of one picture held out (or copies, or one group), and each needs two, one for "
            "either half; add pictures, give a --slice with fewer values, or take these out"
        )
    return slices


def _halves(slices: Slices, units: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(pictures,) 0 or 1: the half of each, slices evenly in both, units whole."""
    try:
        return folds_of(slices.cells, slices.names, units, 2, seed)
    except DataError as error:
        raise DataError(
            "the pictures held out cannot be halved so that each slice is in both halves, as groups or copies hold "
            "them together; add pictures, or leave --group out"
        ) from error


def _crossed(data: Pictures, halves: NDArray[np.int64], balanced: bool, seed: int) -> NDArray[np.float32]:
    """(pictures, classes) logits of each picture by a layer that was fitted on the half without it."""
    logits = np.zeros((len(halves), data.classes), np.float32)
    for half in range(2):
        layer = fit_layer(data.among(halves != half), balanced=balanced, seed=seed)
        logits[halves == half] = layer.logits(data.features[halves == half])
    return logits


def _logits(network: Network, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(pictures, classes) of the head that the network has."""
    head = network.module.get_submodule(network.head_path())
    weight = next(head.parameters())
    with torch.inference_mode():
        values = head(torch.from_numpy(features).to(weight.device, weight.dtype))
    return values.float().cpu().numpy()


def _facts(mending: Mending, used: Layer, how: str) -> dict[str, Any]:
    """What the report says of it."""
    return {
        "slices": how,
        "left_out": f"{mending.excluded} pictures that the network had been trained on",
        "fitted_on": f"{used.each} pictures of each slice, the mean of {mending.draws} draws, l1 at {used.strength:g}",
    }
