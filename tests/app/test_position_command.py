"""`regard positions` as a user runs it: files, numbers, controls, the network before, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import regard
from regard.app.cli import main
from regard.app.commands.positions import parse_grid
from regard.errors import DataError, NetworkError, UsageError
from regard.networks.load import load
from regard.networks.run import save_network
from regard.records import Positions, read_manifest
from regard.rendering import colour
from regard.rendering.figures.position_grids import draw, kernel_figure

Run = Callable[..., tuple[int, str, str]]
SMALL: dict[str, Any] = {"embed_dim": 48, "num_heads": 3, "depth": 2}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(random.integers(0, 255, (50, 60, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


def _saved(folder: Path, name: str, size: tuple[int, int] = (48, 80), seed: int = 0, **arguments: Any) -> Path:
    """A run folder of a small random network."""
    save_network(load(f"random:{name}", size=size, seed=seed, arguments={**SMALL, **arguments}), folder)
    return folder


def test_every_way_has_its_files_and_its_numbers(tmp_path: Path, pictures: Path, run: Run) -> None:
    model, out = _saved(tmp_path / "run", "vit_small_patch16_rope_ape_224"), tmp_path / "out"
    code, said, error = run(
        *("positions", "--model", model, "--out", out, "--pictures", pictures, "--permutations", 19, "--json"),
        *("--workers", 0, "--layer", 0),
    )
    assert code == 0, error
    found = json.loads(said)
    assert [each["kind"] for each in found["found"]] == ["embeddings", "rotary", "tokens", "logits"]
    shapes = {path.name: np.load(path).shape for path in out.glob("*.npy")}
    assert shapes == {
        "similarity.npy": (3, 5, 3, 5),
        "kernel-rotary.npy": (1, 1, 5, 9),
        "similarity-tokens.npy": (3, 5, 3, 5),
        "kernel-logits.npy": (1, 3, 5, 9),
    }
    figures = {each["figure"] for each in found["found"] if "figure" in each} | {
        path.name for path in out.glob("*.png")
    }
    assert figures == {"positions.png", "positions-rotary.png", "positions-tokens.png", "positions-logits.png"}
    numbers = json.loads((out / "numbers.json").read_text(encoding="utf-8"))["found"]
    assert {each["figure"] for each in numbers} == {path.name for path in out.glob("*.png")}
    first = numbers[0]["numbers"]["neighbours"]
    assert first.keys() == {"value", "p", "control", "control_low", "control_high", "before"}
    assert first["value"] == pytest.approx(numbers[0]["means"]["neighbours"])
    assert first["control_low"] <= first["control"] <= first["control_high"]
    assert 1 / 20 <= first["p"] <= 1
    assert first["before"] is None
    assert numbers[0]["numbers"]["column_gain"]["value"] is None  # three rows have no (5, 0)
    assert "random embeddings of 3 × 5" in numbers[0]["control"]
    assert "block 0, mean over 3 pictures" in numbers[2]["source"]
    assert read_manifest(out, "positions")["found"] == numbers


def test_the_text_is_a_table(tmp_path: Path, run: Run) -> None:
    model = _saved(tmp_path / "run", "vit_tiny_patch16_224")
    code, said, _ = run("positions", "--model", model, "--out", tmp_path / "out", "--permutations", 9)
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == "3 × 5 positions, embeddings: pos_embed"
    assert lines[1].split() == ["number", "value", "p", "control"]  # no network before: no such column
    assert [line.split()[0] for line in lines[2:5]] == ["neighbours", "neighbour", "distance"]
    assert any(line.strip() == "column gain        –        –        –" for line in lines)
    assert lines[-1].startswith("written to")


def test_the_network_before_is_measured_beside(tmp_path: Path) -> None:
    """One given, of another grid, and the one that a run records; what it does not have is left out."""
    after = _saved(tmp_path / "after", "vit_small_patch16_rope_ape_224")
    before = _saved(tmp_path / "before", "vit_tiny_patch16_224", (80, 80), seed=1)
    first, rotary = regard.positions(tmp_path / "a", model=after, before=before, permutations=5).records
    assert np.isfinite(first.tested["neighbours"]["before"])
    assert np.isnan(rotary.tested["neighbours"]["before"])
    itself = regard.positions(tmp_path / "b", model=after, before=after, permutations=5).records
    for record in itself:
        for number in record.tested.values():
            assert number["before"] == pytest.approx(number["value"], nan_ok=True)


def test_a_run_is_compared_with_what_it_began_with(tmp_path: Path, run: Run) -> None:
    start = load("random:test_vit", size=32, seed=3)
    began = start.positions().clone()
    with torch.no_grad():
        start.module.pos_embed.add_(torch.ones(()))
    folder = save_network(start, tmp_path / "run")
    recipe = {"arguments": {"model": "random:test_vit", "weights": None, "seed": 3, "size": 32}}
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    code, said, error = run("positions", "--model", folder, "--out", tmp_path / "out", "--permutations", 5, "--json")
    assert code == 0, error
    assert "compared with the network that this run began with: test_vit" in error
    number = json.loads(said)["found"][0]["numbers"]["neighbours"]
    plain = regard.positions(tmp_path / "plain", model=load_again(tmp_path, began), permutations=5).positions
    assert number["before"] == pytest.approx(plain.tested["neighbours"]["value"], abs=1e-6)
    assert number["value"] > 0.9 > number["before"]
    (folder / "recipe.json").write_text('{"arguments": {"model": "gone", "weights": "gone.pt"}}', encoding="utf-8")
    assert "before" not in run("positions", "--model", folder, "--out", tmp_path / "other")[1]


def load_again(folder: Path, positions: torch.Tensor) -> Path:
    """A run whose embeddings are these."""
    network = load("random:test_vit", size=32, seed=3)
    assert torch.equal(network.positions(), positions)
    return save_network(network, folder / "again")


def test_a_network_that_was_told_nothing_needs_pictures(tmp_path: Path, pictures: Path, run: Run) -> None:
    model = _saved(tmp_path / "run", "vit_tiny_patch16_224", pos_embed="none")
    code, _, error = run("positions", "--model", model, "--out", tmp_path / "out")
    assert code == 1
    assert "--pictures FOLDER" in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    found = regard.positions(tmp_path / "out", model=model, pictures=pictures, permutations=5, workers=0).records
    assert [each.kind for each in found] == ["tokens"]
    assert (tmp_path / "out" / "similarity.npy").is_file()


def test_zero_embeddings_are_named_and_left_out_where_there_is_another_way(tmp_path: Path, run: Run) -> None:
    network = load("random:vit_small_patch16_rope_ape_224", size=(48, 80), arguments=SMALL)
    with torch.no_grad():
        network.module.pos_embed.zero_()
    model = save_network(network, tmp_path / "run")
    code, said, error = run("positions", "--model", model, "--out", tmp_path / "out", "--permutations", 5, "--json")
    assert code == 0, error
    assert [each["kind"] for each in json.loads(said)["found"]] == ["rotary"]
    assert "the positional embedding of a patch is zero" in error
    assert (tmp_path / "out" / "kernel.npy").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from-grid", "14"), "ROWS,COLUMNS"),
        (("--from-grid", "0,3"), "ROWS,COLUMNS"),
        (("--permutations", "0"), "give 1 or more"),
        (("--interpolation", "cubic"), "'bicubic'"),
        (("--scale", "share"), "'shared'"),
        (("--colours", "virids"), "'viridis'"),
        (("--before", "vit_tiny_patch16_242"), "'vit_tiny_patch16_224'"),
    ],
)
def test_bad_options_are_said_in_one_line(options: tuple[str, ...], said: str, tmp_path: Path, run: Run) -> None:
    code, out, error = run("positions", "--model", "random:test_vit", "--out", tmp_path / "out", *options)
    assert code == 2, error
    assert out == "" and said in error
    assert not (tmp_path / "out").exists()


def test_an_unknown_family_and_a_block_too_many(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(NetworkError, match="ResNet tells its patches apart is not known"):
        regard.positions(tmp_path / "out", model="random:resnet18")
    with pytest.raises(UsageError, match="no layer 99"):
        regard.positions(tmp_path / "out", model="random:test_vit", pictures=pictures, layer=99, permutations=1)


def test_grids_are_read() -> None:
    assert parse_grid(" None ") is None
    assert parse_grid("14, 7") == (14, 7)
    with pytest.raises(UsageError, match="14,14"):
        parse_grid("a,b")


def _kernel(layers: int, heads: int, kind: str = "relative") -> Positions:
    values = np.random.default_rng(0).normal(size=(layers, heads, 5, 9)).astype(np.float32)
    similarity = np.zeros((3, 5, 3, 5), np.float32)
    return Positions(similarity, {}, kind=kind, source="a table", kernel=values, layers=tuple(range(layers)))


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (1, 3), (2, 3), (12, 12), (3, 1)])
def test_a_kernel_is_drawn_for_any_layers_and_heads(layers: int, heads: int) -> None:
    for kind in ("rotary", "relative", "logits"):
        for scale in ("shared", "each"):
            assert draw(_kernel(layers, heads, kind), scale=scale).width > 400  # type: ignore[arg-type]


def test_the_large_tile_is_the_mean_with_zero_in_the_middle_of_its_colours() -> None:
    record = _kernel(2, 3)
    assert record.kernel is not None
    pixels, cell = np.asarray(kernel_figure(record)), 420 // 9
    mean = record.kernel.mean(axis=(0, 1))
    painted = colour.paint(mean, colour.SIGNED, signed=True)
    corner = pixels[108 : 108 + 5 * cell : cell, 64 : 64 + 9 * cell : cell]
    assert np.array_equal(corner, painted)
    with pytest.raises(DataError, match="no kernel"):
        kernel_figure(Positions(record.similarity, {}))
