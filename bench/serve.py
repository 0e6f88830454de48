"""`regard serve` under load: how soon a dropped photograph is explained, crowds, deaths, a long run, strange requests.

    .venv/bin/python bench/serve.py [PHOTOGRAPH] [--rounds 21] [--soak 2000] [--st PATH]

A server of its own is started, with pets-tiny, on two cores. Without PHOTOGRAPH a drawn one of 12 megapixels is taken.
Latency is that of a client on the same machine, from the first byte sent to the last received. `--st` is the command of
schemathesis, from an environment of its own (`pip install schemathesis`); it has the schema for `--minutes`, and any
answer of 500 or more fails it. Read ratios where other work runs beside it.
"""

import argparse
import http.client
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

TIMED = """(element, [value, event]) => {
  element.value = value;
  const start = performance.now();
  element.dispatchEvent(new Event(event, {bubbles: true}));
  document.body.offsetHeight;
  return performance.now() - start;
}"""
EDGE = b"--edge\r\ncontent-disposition: form-data; name="


class Server:
    """The command, on a port of its own."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "regard", "serve", "pets-tiny", *words, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        start = time.monotonic()
        self.lines: list[str] = []
        for line in self.process.stderr or ():
            self.lines.append(line)
            if match := re.search(r"http://([\d.]+):(\d+)/", line):
                self.host, self.port = match[1], int(match[2])
                break
        self.seconds = time.monotonic() - start
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr or ()), daemon=True).start()

    def job(self, picture: bytes, kind: str, accept: str = "application/json", **fields: str) -> tuple[int, bytes]:
        """Status and body of a job; status 0 where the connection broke."""
        parts = [EDGE + b'"%s"\r\n\r\n%s\r\n' % (key.encode(), value.encode()) for key, value in fields.items()]
        body = b"".join([*parts, EDGE + b'"picture"; filename="a.jpg"\r\n\r\n' + picture + b"\r\n--edge--\r\n"])
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        headers = {"content-type": "multipart/form-data; boundary=edge", "accept": accept}
        try:
            connection.request("POST", f"/api/{kind}", body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def get(self, path: str) -> object:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request("GET", path)
        content = connection.getresponse().read()
        connection.close()
        return json.loads(content)

    def memory(self) -> dict[str, float]:
        """Megabytes that the server and its workers hold."""
        workers = _children(self.process.pid)
        return {"server": _resident(self.process.pid), "worker": sum(map(_resident, workers))}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(each) for each in listed.split()]


def _resident(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(match[1]) / 1000 if match else 0.0


def photograph(longest: int) -> bytes:
    """A drawn scene as a photograph of 4:3 with some grain, as a JPEG."""
    from regard.scenes import render, sample

    size = (longest, longest * 3 // 4)
    image = Image.fromarray(render(sample(3)).picture).resize(size, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).integers(-6, 7, (size[1], size[0], 3))
    file = io.BytesIO()
    Image.fromarray((np.asarray(image).astype(int) + grain).clip(0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=90
    )
    return file.getvalue()


def latency(server: Server, picture: bytes, rounds: int) -> None:
    jobs = {"explain, attention": ("explain", "application/json"),
            "inspect, attention": ("inspect", "application/vnd.regard.inspection"),
            "classify": ("classify", "application/json")}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for place in range(rounds + 1):
        for name, (kind, accept) in jobs.items():
            start = time.perf_counter()
            status, _ = server.job(picture, kind, accept)
            assert status == 200
            if place:
                times[name].append(1000 * (time.perf_counter() - start))
    print("| what | median ms | fastest | slowest |\n|---|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |")


def crowd(server: Server, picture: bytes, count: int) -> None:
    """So many clients at once, each on a connection of its own."""
    answers: list[int] = []
    start = time.perf_counter()
    threads = [threading.Thread(target=lambda: answers.append(server.job(picture, "explain")[0])) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    seconds = time.perf_counter() - start
    hanging = sum(thread.is_alive() for thread in threads)
    print(f"{count} clients at once: {dict(Counter(answers))}, {hanging} hang, {seconds:.1f} s")


def soak(server: Server, pictures: list[bytes], count: int) -> None:
    """So many jobs one after the other, of several kinds; memory on the way."""
    kinds = [
        ("explain", {"method": "attention"}),
        ("explain", {"method": "gradcam"}),
        ("classify", {}),
        ("inspect", {}),
    ]
    statuses: Counter[int] = Counter()
    start = time.perf_counter()
    for place in range(count):
        kind, fields = kinds[place % len(kinds)]
        statuses[server.job(pictures[place % len(pictures)], kind, **fields)[0]] += 1
        if place in {0, *(count * part // 10 - 1 for part in range(1, 11))}:
            held = server.memory()
            print(f"after {place + 1:>5}: server {held['server']:.0f} MB, worker {held['worker']:.0f} MB", flush=True)
    print(f"{count} jobs: {dict(statuses)}, {count / (time.perf_counter() - start):.1f} a second")


def deaths(server: Server, picture: bytes) -> None:
    """A worker is killed in a job, and clients hang up: the next job is answered."""
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(server.job(picture, "explain", method="transition")[0]))
    thread.start()
    time.sleep(0.3)
    os.kill(_children(server.process.pid)[0], signal.SIGKILL)
    thread.join()
    print(f"killed in a job: that job {result[0]}, the next {server.job(picture, 'explain')[0]}")
    for _ in range(5):
        connection = http.client.HTTPConnection(server.host, server.port)
        body = (
            EDGE
            + b'"method"\r\n\r\ntransition\r\n'
            + EDGE
            + b'"picture"; filename="a"\r\n\r\n'
            + picture
            + b"\r\n--edge--\r\n"
        )
        connection.request("POST", "/api/explain", body, {"content-type": "multipart/form-data; boundary=edge"})
        time.sleep(0.1)
        connection.close()
    status = server.job(picture, "explain")[0]
    print(f"five hung up: the next {status}; health {json.dumps(server.get('/health'))}")


def gallery(count: int, folder: Path) -> None:
    """The page of a run of so many pictures: until it can be used, and what each filter and order takes in the page."""
    from playwright.sync_api import sync_playwright

    from regard.records import Evaluation, Predictions
    from regard.results.evaluations import write_evaluation

    random = np.random.default_rng(0)
    chances = random.dirichlet(np.ones(10) / 4, count).astype(np.float32)
    labels = np.where(random.random(count) < 0.8, chances.argmax(1), random.integers(0, 10, count))
    classes = tuple(f"class {index}" for index in range(10))
    names = tuple(f"{classes[label]}/{index:06d}.jpg" for index, label in enumerate(labels))
    predictions = Predictions(names, classes, chances.argmax(1), labels, chances)
    write_evaluation(
        folder / "large", Evaluation(predictions, {}, (), np.zeros((10, 10), np.int64), (), (), (), (), ())
    )
    server = Server(str(folder / "large"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(f"http://{server.host}:{server.port}/runs/large")
        page.locator("button.tile").first.wait_for(timeout=120_000)
        print(f"{count} pictures: tiles after {time.perf_counter() - start:.1f} s (columns read, decoded and sent)")
        search, order = "input[type=search]", "select:has(option[value=worst])"
        steps = {"find a name": (search, "0099", "input"), "all again": (search, "", "input"),
                 "worst first": (order, "worst", "change"), "by name": (order, "name", "change"),
                 "true class": ("select >> nth=0", "3", "change")}  # fmt: skip
        for name, (place, value, event) in steps.items():
            milliseconds = page.locator(place).first.evaluate(TIMED, [value, event])
            tiles = page.locator("button.tile").count()
            print(f"  {name}: {milliseconds:.0f} ms, {tiles} tiles; {page.locator('.count').inner_text()}")
        page.locator(".tiles").evaluate("grid => { grid.scrollTop = grid.scrollHeight / 2; }")
        page.wait_for_timeout(500)
        print(f"  scrolled to the middle: {page.locator('button.tile').count()} tiles")
        browser.close()
    server.stop()


def strange(server: Server, st: str, minutes: float) -> int:
    """Schemathesis against the schema: no answer of 500 or more."""
    address = f"http://{server.host}:{server.port}"
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance"
    words = ["run", f"{address}/openapi.json", "--checks", checks, "--max-time", str(int(60 * minutes))]
    words += ["--suppress-health-check", "all", "--request-timeout", "120"]
    with tempfile.TemporaryDirectory() as folder:  # it leaves what it found where it runs
        done = subprocess.run([st, *words], capture_output=True, text=True, check=False, cwd=folder)
    print("\n".join(done.stdout.splitlines()[-25:]))
    print(f"schemathesis: exit code {done.returncode}; health {json.dumps(server.get('/health'))}")
    return done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("photograph", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--soak", type=int, default=2000)
    parser.add_argument("--st", help="schemathesis' command")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--only", nargs="*", default=["latency", "crowd", "deaths", "soak", "strange", "gallery"])
    options = parser.parse_args()
    large = options.photograph.read_bytes() if options.photograph else photograph(4000)
    small = photograph(500)
    if "gallery" in options.only:
        with tempfile.TemporaryDirectory() as folder:
            gallery(100_000, Path(folder))
    print(f"photograph: {Image.open(io.BytesIO(large)).size}, {len(large) / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f}")
    server = Server()
    print(f"ready after {server.seconds:.1f} s, {server.memory()}")
    if "latency" in options.only:
        latency(server, large, options.rounds)
    if "crowd" in options.only:
        for count in (32, 200):
            crowd(server, small, count)
    if "deaths" in options.only:
        deaths(server, small)
    if "soak" in options.only:
        soak(server, [small, photograph(800), photograph(1200)], options.soak)
    code = strange(server, options.st, options.minutes) if "strange" in options.only and options.st else 0
    print(f"stopped with {server.stop()}; load {os.getloadavg()[0]:.1f}")
    errors = [line.strip() for line in server.lines if "failed" in line or "Error" in line]
    print("\n".join(errors[-5:]))
    sys.exit(code)


if __name__ == "__main__":
    main()
