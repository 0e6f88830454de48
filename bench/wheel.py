"""The wheel alone in an empty environment: what it weighs, what comes with it, and whether `regard demo` runs there.

.venv/bin/python bench/wheel.py dist/regard-*.whl [--extra NAME] [--demo no]

Packages come from the index that uv knows on this machine, or from its cache; nothing of the checkout is on the path.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LARGEST = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--extra", action="append", default=[])
    parser.add_argument("--demo", choices=("yes", "no"), default="yes", help="run the whole job there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        python = _empty_environment(folder / "environment")
        wanted = str(options.wheel.resolve()) + (f"[{','.join(options.extra)}]" if options.extra else "")
        uv = str(Path(sys.executable).with_name("uv"))
        installed = _seconds([uv, "pip", "install", "--quiet", "--python", str(python), wanted], folder)
        print(f"wheel                {options.wheel.stat().st_size / 1e6:8.1f} MB")
        print(f"installed in         {installed:8.1f} s")
        _weigh(python, folder)
        command = str(python.with_name("regard"))
        print(f"regard --version     {_seconds([command, '--version'], folder):8.1f} s, the first start")
        where = (
            "import regard, sys; sys.exit(0 if regard.__file__.startswith(sys.prefix) else 'not of this environment')"
        )
        _seconds([str(python), "-c", where], folder)
        if options.demo == "yes":
            print(f"regard demo          {_seconds([command, 'demo', '--out', 'demo'], folder):8.1f} s")
            report = folder / "demo" / "report.html"
            print(f"demo/report.html     {report.stat().st_size / 1e6:8.1f} MB")


def _empty_environment(folder: Path) -> Path:
    """Its Python; nothing is in it, pip neither."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _seconds(words: list[str], folder: Path) -> float:
    """How long a command takes, outside the checkout and without a hub; a failure ends the bench."""
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    start = time.perf_counter()
    subprocess.run(words, cwd=folder, env=outside | {"HF_HUB_OFFLINE": "1"}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _weigh(python: Path, folder: Path) -> None:
    """The environment's size, and its largest packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([str(python), "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    sizes = {
        path.name: sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
        for path in Path(answer.stdout.strip()).iterdir()
    }
    print(f"environment          {sum(sizes.values()) / 1e6:8.0f} MB")
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:LARGEST]:
        print(f"  {name:<18} {sizes[name] / 1e6:8.0f} MB")


if __name__ == "__main__":
    main()
