"""Script for each move of the pointer over a picture, and long tasks, by the thread's own clock.

    .venv/bin/python bench/pointer.py [PHOTOGRAPH] [--runs 3]

`bench/viewer.py` measures pages by the clock on the wall, which counts what else the machine does. Here script and
tasks are those of chromium's trace, in the time of the thread, so that the figures hold beside other work. The
inspection is made of noise that falls off around a point, as large as ViT-B/16's at 384 pixels: all layers and heads,
five methods and three controls with curves, and a caption. A move counts with the frame that follows. Long is what
takes the thread more than 50 ms, at least half of them in script of the page.
"""

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from browser import launched
from inspections import CLASSES, made

from regard.records.inspection import InspectedPicture
from regard.rendering.pages.inspections import InspectedPage, inspection_page

CATEGORIES = ["devtools.timeline", "toplevel", "v8"]
SCRIPT = ("FunctionCall", "EvaluateScript", "FireAnimationFrame", "TimerFire", "v8.compile", "RunMicrotasks")
MOVED = ("pointermove", "mousemove", "pointerover", "mouseover")
LONG = 50.0  # ms
MOVES = 150


def page_of(path: Path, photograph: str | None, caption: bool) -> Path:
    """Write the page of an inspection with a photograph in it, the whole of which the network saw."""
    inspection = made(0, name="picture.jpg", rows=24, columns=24, layers=12, heads=12, caption=caption)
    if photograph:
        with Image.open(photograph) as image:
            scale = 1024 / max(image.size)
            image = image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        size = (image.height, image.width)
        grid = replace(inspection.grid, picture=size, box=(0.0, 0.0, float(image.width), float(image.height)))
        inspection = replace(inspection, grid=grid, picture=InspectedPicture(file.getvalue(), *size))
    content = InspectedPage("A picture", {inspection.name: [inspection]}, CLASSES)
    path.write_text(inspection_page(content), encoding="utf-8", newline="\n")
    return path


def renderer(events: list[dict[str, Any]], address: str) -> list[dict[str, Any]]:
    """What the main thread did that shows the page, in order: not that of the browser's own pages."""
    pids = {e["pid"] for e in events if e["name"] == "EventDispatch" and e["args"].get("data", {}).get("type") in MOVED}
    pids |= {e["pid"] for e in events if e["name"] in ("ParseHTML", "EvaluateScript") and address in str(e["args"])}
    threads = {(e["pid"], e["tid"]): e["args"].get("name") for e in events if e["name"] == "thread_name"}
    mine = [e for e in events if e["pid"] in pids and threads.get((e["pid"], e["tid"])) == "CrRendererMain"]
    return sorted((e for e in mine if e.get("ph") == "X" and "tdur" in e), key=lambda e: (e["ts"], -e["dur"]))


def tasks(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """(milliseconds of the thread, of these in script) of each task."""
    whole = [e for e in events if e["name"] in ("RunTask", "ThreadControllerImpl::RunTask")]
    script = [e for e in events if e["name"] in SCRIPT]
    rows = []
    start = 0
    for task in whole:
        end = task["ts"] + task["dur"]
        while start < len(script) and script[start]["ts"] < task["ts"]:
            start += 1
        inside = 0.0
        until = 0.0
        for event in script[start:]:
            if event["ts"] > end:
                break
            if event["ts"] >= until:  # not within another
                inside += event["tdur"]
                until = event["ts"] + event["dur"]
        rows.append((task["tdur"] / 1000, inside / 1000))
    return rows


def traced(browser: Any, page: Any, work: Callable[[], Any]) -> list[dict[str, Any]]:
    browser.start_tracing(page=page, categories=CATEGORIES)
    work()
    page.wait_for_timeout(200)
    events: list[dict[str, Any]] = json.loads(browser.stop_tracing())["traceEvents"]
    return renderer(events, page.url.split("#")[0])


def sweep(page: Any, box: dict[str, float]) -> None:
    """The pointer over all of a box, on to another patch with every move."""
    for move in range(MOVES):
        x = box["x"] + box["width"] * (0.05 + 0.9 * (move * 37 % MOVES) / MOVES)
        page.mouse.move(x, box["y"] + box["height"] * (0.05 + 0.9 * move / MOVES))


def scripts(events: list[dict[str, Any]]) -> float:
    """Milliseconds of script for a move of the pointer: what 95 of 100 do not exceed, with the frame that follows."""
    dispatched = [e for e in events if e["name"] == "EventDispatch"]
    handlers = [e["tdur"] / 1000 for e in dispatched if e["args"].get("data", {}).get("type") in MOVED]
    frames = [e["tdur"] / 1000 for e in events if e["name"] == "FireAnimationFrame"]
    return float(np.percentile(handlers, 95) + (np.percentile(frames, 95) if frames else 0))


def opened(browser: Any, path: Path, first: str) -> tuple[Any, int]:
    """The page in a context of its own, and how many long tasks it took to come."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    shown = page.locator(first).first
    events = traced(browser, page, lambda: (page.goto(path.as_uri()), shown.wait_for(), page.wait_for_timeout(800)))
    return page, long(events, "opening")


def long(events: list[dict[str, Any]], what: str) -> int:
    """How many tasks were long; each is said."""
    rows = [(whole, script) for whole, script in tasks(events) if whole > LONG and script > LONG / 2]
    for whole, script in rows:
        print(f"long, {what}: {whole:.0f} ms of the thread, {script:.0f} of them script", file=sys.stderr)
    return len(rows)


def row(what: str, value: str, bound: str, holds: bool) -> bool:
    print(f"| {what} | {value} | {bound} | {'yes' if holds else '**no**'} |", flush=True)
    return holds


def one_picture(browser: Any, folder: Path, photograph: str | None, runs: int) -> bool:
    moves: dict[str, list[float]] = {}
    late = 0
    picture = page_of(folder / "picture.html", photograph, caption=False)
    words = page_of(folder / "words.html", photograph, caption=True)
    for _ in range(runs):
        page, slow = opened(browser, picture, ".look-stage")
        late += slow
        stage = page.get_by_role("application").bounding_box()
        steps: dict[str, Callable[[], Any]] = {
            "patches, to read them": lambda: None,
            "patches, to see what they look at": page.get_by_role("button", name="Looks at", exact=True).click,
            "the same, smooth": lambda page=page: page.keyboard.press("g"),
            "patches, to see what looks at them in another layer": lambda page=page: page.keyboard.type("gw["),
        }
        for name, prepare in steps.items():
            prepare()
            page.wait_for_timeout(300)
            events = traced(browser, page, lambda page=page, stage=stage: sweep(page, stage))
            moves.setdefault(name, []).append(scripts(events))
            late += long(events, name)
        page.context.close()
        page, slow = opened(browser, words, "[role=option]")
        events = traced(browser, page, lambda page=page: sweep(page, page.get_by_role("listbox").bounding_box()))
        moves.setdefault("words", []).append(scripts(events))
        late += slow + long(events, "words")
        page.context.close()
    holds = [
        row(f"a move over {name}, p95", f"{max(values):.1f} ms", "≤ 5 ms", max(values) <= 5)
        for name, values in moves.items()
    ]
    return all([*holds, row("long tasks", str(late), "0", late == 0)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photograph", nargs="?")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print("| what | measured | bound | holds |")
    print("|---|---|---|---|")
    with launched() as browser, tempfile.TemporaryDirectory() as name:
        sys.exit(not one_picture(browser, Path(name), arguments.photograph, arguments.runs))


if __name__ == "__main__":
    main()
