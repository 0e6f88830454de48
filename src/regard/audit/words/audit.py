"""An audit of a captioner on pictures whose regions are known: caption by caption, resumable to the same bytes."""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.audit.pictures.measuring import duration
from regard.audit.summary import Digests
from regard.audit.verdicts import data_digest
from regard.audit.words.examples import examples_of
from regard.audit.words.gathered import Gathered
from regard.audit.words.measure import CaptionPlan, entries
from regard.audit.words.sentences import sentences
from regard.audit.words.settings import WordAuditSettings
from regard.audit.words.summary import findings, verdicts
from regard.audit.words.support import fitted_support
from regard.data.dataset import skipper
from regard.data.hashes import picture_hashes
from regard.data.regions import Regions
from regard.errors import DataError
from regard.explanation.words.support.find import other_maps
from regard.files import check_free, exchange, write_json, writing
from regard.measurement.localisation.captions import check_pictures
from regard.networks.captioners.base import CaptionNetwork
from regard.predictors.captions.job import check_captions, unknown_words
from regard.predictors.captions.options import CaptionInput
from regard.progress import Progress, silent
from regard.records import WordAudit, WordClaim
from regard.records.audits.words import CLAIMS
from regard.records.display import counted
from regard.results.word_audits import SUPPORT, write_word_audit
from regard.results.writer import ResumableWriter
from regard.version import __version__

log = logging.getLogger("regard")

MAPS = "maps.bin"
"""The maps of all words beside the lines of captions, float32, in their order."""


@dataclass(frozen=True)
class WordAuditOutput:
    """Where an audit is written: the folder `out`, with what `finish` adds to it before it has its place; the support
    model into the `run` of the network too; nowhere by default."""

    out: Path | None = None
    run: Path | None = None
    overwrite: bool = False
    finish: Callable[[Path, WordAudit], None] = lambda folder, audit: None


class WordAuditWriter(ResumableWriter):
    """What was measured of captions: what `regard audit` of a captioner leaves when it is stopped."""

    command = "audit"


def audit_words(
    network: CaptionNetwork,
    inputs: Sequence[CaptionInput],
    regions: Regions,
    settings: WordAuditSettings | None = None,
    *,
    note: str = "",
    output: WordAuditOutput | None = None,
    progress: Progress = silent,
) -> WordAudit:
    """Measure where the words of captions look, and what they lose without that: of the network's own captions of the
    `inputs`, or of those that these bring. `regions` know what words speak of.

    A model of word support is fitted where enough words are wrong; a run gets it where `note` says nothing of the words
    ("seen in training", "captions given"). Written as the `output` says; the same call after an interruption goes on.
    Raises `DataError` where nothing is known of any picture and for pictures that cannot be read, unless the settings
    skip them; `UsageError` for a method, layer or head that the network has not.
    """
    settings = settings or WordAuditSettings()
    output = output or WordAuditOutput()
    network = network.at_precision("float32")
    options = settings.options.fitted(network)
    check_pictures(regions, (item.name for item in inputs))
    check_captions(network, inputs)
    _report_unknown(network, inputs)
    plan = CaptionPlan(network, inputs, regions, settings, options)
    with ExitStack() as stack:
        out = output.out
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="regard-"))) / "audit"
        check_free(out, output.overwrite)
        hashes = picture_hashes(list({item.name: item.picture for item in inputs}.values()))
        fingerprint = _fingerprint(plan, hashes)
        stack.enter_context(writing(out))
        writer = stack.enter_context(WordAuditWriter.open(out, fingerprint, len(inputs), output.overwrite))
        _measure(plan, writer, progress)
        if not writer.n:
            raise DataError("none of the pictures could be read")
        with (writer.folder / MAPS).open("rb") as maps:
            gathered = Gathered.of(writer.entries(), maps, settings.seed)
        digests = Digests(network_digest(network), data_digest([*hashes.values(), *_digests(plan)]))
        result = _joined(plan, gathered, digests, note)
        shutil.rmtree(writer.result, ignore_errors=True)  # what an interruption left of it
        writer.result.mkdir()
        write_word_audit(writer.result, result)
        output.finish(writer.result, result)
        exchange(writer.result, out)
        writer.remove()
        if output.run is not None and result.support is not None and not note:
            write_json(output.run / SUPPORT, dict(result.support))
    return result


def _report_unknown(network: CaptionNetwork, inputs: Sequence[CaptionInput]) -> None:
    given = [item for item in inputs if item.caption is not None]
    unknown = [f"{word} in {item.file}" for item in given for word in unknown_words(network, item.caption or "")]
    if unknown:
        log.warning(f"words that {network.name} cannot read are left out: {len(unknown)} ({unknown[0]})")


