"""How long `regard --help` takes, and what of it is Python itself: the median of several whole processes.

.venv/bin/python bench/startup.py
"""

import statistics
import subprocess
import sys
import time

TIMES = 11


def main() -> None:
    print("| what | median seconds | slowest |")
    print("|---|---|---|")
    for what, words in (("python -c pass", ["-c", "pass"]), ("regard --help", ["-m", "regard", "--help"])):
        times = [_seconds(words) for _ in range(TIMES)]
        print(f"| `{what}` | {statistics.median(times):.2f} | {max(times):.2f} |")


def _seconds(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
