"""Scenes as a folder of pictures that can be trained on, with masks and every fact."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.data.layouts.coco import read_coco
from regard.data.regions import Bools, Claim, NamedRegions, Size, TaggedWord, union
from regard.errors import DataError, UsageError
from regard.files import file_hash, new_folder, reading, write_file
from regard.records import read_manifest, write_manifest
from regard.scenes.animals import ANIMALS
from regard.scenes.captions import CaptionWord, SceneCaption, captions
from regard.scenes.facts import Scene
from regard.scenes.judging import judge, referents
from regard.scenes.planted.bias import Bias, bias_of
from regard.scenes.planted.counterfactuals import without_parts
from regard.scenes.render import VERSION, frame_of, render
from regard.scenes.sampling import Chance, sample

SCENES = "scenes.jsonl"
"""The file of a folder of drawn scenes with all their facts."""
COLUMNS = ("filename", "label", "split", "ground", "sky", "colour", "pattern", "size", "pose", "facing", "things")
WORDINGS = 5
"""How many captions each picture has, at the most."""


def write_scenes(
    n: int,
    out: Path | str,
    *,
    seed: int = 0,
    size: int | tuple[int, int] = 224,
    val: float = 0.2,
    bias: str | None = None,
    missing: float = 0.0,
    overwrite: bool = False,
) -> Path:
    """Draw `n` scenes into the folder `out`, as many of each class as can be, `val` of each class to validate with.

    With a `bias` like "ground=0.95" the ground goes with the class in that share of each class's pictures (see
    `GROUND_OF`); what came of it stands in the manifest, and the table has a column `bias` for `--slice`. With
    `missing` each part of a main animal is left undrawn in that share of pictures (see `without_parts`).

    - `index.csv`: filename, label, split and, for `--slice`, what the main animal is like and stands on;
    - `images/NAME.png`: the pictures;
    - `masks/NAME.png`: 255 where the main animal is visible, else 0;
    - `objects/NAME.png`: item index + 1 at each pixel, 0 for the background (a palette makes them visible);
    - `parts/NAME.png`: the same for parts; their names, in order, are in `scenes.jsonl`;
    - `scenes.jsonl`: a line for each picture: filename, label, split, names of the parts, scene and facts;
    - `captions.json`: COCO-style, five wordings for each picture, each word with its part of speech and regions;
    - `manifest.json`, last. The folder appears whole or not at all.

    Raises `UsageError` for an `n` under 1, a `val` not in [0, 1), a `missing` not in [0, 1] or an impossible `bias`,
    `OutputError` where `out` exists or cannot be written.
    """
    if n < 1:
        raise UsageError(f"the number of scenes must be at least 1; got {n}")
    if not 0 <= val < 1:
        raise UsageError(f"val, the share of pictures to validate with, must lie in [0, 1); got {val}")
    if not 0 <= missing <= 1:
        raise UsageError(f"missing, the share of parts that are left undrawn, must lie in [0, 1]; got {missing}")
    frame_of(size)  # a wrong size is found before any work
    planted = None if bias is None else Bias.of(bias)
    kinds = sorted(ANIMALS)
    labels = [kinds[k % len(kinds)] for k in range(n)]
    splits = _splits(labels, seed, val)
    grounds = None if planted is None else planted.grounds(labels, splits, seed)
    scenes = (sample(f"{seed}/{k}", kind=labels[k], ground=grounds[k] if grounds else None) for k in range(n))
    more: dict[str, Any] = {"bias": planted.report(labels, grounds)} if planted and grounds else {}
    if missing:
        scenes = (without_parts(scene, missing, seed) for scene in scenes)
        more["missing"] = missing
    with new_folder(out, overwrite) as folder:
        for name in ("images", "masks", "objects", "parts"):
            (folder / name).mkdir()
        lines = [_write_one(folder, k, scene, splits[k], size) for k, scene in enumerate(scenes)]
        write_file(folder / SCENES, "".join(json.dumps(line) + "\n" for line in lines))
        write_file(folder / "captions.json", json.dumps(_captions(lines)) + "\n")
        write_file(folder / "index.csv", _index(lines, planted is not None))
        more |= {"classes": sorted(set(labels)), "version": VERSION}
        write_manifest(folder, "scenes", n=n, seed=seed, size=size, val=val, **more)
    return Path(out)


def scenes_manifest(folder: Path | str) -> dict[str, Any]:
    """What `write_scenes` says of a folder: n, seed, size, val, classes, version, and the bias where one was planted.

    Raises `DataError` for another folder, and for scenes of another version, which would be drawn otherwise now.
    """
    manifest = read_manifest(folder, "scenes")
    version = manifest.get("version", 1)  # the first folders did not say it
    if version != VERSION:
        raise DataError(
            f"{folder} holds scenes of version {version}, and what they show would be drawn otherwise by this regard, "
            f"whose version is {VERSION}; write the folder again, or take the regard that wrote it"
        )
    return manifest


def read_scenes(folder: Path | str) -> Iterator[tuple[str, Scene]]:
    """(filename, scene) for each picture that `write_scenes` wrote. Raises `DataError` for another folder."""
    scenes_manifest(folder)
    advice = "write the folder again"
    with reading(Path(folder) / SCENES, advice), (Path(folder) / SCENES).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            with reading(f"line {number} of {folder}/scenes.jsonl is not a scene: it", advice):
                stored = json.loads(line)
                scene = str(stored["filename"]), Scene.from_json(stored["scene"])
            yield scene


def read_scene_captions(folder: Path | str) -> Iterator[tuple[str, tuple[SceneCaption, ...]]]:
    """(filename, captions) for each picture that `write_scenes` wrote. Raises `DataError` for another folder."""
    read_manifest(folder, "scenes")
    file = Path(folder) / "captions.json"
    if not file.is_file():
        raise DataError(f"{folder} holds scenes without captions.json; write the folder again")
    with reading(file, "write the folder again"):
        pictures = read_coco(file, labels=False)
    for picture in pictures:
        try:
            captions = []
            for each in picture.annotations:
                words = tuple(CaptionWord(text, tuple(regions), part) for text, part, regions in each["words"])
                captions.append(SceneCaption(each["caption"], words))
            yield picture.name, tuple(captions)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(
                f"{file}: a caption of {picture.name!r} is amiss ({error}); write the folder again"
            ) from error


@dataclass(frozen=True)
class SceneRegions:
    """A drawn scene's items, parts and background, by the names of `Rendering.masks`."""

    scene: Scene
    size: Size

    @property
    def objects(self) -> tuple[str, ...]:
        return ("0",)

    def mask(self, names: Iterable[str], size: Size | None = None) -> Bools:
        size = self.size if size is None else size
        masks = _masks(self.scene, size)
        return union((masks[name] for name in names), size)

    def claims(self, words: Sequence[TaggedWord]) -> Iterator[Claim]:
        """The words that are true or false of the scene; a wrong one's regions are those of what it was used for, as
        far as that is clear: see `referents`."""
        judged = judge(" ".join("_".join(text.split()) for text, _ in words), self.scene)
        for place, (word, names) in enumerate(zip(judged, referents(judged, self.scene), strict=True)):
            if word.true is not None:
                yield Claim(place, word.part, word.true, names)


