"""The loop and what moves the weights: by hand, against plain torch, and with everything that can go wrong."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import draw_pictures, parts_of, run, tiny_network, tiny_recipe
from torch.nn import functional as F

from regard.data.images.augment import Augmentation
from regard.data.images.preparation import Preparation
from regard.errors import DataError, NetworkError, UsageError
from regard.networks.load import load
from regard.networks.precision import best_precision
from regard.training import loader as loading
from regard.training import loop
from regard.training.checkpoint import Checkpoints
from regard.training.journal import Progress
from regard.training.loader import Loader
from regard.training.objectives import LabelObjective
from regard.training.optimise import (
    Average,
    depths,
    interpolated,
    learning_rate,
    optimiser,
    trainable_layers,
)
from regard.training.processes import ALONE, World
from regard.training.settings import Settings
from regard.training.tasks import finetune, phases, search


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data")


def trained(data: Path, folder: Path, name: str = "finetune", picked: list[int] | None = None, **overrides: object):
    """(network, outcome) of a run whose pictures are changed in no way, unless asked for."""
    plain = {"dropout": 0.0, "flip": 0.0, "crop": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    training, validation, hashes = parts_of(data)
    training = training if picked is None else training.select(picked)
    network = tiny_network(training.classes)
    recipe = tiny_recipe(name, **{**plain, **overrides})
    return network, finetune.run(network, training, validation, hashes, recipe, folder)


def weights(network) -> dict[str, torch.Tensor]:
    return network.module.state_dict()


# What moves the weights.


def test_accumulated_batches_are_one_large_batch(data: Path, tmp_path: Path) -> None:
    """32 pictures: 16 at once, or 4 times 4; the last step of 29 pictures is smaller, and counts by its size."""
    for count in (32, 29):
        chosen = [place * 7 % 32 for place in range(count)]
        one, _ = trained(data, tmp_path / f"one {count}", picked=chosen, batch_size=16)
        four, _ = trained(data, tmp_path / f"four {count}", picked=chosen, batch_size=4, accumulate=4)
        for name, value in weights(one).items():
            assert torch.allclose(value, weights(four)[name], atol=2e-5), name


def test_one_step_by_plain_torch(data: Path, tmp_path: Path) -> None:
    """Class weights and smoothing as cross-entropy's own weighted mean has them; SGD with momentum and decay."""
    chosen = [*range(8), 8, 16, 24, 25]
    overrides = {"class_weights": "balanced", "smoothing": 0.1, "optimiser": "sgd", "learning_rate": 0.1, "epochs": 1}
    more = {"batch_size": 12, "head": "new", "warm_up": 0.0, "clip": 0.5, "layer_decay": 1.0, "average": "none"}
    network, outcome = trained(data, tmp_path / "run", picked=chosen, **overrides, **more)
    training = parts_of(data)[0].select(chosen)
    twin = tiny_network(training.classes)
    counts = np.bincount(training.labels)
    weight = torch.tensor(12 / (4 * counts), dtype=torch.float32)
    x = torch.stack([twin.preparation.tensor(Image.open(picture.path)) for picture in training.pictures])
    loss = F.cross_entropy(twin.module.train()(x), torch.from_numpy(training.labels), weight, label_smoothing=0.1)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(twin.module.parameters(), 0.5)
    with torch.no_grad():
        for name, value in twin.module.named_parameters():
            decay = 0.05 if value.ndim >= 2 and name not in ("pos_embed", "cls_token") else 0.0
            value -= 0.1 * (value.grad + decay * value)
    assert outcome.metrics[0]["training_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, value in weights(network).items():
        assert torch.allclose(value, weights(twin)[name], atol=1e-6), name


def test_depths_and_shares_of_the_learning_rate() -> None:
    network = tiny_network(("a", "b"))
    found = depths(network)
    assert (found["pos_embed"], found["patch_embed.proj.weight"], found["cls_token"]) == (0, 0, 0)
    assert (found["blocks.0.norm1.weight"], found["blocks.1.mlp.fc2.bias"]) == (1, 2)
    assert (found["norm.weight"], found["head.bias"]) == (3, 3)
    groups = optimiser(network, Settings(layer_decay=0.5)).param_groups
    by_value = {id(value): group for group in groups for value in group["params"]}
    parameters = dict(network.module.named_parameters())
    assert len(by_value) == len(parameters)
    for name, share, decay in [
        ("head.weight", 1.0, 0.05), ("head.bias", 1.0, 0.0), ("blocks.1.attn.qkv.weight", 0.5, 0.05),
        ("blocks.0.norm1.weight", 0.25, 0.0), ("pos_embed", 0.125, 0.0), ("cls_token", 0.125, 0.0),
    ]:  # fmt: skip
        group = by_value[id(parameters[name])]
        assert (group["share"], group["weight_decay"]) == (share, decay), name


def test_depths_in_other_families() -> None:
    bare = load("random:resnet10t", classes=["a", "b"])
    assert set(depths(bare).values()) == {0, 1}
    assert [name for name, depth in depths(bare).items() if depth == 1] == ["fc.weight", "fc.bias"]
    with pytest.raises(UsageError, match="has no blocks that regard knows"), trainable_layers(bare, 1):
        pass


@pytest.mark.parametrize(("layers", "changed"), [(0, {"head"}), (1, {"blocks.1", "norm", "head"})])
def test_only_the_open_layers_learn(layers: int, changed: set[str], data: Path, tmp_path: Path) -> None:
    network, _ = trained(data, tmp_path / "run", open_layers=layers, head="new")
    start = weights(tiny_network(network.classes))
    moved = {name for name, value in weights(network).items() if not torch.equal(value, start[name])}
    assert {".".join(name.split(".")[: 2 if name.startswith("blocks") else 1]) for name in moved} == changed
    assert all(value.requires_grad and value.grad is None for value in network.module.parameters())
    with pytest.raises(UsageError, match=r"--open-layers is 3, but .* has 2 blocks; give at most 2"):
        trained(data, tmp_path / "three", open_layers=3)


def test_the_schedule_by_hand() -> None:
    cosine = Settings(epochs=2, learning_rate=1.0, warm_up=0.25)
    came = [learning_rate(cosine, step, 4) for step in range(8)]
    assert came[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert came[5] == pytest.approx(0.5)
    assert came == [*came[:2], *sorted(came[2:], reverse=True)]
    falls = Settings(epochs=3, learning_rate=1.0, warm_up=0.0, schedule="exponential", decay=0.9)
    assert [learning_rate(falls, step, 2) for step in range(6)] == pytest.approx([1, 1, 0.9, 0.9, 0.81, 0.81])
    assert learning_rate(replace(falls, schedule="constant"), 5, 2) == 1


def test_averages_by_hand() -> None:
    """One weight that is 0, then 1, 2, 3, 4 after each step."""
    module = torch.nn.Linear(1, 1, bias=False)

    def average(**settings: object) -> float:
        torch.nn.init.zeros_(module.weight)
        mean = Average(module, Settings(**settings), 4)
        for step in range(4):
            torch.nn.init.constant_(module.weight, step + 1.0)
            mean.update(step)
        with mean.applied(module):
            inside = module.weight.item()
        assert module.weight.item() == 4
        return inside

    assert average(average="swa", swa_share=0.5) == pytest.approx(3.5)
    expected = 0.0
    for step, decay in enumerate([0.1, 2 / 11, 0.2, 0.2]):
        expected = decay * expected + (1 - decay) * (step + 1)
    assert average(average="ema", ema_decay=0.2) == pytest.approx(expected)
    assert average(average="none") == 4


def test_a_mix_lies_between_start_and_end() -> None:
    start, tuned = (
        {"a": torch.tensor([0.0, 8.0]), "n": torch.tensor(1)},
        {"a": torch.tensor([4.0, 0.0]), "n": torch.tensor(3)},
    )
    assert interpolated(start, tuned, 0.25)["a"].tolist() == [1.0, 6.0]
    assert torch.equal(interpolated(start, tuned, 1.0)["a"], tuned["a"])
    assert interpolated(start, tuned, 0.25)["n"] == 3


# Phases.


def test_the_starting_point_of_finetune_is_the_probe(data: Path, tmp_path: Path) -> None:
    """With nothing of the tuned weights, what is left is the probe; and it is said."""
    network, outcome = trained(data, tmp_path / "run", mix=0.0, search="always", folds=2, epochs=1)
    start = weights(tiny_network(network.classes))
    assert {name for name, value in weights(network).items() if not torch.equal(value, start[name])} == {
        "head.weight",
        "head.bias",
    }
    assert outcome.messages == ("the probe was the best in cross-validation: the tuned weights are not used",)
    assert outcome.facts["mix"] == 0


def test_the_search_takes_the_least_log_loss_and_keeps_what_the_user_set(data: Path, tmp_path: Path) -> None:
    _, outcome = trained(data, tmp_path / "run", search="always", folds=2, epochs=2, learning_rate=1e-3)
    rows = [row for row in outcome.metrics if row["phase"] == "search"]
    best = min(rows, key=lambda row: row["log_loss"])
    assert outcome.facts["chosen"] == {name: value for name, value in best.items() if name != "phase"}
    assert all("learning_rate" not in row["settings"] and "epochs" not in row["settings"] for row in rows)
    folds = {row["phase"] for row in outcome.metrics if row["phase"].startswith("search ")}
    assert folds == {"search 0/0", "search 1/0"}  # two blocks: candidates that differ in open layers alone are one
    assert {row["settings"]["mix"] for row in rows} == set(search.MIXES)
    assert not outcome.selected


def test_nothing_is_chosen_on_the_pictures_set_aside(data: Path, tmp_path: Path) -> None:
    """With other pictures set aside, the same weights."""
    training, validation, hashes = parts_of(data)
    recipe = tiny_recipe(search="always", folds=2, epochs=2)
    found = []
    for number, part in enumerate((validation, validation.select([0, 5]))):
        network = tiny_network(training.classes)
        finetune.run(network, training, part, hashes, recipe, tmp_path / str(number))
        found.append(network.weights_hash())
    assert found[0] == found[1]


def test_groups_stay_in_one_fold(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation, hashes = parts_of(data)
    groups = np.array([f"{label}{place % 3}" for place, label in enumerate(training.labels)])
    sides: list[tuple[set[str], set[str]]] = []
    monkeypatch.setattr(
        search, "_trial",
        lambda the, name, start, settings, fitted, left: sides.append((set(groups[fitted]), set(groups[left])))
        or np.zeros((len(search.MIXES), left.sum(), len(training.classes)), np.float32),
    )  # fmt: skip
    recipe = tiny_recipe(search="always", folds=3, epochs=1)
    finetune.run(tiny_network(training.classes), training, validation, hashes, recipe, tmp_path / "run", groups=groups)
    assert sides
    assert all(not one & two for one, two in sides)


def test_early_stopping_and_the_best_epoch_by_hand(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equals the later is the best (epoch 2), and two epochs that are worse are enough."""
    scores = iter([0.5, 0.6, 0.6, 0.5, 0.4, 0.9])
    monkeypatch.setattr(phases, "score", lambda *given: {"validation_loss": 1.0, "validation_top1": next(scores)})
    _, outcome = trained(data, tmp_path / "run", patience=2, epochs=40, keep="best")
    rows = [row for row in outcome.metrics if row["phase"] == "train"]
    assert [row["validation_top1"] for row in rows] == [0.5, 0.6, 0.6, 0.5, 0.4]
    assert (outcome.facts["best"], outcome.facts["best_epoch"], outcome.facts["epochs"]) == (0.6, 2, 5)
    assert outcome.selected


def test_bfloat16_trains_and_auto_knows_the_machine(data: Path, tmp_path: Path) -> None:
    _, outcome = trained(data, tmp_path / "run", precision="bfloat16", epochs=1)
    assert outcome.facts["precision"] == "bfloat16"
    assert all(np.isfinite(row["training_loss"]) for row in outcome.metrics if row["phase"] == "train")
    assert best_precision("auto", torch.device("cpu")) in ("float32", "bfloat16")
    assert best_precision("auto", torch.device("mps")) == "float32"


# What is written, and what is left as it was.


def test_metrics_have_no_times_and_progress_tells_the_time_left(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.training.schedule.FIRST", 0.0)
    told: list[Progress] = []
    outcome = run(data, tmp_path / "run", tiny_recipe(), progress=told.append)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows == list(outcome.metrics)
    assert not any("second" in name or "time" in name for row in rows for name in row)
    times = [json.loads(line) for line in (tmp_path / "run" / "timing.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in times] == ["train", "checkpoints"]
    steps = [one for one in told if one.phase == "train"]
    assert [one.done for one in steps] == list(range(1, 13))
    assert all(one.total == 12 and one.step == "step 2 of 2: training" for one in steps)
    assert all(one.left is not None and one.left >= 0 for one in steps[1:])  # the first is what is timed
    assert steps[-1].left == 0
    stored = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert stored["settings"]["epochs"] == 3


def test_the_process_and_the_network_are_left_as_they_were(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    training, validation, hashes = parts_of(data)
    network = tiny_network(training.classes)
    recipe = tiny_recipe(epochs=1, drop_path=0.2, open_layers=1)
    finetune.run(network, training, validation, hashes, recipe, tmp_path / "run", deterministic=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not network.module.training
    assert all(part.p == 0 for part in network.module.modules() if isinstance(part, torch.nn.Dropout))
    assert all(isinstance(block.drop_path1, torch.nn.Identity) for block in network.module.blocks)
    assert not any(part._forward_hooks for part in network.module.modules())


def test_tensorboard_on_request_and_missing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    run(data, tmp_path / "run", tiny_recipe(epochs=1), tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"not installed.*regard\[tensorboard\]"):
        run(data, tmp_path / "two", tiny_recipe(epochs=1), tensorboard=True)


def test_checkpoints_take_no_more_than_their_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second a checkpoint and a tenth of one a step, by a clock of our own."""
    now = [0.0]
    monkeypatch.setattr("regard.training.checkpoint.time.perf_counter", lambda: now[0])

    def write(path: Path, content: bytes) -> None:
        now[0] += 1

    monkeypatch.setattr("regard.training.checkpoint.write_file", write)
    checkpoints = Checkpoints(tmp_path, ALONE)
    for _ in range(5000):
        now[0] += 0.1
        checkpoints.save_if_due([], "train", lambda: ({}, {}), int(2e8))
        assert checkpoints.seconds <= 0.01 * now[0]
    assert checkpoints.count == 5


# What goes wrong.


def test_fewer_pictures_than_classes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 pictures to train on are fewer than the 4 classes"):
        trained(data, tmp_path / "run", picked=[0, 8, 16])
    with pytest.raises(DataError, match="class 'red' has no picture to train on"):
        trained(data, tmp_path / "run", picked=[0, 1, 8, 16])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("learning_rate", [1e6, 1e25])
def test_a_learning_rate_that_diverges(learning_rate: float, data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        NetworkError, match=r"diverged.*last good checkpoint is kept. Give a lower --learning-rate than 1e"
    ):
        trained(data, tmp_path / "run", "dlcv", learning_rate=learning_rate, epochs=4)
    assert not (tmp_path / "run" / "model.json").exists()


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, loss = iter(range(100)), loop._loss

    def breaking(*given):
        value, right = loss(*given)
        return value * (np.nan if next(calls) > 5 else 1), right

    monkeypatch.setattr(loop, "_loss", breaking)
    with pytest.raises(NetworkError, match=r"the loss is nan in train, epoch 1, step 2"):
        run(data, tmp_path / "run", tiny_recipe(), every=1)
    monkeypatch.undo()
    run(data, tmp_path / "run", tiny_recipe(), resume=True)
    run(data, tmp_path / "whole", tiny_recipe())
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_worker_that_dies_and_a_picture_that_goes(workers: int, data: Path, tmp_path: Path, monkeypatch) -> None:
    def die(*given: object) -> None:
        raise MemoryError("no memory left")

    with (
        monkeypatch.context() as patch,
        pytest.raises(DataError, match=r"thread that read .*png died \(MemoryError: no"),
    ):
        patch.setattr(loading, "read_augmented", die)
        run(data, tmp_path / "run", tiny_recipe(), workers=workers)
    own = draw_pictures(tmp_path / "own")

    def remove(progress: Progress) -> None:
        if progress.phase == "train":
            (own / "red" / "3.png").unlink(missing_ok=True)

    with pytest.raises(DataError, match=r"3\.png"):
        run(own, tmp_path / "gone", tiny_recipe(epochs=20), workers=workers, progress=remove)


# Several processes.


def a_loader(data: Path, batch_size: int, world: World, accumulate: int = 1) -> Loader:
    training = parts_of(data)[0].select(range(29))
    preparation = Preparation(8, 8, mode="squash")
    objective = LabelObjective(training.labels, len(training.classes))
    return Loader(
        training.pictures, objective, preparation, Augmentation(flip=0.5), batch_size, accumulate, 3, 0, world
    )


def counted(loader: Loader) -> Iterator[list[tuple[bytes, int]]]:
    for step in loader.steps(2):
        batches = step.batches
        yield [
            (pixels.numpy().tobytes(), int(label))
            for batch in batches
            for pixels, label, count in zip(batch.pixels, batch.targets, batch.counts, strict=True)
            if count
        ]


def test_processes_share_each_batch_and_see_what_one_would(data: Path) -> None:
    """29 pictures in batches of 4 for 3 processes: the last batch has one picture, so two only keep in step."""
    device = torch.device("cpu")
    alone = list(counted(a_loader(data, 4, ALONE, 2)))
    shares = [list(counted(a_loader(data, 4, World(rank, 3, device), 2))) for rank in range(3)]
    assert len(alone) == len(shares[0]) == 8
    for step, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert sorted(step) == sorted(row for part in parts for row in part)
    lengths = {
        tuple(len(batch.targets) for batch in step.batches) for step in a_loader(data, 4, World(2, 3, device)).steps(1)
    }
    assert lengths == {(1,)}


def test_each_epoch_has_its_own_order_and_each_picture_once(data: Path) -> None:
    loader = a_loader(data, 4, ALONE)
    first, second = loader.order(0), loader.order(1)
    assert sorted(first) == sorted(second) == list(range(29))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, a_loader(data, 7, World(1, 2, torch.device("cpu"))).order(0))


def test_more_processes_than_pictures(data: Path) -> None:
    with pytest.raises(UsageError, match=r"5 processes for batches of 4 out of 29 pictures.*start at most 4"):
        a_loader(data, 4, World(0, 5, torch.device("cpu")))
