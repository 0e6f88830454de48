"""Training from shards: nearly in sequence, the same bytes with any number of loader workers, killed or not."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from object_server import Objects, object_server
from tars import png, write_tar
from tiny_training import draw_pictures, run, tiny_network, tiny_recipe

from regard.data.images.augment import Augmentation
from regard.data.layouts import read
from regard.data.shards import spans
from regard.errors import DataError
from regard.training.checkpoint import STATE
from regard.training.journal import Progress
from regard.training.loader import Loader, Step
from regard.training.objectives import LabelObjective


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of four colours in five tars, mixed."""
    folder = tmp_path_factory.mktemp("pictures")
    files = sorted(draw_pictures(folder / "data").rglob("*.png"))
    for shard in range(5):
        members = {}
        for number in range(shard, len(files), 5):
            members[f"{number:04d}.png"] = files[number].read_bytes()
            members[f"{number:04d}.cls"] = files[number].parent.name.encode()
        write_tar(folder / "shards" / f"{shard:03d}.tar", members)
    return folder / "shards"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def loader_of(data: Path | str, workers: int) -> Loader:
    dataset = read(data)
    network = tiny_network(dataset.classes)
    objective = LabelObjective(dataset.labels, len(dataset.classes))
    return Loader(dataset.pictures, objective, network.preparation, Augmentation(crop=0.5), 8, seed=3, workers=workers)


def content(steps: Iterator[Step]) -> list[tuple[int, int, list[int], bytes]]:
    return [
        (
            step.epoch,
            step.number,
            step.indices.tolist(),
            b"".join(batch.pixels.numpy().tobytes() for batch in step.batches),
        )
        for step in steps
    ]


def test_the_same_steps_with_any_number_of_workers_from_any_position_and_from_a_store(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "SPAN", 12_000)  # three pictures a block or so
    whole = content(loader_of(shards, 0).steps(2))
    assert [indices for _, _, indices, _ in whole[:5]] != [indices for _, _, indices, _ in whole[5:]]
    for workers in (1, 4):
        assert content(loader_of(shards, workers).steps(2)) == whole
    assert content(loader_of(shards, 4).steps(2, epoch=1, number=2)) == whole[7:]
    with object_server(Objects({f"s/{file.name}": file.read_bytes() for file in shards.iterdir()})) as server:
        loader = loader_of(f"{server.address}/s/{{000..004}}.tar", 4)
        server.requests.clear()
        assert content(loader.steps(2)) == whole
        blocks = {picture.opener.block for picture in loader.pictures}
        assert 10 <= len(blocks) <= 20
        assert len(server.requests) == len(blocks), "each run of neighbours is asked for once, and then in memory"


def test_blocks_are_read_nearly_in_sequence(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regard.data import order

    monkeypatch.setattr(spans, "SPAN", 12_000)
    monkeypatch.setattr(order.BlockOrder.__init__, "__defaults__", (3,))
    loader = loader_of(shards, 0)
    blocks = [loader.pictures[index].opener.block for index in loader.order(0)]
    assert sorted(loader.order(0).tolist()) == list(range(40))
    for position in range(len(blocks)):
        assert len(set(blocks[:position]) & set(blocks[position:])) <= 3


def test_killed_with_one_number_of_workers_and_gone_on_with_another(shards: Path, tmp_path: Path) -> None:
    """SIGKILL, once there is a checkpoint; the bytes are those of a run that nothing happened to."""
    recipe = tiny_recipe(epochs=3, crop=0.5)
    run(shards, tmp_path / "whole", recipe, workers=0)
    killed = tmp_path / "killed"
    code = (
        "import sys, tiny_training as t; from pathlib import Path; from regard.training.recipe import read_recipe; "
        "t.torch.set_num_threads(1); t.run(Path(sys.argv[1]), Path(sys.argv[2]), "
        "t.tiny_recipe(epochs=3, crop=0.5), every=1, workers=4)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code, str(shards), str(killed)], env=environment) as child:
        while child.poll() is None and not (killed / STATE).exists():
            with suppress(subprocess.TimeoutExpired):
                child.wait(0.02)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL and not (killed / "model.safetensors").exists()
    run(shards, killed, recipe, workers=1, resume=True)
    for name in ("model.safetensors", "metrics.jsonl", "split.csv"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_shard_that_changed_between_runs_is_refused(shards: Path, tmp_path: Path) -> None:
    """One picture of one shard is another: the run that was stopped does not go on with it."""
    data = shutil.copytree(shards, tmp_path / "shards")
    recipe = tiny_recipe(epochs=2)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", recipe, every=1, workers=0, progress=stop)
    with tarfile.open(data / "002.tar") as tar:
        members = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    first = next(name for name in members if name.endswith(".png"))
    write_tar(data / "002.tar", members | {first: png(99)})
    with pytest.raises(DataError, match=r"the data changed since .* was begun: 1 changed \(.0002.\)"):
        run(data, tmp_path / "run", recipe, workers=0, resume=True)