def network_digest(network: CaptionNetwork) -> str:
    """Of a captioner, by all its weights: what a map of a word is of."""
    return hashlib.sha256(json.dumps([network.weights_hash(), network.architecture]).encode()).hexdigest()


def _digests(plan: CaptionPlan) -> Iterator[str]:
    """Of what is known of the pictures beside their bytes: where things are, and captions that are given."""
    yield plan.regions.digest
    for item in plan.inputs:
        if item.caption is not None:
            yield hashlib.sha256(f"{item.file}\0{item.caption}".encode("utf-8", "surrogateescape")).hexdigest()


def _measure(plan: CaptionPlan, writer: ResumableWriter, progress: Progress) -> None:
    """The captions that are still missing."""
    total = len(plan.inputs)
    start = writer.pictures
    on_bad = skipper(plan.settings.skip_bad)
    with progress("auditing captions", total) as advance:
        advance(start)
        writer.write(MAPS, b"")
        done = start
        started = time.perf_counter()
        for index, line, maps in entries(plan, start, on_bad):
            writer.write(MAPS, maps)
            writer.add(line)
            if done == start and total - index > 1:
                log.info(f"auditing {total - start} captions takes about "
                         f"{duration((time.perf_counter() - started) * (total - start))}")  # fmt: skip
            if (index + 1) % plan.settings.batch_size == 0:
                writer.commit(index + 1)
            advance(index + 1 - done)
            done = index + 1
        writer.commit(total)
        advance(total - done)


def _fingerprint(plan: CaptionPlan, hashes: Mapping[str, str]) -> str:
    """A hash of all that decides the lines."""
    about = [
        plan.options.as_json(plan.network),
        plan.settings.as_json(0),
        plan.network.origin(),
        str(plan.network.device),
        [(item.file, item.caption) for item in plan.inputs],
        list(hashes.items()),
        plan.regions.digest,
        __version__,
    ]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def _joined(plan: CaptionPlan, gathered: Gathered, digests: Digests, note: str) -> WordAudit:
    settings = plan.settings
    capture = plan.options.capture(plan.network)
    about = {"layer": capture.layer, "head": settings.head, "row": settings.row}
    decided = verdicts(gathered, settings.method, about, digests, settings.seed)
    claims = WordAudit((), decided).claims
    skipped = dict(_lacking(gathered, claims))
    if gathered.unknown:
        skipped["captions"] = f"of {gathered.unknown} {plan.regions.name} does not know the picture"
    support, why = _support(plan, gathered, note)
    if support is None:
        skipped["support"] = why
    return WordAudit(
        sentences(claims),
        decided,
        findings(gathered),
        gathered.rows(),
        support,
        (),
        skipped,
        settings.as_json(capture.layer),
        {**plan.network.origin(), "model": digests.model, "data": digests.data, "data_name": plan.regions.name},
        gathered.captions,
        note,
        examples_of(plan, gathered),
    )


def _support(plan: CaptionPlan, gathered: Gathered, note: str) -> tuple[dict[str, Any] | None, str]:
    """The support model, or None and why there is none: one of other maps would be taken for one of these."""
    settings = plan.settings
    if other_maps(plan.network, plan.options.capture(plan.network), settings.row) is not None:
        return None, "it is of maps of the last layer, the mean over heads, before the word; audit these to fit one"
    data = f"{counted(gathered.captions, 'caption')} of {plan.regions.name}{f' ({note})' if note else ''}"
    return fitted_support(
        gathered, plan.network.weights_hash(), data, given=settings.captions is not None, seed=settings.seed
    )


def _lacking(gathered: Gathered, claims: Iterable[WordClaim]) -> Iterator[tuple[str, str]]:
    """Of which claims nothing could be measured, and why."""
    decided = {(claim.claim, claim.words) for claim in claims}
    for claim in ("nouns", "adjectives", "verbs"):
        for words in ("right", "wrong"):
            if (claim, words) not in decided and (claim, "unjudged") not in decided:
                count = int(gathered.of_claim(claim, words).sum())
                why = "there are none that the data can judge" if not count else f"none of {count} has a region"
                yield f"{claim}, {words} words", why
    parts = {str(each.settings["by"]) for claim in claims if claim.claim == "verbs" for each in claim.verdicts}
    if parts and "part" not in parts:
        yield "verbs by the acting part", "in these captions all of an animal acts, or the data know no parts of it"
    for claim in ("anywhere", "words_before"):
        if (claim, "all") not in decided:
            yield CLAIMS[claim], "no caption has such words, or they could not be told from others"
