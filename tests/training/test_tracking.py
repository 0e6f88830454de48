"""Trackers: one hook `(step, values)`, TensorBoard behind it; a training is the same with and without."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import draw_pictures, tiny_network, tiny_recipe
from tiny_training import run as trained

import regard
from regard.errors import UsageError
from regard.networks.run import save_network
from regard.training.journal import Progress
from regard.training.session import InterruptedTrainingError
from regard.training.tracking import TRACKERS, Tracker, Tracking, register_tracker


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("tracking") / "data", each=6)


class Memory:
    """A hook that remembers, and fails at a step if it is to."""

    def __init__(self, fails: int | None = None) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.closed = 0
        self.fails = fails

    def __call__(self, step: int, values: Mapping[str, Any]) -> None:
        self.rows.append((step, dict(values)))
        np.random.rand()
        if step == self.fails:
            raise ConnectionError("the server is gone")

    def close(self) -> None:
        self.closed += 1


def events(folder: Path) -> Counter[tuple[str, int]]:
    """(tag, step) of everything in the files, as they are: TensorBoard's own reader hides what is doubled."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    records = [each for file in folder.glob("tensorboard/*") for each in RawEventFileLoader(str(file)).Load()]
    found = [Event.FromString(each) for each in records]
    return Counter((value.tag, event.step) for event in found for value in event.summary.value)


def stopped(at: int, stop: Callable[[], None]) -> Callable[[Progress], None]:
    return lambda progress: stop() if progress.phase == "train" and progress.done == at else None


def test_a_training_is_the_same_with_trackers_and_resumes_without_doubled_steps(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    import signal

    recipe = tiny_recipe(epochs=4)
    plain = trained(data, tmp_path / "plain", recipe)
    first, second = Memory(), Memory()
    with pytest.raises(InterruptedTrainingError):
        # The checkpoint is of the first step; the lines of two epochs are logged, and will come again.
        trained(
            data, tmp_path / "run", recipe, tensorboard=True, track=first, every=1000,
            progress=stopped(2, lambda: signal.raise_signal(signal.SIGTERM)),
        )  # fmt: skip
    rows = trained(data, tmp_path / "run", recipe, tensorboard=True, track=second, resume=True).metrics
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        tmp_path / "plain" / "model.safetensors"
    ).read_bytes()
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "plain" / "metrics.jsonl").read_bytes()
    assert rows == plain.metrics
    steps = [step for step, _ in [*first.rows, *second.rows]]
    assert steps == sorted(steps) and set(steps) <= {*range(len(rows))}
    found = events(tmp_path / "run")
    assert set(found.values()) == {1}
    expected = {
        (f"{row['phase']}/{name}", step)
        for step, row in enumerate(rows)
        for name, value in row.items()
        if isinstance(value, float)
    }
    assert set(found) == expected and len(expected) > 8


def test_what_was_logged_after_the_checkpoint_is_cut_and_a_torn_file_is_read_to_its_tear(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = Tracking(["tensorboard"])
    first.open(tmp_path, 0)
    for step in range(4):
        first.log(step, {"train/loss": 1.0 / (step + 1), "maps/a": np.zeros((4, 5, 3), np.uint8)})
    first.close()
    (file,) = (tmp_path / "tensorboard").glob("*")
    file.write_bytes(file.read_bytes()[:-3])  # as a kill leaves it
    second = Tracking(["tensorboard"])
    second.open(tmp_path, 2)
    second.log(2, {"train/loss": 0.1})
    second.close()
    assert not second.messages
    assert events(tmp_path) == Counter(
        {("train/loss", 0): 1, ("maps/a", 0): 1, ("train/loss", 1): 1, ("maps/a", 1): 1, ("train/loss", 2): 1}
    )


def test_a_hook_that_raises_is_said_and_stops_nothing(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = tiny_recipe(epochs=2)
    trained(data, tmp_path / "plain", recipe)
    bad, good = Memory(fails=0), Memory()
    tracking = Tracking([bad, good])
    with caplog.at_level(logging.WARNING, "regard"):
        trained(data, tmp_path / "run", recipe, tracking=tracking)
    assert len(bad.rows) == 1 and len(good.rows) >= 2
    assert [message for message in tracking.messages if "ConnectionError: the server is gone" in message]
    assert "failed at step 0" in caplog.text and "metrics.jsonl has every line" in caplog.text
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()

    def interrupting(step: int, values: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt

    tracking = Tracking([interrupting])
    tracking.open(tmp_path, 0)
    with pytest.raises(KeyboardInterrupt):
        tracking.log(0, {"a": 1.0})


def test_a_run_ends_with_scores_figures_and_maps_and_its_page_says_what_failed(data: Path, tmp_path: Path) -> None:
    network = tiny_network(("blue", "green", "grey", "red"))
    save_network(network, tmp_path / "network")
    memory, bad = Memory(), Memory(fails=0)
    run_ = regard.train(
        data, tmp_path / "run", recipe="probe", model=tmp_path / "network", val=0.3, workers=0, track=[memory, bad]
    )
    step, values = memory.rows[-1]
    assert memory.closed == 1
    assert [number for number, _ in memory.rows] == sorted({number for number, _ in memory.rows})
    assert step == len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert values["score/top1"] == run_.evaluation.scores["top1"].value
    images = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    assert {"figures/confusion", "figures/per_class"} <= set(images)
    maps = [value for name, value in images.items() if name.startswith("maps/")]
    assert len(maps) == 4 and all(each.dtype == np.uint8 and each.shape == (36, 44, 3) for each in maps)
    assert len(bad.rows) == 1 and "the server is gone" in (tmp_path / "run" / "report.html").read_text()
    quiet = Memory()
    regard.train(
        data, tmp_path / "quiet", recipe="probe", model=tmp_path / "network", val=0.3, workers=0, track=quiet,
        no_pictures=True,
    )  # fmt: skip
    assert not [name for name in quiet.rows[-1][1] if name.startswith("maps/")]


def test_rows_from_outside_are_taken_and_what_is_none_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setattr(TRACKERS, "_rows", dict(TRACKERS._rows))
    register_tracker(Tracker("mine", f"{__name__}:opened", "a test's own"))
    tracking = Tracking(["mine"])
    tracking.open(tmp_path, 3)
    tracking.log(3, {"a": 1.0})
    assert [(tmp_path, 3), (3, {"a": 1.0})] == OPENED
    code, _, err = run("train", data, "--out", tmp_path / "run", "--track", "tensorbord")
    assert code == 2 and "unknown tracker 'tensorbord'; did you mean 'tensorboard'?" in err
    with pytest.raises(UsageError, match="a tracker came as int; give a name or a function"):
        Tracking([3])  # type: ignore[list-item]


OPENED: list[Any] = []


def opened() -> Callable[[Path, int], Callable[..., None]]:
    def start(folder: Path, step: int) -> Callable[..., None]:
        OPENED.append((folder, step))
        return lambda step, values: OPENED.append((step, dict(values)))

    return start
