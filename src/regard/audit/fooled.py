"""Claim (c): are spots of extreme attention noise, do they go with errors, and does removing them help?

Pictures are treated, or the network is, and each is held against the untreated: see docs/audit.md, "Rules".
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.audit.pictures.gathered import Gathered
from regard.audit.repair import search_and_test
from regard.data.dataset import Dataset
from regard.errors import DataError, NetworkError, unknown
from regard.explanation.artifacts import APPEAR, find_repair, observe, repaired
from regard.measurement.artifacts.spots import Spots, spots, where_wrong
from regard.measurement.measure import labelled
from regard.measurement.reliance.compositing import normalised
from regard.measurement.reliance.swaps import SWAPS, flipped
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.records import AuditedPicture, Finding, Score

log = logging.getLogger("regard")

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

UNTREATED = "untreated"
MEDIAN = "median filter"
MEANS = "non-local means"
REPAIR = "token repair"
TREATMENTS = (UNTREATED, MEDIAN, MEANS, REPAIR)
"""What is done against artifact tokens, each held against the first."""
SEARCHED = 32
"""The most pictures in which a repair is searched for."""
COST = 4.0
"""In forwards a picture, tracing attention in each."""
ELSEWHERE = "same_places_elsewhere"
AREA = "background_share"
"""What the share of artifact tokens on the background is read against, by picture."""
MEASURES = ("artifact_share", "artifact_attention", "attention_on_object")
"""What is measured under each treatment beside accuracy."""


def denoised(pictures: Tensor, kind: str) -> Tensor:
    """Pictures (pictures, 3, height, width) in [0, 1] behind a denoiser of scikit-image.

    A median over 3 × 3 pixels of each channel, or non-local means (Buades et al. 2005) of 5 × 5 patches, 6 pixels
    around, of strength .8 σ, as scikit-image recommends, σ the noise of each picture.
    """
    return torch.stack([torch.from_numpy(_denoised(each, kind)) for each in pictures.cpu().numpy()]).to(pictures)


def _denoised(picture: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Of one picture (3, height, width)."""
    if kind == MEDIAN:
        from scipy.ndimage import median_filter

        return np.asarray(median_filter(picture, size=(1, 3, 3), mode="nearest"), np.float32)
    if kind != MEANS:
        raise unknown("denoiser", kind, (MEDIAN, MEANS))
    from skimage.restoration import denoise_nl_means

    sigma = noise_of(picture)
    if not sigma > 1e-6:  # a plain picture: there is nothing to take away
        return picture
    how = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma, "fast_mode": True}
    return np.clip(np.asarray(denoise_nl_means(picture, channel_axis=0, **how), np.float32), 0, 1)


def noise_of(picture: NDArray[np.floating]) -> float:
    """The standard deviation of the noise in a picture (3, height, width), mean over channels (Immerkær 1996, eq. 4).

    0 for one of fewer than 3 × 3 pixels.
    """
    if min(picture.shape[1:]) < 3:
        return 0.0
    responses = np.diff(np.diff(np.asarray(picture, np.float64), n=2, axis=1), n=2, axis=2)  # a line's and a slope's: 0
    return float(np.abs(responses).mean() * np.sqrt(np.pi / 2) / 6)


@dataclass(frozen=True)
class TokenRepair:
    """A network whose artifact tokens are moved to a register, and which of the pictures (pictures,) the search used:
    they are not scored. None where there is none; `why`, then."""

    network: Network | None
    searched: Bools
    why: str = ""

    @property
    def edit(self) -> object:
        """What decides it, for a fingerprint."""
        edits = None if self.network is None else [list(each.items()) for each in self.network.edits]
        return [str(edits), self.searched.tolist(), self.why]


def token_repair(
    network: Network, scored: Dataset, every: Dataset | None, *, seed: int = 0, skip_bad: bool = False
) -> TokenRepair:
    """A repair from pictures of `every` that are not scored, else from half of the scored, on which it is not tried."""
    used = np.zeros(len(scored), bool)
    try:
        among, rest = search_and_test(every or scored, scored, SEARCHED, seed)
    except DataError as error:
        return TokenRepair(None, used, str(error))
    if len(rest) < len(scored):
        names = {*among.names}
        used = np.array([name in names for name in scored.names], bool)
    quiet = (lambda picture, error: None) if skip_bad else None  # the audit names them
    stream = prepared(network, among.pictures, batch_size=8, workers=0, on_bad=quiet)
    try:
        repair = find_repair(network, [pixels for _, pixels in stream])
    except NetworkError as error:
        return TokenRepair(None, np.zeros_like(used), str(error))
    if not repair.neurons:
        why = "no artifact tokens were found" if repair.before.first is None else "no neurons were found to move"
        return TokenRepair(None, np.zeros_like(used), f"{why} in {len(among)} pictures")
    return TokenRepair(repaired(network, repair.edit), used)


@dataclass(frozen=True)
class Treated:
    """What a network answers under a treatment, and its artifact tokens: `predicted` (pictures,), -1 where the
    treatment was not tried."""

    treatment: str
    predicted: Ints
    spots: Spots
    artifacts: Bools  # (pictures, patches)


