"""A worker without networks, run as a script: what it does with a job stands in the picture's bytes.

"echo" answers, "die" ends the process, "die once FILE" does so unless FILE is there, "hang" hears nothing, "slow" takes
stages until it is cancelled, "refuse", "break" and "exhaust" fail in the three ways that there are.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from regard.errors import DataError, NetworkError
from regard.jobs.pool import worker


class Desk:
    def __init__(self, plan):
        if plan["models"][0][1] == "broken":
            raise NetworkError("this network cannot be loaded; give another")
        self.models = [
            {
                "name": name,
                "task": "captioning" if source == "words" else "classification",
                "classes": ["cat", "dog"],
                "methods": ["attention", "legrad", "shapley"],
                "layers": 4,
            }
            for name, source in plan["models"]
        ]

    def work(self, header, picture, tell):
        words = picture.decode("latin-1").split()
        if words[0] == "die" and not (words[1:] and Path(words[2]).exists()):
            if words[1:]:
                Path(words[2]).touch()
            os._exit(7)
        if words[0] == "hang":
            time.sleep(60)
        while words[0] == "slow":
            tell("slow", 0, 1)
            time.sleep(0.02)
        if words[0] == "refuse":
            raise DataError("this is not a picture; send another")
        if words[0] == "break":
            raise ValueError("a mistake of ours")
        if words[0] == "exhaust":
            raise MemoryError
        if header.get("kind") == "inspect":
            import inspections

            captions = header["model"] == "words"
            packed = inspections.made(
                3, name=header["name"], network=header["model"], caption=captions, layers=4, heads=2
            )
            if header["settings"].get("check"):
                measured = f"Checked as: {header['settings']['check']}"
                packed = replace(packed, caption=replace(packed.caption, measured=measured))
            tell("attention", 1, 3)
            return {"name": header["name"], "model": header["model"]}, packed.pack()
        sys.stdout.write("what writes to standard output spoils nothing")
        sys.stdout.flush()
        tell("echo", 0, 1)
        return {**header, "process": os.getpid()}, picture


if __name__ == "__main__":
    worker.main(Desk)
