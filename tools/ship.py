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
from regard.networks.run import load_run, save_network
from regard.networks.shipped import HOME, SHIPPED


def main(run: str, name: str) -> None:
    if name not in SHIPPED:
        sys.exit(f"{name} is not in regard.networks.shipped.SHIPPED; add its row first")
    network = load_run(run)
    rounded = {key: value.half() for key, value in network.module.state_dict().items()}
    network.module.load_state_dict({key: value.float() for key, value in rounded.items()})
    folder = save_network(network, HOME / name, overwrite=True)  # its hash is that of the rounded weights
    safetensors.torch.save_file(
        {key: value.to(torch.float16).contiguous() for key, value in rounded.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    shutil.copyfile(Path(run) / "split.csv", folder / "split.csv")
    recipe = json.loads((Path(run) / "recipe.json").read_text(encoding="utf-8"))
    recipe["arguments"]["weights"] = Path(recipe["arguments"]["weights"]).name  # no folder of this machine
    write_json(folder / "recipe.json", recipe)
    (folder / "model.safetensors").chmod(0o644)
    print(f"{folder}: {(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
