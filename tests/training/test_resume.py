"""A run that was killed and gone on with ends with the same bytes as one that never was."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_training import draw_pictures, parts_of, run, tiny_network, tiny_recipe

from regard import files
from regard.errors import DataError, OutputError, UsageError
from regard.networks.run import save_network
from regard.training.checkpoint import STATE, unpack
from regard.training.folder import check_folder, finish, state_of
from regard.training.journal import Progress
from regard.training.recipe import Recipe
from regard.training.session import InterruptedTrainingError
from regard.training.tasks import finetune, phases

SCRIPT = Path(__file__).parents[1] / "support" / "tiny_training.py"
BENCH = Path(__file__).parents[2] / "bench" / "resume.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SEARCH = {"search": "always", "folds": 2, "epochs": 2}


class Killed(BaseException):
    """What no code catches, at a place that the test chooses."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data")


def ended(folder: Path) -> tuple[bytes, bytes, bytes]:
    names = ("model.safetensors", "metrics.jsonl", "split.csv")
    return tuple((folder / name).read_bytes() for name in names)  # type: ignore[return-value]


def killer(at: int):
    """A progress callback that ends the process, as it were, at its `at`-th call."""
    calls = iter(range(at + 1))

    def report(progress: Progress) -> None:
        if next(calls) == at:
            raise Killed

    return report


@pytest.mark.parametrize(
    ("name", "overrides", "steps"),
    [
        ("finetune", {"accumulate": 2, "crop": 0.5}, range(7)),
        ("finetune", {"average": "swa", "optimiser": "sgd", "momentum": 0.9, "rotate": 10.0}, (2, 9, 12)),
        ("finetune", {**SEARCH, "average": "none"}, (0, 3, 8, 13, 20)),
        ("dlcv", {}, (0, 3, 7, 11)),
    ],
    ids=["ema and accumulated", "swa and momentum", "search", "dlcv"],
)
def test_killed_at_a_step_and_gone_on_with(
    name: str, overrides: dict, steps: list[int], data: Path, tmp_path: Path
) -> None:
    """The checkpoint is of that very step, or of one up to two steps earlier; with and without threads."""
    recipe = tiny_recipe(name, **overrides)
    run(data, tmp_path / "whole", recipe, workers=0)
    for number, step in enumerate(steps):
        folder, every = tmp_path / f"killed at {step}", 1 + 2 * (number % 2)
        with pytest.raises(Killed):
            run(data, folder, recipe, every=every, workers=2, progress=killer(step))
        run(data, folder, recipe, every=every, workers=step % 3, resume=True)
        assert ended(folder) == ended(tmp_path / "whole"), step


