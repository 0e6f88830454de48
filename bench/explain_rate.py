"""Pictures per second from JPEG to one Parquet file of attention maps, against `regard predict`, in one run.

    python bench/explain_rate.py FOLDER_OF_PICTURES [--pictures 1000] [--rounds 3] [--model pets-tiny]

Both commands as a user gives them (their defaults but for the batch, which is the same), in turn; the ratio is the
median over rounds. Starting Python is in neither.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from regard.app.commands.explain import explain
from regard.app.commands.predict import predict
from regard.data.layouts import read_pictures


def main() -> None:
    options = _options()
    paths = [picture.path for picture in read_pictures(options.folder).pictures[: options.pictures]]
    with tempfile.TemporaryDirectory() as scratch:
        chosen = _chosen(paths, Path(scratch) / "pictures")
        how = {"model": options.model, "batch_size": options.batch_size, "overwrite": True}
        rates: list[tuple[float, float]] = []
        for _ in range(options.rounds):
            said = _rate(len(paths), lambda: predict(chosen, Path(scratch) / "said.csv", **how))
            seen = _rate(len(paths), lambda: explain(chosen, Path(scratch) / "maps.parquet", **how))
            rates.append((said, seen))
    predicted, explained = (statistics.median(each) for each in zip(*rates, strict=True))
    ratio = statistics.median(seen / said for said, seen in rates)
    print(f"{len(paths)} pictures, {options.model}, batches of {options.batch_size}, {options.rounds} rounds\n")
    print("| command | pictures per second | of predict's |\n|---|---|---|")
    print(f"| regard predict | {predicted:.1f} | 1 |")
    print(f"| regard explain --out maps.parquet | {explained:.1f} | {ratio:.2f} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--model", default="pets-tiny")
    return parser.parse_args()


def _chosen(paths: list[Path], folder: Path) -> Path:
    """A folder with links to these pictures alone."""
    folder.mkdir(parents=True)
    for index, path in enumerate(paths):
        (folder / f"{index:05}{path.suffix}").symlink_to(path.resolve())
    return folder


def _rate(count: int, run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
