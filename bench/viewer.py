"""Pages that are looked at: their sizes, how soon they stand, what a movement of the pointer costs, their memory.

    PYTHONPATH=tests/support .venv/bin/python bench/viewer.py PHOTOGRAPHS [--runs 3] [--out FOLDER] [--only one,many]

Pages are made of PHOTOGRAPHS at 1024 pixels (a folder of JPEGs) and of arrays in the shape of a ViT-B/16's, which are
noisier than those of a trained network and so harder to compress: nothing in a page depends on what they show. Debian's
chromium opens them from `file://`, anew for every run, with its network cut. `script` is the time in the page's own
listeners and frames for one event (every listener and every `requestAnimationFrame` is wrapped before the page runs);
`long` are tasks above 50 ms as the browser reports them, from the first paint on; memory is that of the page's process
beyond that of an empty page. Read ratios where other work runs beside it: `start` is what an empty page takes.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from browser import launched
from inspections import CLASSES, made
from PIL import Image

from regard.records import Inspection
from regard.records.inspection import InspectedPicture
from regard.rendering.pages.inspections import InspectedPage, inspection_page
from regard.rendering.pages.shell import PICTURE_SCRIPTS, RUN_SCRIPTS, RUN_STYLES, shell

MEASURED = """
window.spent = {events: [], frames: [], long: []};
new PerformanceObserver((list) => spent.long.push(...list.getEntries().map((each) => [each.startTime, each.duration])))
  .observe({type: "longtask", buffered: true});
let during = null;
const add = EventTarget.prototype.addEventListener, wrapped = new WeakMap();
EventTarget.prototype.addEventListener = function (type, listener, ...rest) {
  if (typeof listener !== "function") return add.call(this, type, listener, ...rest);
  const timed = wrapped.get(listener) ?? function (event) {
    const start = performance.now();
    try { return listener.call(this, event); } finally {
      if (during) during.time += performance.now() - start;
    }
  };
  wrapped.set(listener, timed);
  return add.call(this, type, timed, ...rest);
};
const remove = EventTarget.prototype.removeEventListener;
EventTarget.prototype.removeEventListener = function (type, listener, ...rest) {
  return remove.call(this, type, wrapped.get(listener) ?? listener, ...rest);
};
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (run) => frame((now) => {
  const start = performance.now();
  try { run(now); } finally { if (during) during.time += performance.now() - start; }
});
window.beginEvent = () => { during = {time: 0}; };
window.endEvent = () => new Promise((done) => frame(() => frame(() => {
  const { time } = during;
  during = null;
  done(time);
})));
"""


FILTERS = """() => [...document.querySelectorAll(".filters select, .filters input")].flatMap((control) => {
  const isSelect = control.tagName === "SELECT";
  const values = isSelect ? [...control.options].slice(0, 4).map((each) => each.value) : ["0.5", ""];
  return values.map((value) => {
    const start = performance.now();
    control.value = value;
    control.dispatchEvent(new Event(isSelect ? "change" : "input", {bubbles: true}));
    document.querySelector(".tiles")?.offsetHeight;
    return performance.now() - start;
  });
})"""


def photographs(folder: Path) -> Iterator[InspectedPicture]:
    """The JPEGs of a folder, one after the other and then again, at 1024 pixels."""
    paths = sorted(folder.rglob("*.jpg"))
    while True:
        for path in paths:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            share = 1024 / max(image.size)
            image = image.resize((round(image.width * share), round(image.height * share)))
            file = io.BytesIO()
            image.save(file, "JPEG", quality=85, optimize=True, progressive=True)
            yield InspectedPicture(file.getvalue(), image.height, image.width)


def inspections(count: int, folder: Path, **settings: Any) -> dict[str, list[Inspection]]:
    """So many inspections, by name."""
    pictures = photographs(folder)
    result = {}
    for number in range(count):
        inspection = made(number % 50, name=f"pets/picture_{number:03d}.jpg", **settings)
        picture = next(pictures)
        size = (picture.height, picture.width)
        grid = replace(inspection.grid, picture=size, box=(0.0, 0.0, float(size[1]), float(size[0])))
        result[inspection.name] = [replace(inspection, picture=picture, grid=grid)]
    return result


def resident(browser: Any) -> float:
    """Megabytes of the renderers' memory that is theirs alone."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    total = 0.0
    for process in processes:
        if process["type"] == "renderer":
            status = Path(f"/proc/{process['id']}/status").read_text()
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1000
    return total


