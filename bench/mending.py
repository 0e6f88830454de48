"""Is a planted shortcut mended? Scenes whose ground follows the class in training and held-out pictures.

    .venv/bin/python bench/mending.py [--mend recombine] [--model pets-tiny] [--recipe probe] [--seeds 5] [--bias 0.95]

Of two animals each stands on its own ground in a share of `bias` of the pictures, and on the other's in the rest. The
run is trained on such pictures and mended on others: by `reweigh`, its last layer fitted again, or by `recombine`,
trained on with their objects on other grounds. Both, with the placebo's, are scored on a test in which each animal
stands on each ground as often, which none has seen. Prints, for each seed and over all, the worst slice and the
accuracy there, paired, and what the run said itself: `reweigh` of its held-out pictures, `recombine` of the test.
"""

import argparse
import csv
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.app.commands.train import train
from regard.data.layouts import read_labelled
from regard.measurement.classification.mending import paired_measures
from regard.measurement.classification.scoring import predict_all
from regard.networks.load import load
from regard.records import PairedMeasure
from regard.scenes.render import render
from regard.scenes.sampling import sample
from regard.training.tasks.mending import recombine, reweigh

ANIMALS = ("cat", "dog")
GROUNDS = ("grass", "snow")
CELLS = [f"{animal} on {ground}" for animal in ANIMALS for ground in GROUNDS]


def main() -> None:
    options = _options()
    tests: list[dict[str, NDArray[np.bool_]]] = []
    cells: list[NDArray[np.int64]] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            right, slices, said = _once(Path(folder), seed, options)
        tests.append(right)
        cells.append(slices)
        rows = _measures([right], [slices])
        print(f"seed {seed}: {said}")
        print(f"  test: {rows[0]}\n        {rows[3]}", flush=True)
    print(f"\n{options.seeds} seeds, {options.mend} after {options.recipe} of {options.model}, bias {options.bias}\n")
    print("| on the balanced test | before | after | placebo | after - before | placebo - before |")
    print("|---|---|---|---|---|---|")
    for row in _measures(tests, cells):
        cells_ = row.cells()
        print("| " + " | ".join([row.name, *list(cells_.values())[2:]]) + " |")


def _measures(tests: list[dict[str, NDArray[np.bool_]]], cells: list[NDArray[np.int64]]) -> tuple[PairedMeasure, ...]:
    """Of all seeds together; a slice is that of all of them."""
    right = {name: np.concatenate([each[name] for each in tests]) for name in tests[0]}
    together = np.concatenate(cells)
    return paired_measures(right, together, CELLS, np.arange(len(together)) // 2 % 2)  # animals take turns


def _once(
    folder: Path, seed: int, options: argparse.Namespace
) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.int64], str]:
    biased = _table(folder, "train", options.train, options.bias, seed, options)
    rest = _table(folder, "rest", options.rest, options.bias, seed, options)
    test = read_labelled(_table(folder, "test", options.test, 0.5, seed, options), "label")
    how = {"seed": seed, "workers": 0, "no_pictures": True}
    tuned = {} if options.recipe == "probe" else {"epochs": options.epochs, "search": "never"}
    source = {"model": options.model, "weights": options.weights, "size": options.size}
    first = train(biased, folder / "run", recipe=options.recipe, val=0, **source, **how, **tuned)
    if options.mend == "recombine":
        return _recombined(folder, first.out, options, how)
    placebo = folder / "placebo"
    done = train(rest, folder / "new", recipe="reweigh", model=first.out, slices=["ground"], **how)
    whole = reweigh.fit_layer
    reweigh.fit_layer = lambda data, *, balanced=True, seed=0: whole(data, balanced=False, seed=seed)
    try:
        train(rest, placebo, recipe="reweigh", model=first.out, slices=["ground"], **how)
    finally:
        reweigh.fit_layer = whole
    right = {}
    for name, run in (("before", first.out), ("after", done.out), ("placebo", placebo)):
        part, predictions = predict_all(load(run), test, workers=0)
        right[name] = predictions.right
    animal, ground = (part.column(column) for column in ("label", "ground"))
    slices = np.searchsorted(ANIMALS, animal) * 2 + np.searchsorted(GROUNDS, ground)
    return right, slices, done.evaluation.mending.sentence


def _recombined(
    folder: Path, run: Path, options: argparse.Namespace, how: dict[str, Any]
) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.int64], str]:
    """The rest is trained on, the test is DATA's `val`: the run judges itself and its placebo there."""
    rows = []
    for name, split in (("rest", "train"), ("test", "val")):
        with (folder / f"{name}.csv").open(newline="") as file:
            rows += [(*row, split) for row in list(csv.reader(file))[1:]]
    table = folder / "both.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "label", "ground", "split"), *rows])
    captured: list[Any] = []
    whole = recombine.paired_measures

    def paired(right: Any, cells: Any, *rest: Any) -> Any:
        captured[:] = [right, cells]
        return whole(right, cells, *rest)

    recombine.paired_measures = paired
    try:
        more = {"epochs": options.epochs, "masks": folder / "masks", "slices": ["ground"]}
        done = train(table, folder / "new", recipe="recombine", model=run, **more, **how)
    finally:
        recombine.paired_measures = whole
    return captured[0], captured[1], done.evaluation.mending.sentence  # cells: cat, dog crossed with grass, snow


def _table(folder: Path, name: str, count: int, bias: float, seed: int, options: argparse.Namespace) -> Path:
    """A table of so many scenes, each animal on its own ground in a share of `bias`."""
    (folder / name).mkdir()
    (folder / "masks" / name).mkdir(parents=True)
    jobs = []
    for number in range(count):
        animal, place = number % 2, number // 2
        own = place < round(bias * (count // 2))
        file = folder / name / f"{number:05d}.png"
        jobs.append(
            (f"{seed}/{name}/{number}", ANIMALS[animal], GROUNDS[animal if own else 1 - animal], file, options.pixels)
        )
    with ProcessPoolExecutor(1) as pool:
        list(pool.map(_draw, jobs, chunksize=32))
    table = folder / f"{name}.csv"
    with table.open("w", newline="") as file:
        rows = [(path.relative_to(folder), animal, ground) for _, animal, ground, path, _ in jobs]
        csv.writer(file).writerows([("filename", "label", "ground"), *rows])
    return table


def _draw(job: tuple[str, str, str, Path, int]) -> None:
    seed, animal, ground, path, pixels = job
    drawn = render(sample(seed, kind=animal, ground=ground), size=pixels)
    Image.fromarray(drawn.picture).save(path)
    Image.fromarray(drawn.masks["0"]).save(path.parents[1] / "masks" / path.parent.name / path.name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pets-tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--mend", default="reweigh", choices=("reweigh", "recombine"))
    parser.add_argument("--recipe", default="probe", choices=("probe", "finetune"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size", type=int)
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bias", type=float, default=0.95)
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--rest", type=int, default=800)
    parser.add_argument("--test", type=int, default=400)
    return parser.parse_args()


if __name__ == "__main__":
    main()
