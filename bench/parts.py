"""Which maps are right about the parts of drawn animals, when parts are really left undrawn: the scores of FunnyBirds.

    .venv/bin/python bench/parts.py [--run RUN] [--scenes 40] [--train 480] [--epochs 3]

It trains a classifier on scenes whose animals lack parts (`regard scenes --missing 0.3`), so that a missing tail is no
news to it, or takes a RUN of such. Then, on other scenes that it is right about: every part of the animal that is seen
and every other thing is left undrawn alone, and so are those that a map calls important, and those that it does not.
The formulas are those of `measurement/parts/scores.py`. `truth` is no method: a map of what the score falls without
each part, spread over it. Centre, edges and random are maps that know nothing of the network. The threshold is the best
of these very scenes for each map, as the authors choose it.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import regard
from regard.audit.pictures.methods import method_of
from regard.audit.pictures.outside import MapBatch
from regard.measurement.intervals import mean
from regard.measurement.parts.scores import (
    THRESHOLDS,
    background_independence,
    best_threshold,
    deletion_check,
    distractibility,
    important,
    irrelevant,
    part_deletion,
    part_importances,
    preservation_check,
)
from regard.measurement.reliance.compositing import as_shown, normalised
from regard.networks.network import Network
from regard.records import Score
from regard.scenes import ANIMALS, Scene, render, sample

METHODS = ("attention", "rollout", "gradcam", "legrad", "libra_fullgrad_plus", "integrated_gradients")
CONTROLS = ("centre", "edges", "random")
TRUTH = "truth"
SIDE = 248
"""What is drawn is this large, and the network sees the 224 pixels in its middle without any resizing."""
EDGE = 12
KINDS = sorted(ANIMALS)


@dataclass
class Asked:
    """A scene, and what the network says of it without some items and parts: logits (classes,) by their names."""

    scene: Scene
    network: Network
    known: dict[frozenset[str], np.ndarray] = field(default_factory=dict)

    def pixels(self, without: Iterable[str]) -> torch.Tensor:
        picture = render(self.scene, without=list(without), size=SIDE).picture[EDGE:-EDGE, EDGE:-EDGE]
        return normalised(as_shown(torch.from_numpy(picture[None].copy())), self.network.preparation)

    def logits(self, without: Iterable[str]) -> np.ndarray:
        missing = frozenset(without)
        if missing not in self.known:
            self.known[missing] = self.network.logits(self.pixels(missing))[0].double().numpy()
        return self.known[missing]

    def answer(self, without: Iterable[str]) -> int:
        return int(self.logits(without).argmax())


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        network = regard.load(options.run or _train(Path(scratch), options), device="cpu")
    print(f"a network after {time.perf_counter() - started:.0f} s", flush=True)
    methods = {name: method_of(name, network) for name in (*METHODS, *CONTROLS)}
    tables: dict[str, list[tuple[np.ndarray, ...]]] = {}
    things = []
    seen = 0
    number = 0
    while seen < options.scenes and number < 5 * options.scenes:
        asked = Asked(sample(f"parts {number}", kind=KINDS[number % len(KINDS)]), network)
        number += 1
        if network.classes[asked.answer(())] != asked.scene.label:
            continue
        seen += 1
        units, masks = _units(asked.scene)
        whole, without = _scores(asked, units)
        things.append(background_independence(whole, without[:, [not unit.startswith("0.") for unit in units]]))
        batch = MapBatch(asked.pixels(()), (asked.answer(()),), (f"scene {number}",), ((SIDE, SIDE),))
        maps = {name: np.asarray(method.make(batch), np.float64) for name, method in methods.items()}
        falls = (whole[:, None] - without)[0]
        maps[TRUTH] = sum(fall * mask / mask.sum() for fall, mask in zip(falls, masks, strict=True))[None]
        for name, values in maps.items():
            tables.setdefault(name, []).append(_measured(asked, units, masks, values, whole, without))
    print(f"{seen} of {number} scenes are answered rightly, and are asked about", flush=True)
    _report(tables, things)
    print(f"\n{time.perf_counter() - started:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--train", type=int, default=480, help="scenes to train on")
    parser.add_argument("--epochs", type=int, default=3)
    return parser.parse_args()


def _train(folder: Path, options: argparse.Namespace) -> Path:
    regard.scenes(options.train, folder / "scenes", size=SIDE, missing=0.3, seed=7)
    how = {"epochs": options.epochs, "search": "never", "smoothing": 0.0, "no_pictures": True}
    run = regard.train(folder / "scenes", folder / "run", model="pets-tiny", **how)
    print(f"trained: {run.evaluation.scores['top1']} of the scenes set aside, parts missing there too", flush=True)
    return folder / "run"


def _units(scene: Scene) -> tuple[list[str], np.ndarray]:
    """The names of the main animal's parts and the other items that are seen, and their masks (units, 224, 224)."""
    drawn = render(scene, size=SIDE).masks
    names = [*(name for name in scene.names if name.startswith("0.")), *map(str, range(1, len(scene.items)))]
    masks = {name: drawn[name][EDGE:-EDGE, EDGE:-EDGE] for name in names}
    seen = [name for name in names if masks[name].any()]
    return seen, np.stack([masks[name] for name in seen])


def _scores(asked: Asked, units: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The logit of the class that is predicted for the whole, (1,), and without each unit alone, (1, units)."""
    target = asked.answer(())
    return asked.logits(())[[target]], np.array([[asked.logits([unit])[target] for unit in units]])


def _measured(
    asked: Asked, units: list[str], masks: np.ndarray, maps: np.ndarray, whole: np.ndarray, without: np.ndarray
) -> tuple[np.ndarray, ...]:
    """PC, DC and D by threshold (thresholds, 1), and SD (1,), of one map (1, rows, columns)."""
    fine = np.kron(maps[0], np.ones((224 // maps.shape[1], 224 // maps.shape[2])))[None]
    importances, totals = part_importances(fine, masks[None])
    called = important(importances, totals)
    animal = np.array([unit.startswith("0.") for unit in units])
    answer = np.array([asked.answer(())])
    kept, gone = ([], [])
    for row in called[:, 0]:
        named = {unit for unit, use in zip(units, row & animal, strict=True) if use}
        gone.append([asked.answer(named)])
        kept.append([asked.answer({unit for unit in units if unit.startswith("0.")} - named)])
    return (
        preservation_check(answer, np.array(kept)),
        deletion_check(answer, np.array(gone)),
        distractibility(called, irrelevant(whole, without)),
        part_deletion(importances[:, animal], whole, without[:, animal]),
    )


def _report(tables: dict[str, list[tuple[np.ndarray, ...]]], things: list[np.ndarray]) -> None:
    print("\n| map | PC | DC | D | SD | threshold |\n|---|---|---|---|---|---|")
    rows = []
    for name, each in tables.items():
        kept, gone, distracted, order = (np.concatenate(part, axis=-1) for part in zip(*each, strict=True))
        place = best_threshold(kept, gone, distracted)
        scores = [mean(values) for values in (kept[place], gone[place], distracted[place], order)]
        rows.append((name, scores, THRESHOLDS[place]))
    for name, scores, threshold in sorted(rows, key=lambda row: -row[1][3].value):
        print(f"| {name} | {' | '.join(map(_text, scores))} | {threshold:.2f} |")
    groups = np.concatenate([np.full(each.size, number) for number, each in enumerate(things)])
    values = np.concatenate([each.ravel() for each in things])
    print(f"\nbackground independence: {_text(mean(values, groups))} of {len(values)} things")


def _text(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


if __name__ == "__main__":
    main()
