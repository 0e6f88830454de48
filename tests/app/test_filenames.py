"""Tables give back the names that the user wrote, so that a merge finds every row; files and pages hold safe ones."""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from regard.data.dataset import short_names
from regard.data.layouts import read, read_pictures
from regard.data.layouts.captions import read_captioned

Run = Callable[..., tuple[int, str, str]]
TINY = ("--model", "random:test_vit", "--size", "32", "--workers", "0")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table whose pictures lie beside it, above it, elsewhere by their whole path, and in folders of equal names."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "t").mkdir()
    names = [f"secret/{label}/{index}.jpg" for label in ("cat", "dog") for index in range(4)]
    for index, name in enumerate([*names, "above/9.jpg", "t/images/8.jpg", "t/7.jpg"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (index * 20, 200 - index * 15, 90)).save(path)
    rows = [(tmp_path / name, Path(name).parent.name) for name in names]
    rows += [(Path("../above/9.jpg"), "cat"), (Path("8"), "dog"), (tmp_path / "t/7.jpg", "dog")]
    file = tmp_path / "t/table.csv"
    file.write_text("filename,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    return file


def written(file: Path) -> list[str]:
    with file.open(newline="") as rows:
        return [row["filename"] for row in csv.DictReader(rows)]


def test_predictions_have_the_names_of_the_table(table: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("predict", table, "--out", tmp_path / "p.csv", *TINY)
    assert code == 0, err
    assert written(tmp_path / "p.csv") == written(table)
    merged = pd.read_csv(table).merge(pd.read_csv(tmp_path / "p.csv"), on="filename")
    assert len(merged) == len(written(table))


def test_parquet_has_the_names_of_the_table(table: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("explain", table, "--out", tmp_path / "maps.parquet", *TINY)
    assert code == 0, err
    frame = pd.read_parquet(tmp_path / "maps.parquet")
    assert frame["filename"].tolist() == written(table)
    assert frame["name"].tolist() == read_pictures(table).names


def test_a_picture_is_called_as_it_was_in_the_argument(
    table: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["above/9.jpg", str(tmp_path / "t/7.jpg"), "secret/cat", "secret/dog"]
    code, _, err = run("predict", *words, "--out", "p.csv", *TINY)
    assert code == 0, err
    inside = [f"{label}/{index}.jpg" for label in ("cat", "dog") for index in range(4)]
    assert written(Path("p.csv")) == [*words[:2], *inside]
    code, _, err = run("predict", "secret", "--out", "q.csv", *TINY)
    assert code == 0 and written(Path("q.csv")) == inside, err


def test_names_hold_no_more_of_the_disk_than_tells_pictures_apart(table: Path, tmp_path: Path) -> None:
    names = read(table).names
    assert names[:5] == ["cat/0.jpg", "cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "dog/0.jpg"]
    assert names[8:] == ["above/9.jpg", "images/8.jpg", "7.jpg"]
    file = table.with_name("same.csv")
    file.write_text(f"filename,label\n7.jpg,dog\n{tmp_path / 'secret/cat/0.jpg'},cat\n{tmp_path / 'above/9.jpg'},cat\n")
    assert read(file).names == ["7.jpg", "0.jpg", "9.jpg"]
    (tmp_path / "above/7.jpg").write_bytes((tmp_path / "above/9.jpg").read_bytes())
    file.write_text(f"filename,label\n7.jpg,dog\n{tmp_path / 'above/7.jpg'},cat\n")
    assert read(file).names == ["7.jpg", "elsewhere/7.jpg"]
    assert short_names(["/a/b/c.jpg", "/a/b/c.jpg", "/d/b/c.jpg"]) == ["a/b/c.jpg", "a/b/c.jpg", "d/b/c.jpg"]


def test_a_table_of_captions_too(table: Path, tmp_path: Path) -> None:
    file = table.with_name("captions.csv")
    file.write_text(f"filename,caption\n{tmp_path / 'above/9.jpg'},one\n{tmp_path / 'above/9.jpg'},two\n7.jpg,three\n")
    dataset = read_captioned(file)
    assert dataset.names == ["9.jpg", "7.jpg"] and dataset.filenames == [str(tmp_path / "above/9.jpg"), "7.jpg"]


def test_pages_and_scores_of_such_a_table(table: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("train", table, "--recipe", "probe", "--out", tmp_path / "run", *TINY)
    assert code == 0, err
    code, out, err = run("evaluate", table, "--model", tmp_path / "run", "--workers", 0)
    assert code == 0 and "11 pictures" in out and "(cross-validated)" in out, err
    frame = pd.read_parquet(tmp_path / "run/evaluation/predictions.parquet")
    assert set(frame["filename"]) <= set(written(table)) and set(frame["name"]) <= set(read(table).names)
    rows = [f"{name},{label}" for name, label in pd.read_csv(table)[["filename", "label"]].to_numpy()]
    (tmp_path / "mine.csv").write_text("\n".join(["filename,label", *rows]))
    code, out, err = run("evaluate", table, "--predictions", tmp_path / "mine.csv", "--out", tmp_path / "e")
    assert code == 0 and "11 pictures" in out, err
    for page in (tmp_path / "run/report.html", tmp_path / "e/report.html"):
        text = page.read_text(encoding="utf-8")
        assert str(tmp_path) not in text and str(tmp_path)[1:] not in text and "secret" not in text
