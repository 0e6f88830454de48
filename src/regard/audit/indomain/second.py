"""What an audit measures of the copy, and what that says beside what it says of the network itself."""

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray

from regard.audit import summary
from regard.audit.indomain.adaptation import BATCH, RATE, STEPS, adapted, check_adaptable, expected_seconds
from regard.audit.pictures.chunk import Floats, Plan
from regard.audit.pictures.gathered import Gathered
from regard.audit.pictures.measuring import IN_DOMAIN, duration, forward_seconds, forwards, measure
from regard.audit.pictures.parts import PARTS
from regard.audit.pictures.planning import plan_of
from regard.audit.summary import Digests
from regard.audit.verdicts import model_digest
from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.errors import NetworkError
from regard.explanation import METHODS
from regard.files import is_file, write_file
from regard.measurement.intervals import share
from regard.measurement.ranks import spearman
from regard.networks.provenance import provenance
from regard.progress import Progress
from regard.records import InDomain, Score
from regard.results.writer import ResumableWriter

log = logging.getLogger("regard")

COPY = "copy.safetensors"
MEASURES = ("srg", "single_deletion")
SECOND = tuple(part for part in PARTS if part.name in ("faithfulness", "single deletion"))
"""What is measured of the copy too."""
DRAWS = 2000
"""Bootstrap draws of pictures for the agreement of ranks."""
FEWEST = 3
"""Methods that an agreement of ranks needs."""


@dataclass(frozen=True)
class Adaptation:
    """What a copy is trained on: pictures of DATA that are not audited, with the `digest` of them."""

    pictures: Dataset
    digest: str

    @classmethod
    def of(cls, plan: Plan, every: Dataset | None) -> "Adaptation":
        """Those whose content no audited picture has; says how much longer it takes. Raises `DataError` for too few,
        `NetworkError` for weights that cannot be trained, or where no method can be asked again."""
        audited = plan.pictures
        hashes = {} if every is None else picture_hashes(every.pictures)
        taken = set(picture_hashes(audited.pictures).values())
        rest = audited.select([])
        if every is not None:
            rest = every.select(at for at, name in enumerate(every.names) if hashes[name] not in taken)
        check_adaptable(plan.network, len(rest))
        if not _methods(plan):
            raise NetworkError(
                "maps from outside alone are audited, and of a copy there are none; name --methods, or leave "
                "--in-domain out"
            )
        seconds = forward_seconds(plan, plan.network.blank()) * forwards(plan, SECOND) * len(audited)
        training = duration(expected_seconds(plan.network))
        log.info(
            f"in-domain: training a copy takes about {training} and auditing it {duration(seconds)}, beside the rest"
        )
        lines = "\n".join(hashes[name] for name in rest.names)
        return cls(rest, hashlib.sha256(lines.encode()).hexdigest())


def _methods(plan: Plan) -> tuple[str, ...]:
    """The methods of regard's own that are audited."""
    return tuple(each.name for each in plan.methods if each.control == "" and each.name in METHODS)


def _second_plan(plan: Plan, rest: Adaptation, folder: Path, progress: Progress) -> Plan:
    """What is measured of the copy: the methods of regard's own that are audited, with their controls. A copy that an
    interrupted audit left in the `folder` is taken from there."""
    path = folder / COPY
    steps = 0 if is_file(path) else STEPS
    how: dict[str, Any] = {"seed": plan.settings.seed, "progress": progress}
    copy = adapted(plan.network, rest.pictures.pictures, plan.occluders[0], steps=steps, **how)
    state = copy.module.state_dict()
    if is_file(path):
        for name, value in safetensors.torch.load(path.read_bytes()).items():
            state[name].copy_(value)
    else:
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
        write_file(path, safetensors.torch.save(plain))
    settings = replace(plan.settings, methods=_methods(plan), maps=None, full=False)
    return replace(plan_of(copy, plan.pictures, settings, None)[0], labels=plan.labels)


def second_verdict(
    plan: Plan, first: Gathered, data: str, rest: Adaptation, writer: ResumableWriter, progress: Progress
) -> InDomain:
    """The rules of the first verdict on the numbers of the copy, whose entries come behind all that are of the network;
    and how far the two agree."""
    again = _second_plan(plan, rest, writer.folder, progress)
    montages = sum("montage" in entry for entry in writer.entries())
    quiet = (lambda picture, error: None) if plan.settings.skip_bad else None
    measure(again, SECOND, writer, progress, quiet, len(plan.pictures) + montages)
    rows = [entry[IN_DOMAIN] for entry in writer.entries() if IN_DOMAIN in entry]
    second = Gathered.of(rows, len(rows), plan.classes, plan.settings.steps + 1)
    second.groups = first.groups
    digests = Digests(model_digest(provenance(again.network)), data)
    findings = [*summary.faithfulness(again, second), *summary.single_deletions(again, second)]
    findings = [each for each in findings if each.measure in MEASURES and np.isfinite(each.score.value)]
    names = [each.name for each in again.methods if each.control == ""]
    agreement = {}
    for name in MEASURES:
        numbers = [[each.get(name, method) for method in names] for each in (first, second)]
        both = [np.stack([values for values in row if values is not None]) for row in numbers if row[0] is not None]
        if len(names) >= FEWEST and len(both) == 2 and both[0].shape == both[1].shape:
            agreement[name] = rank_agreement(both[0], both[1], first.groups, plan.settings.seed)
    same = share(first.predicted == second.predicted, first.groups)
    about = {"steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "occluder": plan.occluders[0]}
    verdicts = tuple(summary.verdicts(again, second, digests))
    return InDomain(verdicts, tuple(findings), agreement, same, len(rest.pictures), about)


def rank_agreement(first: Floats, second: Floats, groups: NDArray[Any] | None = None, seed: int = 0) -> Score:
    """Spearman's correlation of the mean scores of methods, two (methods, pictures); pictures that both have.

    The interval is the bootstrap's over pictures (or groups), of the same draws on both sides: methods are as they are.
    """
    usable = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
    units = np.arange(int(usable.sum())) if groups is None else np.unique(groups[usable], return_inverse=True)[1]
    count = int(units.max()) + 1 if len(units) else 0
    if not count:
        return Score(np.nan, np.nan, np.nan, 0)
    one, two = first[:, usable], second[:, usable]
    value = float(spearman(one.mean(axis=1), two.mean(axis=1)))
    if count < 3:
        return Score(value, np.nan, np.nan, count)
    random = np.random.default_rng(seed)
    weights = random.multinomial(count, np.full(count, 1 / count), DRAWS)[:, units].astype(
        np.float64
    )  # (draws, pictures)
    weights /= weights.sum(axis=1, keepdims=True)
    drawn = spearman(weights @ one.T, weights @ two.T)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Score(value, float(low), float(high), count)