def opened(browser: Any, path: Path, ready: str) -> tuple[Any, dict[str, float]]:
    """A page in a context of its own, offline, and when it painted first and was ready, in ms from its beginning."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    context.add_init_script(MEASURED)
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    page.locator(ready).first.wait_for(timeout=60_000)
    at = page.evaluate("performance.now()")
    page.wait_for_timeout(400)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
    return page, {"paint": paint, "ready": at}


def movements(page: Any, host: str, steps: int = 60) -> list[float]:
    """The milliseconds of script for each movement of the pointer over an element, from corner to corner and back."""
    box = page.locator(host).first.bounding_box()
    times = []
    for step in range(steps):
        across = (step * 7 % steps + 0.5) / steps
        down = (step + 0.5) / steps
        page.evaluate("beginEvent()")
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * min(box["height"], 600))
        times.append(page.evaluate("endEvent()"))
    return times


def long_tasks(page: Any, after: float = 0.0) -> list[float]:
    return [round(length) for start, length in page.evaluate("spent.long") if start >= after]


def row(*cells: Any) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def measure(browser: Any, name: str, path: Path, ready: str, host: str, runs: int) -> None:
    """A line of the table: the medians of the runs, and all long tasks of any of them."""
    blank = path.with_name("blank.html")
    blank.write_text("<!doctype html><title>blank</title><p>blank", encoding="utf-8")
    empty, _ = opened(browser, blank, "p")
    start = empty.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    before = resident(browser)
    empty.context.close()
    times: list[dict[str, float]] = []
    scripts: list[float] = []
    long: list[list[float]] = []
    memory = []
    for _ in range(runs):
        page, each = opened(browser, path, ready)
        begun = page.evaluate("performance.now()")
        scripts += movements(page, host)
        long.append([*long_tasks(page, begun)])
        each["loading"] = max(long_tasks(page), default=0)
        memory.append(resident(browser) - before)
        times.append(each)
        page.context.close()
    paint, ready_at, loading = (np.median([each[key] for each in times]) for key in ("paint", "ready", "loading"))
    row(name, f"{path.stat().st_size / 1e6:.2f} MB", f"{start:.0f}", f"{paint:.0f}", f"{ready_at:.0f}",
        f"{np.percentile(scripts, 95):.1f}", long, f"{loading:.0f}", f"{max(memory):.0f} MB")  # fmt: skip


def many(browser: Any, folder: Path) -> None:
    """A hundred thousand pictures: filters and orders, and tiles in the page at once."""
    count = 100_000
    random = np.random.default_rng(0)
    columns = {
        "n": count,
        "name": [f"folder/picture_{place:06d}.jpg" for place in range(count)],
        "predicted": random.integers(0, 40, count).tolist(),
        "true": random.integers(0, 40, count).tolist(),
        "confidence": random.random(count).round(4).tolist(),
    }
    data = {"classes": [f"class {place}" for place in range(40)], "pictures": columns}
    path = folder / "many.html"
    files = (*RUN_STYLES, *PICTURE_SCRIPTS, *RUN_SCRIPTS)
    path.write_text(shell("many", "", data=data, files=files), encoding="utf-8", newline="\n")
    page, at = opened(browser, path, ".tile")
    times = page.evaluate(FILTERS)
    tiles = page.evaluate("document.querySelectorAll('.tile').length")
    print(
        f"\n100,000 pictures: ready after {at['ready']:.0f} ms, {tiles} tiles in the page; a filter or an order takes"
    )
    print(f"{np.median(times):.0f} ms, {max(times):.0f} at most")
    page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder in which the pages are kept")
    parser.add_argument("--only", default="one,words,hundred,many,all", help="which of them, with commas")
    options = parser.parse_args()
    only = options.only.split(",")
    pages = {
        "one": ("one picture, ViT-B/16 at 384", 1, {"rows": 24, "columns": 24}, ".look-canvas", ".look-canvas"),
        "words": ("one caption of seven words", 1, {"caption": True}, "#viewer bdi, #viewer button", "#viewer"),
        "hundred": ("100 pictures, ViT-B/16 at 224", 100, {}, ".tile", ".tiles"),
        "many": ("500 pictures, ViT-B/16 at 224", 500, {}, ".tile", ".tiles"),
    }
    with tempfile.TemporaryDirectory() as place, launched() as browser:
        folder = options.out or Path(place)
        row("page", "file", "start, ms", "first paint, ms", "ready, ms", "script a movement, p95, ms",
            "long tasks in each run", "longest while loading, ms", "memory")  # fmt: skip
        row(*["---"] * 9)
        for key, (name, count, settings, ready, host) in pages.items():
            if key in only:
                path = folder / f"{key}.html"
                begun = time.perf_counter()
                text = inspection_page(
                    InspectedPage(name, inspections(count, options.photographs, **settings), CLASSES)
                )
                path.write_text(text, encoding="utf-8", newline="\n")
                made_in = time.perf_counter() - begun
                measure(browser, f"{name} (made in {made_in:.0f} s)", path, ready, host, options.runs)
        if "all" in only:
            many(browser, folder)


if __name__ == "__main__":
    main()
