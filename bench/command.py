"""What whole commands cost beside the bare loop of decoding and network: time, bytes and memory, in one run.

.venv/bin/python bench/command.py FOLDER_OF_PICTURES [--pictures 1000] [--rounds 3] [--model pets-tiny] [--memory]

In turn: the bare loop (`Preparation`'s batches and the network, nothing written), `predict`, `explain` to Parquet,
`explain` with panels, and with panels as PNG, the former default. Start is left out: torch and the network are there,
and what a command takes for one picture is taken off. Ratios are to the bare loop of the same round, medians over
rounds; those of processor time hold on a machine that others use, too. With --memory, the peak of each command in a
process of its own, on a quarter of the pictures and on all of them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COMMANDS = ("predict", "explain to Parquet", "explain with panels", "explain with panels as PNG")
BATCH = 32


def main() -> None:
    options = _options()
    if options.alone:
        _commands(options.folder, options.model, options.scratch)[options.alone]()
        status = Path("/proc/self/status").read_text()  # `getrusage` would count the process that started this one
        print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
        return
    from regard.data.layouts import read_pictures

    paths = [picture.path for picture in read_pictures(options.folder).pictures[: options.pictures]]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        one, all_of_them = (_linked(part, scratch / f"{len(part)} pictures") for part in (paths[:1], paths))
        single = _commands(one, options.model, scratch / "one")
        whole = _commands(all_of_them, options.model, scratch / "all")
        for function in single.values():
            function()  # what is imported and read once
        rounds = []
        for _ in range(options.rounds):
            rounds.append({name: _timed(single[name], whole[name]) for name in whole})
        _print_times(rounds, len(paths), scratch / "all")
        if options.memory:
            quarter = _linked(paths[: len(paths) // 4], scratch / "quarter")
            _print_memory(options.model, quarter, all_of_them, len(paths))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="pets-tiny")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _linked(paths: list[Path], folder: Path) -> Path:
    """A folder with links to these pictures alone."""
    folder.mkdir(parents=True)
    for index, path in enumerate(paths):
        (folder / f"{index:05}{path.suffix}").symlink_to(path.resolve())
    return folder


def _commands(folder: Path, model: str, scratch: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by name; results go into `scratch` under these names."""
    from regard.app.commands.explain import explain
    from regard.app.commands.predict import predict
    from regard.data.layouts import read_pictures
    from regard.networks.load import load
    from regard.networks.predict import prepared

    def bare() -> None:
        network = load(model)
        for _, pixels in prepared(network, read_pictures(folder).pictures, batch_size=BATCH):
            network.logits(pixels)

    scratch.mkdir(exist_ok=True)
    places = [scratch / name for name in (f"{COMMANDS[0]}.csv", f"{COMMANDS[1]}.parquet", *COMMANDS[2:])]
    how = {"model": model, "batch_size": BATCH, "overwrite": True}
    return {
        "bare loop": bare,
        COMMANDS[0]: lambda: predict(folder, places[0], **how),
        COMMANDS[1]: lambda: explain(folder, places[1], **how),
        COMMANDS[2]: lambda: explain(folder, places[2], **how),
        COMMANDS[3]: lambda: explain(folder, places[3], figure="png", **how),
    }


def _timed(single: Callable[[], object], whole: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of processors, of the whole less those of one picture."""
    clocks = (time.perf_counter, time.process_time)
    start = [clock() for clock in clocks]
    single()
    middle = [clock() for clock in clocks]
    whole()
    wall, cpu = (clock() - two - (two - one) for clock, one, two in zip(clocks, start, middle, strict=True))
    return wall, cpu


def _print_times(rounds: list[dict[str, tuple[float, float]]], count: int, results: Path) -> None:
    print(f"{count} pictures, {len(rounds)} rounds\n")
    heads = ("what", "ms a picture", "processors' ms", "× bare", "processors' × bare", "kB a picture")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name in rounds[0]:
        cells = [f"{1e3 * statistics.median(each[name][clock] for each in rounds) / count:.1f}" for clock in (0, 1)]
        for clock in (0, 1):
            cells.append(f"{statistics.median(each[name][clock] / each['bare loop'][clock] for each in rounds):.2f}")
        size = sum(file.stat().st_size for place in results.glob(f"{name}*") for file in _files(place, name))
        print(f"| {name} | {' | '.join(cells)} | {size / count / 1e3:.1f} |")


def _files(place: Path, name: str) -> list[Path]:
    """The files of a result of this name alone, without the contact sheet, which does not grow."""
    if place.is_dir():
        return [file for file in place.iterdir() if file.stem != "contact_sheet"] if place.name == name else []
    return [place]


def _print_memory(model: str, quarter: Path, whole: Path, count: int) -> None:
    print(f"\n| peak memory, MB | {count // 4} pictures | {count} pictures |\n|---|---|---|")
    for name in COMMANDS[:3]:
        peaks = []
        for folder in (quarter, whole):
            with tempfile.TemporaryDirectory() as scratch:
                words = [sys.executable, __file__, str(folder), "--model", model, "--alone", name, "--scratch", scratch]
                done = subprocess.run(words, check=True, capture_output=True, text=True)
            peaks.append(done.stdout.split()[-1])
        print(f"| {name} | {' | '.join(peaks)} |")


if __name__ == "__main__":
    main()
