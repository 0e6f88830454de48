"""Inspections for tests of pages and viewers: made of random but plausible arrays, in numpy alone, or of a real pet.

    PYTHONPATH=src:tests/support python tests/support/inspections.py OUT.html [PICTURES] [--real]

writes a whole page of such inspections, to develop and to look at.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from regard.records import Inspection, PatchGrid
from regard.records.inspection import (
    Answer,
    ArtifactTokens,
    InspectedCaption,
    InspectedMap,
    InspectedPicture,
    InspectedWord,
    Keys,
    Lens,
)
from regard.records.quantised import Quantised
from regard.rendering.pages.inspections import InspectedPage, inspection_page
from regard.scenes import render, sample

CLASSES = ("Siamese", "Birman", "Ragdoll", "Persian", "beagle", "boxer", "pug", "Abyssinian")
METHODS = (
    ("attention", "attention", False, False),
    ("rollout", "rollout", False, False),
    ("grad_attention", "gradient times attention", True, False),
    ("legrad", "LeGrad", True, False),
    ("libra_fullgrad", "FullGrad by LibraGrad", True, True),
    ("random", "random", False, False),
    ("centre", "centre", False, False),
    ("edges", "edges", False, False),
)
"""Name, label, whether of a class, whether signed."""
CONTROLS = ("random", "centre", "edges")


def made(
    seed: int = 0,
    *,
    name: str | None = None,
    network: str = "vit_base_patch16_224",
    layers: int = 12,
    heads: int = 12,
    rows: int = 14,
    columns: int = 14,
    artifacts: bool = True,
    caption: bool = False,
    classes: tuple[str, ...] = CLASSES,
    crop: bool = False,
) -> Inspection:
    """An inspection of a drawn scene: attention that falls off around a point, that of artifacts at a corner."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(render(sample(seed)).picture).resize((500, 375))
    grid = PatchGrid(rows, columns, 1, (375, 500), (62.5, 0.0, 437.5, 375.0) if crop else (0.0, 0.0, 500.0, 375.0))
    down, across = np.mgrid[:rows, :columns]
    centre = random.uniform(0.25, 0.75, 2) * (rows, columns)

    def bumps(*leading: int, width: float = 3.0) -> np.ndarray:
        """Maps (*leading, rows, columns) around the thing, each somewhat elsewhere, that sum to less than one."""
        spots = centre + random.normal(0, 1.5, (*leading, 2))
        squared = (down - spots[..., 0, None, None]) ** 2 + (across - spots[..., 1, None, None]) ** 2
        values = np.exp(-squared / (2 * width**2)) * random.gamma(2, 0.5, (*leading, rows, columns))
        return values / values.sum(axis=(-2, -1), keepdims=True) * random.uniform(0.5, 0.9, (*leading, 1, 1))

    cls = bumps(layers, heads)
    places = (0, columns + 1)
    repaired = cls.copy()
    if artifacts:
        for place in places:
            cls[layers // 2 :, :, place // columns, place % columns] += 0.15
    near = np.exp(
        -((down.ravel()[:, None] - down.ravel()) ** 2 + (across.ravel()[:, None] - across.ravel()) ** 2) / 8
    ) * random.gamma(1, 1, (rows * columns, rows * columns))
    near /= near.sum(axis=1, keepdims=True)
    tokens = np.concatenate([np.full((rows * columns, 1), 0.2), 0.8 * near], axis=1)  # (patches, tokens)
    attention = np.stack([np.roll(tokens, layer, axis=0) for layer in range(layers - 1)])
    shares = np.sort(random.dirichlet(np.full(len(classes), 0.4)))[::-1]
    order = random.permutation(len(classes))
    probabilities = tuple((classes[place], float(share)) for place, share in zip(order, shares, strict=True))[:5]
    predicted, runner_up = probabilities[0][0], probabilities[1][0]
    true = predicted if random.random() < 0.7 else runner_up
    plain, signed, entries = [], [], []
    for method, label, of_class, is_signed in METHODS:
        control = method in CONTROLS
        for target in dict.fromkeys((predicted, true, runner_up)) if of_class else (None,):
            values = random.random((rows, columns)) if method == "random" else bumps()
            values = values - values.mean() if is_signed else values
            stored = signed if is_signed else plain
            srg = random.normal(0, 0.03) if method == "random" else random.uniform(0.05, 0.5)
            steps = np.linspace(0, 1, 11)
            top = probabilities[0][1]
            mif = np.clip(top * (1 - steps) - srg / 2 * np.sin(np.pi * steps), 0, 1)
            lif = np.clip(top * (1 - steps) + srg / 2 * np.sin(np.pi * steps), 0, 1)
            area = float(np.trapezoid(lif - mif, dx=0.1))
            verdict = None
            if method in ("attention", "legrad"):
                status = "no better than a baseline" if method == "attention" else "supported"
                verdict = {"status": status, "text": "measured on 111 pictures of pets: SRG 0.21, random 0.00"}
            entries.append(
                InspectedMap(
                    method,
                    label,
                    "signed_maps" if is_signed else "maps",
                    len(stored),
                    settings={"layer": "last", "head": "mean"} if method == "attention" else {},
                    target=target,
                    signed=is_signed,
                    verdict=verdict,
                    curve={"occluder": "tokens", "mif": mif.tolist(), "lif": lif.tolist(), "srg": area},
                    control=control,
                )
            )
            stored.append(values)
    arrays = {
        "cls": Quantised.of(cls),
        "patches": Quantised.of(near.reshape(rows, columns, rows, columns)),
        "maps": Quantised.of(np.stack(plain)),
        "signed_maps": Quantised.of(np.stack(signed), "linear"),
    }
    numbers = {"cls": tuple(range(layers))}
    if artifacts:
        arrays["cls_repaired"] = Quantised.of(repaired)
        numbers["cls_repaired"] = tuple(range(layers))
    sentence = None
    if caption:
        texts = ("a", "grey", "cat", "sits", "on", "the", "grass")
        parts = (None, "adjective", "noun", "verb", None, None, "noun")
        arrays["words"] = Quantised.of(bumps(len(texts)))
        words = tuple(
            InspectedWord(
                text,
                part,
                float(random.uniform(0.3, 1)),
                tuple((other, float(random.uniform(0, 0.3))) for other in ("a", "cow", "table")),
                float(random.uniform(0, 1)),
                place,
                {"box": (100.0, 80.0, 300.0, 300.0)} if text == "cat" else None,
                (text == "grey") if part else None,
            )
            for place, (text, part) in enumerate(zip(texts, parts, strict=True))
        )
        sentence = InspectedCaption(" ".join(texts), words)
    lens = random.dirichlet(np.full(len(classes), 0.2), (layers, rows * columns))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return Inspection(
        name or f"pets/picture_{seed}.jpg",
        grid,
        {"name": network, "layers": layers, "heads": heads, "reads": "cls"},
        arrays,
        numbers,
        InspectedPicture(file.getvalue(), image.height, image.width),
        Answer(probabilities, true, seen=seed % 3 == 0, flips=bool(seed % 2)),
        Keys.of(range(layers - 1), attention, prefix=1),
        Lens.of(range(layers), lens.argmax(axis=2), lens.max(axis=2), classes),
        ArtifactTokens(places, 0.27) if artifacts else None,
        tuple(entries),
        sentence,
        {} if artifacts else {"cls_repaired": "this network has no artifact tokens"},
        {"network": network, "weights_sha256": "0" * 64, "precision": "float32"},
    )


def made_page(count: int = 1, **settings: object) -> str:
    """A whole page of made inspections; every fourth picture has two, by two networks."""
    pictures = {}
    for seed in range(count):
        first = made(seed, **settings)
        others = [made(seed, name=first.name, network="dino_vitb16", artifacts=False)] if seed % 4 == 3 else []
        pictures[first.name] = [first, *others]
    return inspection_page(InspectedPage("Pictures of pets", pictures, CLASSES, provenance={"network": "made up"}))


def real(picture: object = None, **settings: object) -> Inspection:
    """An inspection of a picture by `pets-tiny`; needs torch."""
    from regard.predictors.inspector import Inspector

    return Inspector("pets-tiny")(render(sample(3)).picture if picture is None else picture, **settings)


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdecimal() else 1
    Path(sys.argv[1]).write_text(made_page(count, caption="--caption" in sys.argv), encoding="utf-8", newline="\n")
