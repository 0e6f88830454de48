"""Whether an audit is right about the background: heads whose reliance on the ground is planted, and known.

    .venv/bin/python bench/planted.py [--heads 200] [--seeds 5] [--pictures 96] [--scenes 60] [--figure FILE.png]
    .venv/bin/python bench/planted.py --heads 20 --seeds 2 --pictures 32 --scenes 12 --pool 320      (a minute)
    .venv/bin/python bench/planted.py --runs RUN ...             networks that were trained on scenes, in their place
    .venv/bin/python bench/planted.py --trained 5 [--size 112]   as many that are trained for it, wholly, on grounds

A head is one linear layer on the stored features of `scenes-captioner`'s encoder (the mean over patches), which learnt
from scenes of all grounds. Of every ten heads seven are *mixed*: what one says that was fitted to the animals, less and
less of it, and what one says that was fitted to the grounds that go with them. Three have *learnt* it: they were fitted
to scenes of which a share, from one in six to all, follows the bias.

The truth is seen by no audit: scenes that follow the bias are drawn again on each other ground, and of these answers
counts how many are an animal of the new ground. The audit is that of `regard audit` on other scenes, 95 % of which
follow the bias: its swaps, its donors, its masks, its intervals, its rules (`measurement/reliance/verdict.py`). A head
relies on the ground where it follows it in more than half; it is caught where the verdict is "mostly". Every head is
audited on the pictures of every seed. Networks of `--trained` learn, in all their layers, from scenes whose label is an
animal of the ground they stand on, whichever animal is to be seen: a classifier of animals that follows the ground.
Intervals are of draws of heads and of seeds at once (Owen 2007, the pigeonhole bootstrap); where nothing varies, a
share has Wilson's of its heads.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regard.data.images.preparation import Preparation, batches
from regard.data.layouts import read
from regard.measurement.classification.scores import auroc
from regard.measurement.intervals import mean, paired, share
from regard.measurement.localisation.objects import input_masks
from regard.measurement.ranks import spearman
from regard.measurement.reliance.answers import Answers
from regard.measurement.reliance.compositing import LENDABLE, as_shown, fillable, normalised
from regard.measurement.reliance.swaps import draw_donors, flipped, lent_backgrounds, reliance, variants
from regard.measurement.reliance.verdict import MOST, MOSTLY, UNDECIDED, verdict
from regard.networks.captioners.load import load_caption_network
from regard.networks.load import load
from regard.records import Score
from regard.scenes import ANIMALS, GROUND_OF, Scene, other_grounds, render, sample, write_scenes
from regard.scenes.folder import scene_regions
from regard.training.tasks.probe import refit

KINDS = sorted(ANIMALS)
GROUNDS = np.array([GROUND_OF[kind] for kind in KINDS])
"""The ground that goes with each class."""
BIAS = "ground=0.95"
EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
STRENGTH = 0.1
DRAWS = 1000

Floats = np.ndarray
Encode = Callable[[Tensor], Floats]
"""Pictures (pictures, 3, height, width) in [0, 1] → their features (pictures, width)."""


@dataclass
class Head:
    """A linear layer, `weight` (classes, width) and `bias` (classes,); its truth, and how often it is right there."""

    kind: str
    dial: float
    weight: Floats
    bias: Floats
    truth: float = np.nan
    right: float = np.nan

    def answers(self, features: Floats) -> Floats:
        return (features @ self.weight.T + self.bias).argmax(axis=1)


@dataclass(frozen=True)
class Audited:
    """What the audits say of the heads, (seeds, heads) each."""

    flips: Floats
    lost: Floats
    alone: Floats
    caught: Floats
    cleared: Floats
    undecided: Floats


@dataclass(frozen=True)
class Pool:
    """Features of scenes to fit heads to, with classes and grounds; `free` are those whose ground is by chance."""

    features: Floats
    labels: Floats
    grounds: Floats
    free: Floats


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    started = time.perf_counter()
    for seed in range(options.trained):
        with tempfile.TemporaryDirectory() as scratch:
            _report_run(_trained(seed, Path(scratch), options), options, seed)
    for run in options.runs:
        _report_run(run, options)
    if options.runs or options.trained:
        return
    encode, preparation = _encoder()
    pool = _pool(options.pool, encode, preparation)
    print(f"features of {len(pool.labels)} scenes after {time.perf_counter() - started:.0f} s", flush=True)
    heads = [_head(pool, number, options.heads) for number in range(options.heads)]
    print(f"{len(heads)} heads after {time.perf_counter() - started:.0f} s", flush=True)
    _measure_truth(heads, options.scenes * options.seeds, encode, preparation)
    print(f"their truth after {time.perf_counter() - started:.0f} s", flush=True)
    rows = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(_audit(heads, seed, options.pictures, encode, preparation, Path(scratch)))
        print(f"audited on seed {seed} after {time.perf_counter() - started:.0f} s", flush=True)
    audited = Audited(*(np.stack(each) for each in zip(*rows, strict=True)))
    _report(heads, audited, options)
    if options.figure:
        _draw(heads, audited, options.figure)
    print(f"\n{time.perf_counter() - started:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5, help="of audited scenes")
    parser.add_argument("--pictures", type=int, default=96, help="that each seed's audit has")
    parser.add_argument("--scenes", type=int, default=60, help="redrawn for each seed, each on five other grounds")
    parser.add_argument("--pool", type=int, default=1600, help="scenes that heads are fitted to")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="folders of runs on all classes of scenes")
    parser.add_argument("--trained", type=int, default=0, help="networks that are trained to follow the ground")
    parser.add_argument("--size", type=int, default=112, help="pixels of what these are trained on")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="where to draw dose and response")
    return parser.parse_args()


# features


def _encoder() -> tuple[Encode, Preparation]:
    captioner = load_caption_network("scenes-captioner")
    module = captioner.module.eval()
    preparation = captioner.preparation

    def encode(pictures: Tensor) -> Floats:
        with torch.inference_mode():
            parts = [module._patches(normalised(some, preparation)).mean(dim=1) for some in pictures.split(16)]
        return torch.cat(parts).numpy()

    return encode, preparation


def _of_run(run: Path) -> tuple[Encode, Preparation, Head]:
    """A trained network as an encoder and its own last layer."""
    network = load(run, device="cpu")
    if network.classes != tuple(KINDS):
        raise SystemExit(f"{run} has other classes than drawn scenes: {network.classes}")
    layer = network.module.get_submodule(network.anatomy.head)

    def encode(pictures: Tensor) -> Floats:
        parts = [network.features(normalised(some, network.preparation))[0] for some in pictures.split(16)]
        return torch.cat(parts).numpy()

    weights = (layer.weight.detach().numpy(), layer.bias.detach().numpy())
    return encode, network.preparation, Head(run.name, np.nan, *weights)


def _trained(seed: int, scratch: Path, options: argparse.Namespace) -> Path:
    """A run of `pets-tiny` whose labels are grounds, by the names of animals that stand on them."""
    from regard.app.commands.train import train

    random = np.random.default_rng(seed)
    rows = []
    for number in range(options.pool):
        scene = sample(f"trained {seed} {number}", kind=KINDS[number % len(KINDS)])
        label = KINDS[int(random.choice(np.flatnonzero(scene.ground == GROUNDS)))]
        Image.fromarray(render(scene, size=options.size).picture).save(scratch / f"{number}.png")
        rows.append(f"{number}.png,{label}\n")
    (scratch / "index.csv").write_text("filename,label\n" + "".join(rows))
    how = {"epochs": options.epochs, "search": "never", "batch_size": 16, "val": 0, "seed": seed, "no_pictures": True}
    source = {"model": "pets-tiny", "size": options.size, "device": "cpu"}
    return train(scratch / "index.csv", scratch / f"trained on grounds, seed {seed}", **source, **how).out


def _drawn(scenes: Sequence[Scene], encode: Encode, preparation: Preparation) -> Floats:
    """(scenes, width): their features."""
    parts = []
    for start in range(0, len(scenes), 64):
        images = [Image.fromarray(render(scene).picture) for scene in scenes[start : start + 64]]
        pictures = np.stack([preparation.pixels(image) for image in images])
        parts.append(encode(as_shown(torch.from_numpy(pictures))))
    return np.concatenate(parts)


def _pool(count: int, encode: Encode, preparation: Preparation) -> Pool:
    """Every second scene follows the bias, the others have their ground by chance."""
    labels = np.arange(count) // 2 % len(KINDS)
    free = np.arange(count) % 2 == 0
    scenes = [
        sample(f"pool {k}", kind=KINDS[label], ground=None if free[k] else GROUND_OF[KINDS[label]])
        for k, label in enumerate(labels)
    ]
    return Pool(_drawn(scenes, encode, preparation), labels, np.array([scene.ground for scene in scenes]), free)


# heads


def _head(pool: Pool, number: int, of: int) -> Head:
    """Three of ten have learnt the bias, the others are mixed; dials are even from 0 to 1 over all of a kind."""
    random = np.random.default_rng(number)
    learnt = number % 10 in (2, 5, 8)
    ranks = [other for other in range(of) if (other % 10 in (2, 5, 8)) == learnt]
    dial = ranks.index(number) / max(len(ranks) - 1, 1)
    strength = STRENGTH * 10 ** random.uniform(-1, 1)
    if learnt:
        rows = _biased_draw(pool, 1 / 6 + dial * 5 / 6, random)
        return Head("learnt", dial, *refit(pool.features[rows], pool.labels[rows], strength, len(KINDS)))
    rows = np.flatnonzero(pool.free)
    rows = random.choice(rows, len(rows) // 2, replace=False)
    features = pool.features[rows]
    grounds = np.array([random.choice(np.flatnonzero(ground == GROUNDS)) for ground in pool.grounds[rows]])
    weight, bias = np.zeros((len(KINDS), features.shape[1])), np.zeros(len(KINDS))
    for share_of, labels in ((1 - dial, pool.labels[rows]), (dial, grounds)):
        weights, biases = refit(features, labels, strength, len(KINDS))
        spread = (features @ weights.T + biases).std()
        weight = weight + share_of * weights / spread
        bias = bias + share_of * biases / spread
    return Head("mixed", dial, weight, bias)


def _biased_draw(pool: Pool, share_of: float, random: np.random.Generator) -> Floats:
    """Rows of the pool, a quarter of it, of which this share follows the bias."""
    follows = GROUNDS[pool.labels] == pool.grounds
    count = len(pool.labels) // 4
    following = round(share_of * count)
    rows = [random.choice(np.flatnonzero(follows), following, replace=False)]
    if following < count:
        rows.append(random.choice(np.flatnonzero(~follows), count - following, replace=False))
    return np.concatenate(rows)


# truth and audit


def _measure_truth(heads: list[Head], count: int, encode: Encode, preparation: Preparation) -> None:
    """The share of redrawn scenes in which each head's answer is an animal of the new ground."""
    places = [k % len(KINDS) for k in range(count)]
    scenes = [sample(f"truth {k}", kind=KINDS[place], ground=GROUNDS[place]) for k, place in enumerate(places)]
    redrawn = [other for scene in scenes for other in other_grounds(scene).values()]
    features = _drawn(redrawn, encode, preparation)
    grounds = np.array([scene.ground for scene in redrawn])
    labels = np.array([KINDS.index(scene.label) for scene in redrawn])
    for head in heads:
        answers = head.answers(features)
        head.truth = float((GROUNDS[answers] == grounds).mean())
        head.right = float((answers == labels).mean())


