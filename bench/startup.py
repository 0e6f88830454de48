"""How long commands take before and beside their work: medians of whole processes, in turn, and what they import.

.venv/bin/python bench/startup.py [--picture FILE] [--rounds 9]

Each command is one picture of a shipped model, from the shell. "over torch" is its time less that of `import torch` in
the same round; modules are counted when it ends, and of the packages that regard depends on, and of what is heavy in
them, those are named that it imported beside torch, numpy and Pillow.
"""

import argparse
import compileall
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

import regard

HEAVY = ("torch._dynamo", "sympy", "torchvision", "torchvision.models.detection", "timm", "timm.models.naflexvit")
HEAVY += ("transformers", "huggingface_hub", "matplotlib", "matplotlib.figure", "pyarrow", "pandas", "scipy", "sklearn")
AFTER = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), *({}), file=sys.stderr)); "
COMMAND = AFTER + "sys.argv = {}; from regard.app.cli import run; run()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    compileall.compile_dir(Path(regard.__file__).parent, quiet=1)  # as pip leaves a package that it installed
    with tempfile.TemporaryDirectory() as folder:
        picture = options.picture or Path(folder) / "grey.png"
        if options.picture is None:
            Image.new("RGB", (500, 375), "grey").save(picture)
        programs = _programs(picture, Path(folder))
        rounds = [{name: _run(code) for name, code in programs.items()} for _ in range(options.rounds + 1)][1:]
    print("| what | median seconds | slowest | over torch | modules | of these |\n|---|---|---|---|---|---|")
    for name in programs:
        times = [each[name][0] for each in rounds]
        over = statistics.median(each[name][0] - each["import torch"][0] for each in rounds)
        count, *heavy = rounds[-1][name][1]
        cells = [f"{statistics.median(times):.2f}", f"{max(times):.2f}", f"{over:+.2f}", count, ", ".join(heavy)]
        print(f"| `{name}` | {' | '.join(cells)} |")


def _programs(picture: Path, folder: Path) -> dict[str, str]:
    """Programs of Python by the name of what they do, each of which ends by saying what it imported."""
    heavy = f"name for name in {HEAVY!r} if name in sys.modules"
    commands = {
        "regard --help": ["--help"],
        "regard predict": ["predict", str(picture), "--out", str(folder / "predicted.csv")],
        "regard explain": ["explain", str(picture), "--out", str(folder / "maps")],
        "regard caption": ["caption", str(picture), "--model", "scenes-captioner", "--out", str(folder / "captions")],
    }
    over = ["--overwrite"]
    return {
        "python -c pass": AFTER.format(heavy),
        "import torch": AFTER.format(heavy) + "import torch",
        **{
            name: COMMAND.format(heavy, ["regard", *words, *(over if "--out" in words else [])])
            for name, words in commands.items()
        },
    }


def _run(code: str) -> tuple[float, list[str]]:
    """The seconds that a program took, and what it said of its modules."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stderr.splitlines()[-1].split()


if __name__ == "__main__":
    main()
