"""What a report says of its maps, of artifact tokens, and what it leaves to the terminal."""

import html
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.audit.notes import repair_command

Run = Callable[..., tuple[int, str, str]]
LOADING = ("untrained", "converted", "took ", "dropped", "has no head", "new one of")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of two classes that cannot be told apart, in the folder of the commands."""
    random = np.random.default_rng(0)
    for index in range(12):
        folder = tmp_path / "pictures" / ("cat", "dog")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        noise = random.normal(130, 60, (48, 64, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).resize((320, 240)).save(folder / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    return Path("pictures")


def _train(run: Run, pictures: Path, *words: object) -> str:
    code, _, err = run("train", pictures, "--out", "runs/first", "--recipe", "probe", "--workers", 0, *words)
    assert code == 0, err
    return err


def _text(page: Path) -> str:
    """What a reader reads."""
    return html.unescape(re.sub(r"(?s)<script.*?</script>|<[^>]+>", " ", page.read_text(encoding="utf-8")))


def test_a_report_says_what_its_maps_are_and_offers_the_repair(pictures: Path, run: Run) -> None:
    """`pets-tiny` has artifact tokens: the report names them, with a command that runs as it stands."""
    err = _train(run, pictures)
    text = _text(Path("runs/first/report.html"))
    assert "The maps are attention (--method attention): what CLS reads of each patch in the last layer" in text
    assert re.search(r"Artifact tokens: \d\.\d patches a picture, from block 7 on, draw", text)
    command = "regard registers pictures --model runs/first --out first-repaired --keep-seen"
    assert command in text and command in err.replace("\n", " ")
    assert not any(word in text for word in LOADING)
    code, out, err = run(*shlex.split(command)[1:], "--search", 8, "--workers", 0, "--json")
    assert code == 0, err
    audit = json.loads(out)
    assert audit["before"]["first"] == 7 and audit["verdict"].endswith("on pictures seen in training")
    code, _, err = run(*shlex.split(command)[1:-1], "--overwrite")
    assert code == 1 and "--keep-seen to test on them" in err


def test_a_network_without_artifacts_is_not_said_to_have_any(pictures: Path, run: Run) -> None:
    network = ("--model", "random:vit_tiny_patch16_224", "--size", 32)
    err = _train(run, pictures, *network)
    assert "untrained" in err  # as it was loaded
    stored = json.loads(Path("runs/first/evaluation/scores.json").read_text())
    for text in (_text(Path("runs/first/report.html")), json.dumps(stored)):
        assert "Artifact tokens" not in text
        assert not any(word in text for word in LOADING), text
    assert run("evaluate", pictures, "--model", "runs/first", "--out", "again", "--workers", 0)[0] == 0
    text = _text(Path("again/report.html"))
    assert "The maps are attention" in text and not any(word in text for word in LOADING)


def test_explain_names_artifacts_and_the_command(pictures: Path, run: Run) -> None:
    code, _, err = run("explain", pictures, "--out", "maps", "--workers", 0)
    assert code == 0 and "regard registers pictures --model pets-tiny --out pets-tiny-repaired" in " ".join(err.split())
    code, _, err = run("explain", pictures / "cat", "--out", "earlier", "--layer", 5, "--workers", 0)
    assert code == 0 and "registers" not in err


def test_the_command_carries_no_place_of_this_machine(tmp_path: Path) -> None:
    command = repair_command(tmp_path / "my pictures", tmp_path / "runs" / "first", size=448, weights=None)
    assert shlex.split(command) == [
        *("regard", "registers", "my pictures", "--model", "first", "--size", "448", "--out", "first-repaired")
    ]
    assert repair_command("data", "../runs/a").split()[4] == "a"
