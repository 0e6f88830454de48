"""What a captioner says of pictures whose captions are known, and how near that is to them."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from regard.app.console import progress
from regard.app.report import thumbnails
from regard.app.training import Page
from regard.data.dataset import Dataset, skipper
from regard.data.images.decode import open_picture
from regard.data.layouts.captions import captions_of
from regard.errors import DataError, UsageError
from regard.files import write_file, write_json
from regard.measurement.captions.scores import Captioned, caption_scores, exact
from regard.measurement.captions.true_words import PARTS, true_words
from regard.networks.captioners.base import CaptionNetwork
from regard.records import Score, read_manifest, write_manifest
from regard.rendering.pages.report import Report, report
from regard.scenes import read_scenes

log = logging.getLogger("regard")

KIND = "caption scores"
SCORES, SAID = "scores.json", "captions.jsonl"
SCENES = "scenes.jsonl"
"""What a folder of drawn scenes has beside its captions."""
EXAMPLES = 24
"""Pictures that the page shows with what was said of them."""
LABELS = {
    "true_words": "words that are true",
    **{f"true_{part}": f"{part}s that are true" for part in PARTS},
    **{f"bleu_{order}": f"BLEU-{order}" for order in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "exact": "exact match",
}
TOLD = ("true_words", "cider", "bleu_4", "rouge_l", "exact")


@dataclass(frozen=True)
class Scored:
    """The `scores` by name over `n` pictures; `said` has what was said of each by its name, in order."""

    scores: Mapping[str, Score]
    said: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]
    note: str = ""

    @property
    def n(self) -> int:
        return len(self.said)


def score_captions(
    captioner: CaptionNetwork,
    pictures: Dataset,
    *,
    beams: int = 1,
    batch_size: int = 32,
    skip_bad: bool = False,
    seed: int = 0,
    note: str = "",
) -> Scored:
    """Caption every picture and hold it against the captions that it has: see `measurement.captions`.

    Of drawn scenes also how many words are true: see `measurement.scene_truth`. Without pycocoevalcap only the exact
    matches are counted, and that is said.
    """
    said = _said(captioner, pictures, beams, batch_size, skip_bad)
    references = {picture.name: captions_of(picture) for picture in pictures.pictures if picture.name in said}
    return Scored(_scores(said, references, pictures.source.parent, seed), said, references, note)


def _scores(
    said: Mapping[str, str], references: Mapping[str, tuple[str, ...]], folder: Path, seed: int
) -> dict[str, Score]:
    truth = _truth(said, folder, seed) if (folder / SCENES).is_file() else {}
    try:
        return {**truth, **caption_scores(said, references, seed=seed)}
    except UsageError as error:
        log.info(f"{error}; only exact matches are counted")
        return {**truth, "exact": exact(Captioned.of(said, references))}


def _truth(said: Mapping[str, str], folder: Path, seed: int) -> dict[str, Score]:
    """How much is true of drawn scenes; nothing, and that is said, where these are other pictures than those."""
    try:
        return true_words(said, dict(read_scenes(folder)), seed)
    except DataError as error:
        log.info(f"whether words are true is not counted: {error}")
        return {}


def _said(captioner: CaptionNetwork, pictures: Dataset, beams: int, batch_size: int, skip_bad: bool) -> dict[str, str]:
    said: dict[str, str] = {}
    skip, stream = skipper(skip_bad), iter(pictures.pictures)
    with progress("captioning", len(pictures)) as advance:
        while batch := list(islice(stream, batch_size)):
            names, prepared = [], []
            for picture in batch:
                try:
                    prepared.append(captioner.prepare(open_picture(picture.opener)))
                    names.append(picture.name)
                except DataError as error:
                    if skip is None:
                        raise
                    skip(picture, error)
            for name, decoding in zip(
                names, captioner.generate(prepared, beams=beams) if prepared else [], strict=True
            ):
                said[name] = captioner.text(decoding.tokens)
            advance(len(batch))
    if not said:
        raise DataError("none of the pictures could be read")
    return said


def write_scores(folder: Path, scored: Scored, provenance: Mapping[str, Any]) -> None:
    """A result folder's content: `scores.json`, and `captions.jsonl` with a line for each picture; manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SCORES, scores_json(scored))
    lines = (
        json.dumps({"name": name, "caption": text, "references": list(scored.references[name])}, ensure_ascii=False)
        for name, text in scored.said.items()
    )
    write_file(folder / SAID, "".join(f"{line}\n" for line in lines))
    stored = {name: {**score.as_json(), "n": score.n} for name, score in scored.scores.items()}
    write_manifest(folder, KIND, note=scored.note, n=scored.n, scores=stored, provenance=dict(provenance))


def read_scores(folder: Path | str) -> Scored:
    """What `write_scores` wrote. Raises `DataError` when it is not whole or something else."""
    manifest = read_manifest(folder, KIND)
    scores = {name: _score(stored) for name, stored in manifest["scores"].items()}
    rows = [json.loads(line) for line in (Path(folder) / SAID).read_text(encoding="utf-8").splitlines()]
    said = {row["name"]: row["caption"] for row in rows}
    return Scored(scores, said, {row["name"]: tuple(row["references"]) for row in rows}, manifest["note"])


def _score(stored: Mapping[str, Any]) -> Score:
    value, low, high = (math.nan if stored[name] is None else stored[name] for name in ("value", "low", "high"))
    return Score(value, low, high, stored["n"])


def caption_page(
    captioner: CaptionNetwork,
    pictures: Dataset,
    scored: Scored,
    wanted: Page,
    *,
    facts: Mapping[str, str],
    messages: Sequence[str] = (),
    recipe: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    provenance: Mapping[str, Any] | None = None,
) -> str:
    """The HTML of a report: scores, what was said of the first pictures, and, of a training, how it went."""
    names = list(scored.said)[: 0 if wanted.no_pictures else EXAMPLES]
    images = thumbnails(pictures, names)
    aside = f", {scored.note}" if scored.note else ""
    intervals = {LABELS.get(name, name): _interval(score) for name, score in scored.scores.items()}
    return report(
        Report(
            title=wanted.title,
            facts={"Network": captioner.architecture, "Scored on": f"{scored.n} pictures{aside}", **intervals, **facts},
            messages=(*captioner.messages, *messages),
            examples=tuple((name, images[name], None, scored.said[name]) for name in names if name in images),
            recipe=recipe or {},
            history=tuple(history),
            provenance=provenance or {},
            show_pictures=not wanted.no_pictures,
            anonymise=wanted.anonymise,
        )
    )


def _interval(score: Score) -> str:
    if not math.isfinite(score.value):
        return "not defined for so few pictures"
    return f"{score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f})"


def scores_json(scored: Scored) -> dict[str, Any]:
    return {"n": scored.n, **{name: score.as_json() for name, score in scored.scores.items()}}


def told(scored: Scored) -> str:
    """The most telling scores in a line."""
    shown = [f"{LABELS[name]} {scored.scores[name].value:.3f}" for name in TOLD if name in scored.scores]
    note = f", {scored.note}," if scored.note else ""
    return f"{', '.join(shown)} on {scored.n} picture{'' if scored.n == 1 else 's'}{note}"
