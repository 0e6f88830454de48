"""Files that regard wrote, damaged in any way, fail in one way: a `RegardError` in one line, or they still read."""

import copy
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regard.data.splits import read_split
from regard.errors import RegardError
from regard.measurement.classification.scoring import stored_evaluation, stored_predictions
from regard.networks.captioners.run import load_captioner_run
from regard.networks.run import load_run
from regard.records import Explanation
from regard.results.caption_table import read_caption_table
from regard.results.captions import read_captions
from regard.results.evaluations import read_caption_evaluation
from regard.results.maps import read_table
from regard.scenes import read_scene_captions, read_scenes
from regard.training.checkpoint import STATE, unpack
from regard.training.folder import IDENTITY, read_identity
from regard.training.recipe import read_recipe

STORED = Path(__file__).with_name("stored")
Read = Callable[[Path], Any]

READERS: dict[str, tuple[str, Read]] = {
    "finetune/model.json": ("finetune", load_run),
    "finetune/model.safetensors": ("finetune", load_run),
    "finetune/recipe.json": ("finetune", lambda run: read_recipe(run / "recipe.json")),
    "finetune/split.csv": ("finetune", lambda run: read_split(run / "split.csv")),
    "finetune/evaluation/predictions.parquet": ("finetune", stored_predictions),
    "finetune/evaluation/manifest.json": ("finetune", stored_evaluation),
    "captioner/model.json": ("captioner", load_captioner_run),
    "captioner/model.safetensors": ("captioner", load_captioner_run),
    "captioner/vocabulary.txt": ("captioner", load_captioner_run),
    "captioner/evaluation/captions.jsonl": ("captioner", lambda run: read_caption_evaluation(run / "evaluation")),
    "captioner/evaluation/manifest.json": ("captioner", lambda run: read_caption_evaluation(run / "evaluation")),
    f"unfinished/{STATE}": ("unfinished", lambda run: unpack((run / STATE).read_bytes(), run / STATE)),
    f"unfinished/{IDENTITY}": ("unfinished", read_identity),
    "explanation/manifest.json": ("explanation", Explanation.load),
    "explanation/maps.npy": ("explanation", Explanation.load),
    "explanation/errors.npy": ("explanation", Explanation.load),
    "explanation.parquet": ("explanation.parquet", read_table),
    "captions/manifest.json": ("captions", lambda folder: list(read_captions(folder))),
    "captions/captions.json": ("captions", lambda folder: list(read_captions(folder))),
    "captions.parquet": ("captions.parquet", lambda path: list(read_caption_table(path))),
    "scenes/manifest.json": ("scenes", lambda folder: list(read_scenes(folder))),
    "scenes/scenes.jsonl": ("scenes", lambda folder: list(read_scenes(folder))),
    "scenes/captions.json": ("scenes", lambda folder: list(read_scene_captions(folder))),
}
"""What is damaged: what is read then, and how."""


def damaged(path: Path) -> Iterator[bytes]:
    """The file cut, emptied, overwritten and with bits turned; JSON also with each part gone or of another type."""
    whole = path.read_bytes()
    chance = random.Random(path.name)
    yield from (b"", b"\0" * len(whole), whole[: len(whole) // 2], whole[:-3], whole[1:], chance.randbytes(len(whole)))
    yield from (b"[" * 100_000, b"null", b"[]", b"{}", b"[1]", b'{"schema": 1}\n', b"\xff\xfe\n" + whole)
    for _ in range(12):
        turned = bytearray(whole)
        turned[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        yield bytes(turned)
    if path.suffix == ".json":
        yield from changed(json.loads(whole), chance, 40 if path.name == "model.json" else 120)
    if path.suffix == ".jsonl":
        first, *rest = whole.splitlines(keepends=True)
        yield from (b"\n".join((each, b"".join(rest))) for each in changed(json.loads(first), chance, 80))


def changed(content: Any, chance: random.Random, count: int) -> Iterator[bytes]:
    """JSON with one part, of any depth, gone or of another type: so many of all that there are."""
    changes = list(places(content))
    for path, value in chance.sample(changes, min(count, len(changes))):
        *steps, last = path
        other = copy.deepcopy(content)
        place = other
        for step in steps:
            place = place[step]
        if value is None and isinstance(place, dict):
            del place[last]
        else:
            place[last] = value
        yield json.dumps(other).encode()


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The path of each part of JSON, with each value that may stand in its place."""
    steps = list(part) if isinstance(part, dict) else range(min(2, len(part))) if isinstance(part, list) else ()
    for step in steps:
        yield from (((*path, step), value) for value in (None, [], {}, "x", -1, 0.5, [[1]], {"a": 1}, 10**30))
        yield from places(part[step], (*path, step))


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_of_our_own_is_one_clear_error(name: str, tmp_path: Path) -> None:
    kind, read = READERS[name]
    source = STORED / kind
    target = tmp_path / kind
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    path = tmp_path / name
    refused = 0
    for content in damaged(path):
        path.write_bytes(content)
        try:
            read(target)
        except RegardError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1000, error
            assert ";" in str(error) or name == "scenes/captions.json", f"says not what to do: {error}"
    assert refused >= 8
