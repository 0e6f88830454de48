"""A training so small that it takes a second: forty drawn pictures of four colours, and a ViT of two blocks."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.data.layouts import read
from regard.data.splits import training_parts
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.run import save_network
from regard.training.folder import finish
from regard.training.recipe import Recipe, read_recipe
from regard.training.tasks import finetune

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200), "grey": (120, 120, 120)}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def draw_pictures(folder: Path, each: int = 10, seed: int = 0) -> Path:
    """Class folders of noisy plain colours, a little wider than high."""
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            noise = random.normal(0, 60, (36, 44, 3)) + np.array(colour)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def tiny_network(classes: tuple[str, ...], seed: int = 0, depth: int = 2) -> Network:
    arguments = {**SMALL, "depth": depth}
    return load("random:vit_tiny_patch16_224", classes=classes, arguments=arguments, seed=seed)


def tiny_recipe(name: str = "finetune", **overrides: object) -> Recipe:
    small = {"epochs": 3, "batch_size": 8, "few": 0, "precision": "float32", "dropout": 0.1}
    return read_recipe(name).changed({**small, **overrides})


def parts_of(data: Path) -> tuple[Dataset, Dataset, dict[str, str]]:
    dataset = read(data).labelled()
    training, validation = training_parts(dataset, seed=0)
    return training, validation, picture_hashes(dataset.pictures)


def run(
    data: Path, folder: Path, recipe: Recipe, save: bool = True, depth: int = 2, **options: object
) -> finetune.Outcome:
    """A whole run, as the command does it: train, save the network, remove the checkpoints."""
    training, validation, hashes = parts_of(data)
    network = tiny_network(training.classes, depth=depth)
    outcome = finetune.run(network, training, validation, hashes, recipe, folder, **options)
    if save and outcome.main:
        save_network(network, folder)
        finish(folder)
    return outcome


if (
    __name__ == "__main__"
):  # python tiny_training.py DATA FOLDER RECIPE.json, where DATA is one folder, or one a process
    torch.set_num_threads(1)
    data, folder, recipe = sys.argv[1:]
    own = data.split(os.pathsep)[int(os.environ.get("RANK", "0")) % len(data.split(os.pathsep))]
    run(Path(own), Path(folder), read_recipe(recipe), resume=True)
