"""Small captioners of five families, built from their configurations and trained on drawn scenes.

    python bench/small_captioners.py OUT [--families vit-gpt2 blip git llava smolvlm] [--scenes 5200] [--steps N]

Each becomes a folder of OUT that `regard caption --model FOLDER` loads, and FOLDER-early, the same stopped early, with
`held_out.json`: the combinations that neither ever learnt from. Pictures and features are kept in OUT/work. With fewer
`--scenes` or `--steps` than each family's own (`PLANS`) it is a trial. `bench/words.py` tells where their maps lie.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from small.drawn import HELD_OUT, SEED, Drawn, draw, seen_scenes
from small.families import FAMILIES, save
from small.towers import align, copy, encoder, features, pixels_of
from small.training import PLANS, precision, train

EXACT = ("vit-gpt2", "blip", "git")
"""Families whose decoder gets the very features of `scenes-captioner`'s encoder; LLaVA's lack the last norm."""
ALIGNED = {"smolvlm": 130}
"""Steps of regression of a tower that cannot hold the encoder."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    work = options.out / "work"
    scenes = seen_scenes(options.scenes)
    everything = draw(scenes, work / f"drawn-{options.scenes}")
    for name in options.families:
        plan = PLANS[name]
        steps = min(plan.steps, options.steps)
        early = min(plan.early, (steps + 1) // 2)
        plan = replace(plan, scenes=min(plan.scenes, options.scenes), steps=steps, early=early)
        drawn = everything.first(plan.scenes)
        torch.manual_seed(0)
        parts = FAMILIES[name].build([text for texts in drawn.texts for text in texts])
        patches = _patches(name, parts[0], drawn, work)
        folder = options.out / name
        save(parts, folder)
        train(name, drawn, patches, folder, plan)
        for one in (folder, folder.with_name(f"{name}-early")):
            about = {"seed": SEED, "scenes": plan.scenes, "never": list(HELD_OUT)}
            (one / "held_out.json").write_text(json.dumps(about))
            print(precision(one, drawn.pictures[-100:], scenes[plan.scenes - 100 : plan.scenes]), flush=True)


def _patches(name: str, module: Any, drawn: Drawn, work: Path) -> NDArray[np.uint16]:
    """What the decoder looks at, after the family's tower got its values."""
    family = FAMILIES[name]
    tower = family.tower(module)
    source = encoder()
    copy(source, tower, family.names, pixels_of(drawn.pictures[:16]))
    file = work / f"{name}-{len(drawn)}.pt"
    if name in ALIGNED and not file.exists():
        print(f"{name}: the tower {align(source, tower, drawn.pictures, ALIGNED[name])}", flush=True)
        torch.save(tower.state_dict(), file)
    if name in ALIGNED:
        tower.load_state_dict(torch.load(file))
    kind: tuple[str, nn.Module] = ("exact", source) if name in EXACT else (name, tower)
    return features(kind[1], drawn.pictures, work / f"{kind[0]}-{len(drawn)}.npy")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--scenes", type=int, default=5200)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
