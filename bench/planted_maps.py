"""Whether an audit can be believed: sabotaged and planted maps, over seeds; and a real kill, to the same bytes.

    python bench/planted_maps.py maps [--pictures 24] [--seeds 5] [--data ../shared/data/pets]
    python bench/planted_maps.py kill [--data ../shared/data/pets]

`maps`: D, as the rules of a verdict have it, of a method's maps that were rolled by half, turned round, or taken from
another picture, each held against the method itself; and of each planted map and the method on randomised networks. All
must be contradicted, or no better than a control. `kill`: an audit is killed (SIGKILL) in the middle, done again, and
compared file by file with one that was not.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from regard.audit.pictures.methods import constant, method_of
from regard.audit.pictures.outside import MapBatch
from regard.audit.rules import judge
from regard.data.layouts import read
from regard.measurement.faithfulness.curves import on_grid, removal_curves
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.networks.randomised import randomised

METHOD = "libra_fullgrad_plus"


def srg(network: Network, batches: list[MapBatch], maps: list[np.ndarray], seed: int) -> np.ndarray:
    """(methods, pictures) of maps (methods, pictures, rows, columns) batch by batch."""
    parts = [
        removal_curves(network, batch.pixels, values, batch.targets, seed=seed).srg
        for batch, values in zip(batches, maps, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def measure_maps(data: Path, pictures: int, seeds: int) -> None:
    network = load("pets-tiny")
    part = read(data).part("val")
    part = part.select(np.linspace(0, len(part) - 1, pictures).round().astype(int).tolist())
    batches = []
    for batch, pixels in prepared(network, part.pictures, batch_size=8, workers=0):
        targets = tuple(network.logits(pixels).argmax(dim=1).tolist())
        batches.append(
            MapBatch(pixels, targets, tuple(part.names[index] for index in batch.indices), tuple(batch.sizes))
        )

    def maps_of(name: str, of: Network = network) -> list[np.ndarray]:
        method = constant(of) if name == "constant" else method_of(name, of)
        return [on_grid(method.make(batch), 14, 14) for batch in batches]

    own = maps_of(METHOD)
    other = np.roll(np.concatenate(own), 1, axis=0)
    sabotaged = {
        "itself": own,
        "rolled": [np.roll(each, (7, 7), (1, 2)) for each in own],
        "turned": [each[:, ::-1, ::-1] for each in own],
        "of another picture": np.split(other, np.cumsum([len(each) for each in own])[:-1]),
        **{name: maps_of(name) for name in ("centre", "edges", "constant")},
    }
    fixed = srg(network, batches, [np.stack(each) for each in zip(*sabotaged.values(), strict=True)], 0)
    scores = dict(zip(sabotaged, fixed, strict=True))
    generator = np.random.default_rng(0)
    for seed in range(seeds):
        drawn = [generator.random((len(each), 14, 14)) for each in own]
        blank = maps_of(METHOD, randomised(network, seed))
        random, of_blank = srg(network, batches, [np.stack(each) for each in zip(drawn, blank, strict=True)], seed)
        every = {**scores, "random": random, "randomised": of_blank}
        controls = {"centre": every["centre"], "edges": every["edges"], "randomised": of_blank}
        rows = {name: {"itself": every["itself"]} for name in ("rolled", "turned", "of another picture")}
        rows |= dict.fromkeys(("random", "centre", "edges", "constant", "randomised", "itself"), controls)
        for name, held in rows.items():
            found = judge({name: every[name]}, {name: held}, seed=seed)[name]
            ends = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
            print(f"seed {seed}  {name:<20} SRG {every[name].mean():+.3f}  D {ends}  {found.status}", flush=True)


def measure_kill(data: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = [picture.opener.path for picture in read(data).part("val").pictures[:12]]
        rows = [f"{name.resolve()},{name.name.rpartition('_')[0]}" for name in names if name is not None]
        (folder / "few.csv").write_text("\n".join(["filename,label", *rows]))

        def command(out: str) -> list[str]:
            words = [sys.executable, "-m", "regard", "audit", str(folder / "few.csv"), "--methods", "attention"]
            return [*words, "--batch-size", "4", "--out", str(folder / out)]

        subprocess.run(command("whole"), check=True, capture_output=True)
        process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        whole = folder / "killed.part" / "progress.json"
        while process.poll() is None and not (whole.is_file() and json.loads(whole.read_text())["whole"]["pictures"]):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (folder / "killed").exists() and whole.is_file()
        again = subprocess.run(command("killed"), check=True, capture_output=True, text=True)
        print(next(line for line in again.stderr.splitlines() if "going on after" in line))
        files = sorted(path.relative_to(folder / "whole") for path in (folder / "whole").rglob("*") if path.is_file())
        for name in files:
            same = (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes()
            print(f"{name}: {'the same bytes' if same else 'OTHER BYTES'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("maps", "kill"))
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "pets")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "maps":
        measure_maps(arguments.data, arguments.pictures, arguments.seeds)
    else:
        measure_kill(arguments.data)
