"""A captioner's training so small that it takes a second: squares of three colours on the left or right, in words."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_training import SMALL

from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.data.layouts.captions import caption_parts, read_captioned
from regard.networks.captioners.families.encoder_decoder import (
    DecoderShape,
    EncoderDecoderCaptioner,
    new_encoder_decoder,
)
from regard.networks.captioners.run import save_captioner
from regard.networks.load import load
from regard.training.folder import finish
from regard.training.recipe import Recipe, read_recipe
from regard.training.tasks import caption_training

COLOURS = {"red": (220, 50, 50), "green": (50, 200, 60), "blue": (60, 80, 220)}


def draw_captioned(folder: Path, each: int = 4, seed: int = 0) -> Path:
    """A table of pictures, each with two captions of different lengths; returns the table."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for colour, value in COLOURS.items():
        for side in ("left", "right"):
            for number in range(each):
                pixels = np.full((32, 32, 3), 128) + random.normal(0, 8, (32, 32, 3))
                start = 2 if side == "left" else 18
                pixels[8:24, start : start + 12] = value
                name = f"images/{colour}_{side}_{number}.png"
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
                split = "val" if number == 0 else "train"
                rows += [(name, f"a {colour} square on the {side}", split), (name, f"{side}, {colour}.", split)]
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("filename", "caption", "split"), *rows])
    return folder / "captions.csv"


def caption_recipe(**overrides: object) -> Recipe:
    small = {"epochs": 3, "batch_size": 8, "precision": "float32", "decoder_layers": 2, "decoder_width": 32}
    return read_recipe("caption").changed({**small, "decoder_heads": 2, "longest": 8, **overrides})


def caption_sides(data: Path) -> tuple[Dataset, Dataset]:
    return caption_parts(read_captioned(data))


def tiny_captioner(training: Dataset, recipe: Recipe, seed: int = 0) -> EncoderDecoderCaptioner:
    settings = recipe.settings
    vocabulary = caption_training.vocabulary_of(training, settings)
    shape = DecoderShape(
        len(vocabulary),
        vocabulary.start,
        vocabulary.stop,
        settings.decoder_width,
        settings.decoder_heads,
        settings.decoder_layers,
        settings.longest + 1,
        settings.decoder_dropout,
    )
    network = load("random:vit_tiny_patch16_224", classes=2, arguments=SMALL, seed=seed)
    module, architecture = new_encoder_decoder(network, shape, settings.encoder_layers, seed)
    return EncoderDecoderCaptioner(module, vocabulary, network.preparation, architecture, name="tiny")


def run_captions(
    data: Path, folder: Path, recipe: Recipe, save: bool = True, **options: object
) -> tuple[EncoderDecoderCaptioner, caption_training.Outcome]:
    """A whole run, as the command does it: train, save the captioner, remove the checkpoints."""
    training, validation = caption_sides(data)
    captioner = tiny_captioner(training, recipe)
    hashes = picture_hashes([*training.pictures, *validation.pictures])
    outcome = caption_training.run(captioner, training, validation, hashes, recipe, folder, **options)
    if save and outcome.main:
        save_captioner(captioner, folder)
        finish(folder)
    return captioner, outcome
