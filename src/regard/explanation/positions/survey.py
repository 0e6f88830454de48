"""Every way in which a network tells its patches apart, measured: what its weights say, and what pictures show."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from regard.data.dataset import Dataset, skipper
from regard.errors import NetworkError, RegardError
from regard.explanation.positions.analysis import Subject, measure, subject, subject_of_logits, subject_of_tokens
from regard.explanation.positions.controls import Control, pretraining_grid, resized_embeddings, resized_table
from regard.explanation.positions.readout import block_means
from regard.networks.anatomy.encoding_families import encodings
from regard.networks.anatomy.encodings import Encoding
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.networks.provenance import provenance
from regard.progress import Progress, silent
from regard.records import Positions

log = logging.getLogger("regard")

Grid = tuple[int, int]
PRETRAINING = "pretraining"
"""The grid that positions are taken to be interpolated from: that of 224 pixels, for networks of larger pictures."""


@dataclass(frozen=True)
class SurveySettings:
    """What positions are compared with: a network `before`, and random ones interpolated from `source` (rows, columns).

    `permutations` is by default 999, or 99 for more than 1600 patches. Pictures are read at block `layer`, by
    default the last.
    """

    before: Network | None = None
    source: Grid | str | None = PRETRAINING
    interpolation: str = "bicubic"
    permutations: int | None = None
    seed: int = 0
    layer: int | None = None


def survey_weights(network: Network, settings: SurveySettings, needed: bool = True) -> list[Positions]:
    """The positions in a network's weights.

    One way that cannot be measured (embeddings that are zero, as they are before training) is named and left out where
    there is another. Raises `NetworkError` where that leaves nothing and something is `needed`.
    """
    size = network.preparation.height, network.preparation.width
    every = encodings(network.module, size)
    results: list[Positions] = []
    problems: list[NetworkError] = []
    for encoding in every:
        try:
            results.append(
                measure(
                    subject(encoding, provenance(network)),
                    permutations=settings.permutations,
                    seed=settings.seed,
                    control=_control(network, encoding, settings),
                    before=None if settings.before is None else _counterpart(settings.before, encoding, every, size),
                )
            )
        except NetworkError as error:
            problems.append(error)
    if problems and not results and needed:
        raise problems[0]
    for problem in problems:
        log.info(str(problem))
    return results


def survey_pictures(
    network: Network,
    dataset: Dataset,
    settings: SurveySettings,
    *,
    logits: bool = False,
    batch_size: int = 8,
    workers: int = 2,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> list[Positions]:
    """What pictures show at a block: the mean token at each place, and with `logits` the
    mean attention logit by offset."""
    stream = prepared(network, dataset.pictures, batch_size=batch_size, workers=workers, on_bad=skipper(skip_bad))
    with progress("looking at pictures", len(dataset)) as advance:

        def batches() -> Iterator[Tensor]:
            for batch, pixels in stream:
                yield pixels
                advance(len(batch.indices))

        means = block_means(network, batches(), settings.layer, logits=logits)
    origin = provenance(network, pictures=means.n)
    subjects = [subject_of_tokens(means, origin), *([subject_of_logits(means, origin)] if logits else [])]
    return [measure(each, permutations=settings.permutations, seed=settings.seed) for each in subjects]


def _control(network: Network, encoding: Encoding, settings: SurveySettings) -> Control | None:
    """Random positions for embeddings and tables; a rotation is fixed, not learned, and has none."""
    if encoding.kind not in ("embeddings", "relative"):
        return None
    source = settings.source
    if isinstance(source, str):
        source = pretraining_grid(encoding.rows, encoding.columns, network.anatomy.patch or (16, 16))
    return Control(encoding, source, settings.interpolation, settings.seed)


def _counterpart(before: Network, encoding: Encoding, every: Sequence[Encoding], size: Grid) -> Subject | None:
    """The same kind of encoding in the network before, brought to this grid; None, and said so, where it has none."""
    same = [each for each in encodings(before.module, size) if each.kind == encoding.kind]
    place = [each for each in every if each.kind == encoding.kind].index(encoding)
    try:
        if place >= len(same):
            raise NetworkError(f"it has no {encoding.kind} positions")
        return subject(_resized(same[place], (encoding.rows, encoding.columns)))
    except RegardError as error:
        log.info(f"{before.name}, the network before, cannot be compared: {error}")
        return None


def _resized(encoding: Encoding, grid: Grid) -> Encoding:
    """Embeddings and tables interpolated to another grid, as timm does it."""
    rows, columns = grid
    if (encoding.rows, encoding.columns) == grid:
        return encoding
    if encoding.kind == "embeddings":
        return replace(encoding, rows=rows, columns=columns, values=resized_embeddings(encoding.values, grid))
    if encoding.kind == "relative":
        layers = np.stack([resized_table(layer, grid) for layer in encoding.values])
        return replace(encoding, rows=rows, columns=columns, values=layers)
    raise NetworkError(
        f"its rotation is for {encoding.rows} × {encoding.columns} patches, this network's for {rows} × {columns}"
    )
