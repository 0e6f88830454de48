"""The page with the network inside (`regard export --to web --single`): its answers beside the run's, and its time.

    python bench/live_page.py --pets PETS [--runtime FOLDER] [--model pets-tiny] [--most 74]

PETS are the pets with their `split`; the `val` ones are put into the page, opened from `file://` in a headless chromium
without a network. It prints on how many the top class is the run's, how many pixels of the prepared pictures differ,
the rank correlation of the maps (Spearman's over patches: of the predicted class by `direct_logit`, and of the last
layer's attention), the seconds until the page is ready, and from the choice of a file until its map stands.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import regard
from regard.data.images.preparation import read_pixels
from regard.data.layouts import read_labelled

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from browser import launched
from live_answers import Answers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pets", required=True, type=Path)
    parser.add_argument("--runtime", type=Path)
    parser.add_argument("--model", default="pets-tiny")
    parser.add_argument("--most", type=int, default=10**9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        print(regard.export(arguments.model, file, to="web", single=True, runtime=arguments.runtime))
        pictures = [each for each in read_labelled(arguments.pets).pictures if each.split == "val"][: arguments.most]
        explainer = regard.Explainer(arguments.model, device="cpu")
        with launched() as browser:
            page = browser.new_context(offline=True).new_page()
            start = time.perf_counter()
            page.goto(file.as_uri())
            page.get_by_text("Ready.").wait_for(timeout=120_000)
            print(f"ready {time.perf_counter() - start:.2f} s after it was opened")
            times = [shown(page, each.opener.path) for each in pictures]
            answers = Answers(page, explainer.network.preparation)
            rows = [compared(answers, explainer, each.opener.path) for each in pictures]
    median = statistics.median(times)
    print(f"shown after {median:.2f} s in the median, {max(times):.2f} s at most, the first {times[0]:.2f} s")
    same, pixels, levels, logits, seconds, *maps = zip(*rows, strict=True)
    print(f"top-1 the same on {sum(same)} of {len(rows)}; logits within {max(logits):.1e} of the largest")
    others = sum(share > 0 for share in pixels)
    print(f"pixels that differ {np.mean(pixels):.3%}, by {max(levels)} levels at most; in {others} pictures")
    print(f"the worker took {statistics.median(seconds):.2f} s in the median, {max(seconds):.2f} s at most")
    for name, values in zip(("direct_logit", "attention"), maps, strict=True):
        print(f"{name}: rank correlation {np.mean(values):.5f} on average, {min(values):.5f} at least")


def shown(page: object, file: Path) -> float:
    """Seconds from the choice of a file until its answer and its map stand."""
    start = time.perf_counter()
    page.locator("input[type=file]").first.set_input_files(str(file))
    page.locator(".work [role=status]", has_text="on this computer").wait_for(timeout=120_000)
    page.locator(".look:not(.unpacking) .look-says").wait_for(timeout=120_000)
    page.get_by_text(file.name).first.wait_for()
    seconds = time.perf_counter() - start
    page.evaluate("document.querySelector('.work [role=status]').textContent = ''")
    return seconds


def compared(answers: Answers, explainer: regard.Explainer, file: Path) -> tuple[float, ...]:
    """Of one picture: the same class, pixels that differ, by how much, logits, seconds, both rank correlations."""
    content = file.read_bytes()
    answer = answers(content, file.name)
    pixels, _ = read_pixels(content, explainer.network.preparation)
    difference = np.abs(answer["pixels"].astype(int) - pixels.astype(int))
    tensor = explainer.network.preparation.normalise(torch.from_numpy(pixels.copy())[None])
    expected = explainer.network.logits(tensor).numpy()[0]
    logits = answer["logits"][0]
    best = int(expected.argmax())
    maps = {"direct_logit": answer["map"][0, best], "attention": answer["attention"][0, -1].mean(axis=0)}
    alike = [spearmanr(each.ravel(), explainer(content, name).maps.ravel()).statistic for name, each in maps.items()]
    apart = np.abs(logits - expected).max() / np.abs(expected).max()
    share = float((difference.max(axis=2) > 0).mean())
    return (int(logits.argmax()) == best, share, int(difference.max()), apart, answer["seconds"], *alike)


if __name__ == "__main__":
    main()
