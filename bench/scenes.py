"""How long a drawn scene takes at 224 pixels: median and 95th percentile over scenes, in milliseconds a picture.

Must stay at or under 30 ms. Run as `python bench/scenes.py [scenes]`.
"""

import sys
import time

import numpy as np

from regard.scenes import render
from regard.scenes.sampling import sample


def main(n: int) -> None:
    scenes = [sample(f"bench {k}") for k in range(n)]
    for scene in scenes[:20]:
        render(scene)  # fills the caches of shapes
    for clock in (time.perf_counter, time.process_time):  # the second does not count what else the machine does
        times = []
        for scene in scenes:
            start = clock()
            render(scene)
            times.append((clock() - start) * 1000)
        median, p95 = np.percentile(times, [50, 95])
        print(f"{n} scenes at 224 px, {clock.__name__}: median {median:.1f} ms, p95 {p95:.1f} ms, bound 30 ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
