"""The recipe `recombine`: a run's network fine-tuned on its pictures' objects in front of other backgrounds.

    regard train DATA --model RUN --recipe recombine [--masks MASKS] [--slice COLUMN] --out runs/new

Pictures that the run was trained on may be trained on again; what is judged, neither it nor this one has learnt. The
placebo is the same training, as long and on the same pictures, as they are.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from regard.data.dataset import Dataset, several
from regard.data.hashes import picture_hashes
from regard.data.regions import Regions, own_regions, regions_of
from regard.data.splits import all_in, check_share, together, training_parts
from regard.errors import DataError, NetworkError, UsageError
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.mending import paired_measures
from regard.measurement.classification.scoring import predictions_of
from regard.measurement.selection import learnt_by
from regard.networks.network import Network
from regard.networks.precision import best_precision
from regard.networks.provenance import provenance
from regard.records import Evaluation, Mending
from regard.training.checkpoint import tensors_under
from regard.training.layers.recompute import recomputed
from regard.training.loader import check_processes
from regard.training.loop import fit, loader_of
from regard.training.objectives import LabelObjective
from regard.training.optimise import State, dropout, load_values, on_cpu, trainable_layers, trained_state
from regard.training.processes import join
from regard.training.recipe import Recipe
from regard.training.session import Options, training_session
from regard.training.settings import option_of
from regard.training.tasks.base import Outcome, PageContent, Parts
from regard.training.tasks.mending.composites import CompositeLoader, Cutouts
from regard.training.tasks.mending.mending import MendingTask, columns_of, crossed
from regard.training.tasks.phases import Finetuning, compute_logits, score
from regard.training.tasks.table import ClassifierSettings
from regard.training.tasks.table import recombine as preset

log = logging.getLogger("regard")

USELESS = (
    "head",
    "mix",
    "search",
    "few",
    "folds",
    "keep",
    "patience",
    "crop",
    "fit",
    "values",
    "class_weights",
    "adapter",
    "mixup",
    "cutmix",
)
"""Settings of other recipes: it begins from the run as it is, chooses nothing, and needs the object in the picture."""
PHASES = {"placebo": False, "train": True}
"""What is trained, one after the other, from the same weights, and whether on composites."""


class Recombining(MendingTask):
    """See `base.Task`."""

    def check(self, recipe: Recipe) -> None:
        standard = preset()
        useless = [option_of(name) for name in USELESS if getattr(recipe.settings, name) != getattr(standard, name)]
        if useless:
            raise UsageError(
                f"{', '.join(useless)} has no use for recombine, which begins from the run as it is and chooses "
                "nothing; leave it out"
            )

    def split(self, dataset: Dataset, recipe: Recipe, twins: Iterable[tuple[int, int]]) -> tuple[Dataset, Dataset]:
        """All but what is set aside, and of what the network has not learnt the `val` of DATA or a share; a `test` of
        DATA is left for a test."""
        how: dict[str, Any] = {name: recipe.arguments[name] for name in ("seed", "group")}
        model = recipe.arguments["model"]
        share = recipe.arguments.get("val")
        check_share(dataset, share)
        learnt = learnt_by(model)
        former = np.array([each in learnt for each in picture_hashes(dataset.pictures).values()], bool)
        self.excluded = int(former.sum())
        units = together(dataset, how["group"], twins := list(twins))
        former = np.isin(units, units[former])  # neither copies of what it learnt, nor others of its groups
        splits = np.array([picture.split or "" for picture in dataset.pictures])
        training = splits != "test"
        if "val" in dataset.splits:
            training &= splits != "val"
            aside = (splits == "val") & ~former
            held_out = dataset.select(np.flatnonzero(aside).tolist())
        elif share == 0 or not (training & ~former).any():
            held_out = dataset.select([])
        else:
            places = np.flatnonzero(training & ~former)
            fresh = dataset.select(places.tolist()).unsplit()
            place = {int(old): new for new, old in enumerate(places)}
            pairs = [(place[one], place[two]) for one, two in twins if one in place and two in place]
            held_out = training_parts(fresh, share=share, twins=pairs, **how)[1]
            training &= ~np.isin(np.array(dataset.names), held_out.names)
        if not len(held_out) and share != 0:
            raise DataError(
                f"no picture of {dataset.source} is new to {model}, which was trained on {self.excluded} of "
                f"{len(dataset)}, or on copies of them: what recombining does could not be judged; add some that it "
                "was not trained on, or give --val 0 to go without"
            )
        part = dataset.select(np.flatnonzero(training).tolist()).labelled()
        log.info(f"{len(part)} pictures to recombine; {len(held_out)} set aside, which {model} was not trained on")
        return all_in(part, "train"), all_in(held_out.labelled(), "val")

    def train(self, network: Network, parts: Parts, recipe: Recipe, folder: Path, options: Options) -> Outcome:
        assert network.classes is not None and isinstance(recipe.settings, ClassifierSettings)
        settings = recipe.settings
        world = join(network.device)
        network.module.to(world.device)
        network.choose_one_class()
        training, validation = (part.fitted(network.classes) for part in (parts.training, parts.validation))
        masks = recipe.arguments.get("masks")
        training, cutouts, messages = _cut_out(training, masks, network, options)
        check_processes(world, settings.batch_size, len(training))
        with trainable_layers(network, settings.open_layers), dropout(network, settings), recomputed(network, settings):
            pass  # what they refuse is refused before any work
        parts = replace(parts, training=training, validation=validation)
        precision = best_precision(settings.precision, world.device)
        facts = {"precision": precision, "masks": hashlib.sha256(cutouts.masks.tobytes()).hexdigest()}
        both = (training, validation)
        with training_session(network, both, parts.hashes, recipe, folder, world, facts, options) as session:
            job = Finetuning(network, training, validation, settings, session, precision, None)
            logits = _phases(job, cutouts)
            mending = None
            if len(validation):
                mending = self._judged(logits, parts, recipe, settings)
                if not any(row.get("phase") == "recombine" for row in session.journal.rows):
                    for row in mending.rows:
                        session.journal.row(phase="recombine", **row.as_json())
        rows = session.journal.rows
        messages += session.journal.messages
        if mending is not None and mending.empty:
            messages.append(f"{several(mending.empty, 'slice')} without a picture: the worst is that of the others")
        return Outcome(
            tuple(rows), tuple(messages), {"precision": precision}, False, world.main,
            logits=logits["after"] if len(validation) else None, parts=parts, mending=mending,
        )  # fmt: skip

    def _judged(
        self, logits: Mapping[str, NDArray[np.float32]], parts: Parts, recipe: Recipe, settings: ClassifierSettings
    ) -> Mending:
        """Before, after and placebo on the pictures set aside; a slice's pictures are in the two halves by turns."""
        part = parts.validation
        columns = columns_of(recipe, part)
        units = np.unique([parts.together[name] for name in part.names], return_inverse=True)[1]
        slices, _ = crossed(part, columns, units)
        halves = np.zeros(len(part), np.int64)
        for cell in np.unique(slices.cells):
            within = slices.cells == cell
            halves[within] = np.unique(units[within], return_inverse=True)[1] % 2
        group = recipe.arguments["group"]
        groups = None if group is None else part.column(group)
        right = {name: values.argmax(axis=1) == part.labels for name, values in logits.items()}
        rows = paired_measures(right, slices.cells, slices.names, halves, groups)
        done = (
            f"All of the network was trained on {len(parts.training)} pictures for {settings.epochs} epochs, each time "
            "with its object in front of the background of a picture drawn without regard to its class. The placebo "
            "was trained as long on the same pictures as they are."
        )
        if settings.open_layers is not None:
            done = done.replace("All of the network", f"The last {settings.open_layers} blocks and the last layer")
        return Mending(columns, rows, len(part), self.excluded, empty=slices.empty, recipe="recombine", done=done)

    def score(
        self, network: Network, parts: Parts, outcome: Outcome, recipe: Recipe, options: Options
    ) -> Evaluation | None:
        if outcome.logits is None or not len(parts.validation):
            return None
        probabilities = softmax(outcome.logits, axis=1).astype(np.float32)
        columns = tuple(recipe.arguments["slices"] or ())
        predictions = predictions_of(parts.validation, probabilities, recipe.arguments["group"], columns)
        seed = recipe.arguments["seed"]
        evaluation = evaluate(predictions, seed=seed, provenance=provenance(network, recipe=recipe.name))
        return replace(evaluation, mending=outcome.mending)

    def lines(self, content: PageContent, parts: Parts) -> Mapping[str, str]:
        count = len(parts.validation)
        return {**content.facts, "Scored on": f"{count} pictures that neither this run nor the one before has learnt"}


