"""Make a network that comes with the package from a finished run: weights rounded to float16, its split beside it.

    .venv/bin/python tools/ship.py runs/pets-tiny pets-tiny

The card, README.md, is written by hand: its score is that of the rounded weights (`regard evaluate --model NAME`).
"""

import json
import shutil
import sys
from pathlib import Path

import safetensors.torch
import torch

from regard.files import write_json
from regard.networks.captioners.run import load_captioner_run, save_captioner
from regard.networks.run import CAPTIONING, load_run, save_network, task_of
from regard.networks.sources.shipped import CAPTIONERS, HOME, SHIPPED


def main(run: str, shipped: str) -> None:
    if shipped not in SHIPPED | CAPTIONERS:
        sys.exit(f"{shipped} is not in regard.networks.sources.shipped; add its row first")
    if task_of(run) == CAPTIONING:
        captioner = load_captioner_run(run)
        rounded = _rounded(captioner.module)
        folder = save_captioner(captioner, HOME / shipped, overwrite=True)  # its hash is that of the rounded weights
    else:
        network = load_run(run)
        rounded = _rounded(network.module)
        folder = save_network(network, HOME / shipped, overwrite=True)
    safetensors.torch.save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(Path(run) / "split.csv", folder / "split.csv")
    recipe = json.loads((Path(run) / "recipe.json").read_text(encoding="utf-8"))
    for name in ("model", "weights"):  # no folder of this machine
        given = recipe["arguments"][name]
        recipe["arguments"][name] = None if given is None else Path(given).name
    write_json(folder / "recipe.json", recipe)
    (folder / "model.safetensors").chmod(0o644)
    print(f"{folder}: {(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


def _rounded(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The module's values in float16, which are from now on its own."""
    rounded = {key: value.to(torch.float16).contiguous() for key, value in module.state_dict().items()}
    module.load_state_dict({key: value.float() for key, value in rounded.items()})
    return rounded


if __name__ == "__main__":
    main(*sys.argv[1:])
