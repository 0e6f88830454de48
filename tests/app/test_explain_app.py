"""`regard explain` as a user runs it: any number of pictures, stopped and gone on with, panels, tables and sheets."""

import errno
import gc
import io
import json
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import regard
from regard.app import comparing, map_files
from regard.app.cli import main
from regard.app.output import panel_names
from regard.audit import verdicts
from regard.data.images.decode import open_picture
from regard.errors import DataError, NetworkError, UsageError
from regard.explanation import METHODS, Maps, Method
from regard.predictors.explainer import ExplanationJob
from regard.predictors.method_options import MethodOptions, class_index
from regard.records import Explanation
from regard.rendering import colour
from regard.rendering.figures import canvas, sheets
from regard.rendering.figures import panel as panels
from regard.results.maps import npy_header, read_table

TINY = ("--model", "random:test_vit", "--size", "32", "--workers", "0")
Run = Callable[..., tuple[int, str, str]]

# Methods that need no network, so that what is shown does not depend on how well one is explained.


def told(network: Any, pixels: torch.Tensor, *, target: Any = None, samples: int = 9, seed: int = 0) -> Maps:
    """A map with a sign and an error, of a class that follows from the picture."""
    plain = torch.nn.functional.adaptive_avg_pool2d(pixels.mean(1), (3, 4)).numpy()
    found = [int(abs(1000 * float(each.mean()))) % 5 if target is None else target for each in plain]
    return Maps(plain - plain.mean((1, 2), keepdims=True), tuple(found), np.abs(plain) / samples**0.5)


def shapes(network: Any, pixels: torch.Tensor) -> Maps:
    """Maps whose shape follows from the picture's brightness, as of a network that takes any size."""
    rows = 2 if float(pixels.mean()) > 0 else 3
    return Maps(np.full((len(pixels), rows, 2), float(pixels.mean()), np.float32), (None,) * len(pixels))


def empty(network: Any, pixels: torch.Tensor) -> Maps:
    return Maps(np.full((len(pixels), 2, 2), np.nan, np.float32), (None,) * len(pixels))


def constant(network: Any, pixels: torch.Tensor) -> Maps:
    return Maps(np.full((len(pixels), 2, 2), 0.25, np.float32), (None,) * len(pixels))


def unfit(network: Any, pixels: torch.Tensor) -> Maps:
    raise NetworkError("no such thing here")


def numbered(network: Any, pixels: torch.Tensor, *, layer: int | None = None, head: int | None = None) -> Maps:
    """Four layers of two heads."""
    if layer is not None and not 0 <= layer < 4:
        raise UsageError(f"there is no layer {layer}; it goes from 0 to 3")
    if head is not None and not 0 <= head < 2:
        raise UsageError(f"there is no head {head}; it goes from 0 to 1")
    plain = torch.nn.functional.adaptive_avg_pool2d(pixels.mean(1), (3, 4)).numpy()
    return Maps(plain, (None,) * len(pixels))


FAKES = {
    "told": (("target", "samples", "seed"), True),
    "shapes": ((), False),
    "empty": ((), False),
    "constant": ((), False),
    "unfit": ((), False),
    "numbered": (("layer", "head"), False),
}


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (settings, signed) in FAKES.items():
        target = f"{__name__}:{name}"
        row = Method(name, "picture", target, "for tests", (), settings, signed, name == "told", 0, "no paper")
        monkeypatch.setitem(METHODS._rows, name, row)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of three shapes, none square, half of them dark, some in a folder of their own."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "deep").mkdir()
    random = np.random.default_rng(0)
    for index in range(8):
        height, width = [(40, 90), (90, 40), (64, 96)][index % 3]
        pixels = random.normal(60 if index % 2 else 190, 30, (height, width, 3)).clip(0, 255).astype(np.uint8)
        place = folder / "deep" if index > 5 else folder
        Image.fromarray(pixels).save(place / f"{index:02}.{'jpg' if index % 4 else 'png'}")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _stops(
    monkeypatch: pytest.MonkeyPatch, after: int, how: type[BaseException] = KeyboardInterrupt
) -> Callable[[], None]:
    """The next run stops in the middle of its work; the function returned undoes that."""
    original = ExplanationJob.heatmaps

    def stopping(*arguments: Any, **settings: Any) -> Iterator[Any]:
        for place, row in enumerate(original(*arguments, **settings)):
            if place == after:
                raise how
            yield row

    monkeypatch.setattr(ExplanationJob, "heatmaps", stopping)
    return lambda: monkeypatch.setattr(ExplanationJob, "heatmaps", original)