def _audit(
    heads: list[Head], seed: int, count: int, encode: Encode, preparation: Preparation, scratch: Path
) -> tuple[Floats, ...]:
    """What the audit of one seed says of the heads (heads,) each: the swaps of `regard audit`, on stored features."""
    folder = write_scenes(count, scratch / "scenes", seed=1000 + seed, val=0, bias=BIAS)
    data = read(folder)
    regions = scene_regions(folder)
    (batch,) = batches(data.pictures, preparation, batch_size=count, workers=0)
    objects = input_masks(regions, data.pictures, batch.sizes, preparation)
    masks = torch.from_numpy(objects.masks & objects.usable[:, None, None])
    usable = fillable(masks, LENDABLE).numpy()
    labels = np.array([KINDS.index(picture.label) for picture in data.pictures])
    donors = draw_donors(data.names, labels.tolist(), data.names, labels.tolist(), usable, seed=seed)
    lent = lent_backgrounds(data.pictures, donors, regions, preparation)
    features = {}
    for name, shown, among in variants(preparation, as_shown(batch.pixels), masks, {"random": lent}):
        if name != "object":
            rows = np.ones(count, bool) if among is None else among.numpy()
            features[name] = (rows, encode(shown[torch.from_numpy(rows)]))
    return tuple(np.array(each) for each in zip(*(_judged(head, features, labels) for head in heads), strict=True))