@lru_cache(maxsize=1)  # the words of a picture come together
def _masks(scene: Scene, size: Size) -> Mapping[str, Bools]:
    return render(scene, size=size).masks


def is_scenes(source: str) -> bool:
    return (Path(source) / "manifest.json").is_file() and (Path(source) / SCENES).is_file()


def scene_regions(folder: Path) -> NamedRegions:
    """The regions of the pictures that `write_scenes` wrote. Raises `DataError` for another folder."""
    size = scenes_manifest(folder)["size"]
    size = (size, size) if isinstance(size, int) else (size[0], size[1])
    regions = {name: SceneRegions(scene, size) for name, scene in read_scenes(folder)}
    return NamedRegions(folder.name, file_hash(folder / SCENES), regions)


def _splits(labels: list[str], seed: int, val: float) -> list[str]:
    """ "train" or "val" for each, the same share of every class, by chance."""
    chance = Chance(f"{seed} split")
    splits = ["train"] * len(labels)
    for label in sorted(set(labels)):
        members = sorted((chance.random(), k) for k, one in enumerate(labels) if one == label)
        for _, k in members[: round(val * len(members))]:
            splits[k] = "val"
    return splits


def _write_one(folder: Path, number: int, scene: Scene, split: str, size: int | tuple[int, int]) -> dict[str, Any]:
    """Draw and save one scene; what `scenes.jsonl` says of it comes back."""
    label = scene.label
    rendering = render(scene, size=size)
    name = f"{label}_{number:05d}.png"
    Image.fromarray(rendering.picture).save(folder / "images" / name)
    Image.fromarray(rendering.masks["0"].astype(np.uint8) * 255).save(folder / "masks" / name)
    owner = np.array([0, *(int(part.split(".")[0]) + 1 for part in rendering.names)], np.uint8)
    _indexed(owner[rendering.parts]).save(folder / "objects" / name)  # (H, W): item index + 1 at each pixel
    _indexed(rendering.parts.astype(np.uint8)).save(folder / "parts" / name)
    entry = {"filename": f"images/{name}", "label": label, "split": split}
    return {**entry, "parts": list(rendering.names), "scene": scene.as_json(), "facts": scene.facts()}


def _indexed(numbers: NDArray[np.uint8]) -> Image.Image:
    """An indexed picture whose values are the numbers and whose palette tells neighbours apart."""
    image = Image.fromarray(numbers).convert("P")
    image.putpalette([0, 0, 0] + [(k * step + 60) % 196 + 60 for k in range(1, 256) for step in (67, 113, 151)])
    return image


def _captions(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The captions of all scenes, COCO-style: images, and annotations with their words as [text, part, regions]."""
    images = [{"id": k, "file_name": line["filename"], "split": line["split"]} for k, line in enumerate(lines)]
    numbered = [
        (k, caption) for k, line in enumerate(lines) for caption in captions(Scene.from_json(line["scene"]), WORDINGS)
    ]
    annotations = [
        {
            "id": number,
            "image_id": k,
            "caption": caption.text,
            "words": [[word.text, word.part, list(word.regions)] for word in caption.words],
        }
        for number, (k, caption) in enumerate(numbered)
    ]
    return {"images": images, "annotations": annotations}


def _index(lines: list[dict[str, Any]], biased: bool) -> str:
    """The table of pictures as CSV; of `biased` ones it says which follow the bias."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*COLUMNS, "bias") if biased else COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        facts = line["facts"]
        animal = line["facts"]["items"][0]
        row = {name: line[name] for name in ("filename", "label", "split")}
        row |= {name: animal[name] for name in ("colour", "pattern", "size", "pose", "facing")}
        row |= {"bias": bias_of(line["label"], facts["ground"])} if biased else {}
        writer.writerow(
            {**row, "ground": facts["ground"], "sky": facts["sky"] or "none", "things": len(facts["items"]) - 1}
        )
    return text.getvalue()