# going on


@pytest.mark.parametrize("name", ["maps", "maps.parquet"])
@pytest.mark.parametrize("method", ["attention", "told"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    name: str, method: str, pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", pictures, *TINY, "--method", method, "--batch-size", 2, "--out")
    (tmp_path / "whole").mkdir()
    assert run(*words, tmp_path / "whole" / name)[0] == 0
    again = _stops(monkeypatch, 5)
    out = tmp_path / name
    assert run(*words, out)[0] == 130
    assert not out.exists()
    part = tmp_path / f"{name}.part"
    assert json.loads((part / "progress.json").read_text())["whole"]["pictures"] == 4
    for file in ("maps.npy", "pictures.jsonl"):
        with (part / file).open("ab") as handle:
            handle.write(b"what a kill in mid-write leaves")
    again()
    code, _, err = run(*words, out)
    assert code == 0, err
    assert "going on after 4 of 8 pictures" in err
    assert _files(out if out.is_dir() else tmp_path / "whole") == _files(
        tmp_path / "whole" / name if out.is_dir() else tmp_path / "whole"
    )
    assert out.is_dir() or out.read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not part.exists()


def test_a_stop_before_a_whole_batch_leaves_nothing(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stops(monkeypatch, 2)
    assert run("explain", pictures, *TINY, "--batch-size", 8, "--out", tmp_path / "maps")[0] == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other", [("--layer", 0), ("--batch-size", 4), ("--colours", "jet"), ("--figure", "svg"), ("--seed", 1)]
)
def test_other_settings_start_anew(
    other: tuple[object, ...], pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", pictures, *TINY, "--batch-size", 2)
    again = _stops(monkeypatch, 5)
    assert run(*words, "--out", tmp_path / "maps")[0] == 130
    again()
    code, _, err = run(*words, *other, "--out", tmp_path / "maps")
    assert code == 0
    assert "starting anew" in err
    assert run(*words, *other, "--out", tmp_path / "fresh")[0] == 0
    assert _files(tmp_path / "maps") == _files(tmp_path / "fresh")


def test_a_verdict_that_came_meanwhile_starts_anew(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", pictures, *TINY, "--batch-size", 2)
    again = _stops(monkeypatch, 5)
    assert run(*words, "--out", tmp_path / "maps")[0] == 130
    again()
    monkeypatch.setattr(verdicts, "verdict_on", lambda *_: "supported: better than edges on 20 pictures")
    code, _, err = run(*words, "--out", tmp_path / "maps")
    assert code == 0 and "starting anew" in err
    assert Explanation.load(tmp_path / "maps").verdict.startswith("supported")


def test_what_is_in_the_way_and_not_ours_stays(pictures: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "maps.part").mkdir()
    (tmp_path / "maps.part" / "thesis.txt").write_text("years of work")
    code, _, err = run("explain", pictures, *TINY, "--out", tmp_path / "maps")
    assert code == 1
    assert "maps.part is in the way and not of regard's making; move it" in err
    assert (tmp_path / "maps.part" / "thesis.txt").read_text() == "years of work"


def test_a_damaged_beginning_is_begun_again(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", pictures, *TINY, "--batch-size", 2, "--out", tmp_path / "maps")
    again = _stops(monkeypatch, 5)
    assert run(*words)[0] == 130
    os.truncate(tmp_path / "maps.part" / "maps.npy", 130)
    again()
    assert run(*words)[0] == 0
    assert len(Explanation.load(tmp_path / "maps")) == 8


def test_a_broken_picture_stops_and_is_skipped_on_request(pictures: Path, tmp_path: Path, run: Run) -> None:
    for path in pictures.glob("*.*"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "04.png").write_bytes(b"broken")
    words = ("explain", tmp_path / "in", *TINY, "--batch-size", 2, "--out", tmp_path / "maps")
    code, _, err = run(*words)
    assert code == 1
    assert "04.png" in err
    code, _, err = run(*words, "--skip-bad")
    assert code == 0
    assert "going on after 4 of 6" in err
    assert "skipped: " in err
    assert [heatmap.name[:2] for heatmap in Explanation.load(tmp_path / "maps")] == [
        f"{index:02}" for index in range(6) if index != 4
    ]
    assert run(*words[:1], tmp_path / "in" / "04.png", *words[2:-1], tmp_path / "none", "--skip-bad")[0] == 1
    assert not list(tmp_path.glob("none*"))


def test_a_result_is_replaced_only_when_asked(pictures: Path, tmp_path: Path, run: Run) -> None:
    for name in ("maps", "maps.parquet"):
        words = ("explain", pictures, *TINY, "--out", tmp_path / name)
        assert run(*words)[0] == 0
        code, _, err = run(*words)
        assert code == 1
        assert "exists already" in err
        assert run(*words, "--layer", 0, "--overwrite")[0] == 0
    assert Explanation.load(tmp_path / "maps").settings["layer"] == 0


@pytest.mark.parametrize("name", ["maps", "maps.parquet"])
def test_memory_does_not_grow_with_the_pictures(
    name: str, pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pictures there are, only the map at work and those of the contact sheet are there at once."""
    folder = tmp_path / "in"
    folder.mkdir()
    content = (pictures / "00.png").read_bytes()
    for index in range(60):
        (folder / f"{index}.png").write_bytes(content)
    original, alive, most = ExplanationJob.heatmaps, weakref.WeakSet(), []

    def watched(*arguments: Any, **settings: Any) -> Iterator[Any]:
        for index, heatmap in original(*arguments, **settings):
            alive.add(heatmap.grid)  # frozen and hashable, and alive as long as its map
            most.append(len(alive))
            yield index, heatmap
            del heatmap
            gc.collect(0)

    monkeypatch.setattr(ExplanationJob, "heatmaps", watched)
    monkeypatch.setattr("regard.records.grid.PatchGrid.__hash__", object.__hash__)
    monkeypatch.setattr("regard.records.grid.PatchGrid.__eq__", object.__eq__)
    code, _, err = run("explain", folder, *TINY, "--method", "told", "--batch-size", 10, "--out", tmp_path / name)
    assert code == 0, err
    assert len(most) == 60
    assert max(most) <= 3


# what comes out


def test_a_folder_is_what_saving_the_maps_would_give(pictures: Path, tmp_path: Path, run: Run) -> None:
    assert run("explain", pictures, *TINY, "--method", "told", "--out", tmp_path / "maps")[0] == 0
    found = regard.explain(pictures, method="told", model="random:test_vit", size=32, workers=0)
    assert found.out is None
    found.explanation.save(tmp_path / "saved")
    for name in ("maps.npy", "errors.npy", "manifest.json"):
        assert (tmp_path / "maps" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes(), name
    loaded = Explanation.load(tmp_path / "maps")
    assert np.array_equal(loaded.maps, found.explanation.maps)
    assert np.array_equal(loaded.errors, found.explanation.errors)
    assert [heatmap.target for heatmap in loaded] == [heatmap.predicted for heatmap in loaded]
    assert loaded.settings == {"target": "predicted", "samples": 9, "seed": 0}
    assert np.load(tmp_path / "maps" / "maps.npy").shape == (8, 3, 4)


def test_a_table_opens_anywhere_and_says_all(pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures, *TINY, "--method", "told", "--samples", 4, "--out")
    assert run(*words, tmp_path / "maps.parquet", "--target", 2, "--against", 1)[0] == 0
    frame = pd.read_parquet(tmp_path / "maps.parquet")
    assert len(frame) == 8
    assert frame["name"].tolist()[0] == "00.png"
    assert frame[["target", "against", "rows", "columns"]].drop_duplicates().to_numpy().tolist() == [[2, 1, 3, 4]]
    assert frame["map"][3].dtype == np.float32
    assert frame["map"][3].shape == frame["error"][3].shape == (12,)
    assert (frame["picture_height"][1], frame["picture_width"][1]) == (90, 40)
    memory = regard.explain(
        pictures, method="told", samples=4, target=2, against=1, model="random:test_vit", size=32, workers=0
    ).explanation
    again = read_table(tmp_path / "maps.parquet")
    for one, other in zip(again, memory, strict=True):
        assert (one.name, one.grid, one.target, one.predicted) == (other.name, other.grid, (2, 1), other.predicted)
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.error, other.error)
    assert (again.method, again.settings, again.signed) == ("told", memory.settings, True)
    assert again.provenance == memory.provenance


def test_a_table_has_the_names_of_the_classes(data_run: Path, pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures, "--model", data_run, "--workers", 0, "--method", "told")
    assert run(*words, "--target", "dark", "--against", "light", "--out", tmp_path / "a.parquet")[0] == 0
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert frame["target_name"].unique().tolist() == ["dark"]
    assert frame["against_name"].unique().tolist() == ["light"]
    assert read_table(tmp_path / "a.parquet").classes == ("dark", "light")
    assert read_table(tmp_path / "a.parquet").settings["target"] == ["dark", "light"]


@pytest.fixture(scope="module")
def data_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose classes are dark and light."""
    home = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    (home / "data").mkdir()
    for index in range(8):
        name, level = ("dark", 60) if index % 2 else ("light", 190)
        pixels = random.normal(level, 25, (40, 60, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(home / "data" / f"{name}_{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGARD_CACHE", str(home / "cache"))
        assert main(["train", str(home / "data"), "--recipe", "probe", *TINY, "--out", str(home / "run")]) == 0
    return home / "run"


def test_a_table_takes_maps_of_any_shape_and_a_folder_says_so(pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures, *TINY, "--method", "shapes", "--batch-size", 1, "--out")
    assert run(*words, tmp_path / "maps.parquet")[0] == 0
    table = read_table(tmp_path / "maps.parquet")
    assert {heatmap.values.shape for heatmap in table} == {(2, 2), (3, 2)}
    with pytest.raises(DataError, match="2 shapes"):
        _ = table.maps
    code, _, err = run(*words, tmp_path / "maps")
    assert code == 1
    assert re.search(r"the map of 01.jpg has 3 × 2 patches where that of 00.png has 2 × 2.*--out FILE.parquet", err)
    assert list(tmp_path.glob("maps")) == []


def test_a_map_of_another_shape_is_noticed_after_an_interruption(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Light pictures first, whose maps are alike, then a dark one."""
    (tmp_path / "in").mkdir()
    for index, name in enumerate(("00.png", "02.jpg", "01.jpg")):
        (tmp_path / "in" / f"{index}{name[2:]}").write_bytes((pictures / name).read_bytes())
    words = ("explain", tmp_path / "in", *TINY, "--method", "shapes", "--batch-size", 1, "--out", tmp_path / "maps")
    again = _stops(monkeypatch, 2)
    assert run(*words)[0] == 130
    again()
    code, _, err = run(*words)
    assert code == 1
    assert "the map of 2.jpg has 3 × 2 patches where that of 0.png has 2 × 2" in err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a file name be any bytes")
def test_a_file_name_that_is_no_text_goes_through(pictures: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "in" / name).write_bytes((pictures / "00.png").read_bytes())
    assert run("explain", tmp_path / "in", *TINY, "--out", tmp_path / "maps")[0] == 0
    assert Explanation.load(tmp_path / "maps")[0].name == name
    assert run("explain", tmp_path / "in", *TINY, "--out", tmp_path / "maps.parquet")[0] == 0
    assert pd.read_parquet(tmp_path / "maps.parquet")["name"].tolist() == ["caf\\xe9.png"]


def test_a_table_takes_the_place_of_a_folder(pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures / "00.png", *TINY, "--out", tmp_path / "maps")
    assert run(*words)[0] == 0
    code, _, err = run(*words, "--format", "parquet", "--overwrite")
    assert code == 0, err
    assert len(read_table(tmp_path / "maps")) == 1


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no table")
    for name, words in (("a", "no maps of regard"), ("b", "cannot be read as Parquet"), ("c", "cannot be read")):
        with pytest.raises(DataError, match=words):
            read_table(tmp_path / f"{name}.parquet")


def test_a_table_is_written_in_pieces(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.results.parquet.ROWS", 5)
    assert run("explain", pictures, *TINY, "--method", "told", "--out", tmp_path / "maps.parquet")[0] == 0
    assert pq.ParquetFile(tmp_path / "maps.parquet").metadata.num_row_groups == 2
    assert len(read_table(tmp_path / "maps.parquet")) == 8


# panels


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("told", "jpg"),
        ("told", "png"),
        ("empty", "png"),
        ("constant", "png"),
        ("told", "svg"),
        ("empty", "svg"),
        ("constant", "pdf"),
    ],
)
def test_any_map_can_be_drawn_as_anything(method: str, kind: str, pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures / "00.png", pictures / "01.jpg", *TINY, "--method", method, "--figure", kind, "--out")
    assert run(*words, tmp_path / "a")[0] == 0
    assert run(*words, tmp_path / "b")[0] == 0
    found = _files(tmp_path / "a")
    assert {f"00.{kind}", f"01.{kind}", "contact_sheet.png", "maps.npy", "manifest.json"} <= set(found)
    assert found == _files(tmp_path / "b")
    for content in found.values():
        assert str(tmp_path).encode() not in content
        assert b"CreationDate" not in content
        assert b"<dc:date>" not in content
        assert b"atplotlib" not in content.replace(b"https://matplotlib.org/", b"")


def test_panels_in_svg_have_words_and_say_all(data_run: Path, pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures / "00.png", "--model", data_run, "--workers", 0, "--figure", "svg")
    assert run(*words, "--layer", 2, "--head", 1, "--query", "1,0", "--out", tmp_path / "a")[0] == 0
    text = re.sub(r"\s+", " ", " ".join(re.findall(r"<text[^>]*>([^<]*)", (tmp_path / "a" / "00.svg").read_text())))
    assert "network test_vit · method attention · layer 2 · head 1 · query 1,0" in text
    assert "00.png" in text
    assert run(*words, "--method", "told", "--target", "dark", "--against", 1, "--out", tmp_path / "b")[0] == 0
    assert "target dark against light" in (tmp_path / "b" / "00.svg").read_text()


def test_jet_gives_the_panel_of_problem_1(pictures: Path, tmp_path: Path, run: Run) -> None:
    """Picture, jet, and jet at 0.4 over the grey picture; without --colours another, even, colour map."""
    words = ("explain", pictures / "02.jpg", *TINY, "--figure", "png", "--out")
    assert run(*words, tmp_path / "jet", "--colours", "jet")[0] == 0
    assert run(*words, tmp_path / "usual")[0] == 0
    explanation, image = Explanation.load(tmp_path / "jet"), open_picture(pictures / "02.jpg")
    expected = panels.panel(image, explanation[0], colours="jet", alpha=0.4, caption=panels.caption_of(explanation, 0))
    assert (tmp_path / "jet" / "02.png").read_bytes() == canvas.png(expected)
    assert (tmp_path / "usual" / "02.png").read_bytes() != canvas.png(expected)


def test_panels_are_small_files_that_look_like_the_large_ones(pictures: Path, tmp_path: Path, run: Run) -> None:
    """By default a panel is a JPEG, at most half the bytes, and no pixel is far off."""
    words = ("explain", pictures / "00.png", *TINY, "--method", "told", "--out")
    assert run(*words, tmp_path / "small")[0] == 0
    assert run(*words, tmp_path / "large", "--figure", "png")[0] == 0
    small, large = tmp_path / "small" / "00.jpg", tmp_path / "large" / "00.png"
    assert small.stat().st_size <= large.stat().st_size / 2
    one, other = (np.asarray(Image.open(path), np.float32) for path in (small, large))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 2
    assert np.quantile(np.abs(one - other), 0.999) < 32


@pytest.mark.parametrize("figure", ["jpg", "svg"])
def test_panels_drawn_in_threads_have_the_same_bytes(figure: str, pictures: Path, tmp_path: Path, run: Run) -> None:
    words = ("explain", pictures, *TINY, "--method", "told", "--batch-size", 3, "--figure", figure)
    assert run(*words, "--out", tmp_path / "alone")[0] == 0
    assert run(*words, "--workers", 3, "--out", tmp_path / "threads")[0] == 0
    assert _files(tmp_path / "alone") == _files(tmp_path / "threads")


@pytest.mark.parametrize("workers", [0, 3])
def test_what_stops_a_panel_stops_the_command_and_maps_before_it_count(
    workers: int, pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("explain", pictures, *TINY, "--batch-size", 2, "--workers", workers, "--out")
    assert run(*words, tmp_path / "whole")[0] == 0
    original = map_files.write_file

    def full(path: Path, content: bytes) -> Path:
        if path.stem == "05":
            raise OSError(errno.ENOSPC, "no space")
        return original(path, content)

    monkeypatch.setattr(map_files, "write_file", full)
    code, _, err = run(*words, tmp_path / "maps")
    assert code == 1
    assert "the disk is full" in err
    assert json.loads((tmp_path / "maps.part" / "progress.json").read_text())["whole"]["pictures"] == 4
    monkeypatch.undo()
    code, _, err = run(*words, tmp_path / "maps")
    assert code == 0
    assert "going on after 4 of 8 pictures" in err
    assert _files(tmp_path / "maps") == _files(tmp_path / "whole")


def test_a_stop_while_panels_are_drawn_loses_no_whole_batch(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the network gave before Ctrl-C is drawn, and counts."""
    words = ("explain", pictures, *TINY, "--batch-size", 2, "--workers", 3, "--out", tmp_path / "maps")
    _stops(monkeypatch, 5)
    assert run(*words)[0] == 130
    assert json.loads((tmp_path / "maps.part" / "progress.json").read_text())["whole"]["pictures"] == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("regard-pictures")]


def test_a_class_that_was_predicted_is_said_to_be(pictures: Path) -> None:
    found = regard.explain(pictures / "00.png", method="told", model="random:test_vit", size=32, workers=0).explanation
    assert "target 1 (predicted)" in panels.caption_of(found, 0) or re.search(
        r"target \d \(predicted\)", panels.caption_of(found, 0)
    )


def test_panels_never_meet() -> None:
    assert panel_names(["a.jpg", "b/a.jpg"]) == {"a.jpg": "a.png", "b/a.jpg": "b/a.png"}
    assert panel_names(["a.jpg", "a.png"]) == {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}
    assert panel_names(["sheet_layers.png"]) == {"sheet_layers.png": "sheet_layers.png.png"}
    assert panel_names(["a.jpg"], "svg") == {"a.jpg": "a.svg"}
    three = panel_names(["a.jpg", "a.png", "a.png.jpg"])
    assert len(set(three.values())) == 3


# what is asked


def _network(classes: tuple[str, ...] | None = ("cat", "Dog", "3")) -> Any:
    network = regard.load("random:test_vit", size=32)
    network.classes = classes
    return network


def test_a_class_is_a_name_first_and_then_an_index() -> None:
    network = _network()
    found = [class_index(came, network) for came in ("cat", "dog", "DOG", "3", "1", 3, 0)]
    assert found == [0, 1, 1, 2, 1, 3, 0]
    with pytest.raises(UsageError, match="did you mean 'cat'"):
        class_index("cats", network)
    with pytest.raises(UsageError, match=f"from 0 to {network.outputs - 1}"):
        class_index("9999", network)
    with pytest.raises(UsageError, match=r"have no names.*give an index"):
        class_index("cat", _network(None))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "told", "--head", 1), "told takes no --head; it takes --target, --against, --samples and --seed"),
        (
            ("--method", "attention", "--target", "x"),
            "attention takes no --target; it takes --layer, --head and --query",
        ),
        (("--method", "constant", "--layer", 1), "constant takes no --layer; it takes no settings"),
        (("--method", "told", "--against", 1), "--against 1 needs a --target"),
        (("--method", "told", "--target", 1, "--against", 1), "cannot be held against itself"),
        (("--method", "told", "--target", 100000), "there is no class 100000; classes of"),
        (("--method", "told", "--target", "cat"), "have no names"),
        (("--format", "tiff"), "there are: panels, parquet"),
        (("--figure", "gif"), "there are: jpg, pdf, png, svg"),
        (("--sheet", "leyers"), "'layers'"),
        (("--sheet", ","), "names of methods with commas"),
        (("--sheet", "layers", "--method", "told"), "--sheet layers needs a method that takes --layer, not told"),
        (("--colours", "virids"), "'viridis'"),
        (("--query", "1;2"), "CLS or ROW,COLUMN"),
        (("--layer", 999), "layer 999"),
        (("--format", "parquet", "--colours", "jet"), "--colours is of pictures that are drawn"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    words: tuple[object, ...], said: str, pictures: Path, tmp_path: Path, run: Run
) -> None:
    code, out, err = run("explain", pictures, *TINY, *words, "--out", tmp_path / "maps")
    assert code == 2, err
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("regard: ")]
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_a_table_and_panels_exclude_each_other(pictures: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("explain", pictures, *TINY, "--out", tmp_path / "a.parquet", "--format", "panels")
    assert code == 2
    assert "leave one of them out" in err
    assert run("explain", pictures, *TINY, "--out", tmp_path / "a", "--format", "parquet")[0] == 0
    assert len(read_table(tmp_path / "a")) == 8
    with pytest.raises(UsageError, match="give --out FOLDER"):
        regard.explain(pictures, sheet="layers", model="random:test_vit", size=32)


def test_only_what_a_method_understands_reaches_it() -> None:
    asked = MethodOptions(target=1, samples=4, seed=7)
    assert asked.settings(METHODS["told"], _network()) == {"target": 1, "samples": 4, "seed": 7}
    assert asked.settings(METHODS["numbered"], _network()) == {}
    assert MethodOptions(query="2,1").settings(METHODS["attention"], _network()) == {"query": (2, 1)}


# sheets


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        (("--sheet", "layers", "--method", "numbered"), ["layer 0", "layer 1", "layer 2", "layer 3"]),
        (("--sheet", "heads", "--method", "numbered"), ["head 0", "head 1"]),
        (("--sheet", "told,unfit,constant"), ["told", "constant"]),
    ],
)
def test_sheets_compare_side_by_side(
    words: tuple[str, ...], titles: list[str], pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "ROWS", 5)
    seen: list[Any] = []
    original = sheets.comparison
    monkeypatch.setattr(
        comparing, "comparison", lambda *each, **more: seen.append((each, more)) or original(*each, **more)
    )
    code, _, err = run("explain", pictures, *TINY, *words, "--out", tmp_path / "maps")
    assert code == 0, err
    (((rows, columns), more),) = seen
    assert [column.title for column in columns] == titles
    assert len(rows) == 5
    assert all(len(column.heatmaps) == 5 for column in columns)
    assert [column.signed for column in columns] == [title == "told" for title in titles]
    assert "network test_vit" in more["caption"]
    kind = words[1] if words[1] in ("layers", "heads") else "methods"
    assert _size(tmp_path / "maps" / f"sheet_{kind}.png")[0] > 80 * len(titles)
    assert ("left out of the sheet: unfit: no such thing here" in err) == ("unfit" in words[1])


def test_all_methods_side_by_side_but_for_those_that_take_long(
    pictures: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {"told": (2.2, ""), "numbered": (1.0, ""), "constant": (1.0, "patch"), "empty": (101, "")}
    rows = {name: replace(METHODS[name], cost=cost, cost_per=per) for name, (cost, per) in costs.items()}
    monkeypatch.setitem(METHODS.__dict__, "_rows", rows)
    words = ("explain", pictures / "00.png", *TINY, "--method", "told", "--out", tmp_path / "maps", "--sheet")
    code, _, err = run(*words, "methods")
    assert code == 0
    assert re.findall(r"left out of the sheet: (\w+), which takes", err) == ["constant", "empty"]
    tile = 240
    assert _size(tmp_path / "maps" / "sheet_methods.png")[0] == 2 * canvas.MARGIN + 3 * (tile + canvas.GAP) - canvas.GAP
    assert "left out" not in run(*words, "constant,empty", "--overwrite")[2]


def test_layers_and_heads_of_a_real_network(pictures: Path, tmp_path: Path, run: Run) -> None:
    depth = len(regard.load("random:test_vit", size=32).module.blocks)
    seen = regard.explain(
        pictures / "00.png", tmp_path / "a", sheet="layers", model="random:test_vit", size=32, workers=0
    )
    assert seen.n == 1
    width, _ = _size(tmp_path / "a" / "sheet_layers.png")
    tile = min(240, (2000 - 40) // (depth + 1) - 14)
    assert width == 2 * canvas.MARGIN + (depth + 1) * (tile + canvas.GAP) - canvas.GAP


def test_a_comparison_has_a_place_for_what_is_missing() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    drawn = np.asarray(sheets.comparison([(image, "a")], [sheets.Column("none", False, [None])], caption="what"))
    cell = drawn[canvas.MARGIN + 22 : canvas.MARGIN + 22 + 160, canvas.MARGIN + 240 + canvas.GAP :][:, :240]
    assert {tuple(each) for each in cell.reshape(-1, 3).tolist()} == {colour.UNSEEN, colour.STRIPE}
    with pytest.raises(UsageError, match="at least one"):
        sheets.comparison([], [])


# in a notebook


@pytest.mark.parametrize("method", ["told", "empty", "constant", "attention"])
def test_an_explanation_draws_itself(method: str, pictures: Path) -> None:
    found = regard.explain(pictures, method=method, model="random:test_vit", size=32, workers=0).explanation
    drawn = Image.open(io.BytesIO(found._repr_png_()))
    assert drawn.width > 600
    assert not drawn.info


def test_the_header_of_an_array_is_numpys_own() -> None:
    for shape in ((1, 2, 3), (10**9, 24, 24)):
        file = io.BytesIO(npy_header(shape))
        np.lib.format.read_magic(file)
        assert np.lib.format.read_array_header_1_0(file) == (shape, False, np.dtype("<f4"))
    values = np.ones((7, 2, 3), np.float32)
    file = io.BytesIO()
    np.save(file, values)
    assert file.getvalue() == npy_header(values.shape) + values.tobytes()
