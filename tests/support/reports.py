"""Reports of runs for tests of pages: drawn scenes, answers some of which are wrong, and all that a page may show."""

import numpy as np
from PIL import Image

from regard.measurement.classification.evaluation import evaluate
from regard.records import Heatmap, PatchGrid, Positions, Predictions
from regard.rendering.pages.report import Report
from regard.scenes import render, sample

CLASSES = ("cat", "dog", "horse", "bird")
GROUNDS = ("grass", "sand", "water")


def predictions(classes=CLASSES, each=6, prefix="scenes/"):
    """Of each class the last picture is taken for the next class, and the surest of these is the first class's."""
    labels = np.repeat(np.arange(len(classes)), each)
    count = len(labels)
    wrong = np.arange(count) % each == each - 1
    predicted = np.where(wrong, (labels + 1) % len(classes), labels)
    sure = np.where(wrong, 0.9 - 0.05 * labels, 0.55 + 0.4 * (np.arange(count) % 7) / 7)
    chances = np.repeat(((1 - sure) / (len(classes) - 1))[:, None], len(classes), 1)
    chances[np.arange(count), predicted] = sure
    names = tuple(f"{prefix}{classes[label]}_{place:03d}.jpg" for place, label in enumerate(labels))
    ground = np.array(GROUNDS)[np.arange(count) % 3]
    return Predictions(names, tuple(classes), predicted, labels, chances.astype(np.float32), slices={"ground": ground})


def example_report(classes=CLASSES, each=6, **options):
    """A whole report: thumbnails and maps of all pictures, curves, positions."""
    evaluation = evaluate(predictions(classes, each))
    names = evaluation.predictions.names
    pictures = {name: Image.fromarray(render(sample(place % 8)).picture) for place, name in enumerate(names)}
    grid = {name: PatchGrid.whole(6, 8, picture=(image.height, image.width)) for name, image in pictures.items()}
    random = np.random.default_rng(0)
    epochs = [
        {"phase": "train", "epoch": place, "training_loss": 2 - place / 5, "training_top1": 0.2 + place / 10}
        | {"validation_loss": 1.5 - place / 6, "validation_top1": 0.3 + place / 10}
        for place in range(5)
    ]
    return Report(
        **{
            "title": "Animals in drawn scenes",
            "evaluation": evaluation,
            "facts": {"network": "vit_tiny"},
            "pictures": pictures,
            "heatmaps": {name: Heatmap(random.random((6, 8), np.float32), grid[name], name) for name in names},
            "thumbs": pictures,
            "positions": Positions(random.random((3, 4, 3, 4)).astype(np.float32), {"near": 0.6}),
            "history": epochs,
            "recipe": {"epochs": 5, "keep": "best"},
            "provenance": {"regard": "0.1.0"},
            **options,
        }
    )
