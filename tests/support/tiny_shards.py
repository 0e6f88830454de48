"""Two processes that hold halves of the weights of a tiny network: python tiny_shards.py DATA FOLDER.

In FOLDER are then the runs `plain` (whole weights), `shards`, `stopped` (stopped, and gone on with in shards) and
`begun` (left behind for one process); `facts RANK.json` says what a process holds. Forked, as imports take long.
"""

import faulthandler
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from tiny_training import parts_of, run, tiny_network, tiny_recipe

from regard.training.journal import Progress
from regard.training.parallel.sharding import sharded
from regard.training.processes import join
from regard.training.recipe import Recipe
from regard.training.session import InterruptedTrainingError


def sharded_recipe() -> Recipe:
    """Without dropout, whose numbers depend on the process; the last batch leaves one process without a picture."""
    return tiny_recipe(epochs=3, dropout=0.0, batch_size=31, keep="best")


def stopping(at: int) -> Callable[[Progress], None]:
    """A progress callback that stops the training, as Ctrl-C does, after so many steps; the other process follows."""

    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.done == at:
            signal.raise_signal(signal.SIGTERM)

    return report


def work(data: Path, base: Path) -> None:
    torch.set_num_threads(1)
    world = join("cpu")
    network = tiny_network(parts_of(data)[0].classes)
    total = sum(value.numel() for value in network.module.parameters())
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    with sharded(network, world) as shards:
        held = sum(value.to_local().numel() for value in shards.module.parameters())
        memory = {
            value.to_local().untyped_storage().data_ptr(): value.to_local() for value in shards.module.parameters()
        }
        nbytes = sum(value.untyped_storage().nbytes() for value in memory.values())
    same = all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    facts = {"total": total, "held": held, "bytes": nbytes, "same after": same}
    (base / f"facts {world.rank}.json").write_text(json.dumps(facts), encoding="utf-8")
    recipe = sharded_recipe()
    run(data, base / "plain", recipe, workers=0)
    run(data, base / "shards", recipe, workers=0, shard_weights=True, every=1)
    for name in ("stopped", "begun"):
        try:
            run(data, base / name, recipe, workers=0, shard_weights=True, progress=stopping(2))
        except InterruptedTrainingError:
            continue
        raise AssertionError("it was not stopped")
    run(data, base / "stopped", recipe, workers=0, shard_weights=True, resume=True)


def forked(rank: int, port: int) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        faulthandler.dump_traceback_later(200, exit=True)
        names = {"WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port}  # what torchrun sets
        os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}
        work(*map(Path, sys.argv[1:]))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [forked(rank, port) for rank in range(2)]
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes))
