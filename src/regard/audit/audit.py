"""An audit of a network on pictures: chunk by chunk, resumable to the same bytes, then brought together."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from regard.audit import planted, summary
from regard.audit.fooled import TokenRepair, artifact_findings, doubted, flips, label_errors, token_repair
from regard.audit.indomain.second import Adaptation, second_verdict
from regard.audit.pictures import grid_pointing
from regard.audit.pictures.chunk import Plan
from regard.audit.pictures.examples import examples
from regard.audit.pictures.gathered import Gathered
from regard.audit.pictures.measuring import measure
from regard.audit.pictures.parts import PARTS, Part
from regard.audit.pictures.planning import plan_of
from regard.audit.positions import audit_positions
from regard.audit.sentences import sentences
from regard.audit.settings import AuditSettings
from regard.audit.summary import Digests
from regard.audit.verdicts import data_digest, model_digest, store
from regard.data.dataset import Dataset, skipper
from regard.data.hashes import picture_hashes
from regard.data.regions import Regions
from regard.errors import DataError
from regard.files import check_free, exchange, writing
from regard.measurement.audits import NOW, check_before, compare_audits
from regard.measurement.classification.scoring import stored_mending
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.networks.run import run_of
from regard.progress import Progress, silent
from regard.records import Audit, Finding
from regard.results.audits import write_audit
from regard.results.writer import ResumableWriter

log = logging.getLogger("regard")

NEEDS = {
    "masks": "it needs to know where the object is: give --masks",
    "labels": "the pictures have no labels",
    "classes": "the network has one output alone",
    "full": "it is measured with --full alone",
}


@dataclass(frozen=True)
class AuditOutput:
    """Where an audit is written: the folder `out`, with what `finish` adds to it before it has its place, and its
    verdicts into the `run` of the network too; nowhere by default. `before` is an audit of the very same pictures, with
    its name, that it is held against."""

    out: Path | None = None
    run: Path | None = None
    overwrite: bool = False
    finish: Callable[[Path, Audit], None] = lambda folder, audit: None
    before: tuple[str, Audit] | None = None


class AuditWriter(ResumableWriter):
    """What was measured of pictures: what `regard audit` leaves when it is stopped."""

    command = "audit"


def audit(
    network: Network,
    dataset: Dataset,
    settings: AuditSettings | None = None,
    *,
    regions: Regions | None = None,
    note: str = "",
    output: AuditOutput | None = None,
    every: Dataset | None = None,
    progress: Progress = silent,
) -> Audit:
    """Measure a network and its maps on pictures; `note` marks these ("seen in training"). In those of `every` that are
    not among them a repair of artifact tokens is searched for.

    Written as the `output` says; the same call after an interruption goes on. Raises `DataError` for labels that the
    network does not know, and for pictures that cannot be read unless the settings skip them; `NetworkError` where no
    method works with the network, or it gives a picture several labels.
    """
    network.check_one_class("an audit")
    settings = settings or AuditSettings()
    output = output or AuditOutput()
    out = output.out
    network = replace(network, precision="float32")
    if network.classes is not None:
        dataset = dataset.fitted(network.classes)
    else:
        dataset = replace(dataset, pictures=tuple(replace(each, label=None) for each in dataset.pictures))
    if settings.group is not None:
        dataset.column(settings.group)
    with ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="regard-"))) / "audit"
        check_free(out, output.overwrite)
        hashes = picture_hashes(dataset.pictures)
        if output.before is not None:
            check_before(*output.before, data_digest(hashes.values()), len(dataset), settings.group)
        plan, skipped = plan_of(network, dataset, settings, regions)
        repair = TokenRepair(None, np.zeros(len(dataset), bool))
        if "artifacts" not in skipped:
            repair = token_repair(network, dataset, every, seed=settings.seed, skip_bad=settings.skip_bad)
        if repair.why:
            skipped["token repair"] = repair.why
        plan = replace(plan, repaired=repair.network, searched=repair.searched)
        rest = Adaptation.of(plan, every) if settings.in_domain else None
        lacking = {part.name: why for part in PARTS if (why := _lacking(part, plan, skipped)) is not None}
        skipped |= lacking
        parts = [part for part in PARTS if part.name not in lacking]
        origin = provenance(network)
        more = {"repair": repair.edit, **({} if rest is None else {"adaptation": rest.digest})}
        fingerprint = _fingerprint(plan, parts, {**origin, **more}, hashes)
        stack.enter_context(writing(out))
        writer = stack.enter_context(AuditWriter.open(out, fingerprint, len(dataset), output.overwrite))
        measure(plan, parts, writer, progress, skipper(settings.skip_bad))
        count = sum("index" in entry for entry in writer.entries())
        if not count:
            raise DataError("none of the pictures could be read")
        digests = Digests(model_digest(origin), data_digest(hashes.values()))
        rows = islice(writer.entries(), count)
        gathered = Gathered.of(rows, count, plan.classes, settings.steps + 1)
        skipped |= _measure_montages(plan, gathered, writer)
        pointing = list(grid_pointing.pointing(plan, (each for each in writer.entries() if "montage" in each)))
        result = _joined(plan, gathered, pointing, digests, skipped, note, origin)
        if rest is not None:
            second = second_verdict(plan, gathered, digests.data, rest, writer, progress)
            result = replace(result, in_domain=second, sentences=(*result.sentences, second.sentence(result.verdicts)))
        result = replace(result, mending=stored_mending(run_of(network)))
        if output.before is not None:
            told = compare_audits(dict([output.before, (NOW, result)])).sentences
            result = replace(result, sentences=(*result.sentences, *told))
        shutil.rmtree(writer.result, ignore_errors=True)  # what an interruption left of it
        writer.result.mkdir()
        write_audit(writer.result, result)
        store(result, hashes.values(), writer.result)
        output.finish(writer.result, result)
        exchange(writer.result, out)
        writer.remove()
        if output.run is not None:
            store(result, hashes.values(), output.run, merge=True)
    return result


def _lacking(part: Part, plan: Plan, skipped: Mapping[str, str]) -> str | None:
    """Why a part cannot be measured, None where it can."""
    available = {
        "masks": plan.regions is not None,
        "labels": bool((plan.labels >= 0).any()),
        "classes": plan.classes > 1,
        "full": plan.settings.full,
    }
    if part.name in skipped:
        return skipped[part.name]
    return next((NEEDS[need] for need in part.needs if not available[need]), None)


def _fingerprint(plan: Plan, parts: Sequence[Part], origin: dict[str, Any], hashes: dict[str, str]) -> str:
    """A hash of all that decides the entries."""
    about = [
        plan.settings.as_json(),
        origin,
        str(plan.network.device),
        [[method.name, dict(method.settings)] for method in plan.methods],
        list(hashes.items()),
        plan.labels.tolist(),
        None if plan.regions is None else plan.regions.digest,
        [part.name for part in parts],
        plan.occluders,
    ]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _measure_montages(plan: Plan, gathered: Gathered, writer: AuditWriter) -> dict[str, str]:
    """The montages that are still missing; why there are none, by the part."""
    chosen = grid_pointing.montages_of(plan, gathered)
    why = grid_pointing.lacking(plan, chosen)
    if why is not None:
        return {"grid pointing game": why}
    before = len(plan.pictures)
    for count, entries in grid_pointing.measure_montages(plan, gathered, chosen, writer.pictures - before):
        for entry in entries:
            writer.add(entry)
        writer.commit(before + count)
    return {}


def _joined(
    plan: Plan,
    gathered: Gathered,
    pointing: Sequence[Finding],
    digests: Digests,
    skipped: dict[str, str],
    note: str,
    origin: dict[str, Any],
) -> Audit:
    settings = plan.settings
    dataset = plan.pictures
    if settings.group is not None:
        gathered.groups = dataset.column(settings.group)[gathered.indices]
    evaluation = summary.evaluation_of(plan, gathered, dataset, note)
    if evaluation is None:
        skipped["quality"] = NEEDS["labels"] if plan.network.classes is not None else "the outputs have no names"
    findings = [
        *([] if evaluation is None else summary.quality(evaluation)),
        *summary.faithfulness(plan, gathered),
        *summary.single_deletions(plan, gathered),
        *summary.sanity(plan, gathered),
        *summary.localisation(plan, gathered),
        *pointing,
        *summary.reliance(plan, gathered),
        *summary.robustness(gathered, evaluation),
        *flips(gathered),
        *planted.adversary_findings(plan, gathered),
        *artifact_findings(gathered, plan.labels[gathered.indices]),
    ]
    ceiling = list(planted.ceiling_findings(gathered, settings.seed))
    labelled = np.flatnonzero(plan.labels[gathered.indices] >= 0)
    suspects = () if evaluation is None else evaluation.suspects
    if evaluation is not None and evaluation.note != "seen in training":
        findings.append(label_errors(suspects, evaluation.n))
    places = audit_positions(plan.network, digests.model, digests.data, seed=settings.seed)
    if places.skipped:
        skipped["positions"] = places.skipped
    findings += [*ceiling, *places.findings]
    findings = [each for each in findings if np.isfinite(each.score.value)]
    verdicts = planted.tempered(tuple(summary.verdicts(plan, gathered, digests)), ceiling)
    best = summary.best(plan, gathered)
    return Audit(
        sentences(len(gathered), evaluation, findings, verdicts, best, skipped),
        verdicts,
        tuple(findings),
        tuple(summary.curves(plan, gathered)),
        tuple(doubted(tuple(summary.pictures(plan, gathered, dataset)), labelled, suspects)),
        best,
        tuple(gathered.failed(tuple(dataset.names))),
        skipped,
        settings.as_json(),
        {**origin, "model": digests.model, "data": digests.data, "data_name": dataset.source.name},
        plan.network.classes or (),
        len(gathered),
        note,
        tuple(examples(plan, gathered)),
        places.verdicts,
    )