def _cut_out(
    training: Dataset, masks: str | None, network: Network, options: Options
) -> tuple[Dataset, Cutouts, list[str]]:
    """The pictures whose object is known, where it is, and what is to be said of the others. Raises `DataError` where
    of none, or of none of a class, it is."""
    regions: Regions | None = own_regions(training.source) if masks is None else regions_of(masks)
    if regions is None:
        raise DataError(
            f"{training.source} does not say where objects are, and recombine cuts them out; give --masks with a "
            "folder of masks, a COCO .json or drawn scenes"
        )
    cutouts = Cutouts.of(training, regions, network.preparation, options.bar)
    usable = np.flatnonzero(cutouts.usable).tolist()
    missing = len(training) - len(usable)
    part = training.select(usable)
    counts = np.bincount(part.labels, minlength=len(training.classes))
    present = np.isin(np.arange(len(training.classes)), training.labels)
    bare = [training.classes[at] for at in np.flatnonzero((counts == 0) & present)]
    if bare:
        raise DataError(
            f"{several(bare, 'class', 'classes')} without a picture whose object {regions.name} knows "
            f"({cutouts.why}); add masks of some, or take the class out"
        )
    messages = []
    if missing:
        messages.append(
            f"{missing} of {len(training)} pictures are not trained on, as their object is not known ({cutouts.why})"
        )
    return part, cutouts.among(usable), messages


