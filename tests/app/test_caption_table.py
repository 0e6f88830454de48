"""`regard caption` over many pictures: stopped and gone on with to the same bytes, and tables, a row for each word."""

import gc
import json
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import captioners
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted import COLUMNS, ROWS, SENTENCE, Planted, Varied

import regard
from regard.errors import DataError, OutputError, UsageError
from regard.networks.captioners.decoding import Decoding
from regard.results.caption_table import read_caption_table

NAMES = ["out", "out.parquet"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of three shapes, none square, as bright and dark as they come, some in a folder of their own."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "deep").mkdir()
    for index in range(8):
        size = [(90, 40), (40, 90), (96, 64)][index % 3]
        place = folder / "deep" if index > 5 else folder
        Image.new("RGB", size, (21 * index + 7, 90, 200)).save(place / f"{index:02}.png")
    return folder


class Stopped(Varied):
    """One that is stopped at a batch: by Ctrl-C, or for so long that it can be killed."""

    def __init__(self, at: int, seconds: float = 0) -> None:
        super().__init__()
        self.at, self.seconds = at, seconds

    def generate(self, pictures: Any, **how: Any) -> list[Decoding]:
        if len(self.batches) == self.at:
            time.sleep(self.seconds)
            raise KeyboardInterrupt
        return super().generate(pictures, **how)


def contents(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def progress(part: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((part / "progress.json").read_text())
    return stored


# going on


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    name: str, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = regard.caption(pictures, tmp_path / "whole" / name, Varied(), batch_size=3)
    out, part = tmp_path / name, tmp_path / f"{name}.part"
    with pytest.raises(KeyboardInterrupt):
        regard.caption(pictures, out, Stopped(2), batch_size=3)
    assert not out.exists() and progress(part)["whole"]["pictures"] == 6
    for file in progress(part)["whole"]["sizes"]:
        with (part / file).open("ab") as handle:
            handle.write(b"what a kill in mid-write leaves")
    captioner = Varied()
    with caplog.at_level("INFO"):
        result = regard.caption(pictures, out, captioner, batch_size=3)
    assert captioner.batches == [2] and "going on after 6 of 8 pictures" in caplog.text
    assert contents(out) == contents(tmp_path / "whole" / name)
    assert not part.exists()
    assert (result.n, result.cut, result.first) == (whole.n, whole.cut, whole.first)
    texts = [caption.text for caption in result.captions]
    assert len(set(texts)) > 3, "captions must tell one picture from another"


def test_a_killed_run_goes_on_to_the_same_bytes(pictures: Path, tmp_path: Path) -> None:
    """SIGKILL, in the third batch."""
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[1].split(); import regard; "
        "from test_caption_table import Stopped; "
        "regard.caption(Path(sys.argv[2]), sys.argv[3], Stopped(2, 600), batch_size=2)"
    )
    out, part = tmp_path / "out", tmp_path / "out.part"
    folders = f"{Path(__file__).parent} {Path(__file__).parents[1] / 'support'}"
    child = subprocess.Popen([sys.executable, "-c", code, folders, str(pictures), str(out)])
    try:
        for _ in range(3600):
            if (part / "progress.json").is_file() and progress(part)["whole"]["pictures"] == 4:
                break
            assert child.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and not out.exists()
    captioner = Varied()
    regard.caption(pictures, out, captioner, batch_size=2)
    assert captioner.batches == [2, 2]
    regard.caption(pictures, tmp_path / "whole", Varied(), batch_size=2)
    assert contents(out) == contents(tmp_path / "whole") and not part.exists()


def test_bad_pictures_do_not_shift_the_batches_of_a_run_that_goes_on(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index, file in enumerate(sorted(pictures.rglob("*.png"))):
        (folder / f"{2 * index:02}.png").write_bytes(file.read_bytes())
        (folder / f"{2 * index + 1:02}.png").write_bytes(b"no picture" if index in (1, 3) else file.read_bytes())
    settings: dict[str, Any] = {"batch_size": 4, "skip_bad": True}
    whole = Varied()
    regard.caption(folder, tmp_path / "whole", whole, **settings)
    with pytest.raises(KeyboardInterrupt):
        regard.caption(folder, tmp_path / "out", Stopped(2), **settings)
    whole_so_far = progress(tmp_path / "out.part")["whole"]
    assert (whole_so_far["n"], whole_so_far["pictures"]) == (8, 10)
    rest = Varied()
    regard.caption(folder, tmp_path / "out", rest, **settings)
    assert whole.batches == [4, 4, 4, 2] and rest.batches == [4, 2]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_stop_before_a_whole_batch_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        regard.caption(pictures, tmp_path / "out", Stopped(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [{"row": "reading"}, {"batch_size": 4}, {"colours": "jet"}, {"layer": 0}, {"limit": 5}, {"style": "source"}],
)
def test_other_settings_start_anew(
    other: dict[str, Any], pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        regard.caption(pictures, tmp_path / "out", Stopped(1), batch_size=2)
    captioner = Varied()
    with caplog.at_level("INFO"):
        regard.caption(pictures, tmp_path / "out", captioner, **{"batch_size": 2, **other})
    assert sum(captioner.batches) == 8 and "starting anew" in caplog.text


def test_what_is_in_the_way_and_not_ours_stays(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"in the way and not of regard's making"):
        regard.caption(pictures, tmp_path / "out", Varied())
    assert (tmp_path / "out.part" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_pictures(name: str, tmp_path: Path) -> None:
    """However many there are, no more captions are alive at once than a batch and the one before it."""
    folder, alive, most = tmp_path / "in", weakref.WeakSet[Any](), list[int]()
    folder.mkdir()
    for index in range(24):
        captioners.picture(20, 30, seed=index).save(folder / f"{index}.png")

    class Watched(Varied):
        def generate(self, pictures: Any, **how: Any) -> list[Decoding]:
            decodings = super().generate(pictures, **how)
            gc.collect(0)
            alive.update(each.attention for each in decodings)
            most.append(len(alive))
            return decodings

    regard.caption(folder, tmp_path / name, Watched(), batch_size=3)
    assert len(most) == 8 and max(most) <= 7


# tables


def test_a_table_has_a_row_for_each_word_by_hand(pictures: Path, tmp_path: Path) -> None:
    """As captions of a folder, with the same numbers; a word of three pieces has the mean of their maps."""
    result = regard.caption(pictures / "00.png", tmp_path / "out.parquet", Planted())
    table = pd.read_parquet(result.out)
    assert table["word"].tolist() == ["a", "cat", "unbelievably", "naps", ".", "<end>"]
    assert table["index"].tolist() == [0, 1, 2, 3, 4, 5]
    assert set(table["name"]) == {"00.png"} and set(table["caption"]) == {"a cat unbelievably naps."}
    assert not table["limit_reached"].any() and table["caption_log_probability"].iloc[0] == pytest.approx(-3.6)
    third = table.iloc[2]
    assert (third["step_from"], third["step_to"]) == (2, 5)
    assert third["log_probability"] == pytest.approx(-1.2) and third["probability"] == pytest.approx(math.exp(-1.2))
    assert third["entropy"] == pytest.approx(math.log(3), rel=1e-5)
    assert third["top_tenth"] == pytest.approx(2 / 3, rel=1e-5)
    assert np.flatnonzero(third["map"]).tolist() == [2, 3, 4] and third["map"].dtype == np.float32
    first = table.iloc[0]  # 40 × 90 pixels, the grid from (-10, -5) to (92, 41): cells of 20.4 × 15.33
    assert [first[f"peak_{edge}"] for edge in ("left", "top", "right", "bottom")] == [0, 0, 10.4, 10.33]
    assert (first["peak_row"], first["peak_column"], first["peak_value"]) == (0, 0, 1)
    values = np.reshape(first["map"], (first["rows"], first["columns"]))
    assert np.array_equal(values, next(read_caption_table(result.out)).words[0].heatmap.values)  # type: ignore[union-attr]
    assert (first["rows"], first["columns"], first["picture_height"], first["picture_width"]) == (ROWS, COLUMNS, 40, 90)
    assert [first[f"box_{edge}"] for edge in ("left", "top", "right", "bottom")] == [-10, -5, 92, 41]
    assert pq.ParquetFile(result.out).schema_arrow.field("map").type.value_type == "float"


def test_a_table_says_what_a_folder_says(pictures: Path, tmp_path: Path) -> None:
    """Also with the words that nobody says, and of captions without any."""

    class Silent(Varied):
        def generate(self, pictures: Any, **how: Any) -> list[Decoding]:
            decodings = super().generate(pictures, **how)
            return [*decodings[:2], *Planted((0, 0)).generate(decodings[2:3], **how), *decodings[3:]]

    for row in ("reading", "predicting"):
        folder = regard.caption(pictures, tmp_path / row, Silent(), row=row)
        table = regard.caption(pictures, tmp_path / f"{row}.parquet", Silent(), row=row)
        assert (folder.n, folder.cut, folder.first) == (table.n, table.cut, table.first)
        pairs = list(zip(folder.captions, table.captions, strict=True))
        assert len(pairs) == 8 and any(not caption.words for caption, _ in pairs) == (row == "predicting")
        for one, other in pairs:
            assert (one.name, one.text, one.provenance) == (other.name, other.text, other.provenance)
            for word, same in zip(one.words, other.words, strict=True):
                assert word.heatmap is not None and same.heatmap is not None
                assert (word.text, word.probability, word.part_of_speech) == (
                    same.text, same.probability, same.part_of_speech
                )  # fmt: skip
                assert word.heatmap.grid == same.heatmap.grid
                assert np.array_equal(word.heatmap.values, same.heatmap.values)


def test_many_words_come_in_groups(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caption that lies in two groups, and in two readings, is one all the same."""
    monkeypatch.setattr("regard.results.parquet.ROWS", 4)
    monkeypatch.setattr("regard.results.caption_table.READ", 3)
    result = regard.caption(pictures, tmp_path / "out", Planted(), format="parquet")
    assert result.out.is_file() and pq.ParquetFile(result.out).num_row_groups == 12
    captions = list(read_caption_table(result.out))
    assert [len(caption.words) for caption in captions] == [6] * 8
    assert [caption.name for caption in captions][-2:] == ["deep/06.png", "deep/07.png"]


def test_a_table_and_a_folder_replace_each_other_when_asked(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for style in ("panels", "parquet", "parquet", "panels"):
        result = regard.caption(pictures / "00.png", out, Planted(), format=style, overwrite=True)
        assert out.is_dir() == (style == "panels") and len(next(result.captions).words) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_names_that_are_no_text_are_written_as_text(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        captioners.picture(30, 40).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(file)
    except OSError:
        pytest.skip("this file system takes no such names")
    result = regard.caption(file, tmp_path / "out.parquet", Planted())
    assert next(result.captions).name == "caf\\xe9.png"
    folder = regard.caption(file, tmp_path / "out", Planted())
    assert next(folder.captions).name == file.name


def test_other_files_are_no_captions(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not quite")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_caption_table(tmp_path / "a.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="holds no captions of regard"):
        read_caption_table(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("out", {"format": "csv"}, "unknown format 'csv'"),
        ("out.parquet", {"format": "panels"}, "is the name of a Parquet file, but --format is panels"),
        ("out.parquet", {"colours": "jet"}, "--colours is of pictures that are drawn"),
        ("out.parquet", {"style": "source"}, "--style source is of panels, and a table has none"),
    ],
)
def test_what_does_not_go_with_a_table(
    name: str, settings: dict[str, Any], message: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        regard.caption(pictures, tmp_path / name, Planted(SENTENCE), **settings)
    assert list(tmp_path.iterdir()) == []
