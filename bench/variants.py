"""What an ONNX graph in smaller numbers costs: the table in docs/exports.md.

    .venv/bin/python bench/variants.py runs/clothing ../shared/data/clothing

Accuracy is that of the pictures that the run did not learn from, less fp32's, paired; maps by Spearman's correlation
with fp32's, a picture at a time. Time is of one picture on one thread, the median, after a first one.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from pathlib import Path

import numpy as np

from regard.exports.onnx import losses, variants
from regard.exports.onnx.graph import build
from regard.exports.onnx.runner import Runner
from regard.exports.parity import probes
from regard.exports.settings import ExportSettings
from regard.exports.source import open_source
from regard.records import Score


def points(score: Score | None, factor: float = 1.0, form: str = ".4f") -> str:
    if score is None:
        return ""
    value, low, high = (format(factor * each, form) for each in (score.value, score.low, score.high))
    return f"{value} [{low}, {high}]"


def milliseconds(runner: Runner, pixels: np.ndarray) -> float:
    times = []
    for _ in range(30):
        start = time.perf_counter()
        runner(pixels)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[1:]))


def main() -> None:
    source = open_source(sys.argv[1])
    pictures = losses.pictures_of(source, Path(sys.argv[2]))
    assert pictures is not None
    model = build(source, ExportSettings())
    models = {"fp32": model, "fp16": variants.fp16(model), "int8": variants.int8(model, pictures.calibration)}
    rows = losses.measured(source, models, pictures)
    pixels = probes(source).numpy()[:1]
    print(pictures.note)
    print("| variant | size | a picture | accuracy less fp32's, points | rank correlation of maps |")
    print("|---|---|---|---|---|")
    for row in rows:
        took = milliseconds(Runner(models[row.name]), pixels)
        accuracy = points(row.accuracy, 100, "+.2f")
        print(f"| {row.name} | {row.size / 1e6:.1f} MB | {took:.0f} ms | {accuracy} | {points(row.maps)} |")
    print("\n".join(losses.sentences(rows, pictures)))


if __name__ == "__main__":
    main()
