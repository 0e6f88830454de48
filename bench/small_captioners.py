"""Small captioners of five families, built from their configurations and trained on drawn scenes.

python bench/small_captioners.py OUT [--families vit-gpt2 blip git llava smolvlm] [--scenes 5200] [--threads 2]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from small.drawn import HELD_OUT, SEED, Drawn, draw, seen_scenes
from small.families import FAMILIES, Family, save
from small.towers import align, copy, encoder, features, pixels_of
from small.training import Plan, precision, train

TOWERS = {"vit-gpt2": "exact", "blip": "exact", "git": "exact", "llava": "clip", "smolvlm": "siglip"}


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    work = options.out / "work"
    scenes = seen_scenes(options.scenes)
    drawn = draw(scenes, work / "drawn")
    for name in options.families:
        family = FAMILIES[name]
        folder = options.out / name
        torch.manual_seed(0)
        parts = family.build([text for texts in drawn.texts for text in texts])
        source = encoder()
        patches = _tower(TOWERS[name], family, parts[0], source, drawn, work, options.align)
        save(parts, folder)
        train(name, drawn, patches, folder, Plan(steps=options.steps))
        (folder / "held_out.json").write_text(
            json.dumps({"seed": SEED, "scenes": options.scenes, "never": list(HELD_OUT)})
        )
        for one in (folder, folder.with_name(f"{name}-early")):
            print(precision(one, drawn.pictures[-100:], scenes[-100:]), flush=True)


def _tower(
    kind: str, family: Family, module: object, source: torch.nn.Module, drawn: Drawn, work: Path, steps: int
) -> np.ndarray:
    tower = family.tower(module)
    if kind == "exact":
        copy(source, tower, family.names, pixels_of(drawn.pictures[:16]))
        return features(source, drawn.pictures, work / "exact.npy")
    file = work / f"{kind}.pt"
    if not file.exists():
        copy(source, tower, family.names, pixels_of(drawn.pictures[:16]))
        print(f"{kind} tower {align(source, tower, drawn.pictures, steps)}", flush=True)
        torch.save(tower.state_dict(), file)
    tower.load_state_dict(torch.load(file))
    return features(tower, drawn.pictures, work / f"{kind}.npy")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--scenes", type=int, default=5200)
    parser.add_argument("--steps", type=int, default=950)
    parser.add_argument("--align", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