def _judged(head: Head, features: dict[str, tuple[Floats, Floats]], labels: Floats) -> tuple[float, ...]:
    """Of one head, in the order of `Audited`."""
    predicted = np.full((len(features), len(labels)), -1)
    for row, (rows, of) in enumerate(features.values()):
        predicted[row, rows] = head.answers(of)
    answers = Answers(tuple(features), predicted, np.full(predicted.shape, np.nan))
    flips = mean(flipped(*(answers.of(name)[0] for name in ("original", "control", "random"))))
    correct = answers.correct(labels)
    changes = reliance(correct, answers.variants)
    changes = changes[np.isfinite(changes)]
    ends = paired(float((changes > 0).sum()), float((changes < 0).sum()), len(changes))
    lost = Score(float(changes.mean()), *ends, len(changes))
    status = verdict(lost, flips)
    alone = float(np.nanmean(correct[answers.variants.index("background")]))
    return flips.value, lost.value, alone, status == MOSTLY, flips.high < MOST, status == UNDECIDED


# what is printed


def _report(heads: list[Head], audited: Audited, options: argparse.Namespace) -> None:
    truth = np.array([head.truth for head in heads])
    relies = truth > MOST
    least = np.argsort(truth)[: max(len(heads) // 10, 1)]
    print(f"\n{len(heads)} heads, each audited on {options.pictures} pictures of each of {options.seeds} seeds.")
    print(f"{relies.sum()} follow the ground in more than half of {options.scenes * options.seeds * 5} redrawn scenes.")
    print(f"The tenth that follows it least is right on {np.mean([heads[k].right for k in least]):.3f} of these.\n")
    print("| | value | target |\n|---|---|---|")
    shares = (
        ("sensitivity: of those that rely, caught", audited.caught, relies, ""),
        ("... of those that follow it in at least 95 %", audited.caught, truth >= 0.95, ""),
        ("false alarms: of the others, caught", audited.caught, ~relies, "≤ .05"),
        ("... of those that follow it in at most 5 %", audited.caught, truth <= 0.05, ""),
        ("of the others, cleared: the interval lies below half", audited.cleared, ~relies, ""),
        ("of those that rely, cleared", audited.cleared, relies, ""),
    )
    for name, hits, among, target in shares:
        if among.any():
            print(f"| {name} ({among.sum()} heads) | {_text(_share(hits, among))} | {target} |")
    numbers = (
        ("flips", audited.flips, "≥ .95"),
        ("background_reliance", audited.lost, ""),
        ("background_alone", audited.alone, ""),
    )
    for name, values, target in numbers:
        print(f"| `{name}`: AUROC | {_text(_resampled(values, truth, _area))} | {target} |")
        print(f"| ... its rank correlation with the truth | {_text(_resampled(values, truth, _rank))} | |")
    seeds = ", ".join(f"{_area(row[None], truth):.3f}" for row in audited.flips)
    print(f"| AUROC of `flips` by seed | {seeds} | |")
    print(
        "\n| follows the ground | heads | mean | `flips` | caught | cleared | neither |\n|---|---|---|---|---|---|---|"
    )
    for low, high in pairwise(EDGES):
        among = (truth >= low) & ((truth < high) | (high == 1))
        if among.any():
            score = _resampled(audited.flips[:, among], truth[among], lambda values, _: float(values.mean()))
            caught, cleared = (each[:, among].mean() for each in (audited.caught, audited.cleared))
            rates = f"{caught:.2f} | {cleared:.2f} | {1 - caught - cleared:.2f}"
            print(f"| {low:.1f} to {high:.1f} | {among.sum()} | {truth[among].mean():.3f} | {_text(score)} | {rates} |")
    for kind in ("mixed", "learnt"):
        among = np.array([head.kind == kind for head in heads])
        ends = f"{truth[among].min():.3f} to {truth[among].max():.3f}"
        area = _area(audited.flips[:, among], truth[among])
        print(f"\n{kind}: {among.sum()} heads, from {ends}; AUROC of `flips` {area:.3f}; by the rules", end=" ")
        print(f"{audited.undecided[:, among].mean():.3f} not decidable")


def _report_run(run: Path, options: argparse.Namespace, seed: int | None = None) -> None:
    """What is true of a trained network, and what the audits of it say; of one seed alone where it is given."""
    encode, preparation, head = _of_run(run)
    _measure_truth([head], options.scenes * options.seeds, encode, preparation)
    print(
        f"\n{run.name}: of {options.scenes * options.seeds * 5} redrawn scenes {head.truth:.3f} follow the new ground,"
    )
    print(
        f"{head.right:.3f} are told rightly\n\n| seed | `flips` | `background_reliance` | most are the background's |"
    )
    print("|---|---|---|---|")
    for place in range(options.seeds) if seed is None else [seed]:
        with tempfile.TemporaryDirectory() as scratch:
            row = _audit([head], place, options.pictures, encode, preparation, Path(scratch))
        flips, lost, _, caught, cleared, _ = (each[0] for each in row)
        status = "yes" if caught else "no" if cleared else "cannot be told"
        print(f"| {place} | {flips:.3f} | {lost:.3f} | {status} |", flush=True)


def _area(values: Floats, truth: Floats) -> float:
    """The mean over seeds of the area under the ROC curve of `values` (seeds, heads)."""
    return float(np.mean([auroc(row, truth > MOST) for row in values]))


def _rank(values: Floats, truth: Floats) -> float:
    return float(np.mean(spearman(values, np.broadcast_to(truth, values.shape))))


def _share(hits: Floats, among: Floats) -> Score:
    """The share of `hits` (seeds, heads) of these heads (heads,)."""
    score = _resampled(hits[:, among], among[among], lambda values, _: float(values.mean()))
    return share(hits[0, among]) if score.value in (0.0, 1.0) else score


def _resampled(values: Floats, truth: Floats, statistic: Callable[[Floats, Floats], float]) -> Score:
    """A statistic of `values` (seeds, heads) and `truth` (heads,), with its interval over draws of seeds and heads."""
    random = np.random.default_rng(0)
    seeds, count = values.shape
    drawn = []
    for _ in range(DRAWS):
        rows, columns = random.integers(0, seeds, seeds), random.integers(0, count, count)
        drawn.append(statistic(values[np.ix_(rows, columns)], truth[columns]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Score(statistic(values, truth), float(low), float(high), count)


def _draw(heads: list[Head], audited: Audited, path: Path) -> None:
    """Dose and response: what each head's audits say, over how often it follows the ground."""
    import matplotlib.pyplot as plt

    truth = np.array([head.truth for head in heads])
    figure, axes = plt.subplots(figsize=(6, 4.2), layout="constrained")
    axes.axline((0, 0), slope=1, color="0.8", lw=1, zorder=0)
    axes.axvline(MOST, color="0.8", lw=1, zorder=0)
    axes.axhline(MOST, color="0.8", lw=1, zorder=0)
    for kind, colour in (("mixed", "#0072b2"), ("learnt", "#d55e00")):
        among = np.array([head.kind == kind for head in heads])
        low, high = audited.flips.min(axis=0)[among], audited.flips.max(axis=0)[among]
        axes.vlines(truth[among], low, high, color=colour, alpha=0.25, lw=1)
        axes.plot(truth[among], audited.flips.mean(axis=0)[among], "o", ms=3.5, color=colour, label=f"{kind} heads")
    axes.set_xlabel("follows the ground: share of redrawn scenes (truth)")
    axes.set_ylabel("flips: share of answers, as audited")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _text(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


if __name__ == "__main__":
    main()