def treated(
    network: Network,
    pictures: Tensor,
    masks: Bools | None = None,
    repair: Network | None = None,
    unrepaired: Bools | None = None,
) -> Iterator[Treated]:
    """Each treatment of pictures (pictures, 3, height, width) in [0, 1]; `masks` (pictures, height, width) of their
    objects. `unrepaired` (pictures,) are those on which the repair may not be tried. Raises as `artifacts`."""
    for treatment in TREATMENTS:
        if treatment == REPAIR and repair is None:
            continue
        images = denoised(pictures, treatment) if treatment in (MEDIAN, MEANS) else pictures
        of = repair if treatment == REPAIR and repair is not None else network
        pixels = normalised(images, network.preparation).to(network.device)
        observation = observe(of, [pixels])
        grid = network.anatomy.grid(pixels.shape[2], pixels.shape[3])
        attention = observation.attention[-1].double().numpy()
        tokens = observation.outliers[-1].numpy()
        measured = spots(tokens, attention, masks, grid)
        predicted = observation.logits.argmax(dim=1).numpy().astype(np.int64)
        if treatment == REPAIR and unrepaired is not None:
            values = (np.where(unrepaired, np.nan, each) for each in vars(measured).values())
            measured = Spots(*values)
            predicted = np.where(unrepaired, -1, predicted)
        yield Treated(treatment, predicted, measured, tokens)


# From what was measured of each picture


def artifact_findings(gathered: Gathered, labels: Ints) -> Iterator[Finding]:
    """Claim (c) in numbers; `labels` (n,) of the pictures that were measured, -1 where there is none."""
    share = gathered.get("artifact_share")
    if share is None:
        return
    few = float(np.nanmean(share)) <= APPEAR
    note = f"no more than chance: it takes {APPEAR:.2%} of all patches to be called artifacts" if few else ""
    for measure in ("artifact_share", "artifact_attention"):
        chance = gathered.score(share, "artifact_share") if measure == "artifact_attention" else None
        against = "their share of the patches" if chance is not None else ""
        yield Finding("artifacts", measure, "", gathered.score(gathered.get(measure), measure), chance, against, note)
    yield from _covered(gathered, note)
    labelled_rows = labels >= 0
    if labelled_rows.any():
        values = np.where(labelled_rows, share, np.nan)
        score = labelled("artifacts_where_wrong", where_wrong(values, gathered.predicted != labels, gathered.groups))
        yield Finding("artifacts", "artifacts_where_wrong", "", score, note=note)
    yield from _treatments(gathered)


def _covered(gathered: Gathered, note: str) -> Iterator[Finding]:
    """What artifact tokens cover, beside what the same places cover in other pictures, and the area."""
    measure = "artifacts_on_background"
    covered = gathered.get(measure)
    if covered is None:
        return
    baselines = {"the same places in other pictures": ELSEWHERE, "the background's share of the area": AREA}
    for against, name in baselines.items():
        other = gathered.get(name)
        if other is None:
            continue
        both = np.isfinite(covered) & np.isfinite(other)
        values, base = (np.where(both, each, np.nan) for each in (covered, other))
        score, of_base = (gathered.score(each, measure) for each in (values, base))
        yield Finding("artifacts", measure, "", score, of_base, against, note)
        lift = gathered.score(values - base, measure, signed=True)
        yield Finding("artifacts", measure, "", lift, note=note, condition=f"more than {against}")


def _treatments(gathered: Gathered) -> Iterator[Finding]:
    """Each treatment beside the untreated, on the same pictures, and the paired difference."""
    for measure in ("accuracy", *MEASURES):
        whole = gathered.get(measure, "", UNTREATED if measure == "accuracy" else "")
        if whole is None:
            continue
        if measure in ("accuracy", "attention_on_object"):
            yield Finding("artifacts", measure, "", gathered.score(whole, measure), condition=UNTREATED)
        for treatment in TREATMENTS[1:]:
            values = gathered.get(measure, "", treatment)
            if values is None:
                continue
            base = np.where(np.isfinite(values), whole, np.nan)
            score = gathered.score(values, measure)
            before = gathered.score(base, measure)
            yield Finding("artifacts", measure, "", score, before, UNTREATED, condition=treatment)
            change = gathered.score(values - base, measure, signed=True)
            yield Finding("artifacts", measure, "", change, condition=f"{treatment}, more than {UNTREATED}")


def flips(gathered: Gathered) -> Iterator[Finding]:
    """How often the answer changes with the background, of the pictures whose answer pasting alone does not change."""
    control = gathered.changed.get("control")
    for swap, name in zip(SWAPS, ("of another class", "of its class"), strict=True):
        swapped = gathered.changed.get(swap)
        if control is None or swapped is None:
            continue
        score = gathered.score(flipped(gathered.predicted, control, swapped), "accuracy")
        words = {"label": "Flips", "description": "share of pictures whose answer changes with their background alone"}
        score = Score(score.value, score.low, score.high, score.n, note=score.note, **words)
        yield Finding("reliance", "flips", "", score, condition=f"on the background of a picture {name}")


def label_errors(suspects: Sequence[int], n: int) -> Finding:
    """How many labels may be wrong, of `n`."""
    value = len(suspects) / n
    words = ("Labels in doubt", "share of pictures whose label is likely wrong, by confident learning")
    note = "each is to be looked at; the less a network knows, the more of them are its own mistakes"
    return Finding("quality", "label_errors", "", Score(value, np.nan, np.nan, n, *words), note=note)


def doubted(pictures: Sequence[AuditedPicture], rows: Ints, suspects: Sequence[int]) -> list[AuditedPicture]:
    """The pictures, with the number "label_errors" for those in doubt: 1 is the likeliest. `suspects` are indices into
    the `rows` that have a label."""
    ranks = {int(rows[each]): rank for rank, each in enumerate(suspects, 1)}
    return [
        replace(each, numbers={**each.numbers, "label_errors": float(ranks[row])}) if row in ranks else each
        for row, each in enumerate(pictures)
    ]