def test_the_best_epoch_survives_a_kill_after_it(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a score that falls as the network learns, an early epoch is the best; the kill comes in the last."""

    def falling(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"validation_loss": 1.0, "validation_top1": -float(np.abs(logits).sum())}

    monkeypatch.setattr(phases, "score", falling)
    recipe = tiny_recipe("dlcv", learning_rate=0.05)
    best = run(data, tmp_path / "whole", recipe).facts["best_epoch"]
    assert best < 2
    with pytest.raises(Killed):
        run(data, tmp_path / "killed", recipe, every=1, progress=killer(10))
    outcome = run(data, tmp_path / "killed", recipe, resume=True)
    assert outcome.facts["best_epoch"] == best
    assert ended(tmp_path / "killed") == ended(tmp_path / "whole")
    lines = (tmp_path / "killed" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == list(outcome.metrics)


def test_killed_again_and_again(data: Path, tmp_path: Path) -> None:
    """Each time after one more step than the last checkpoint."""
    recipe = tiny_recipe(**SEARCH)
    run(data, tmp_path / "whole", recipe)
    for _ in range(100):
        try:
            run(data, tmp_path / "killed", recipe, every=1, progress=killer(3), resume=True)
            break
        except Killed:
            continue
    assert ended(tmp_path / "killed") == ended(tmp_path / "whole")


@pytest.mark.parametrize("at", [1, 4, 9])
def test_killed_while_a_checkpoint_is_written(
    at: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the file is there, under the name that it has while it is written; the one before it is whole."""
    recipe = tiny_recipe()
    run(data, tmp_path / "whole", recipe)
    folder, written = tmp_path / "killed", iter(range(100))

    def write(path: Path, content: bytes) -> Path:
        if next(written) == at:
            path.with_name(f".{path.name}.half").write_bytes(content[: len(content) // 2])
            raise Killed
        return files.write_file(path, content)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("regard.training.checkpoint.write_file", write)
        run(data, folder, recipe, every=1)
    assert unpack((folder / STATE).read_bytes(), folder)[0]["rows"] is not None
    run(data, folder, recipe, resume=True)
    assert ended(folder) == ended(tmp_path / "whole")
    assert not (folder / "checkpoint").exists()


def test_a_disk_that_fills_costs_no_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe()
    run(data, tmp_path / "whole", recipe)
    synced, sync = iter(range(1000)), os.fsync

    def full(handle: int) -> None:
        if next(synced) >= 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"disk is full.*before it is kept.*--resume"):
        patch.setattr(files.os, "fsync", full)
        run(data, tmp_path / "full", recipe, every=1)
    assert [path.name for path in (tmp_path / "full" / STATE).parent.glob("*state*")] == ["state.safetensors"]
    run(data, tmp_path / "full", recipe, resume=True)
    assert ended(tmp_path / "full") == ended(tmp_path / "whole")


@pytest.mark.parametrize("phase", ["features", "train"])
def test_ctrl_c_saves_and_says_how_to_go_on(phase: str, data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    run(data, tmp_path / "whole", recipe)

    pressed = []

    def press(progress: Progress) -> None:
        if progress.phase == phase and progress.done >= 5 and not pressed:
            pressed.append(signal.raise_signal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedTrainingError, match=f"{phase}.*--resume goes on") as caught:
        run(data, tmp_path / "stopped", recipe, progress=press)
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "stopped" / STATE).is_file()
    run(data, tmp_path / "stopped", recipe, resume=True)
    assert ended(tmp_path / "stopped") == ended(tmp_path / "whole")


def test_lines_after_the_checkpoint_are_cut(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe()
    run(data, tmp_path / "whole", recipe)
    with pytest.raises(Killed):
        run(data, tmp_path / "killed", recipe, every=5, progress=killer(10))
    with (tmp_path / "killed" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"phase": "train", "epo')
    run(data, tmp_path / "killed", recipe, resume=True)
    assert ended(tmp_path / "killed") == ended(tmp_path / "whole")


def test_resume_without_a_checkpoint_starts_and_on_a_finished_run_changes_nothing(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=1)
    folder = tmp_path / "run"
    assert state_of(folder) == "free"
    run(data, folder, recipe, resume=True)
    assert state_of(folder) == check_folder(folder, resume=True) == "finished"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match="finished"):
        run(data, folder, recipe, resume=True)
    with pytest.raises(OutputError, match="exists already"):
        run(data, folder, recipe)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_that_was_begun_is_not_begun_again_by_accident(data: Path, tmp_path: Path) -> None:
    recipe, folder = tiny_recipe(), tmp_path / "run"
    with pytest.raises(Killed):
        run(data, folder, recipe, every=1, progress=killer(4))
    with pytest.raises(OutputError, match=r"not finished; --resume goes on with it, --overwrite"):
        run(data, folder, recipe)
    run(data, folder, recipe, overwrite=True)
    with pytest.raises(UsageError, match="one of them"):
        check_folder(folder, resume=True, overwrite=True)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("mine")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(OutputError):
            run(data, stranger, recipe, **options)
    assert (stranger / "thesis.txt").read_text() == "mine"


def test_killed_between_training_and_its_report(data: Path, tmp_path: Path) -> None:
    """The weights come from the checkpoint; nothing is trained again."""
    recipe, folder = tiny_recipe(), tmp_path / "run"
    run(data, tmp_path / "whole", recipe)
    run(data, folder, recipe, save=False)
    training, validation, hashes = parts_of(data)
    network, phases = tiny_network(training.classes), []
    outcome = finetune.run(
        network, training, validation, hashes, recipe, folder, resume=True, progress=lambda p: phases.append(p.phase)
    )
    assert phases == []
    assert outcome.metrics[-1]["phase"] == "result"
    save_network(network, folder)
    finish(folder)
    assert ended(folder) == ended(tmp_path / "whole")


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> tuple[Path, Path, Recipe]:
    """Data of its own, and a run on it that was killed."""
    own = draw_pictures(tmp_path / "own")
    recipe, folder = tiny_recipe(), tmp_path / "run"
    with pytest.raises(Killed):
        run(own, folder, recipe, every=1, progress=killer(6))
    return own, folder, recipe


def test_another_recipe_is_named(begun: tuple[Path, Path, Recipe]) -> None:
    own, folder, recipe = begun
    kept = (folder / STATE).read_bytes()
    with pytest.raises(UsageError, match=r"learning_rate was 0.0003 and is now 0.001"):
        run(own, folder, recipe.changed({"learning_rate": 0.001}), resume=True)
    with pytest.raises(UsageError, match=r"recipe was 'finetune' and is now 'dlcv'|accumulate|another recipe"):
        run(own, folder, tiny_recipe("dlcv"), resume=True)
    with pytest.raises(UsageError, match="seed was 0 and is now 1"):
        run(own, folder, recipe, resume=True, seed=1)
    assert (folder / STATE).read_bytes() == kept


def test_data_that_changed_is_named(begun: tuple[Path, Path, Recipe]) -> None:
    own, folder, recipe = begun
    victim = own / "red" / "3.png"
    whole = victim.read_bytes()
    victim.write_bytes((own / "red" / "4.png").read_bytes())
    with pytest.raises(DataError, match=r"data changed since .*1 changed \('red/3.png'\)"):
        run(own, folder, recipe, resume=True)
    victim.unlink()
    with pytest.raises(DataError, match=r"data changed since .*1 gone \('red/3.png'\)"):
        run(own, folder, recipe, resume=True)
    victim.write_bytes(whole)
    run(own, folder, recipe, resume=True)


def test_other_weights_are_named(begun: tuple[Path, Path, Recipe]) -> None:
    own, folder, recipe = begun
    training, validation, hashes = parts_of(own)
    network = tiny_network(training.classes, seed=5)
    with pytest.raises(UsageError, match="begun from other weights"):
        finetune.run(network, training, validation, hashes, recipe, folder, resume=True)


def test_a_damaged_checkpoint_is_named(begun: tuple[Path, Path, Recipe]) -> None:
    own, folder, recipe = begun
    (folder / "model.safetensors").write_bytes(b"half of the weights, from a kill while they were saved")
    for content in (b"", b"\x08\0\0\0\0\0\0\0notjson!", (folder / STATE).read_bytes()[:-100]):
        (folder / STATE).write_bytes(content)
        with pytest.raises(DataError, match=r"state.safetensors is damaged.*remove it and --resume starts"):
            run(own, folder, recipe, resume=True)
    (folder / STATE).unlink()
    run(own, folder, recipe, resume=True)


# Real processes, really killed.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the bench forks, as Linux and macOS do")
def test_sigkill_at_random_moments() -> None:
    """One process and two; hundreds of kills belong to the bench itself."""
    command = [sys.executable, str(BENCH), "--kills", "4", "--workers", "2", "--recipes", "finetune"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if "%" in line]
    assert len(rows) == 2, done.stdout
    assert all(line.endswith("| 100% |") for line in rows), done.stdout


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)]
    command = [sys.executable, *launcher, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)


def test_two_processes_under_torchrun_must_have_the_same_data(data: Path, tmp_path: Path) -> None:
    """The script gives each process its own folder of pictures; nothing is begun."""
    other = draw_pictures(tmp_path / "other", seed=1)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(tiny_recipe(epochs=1).as_json()), encoding="utf-8")
    done = torchrun(f"{data}{os.pathsep}{other}", tmp_path / "run", recipe)
    assert done.returncode != 0
    assert "process 1 has other data, network or recipe than process 0 (pictures)" in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()
