"""Is the cross-validated score right? Small draws of a large labelled folder, against the truth on all the rest of it.

    .venv/bin/python bench/cross_validation.py ../shared/data/clothing --weights FILE [--draws 400] [--pictures 150]
    .venv/bin/python bench/cross_validation.py ../shared/data/clothing --weights FILE --recipe finetune --draws 20

Each draw trains on so many pictures as the command does, and is scored by cross-validation. Its truth is the mean
accuracy, on the pictures that were not drawn, of the networks of its folds: they saw as much as those that were scored.
Prints, for accuracy: the mean error of the score as it would be without a correction, and with it; how often the
interval holds the truth; and by how much the network that is kept, which saw every picture of the draw, is better than
those of the folds. A probe works on stored features; `finetune` trains in full (minutes a draw) and tells its error
against the network that is kept.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import softmax

from regard.app.commands.train import train
from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.data.layouts import read
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.optimism import optimism
from regard.measurement.classification.scoring import predict_all, predictions_of
from regard.networks.load import load
from regard.networks.network import Network
from regard.training.tasks.features import FeatureStore, cache_folder, extract, network_key
from regard.training.tasks.probe import fit_probe, refit

LEAST = 3
"""Pictures of each class in a draw at least, so that every class can be left out."""


def main() -> None:
    options = _options()
    dataset = read(options.data).labelled().unsplit()
    rows = []
    if options.recipe == "probe":
        features = _features(dataset, load(options.model, weights=options.weights, classes=dataset.classes))
    for seed in range(options.draws):
        drawn = _draw(dataset, options.pictures, seed)
        if options.recipe == "probe":
            rows.append(_probe(dataset, features, drawn, seed))
        else:
            rows.append(_whole(dataset, drawn, seed, options))
        print(f"{seed}: truth {rows[-1][0]:.4f}, score {rows[-1][2]:.4f}", flush=True)
    truth, plain, score, low, high, kept = np.array(rows).T
    error = score - truth
    print(f"\n{len(rows)} draws of {options.pictures} pictures, {options.recipe}; mean truth {truth.mean():.4f}")
    print("| | mean error | standard error |\n|---|---|---|")
    print(f"| uncorrected | {(plain - truth).mean():+.4f} | {(plain - truth).std() / len(rows) ** 0.5:.4f} |")
    print(f"| corrected | {error.mean():+.4f} | {error.std() / len(rows) ** 0.5:.4f} |")
    print(f"\nthe interval holds the truth in {((low <= truth) & (truth <= high)).mean():.4f} of the draws")
    print(f"the network that is kept is better by {(kept - truth).mean():+.4f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipe", choices=("probe", "finetune"), default="probe")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--pictures", type=int, default=150)
    return parser.parse_args()


def _features(dataset: Dataset, network: Network) -> np.ndarray:
    store = FeatureStore(cache_folder() / "features" / f"{network_key(network)}.sqlite")
    hashes = picture_hashes(dataset.pictures)
    return extract(network, dataset.pictures, [hashes[name] for name in dataset.names], store)[0]


def _draw(dataset: Dataset, count: int, seed: int) -> np.ndarray:
    """(count,) indices, at random but for `LEAST` of each class."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(dataset))
    first = [order[dataset.labels[order] == label][:LEAST] for label in range(len(dataset.classes))]
    least = np.concatenate(first)
    rest = order[~np.isin(order, least)]
    return np.concatenate([least, rest[: count - len(least)]])


def _probe(dataset: Dataset, features: np.ndarray, drawn: np.ndarray, seed: int) -> tuple[float, ...]:
    """(truth, uncorrected, corrected, low, high, accuracy of the network that is kept)."""
    others = np.setdiff1d(np.arange(len(dataset)), drawn)
    labels = dataset.labels
    probe = fit_probe(features[drawn], labels[drawn], dataset.classes, seed=seed, keep=True)
    chosen = [trial.strength for trial in probe.trials].index(probe.strength)
    predictions = predictions_of(dataset.select(drawn), softmax(probe.out_of_fold[chosen], 1), None, ())
    moved = optimism(predictions, probe.out_of_fold, chosen, seed)
    score = evaluate(predictions, optimism=moved, seed=seed).scores["top1"]
    truths = []
    for number in range(probe.folds.max() + 1):
        fitted = drawn[probe.folds != number]
        weight, bias = refit(features[fitted], labels[fitted], probe.strength, len(dataset.classes))
        truths.append(((features[others] @ weight.T + bias).argmax(1) == labels[others]).mean())
    kept = (probe.logits(features[others]).argmax(1) == labels[others]).mean()
    return float(np.mean(truths)), float(predictions.right.mean()), score.value, score.low, score.high, float(kept)


def _whole(dataset: Dataset, drawn: np.ndarray, seed: int, options: argparse.Namespace) -> tuple[float, ...]:
    """The same of the recipe `finetune`, whose truth is the network that is kept."""
    others = np.setdiff1d(np.arange(len(dataset)), drawn)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "drawn.csv"
        lines = [f'"{dataset.pictures[index].path.resolve()}",{dataset.pictures[index].label}' for index in drawn]
        table.write_text("filename,label\n" + "\n".join(lines) + "\n")
        run = train(
            table, Path(scratch) / "run", model=options.model, weights=options.weights, seed=seed, no_pictures=True
        )
        score = run.evaluation.scores["top1"]
        network = load(Path(scratch) / "run")
        rest = replace(dataset.select(others), classes=network.classes)
        kept = float(predict_all(network, rest)[1].right.mean())
    plain = score.value + run.evaluation.optimism["top1"]
    return kept, plain, score.value, score.low, score.high, kept


if __name__ == "__main__":
    main()
