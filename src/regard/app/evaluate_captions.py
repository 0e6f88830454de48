"""`regard evaluate` of a captioner: what it says of pictures whose captions are known, and how near that is to them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.app.caption_scores import (
    Scored,
    caption_page,
    score_captions,
    scores_json,
    write_scores,
)
from regard.app.seen import scored_part
from regard.app.training import Page
from regard.data.layouts.captions import read_captioned
from regard.files import new_folder, write_file
from regard.networks.captioners.load import load_caption_network
from regard.networks.provenance import provenance

log = logging.getLogger("regard")


@dataclass(frozen=True)
class CaptionResult:
    """The scores, and the folder they were written to, if they were."""

    scored: Scored
    out: Path | None = None


def evaluate_captions(
    data: str | Path,
    model: str | Path,
    *,
    split: str | None = None,
    keep_seen: bool = False,
    device: str | None = None,
    batch_size: int = 32,
    seed: int = 0,
    skip_bad: bool = False,
    out: str | Path | None = None,
    no_pictures: bool = False,
    anonymise: bool = False,
    overwrite: bool = False,
) -> CaptionResult:
    """Score a captioner on pictures with captions; which of them, and what is said of those it knows, as `evaluate`."""
    part, note = scored_part(read_captioned(data), model, split, keep_seen)
    captioner = load_caption_network(model, device)
    for message in captioner.messages:
        log.info(message)
    scored = score_captions(captioner, part, batch_size=batch_size, skip_bad=skip_bad, seed=seed, note=note)
    if out is None:
        return CaptionResult(scored)
    origin = provenance(captioner)
    wanted = Page(Path(out).name, no_pictures, anonymise)
    html = caption_page(captioner, part, scored, wanted, facts={}, provenance=origin)
    with new_folder(out, overwrite) as folder:
        write_file(folder / "report.html", html)
        write_scores(folder, scored, origin)
    return CaptionResult(scored, Path(out))


def as_json(result: CaptionResult) -> dict[str, Any]:
    where = {} if result.out is None else {"out": str(result.out), "report": str(result.out / "report.html")}
    return {**where, **scores_json(result.scored)}