def _phases(job: Finetuning, cutouts: Cutouts) -> dict[str, NDArray[np.float32]]:
    """Logits (validation pictures, classes) before, after and of the placebo; the network is left as it is after. A
    finished phase is taken from the checkpoint."""
    checkpoints = job.session.checkpoints
    module = job.network.module
    start = on_cpu(module.state_dict())
    logits = {"before": compute_logits(job, job.validation)} if len(job.validation) else {}
    for name, recombines in PHASES.items():
        if name not in checkpoints.results:
            if not (recombines or len(job.validation)):
                continue  # there is nothing to hold a placebo against
            load_values(module, start)
            tuned = _train(job, name, cutouts if recombines else None)
            state: State = {f"{name}/{path}": value for path, value in tuned.items()} if recombines else {}
            if len(job.validation):
                state[f"logits/{name}"] = torch.from_numpy(compute_logits(job, job.validation))
            checkpoints.finish(name, {}, state)
            checkpoints.save(job.session.journal.rows)
        if len(job.validation):
            logits["after" if recombines else name] = checkpoints.tensors[f"logits/{name}"].numpy()
    if not all(np.isfinite(values).all() for values in logits.values()):
        raise NetworkError(f"the answers of {job.network.name} are not finite; try --precision float32")
    load_values(module, start | tensors_under("train/", checkpoints.tensors))
    return logits


def _train(job: Finetuning, name: str, cutouts: Cutouts | None) -> State:
    """The loop over all pictures, as composites where there are `cutouts`; what it changed."""
    settings = job.settings
    part = job.training
    network = job.network
    objective = LabelObjective(part.labels, len(part.classes), None, settings.smoothing)
    loader = loader_of(part, objective, network.preparation, settings, job.session)
    if cutouts is not None:
        plain = {each.name: getattr(loader, each.name) for each in fields(loader)}
        loader = CompositeLoader(**plain, cutouts=cutouts)

    def validate() -> dict[str, float]:
        return score(compute_logits(job, job.validation), job.validation.labels)

    scored = cutouts is not None and len(job.validation) > 0  # the page draws the curves of the training alone
    with trainable_layers(network, settings.open_layers):
        fit(network, name, settings, loader, job.session, job.precision, validate if scored else None)
        return on_cpu(trained_state(network.module))
