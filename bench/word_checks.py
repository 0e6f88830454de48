"""Which words of a captioner are wrong, and how well checks and their fit find them, on drawn scenes.

    python bench/word_checks.py collect WORDS [--model scenes-captioner] [--scenes plain=1000 occluded=300 ...]
                                              [--planted 200] [--full 0] [--threads 1]
    python bench/word_checks.py tables WORDS [WORDS ...]
    python bench/word_checks.py fit WORDS --data TEXT --out support.json

`collect` draws scenes anew, from seeds that no training had, and judges every word by the scene's facts. *Natural*
errors are the captioner's own, by condition: plain scenes, such whose main animal is half hidden or cut off,
combinations that it never saw, and captions of one whose training was stopped early (give that one's folder with
`--scenes early=300` and the same WORDS). *Planted* ones are in true captions, one word of which is exchanged: a noun, a
colour, a count, a side or a verb, so that the sentence stays one that is said and the word is false; the right words
are those of the same kind in the true captions. Of the first `--full` plain scenes patches are taken out, too. WORDS is
a folder of CSV files, whose name is the captioner's in the tables; an interrupted run goes on.

`tables` prints AUROC of the fit (cross-fitted by sentence) and of each check, paired differences, calibration errors,
and what the fit on all other captioners is worth on each one; intervals draw sentences again, a scene and all that is
said of it being one. `fit` writes the support model of one captioner.
"""

import argparse
from pathlib import Path

import torch

from judged.collect import Plan, collect
from judged.tables import tables
from regard.explanation.words.support.fit import fit
from regard.explanation.words.support.judged import CONDITIONS, JudgedWord, read_judged
from regard.files import write_json
from regard.networks.captioners.load import load_caption_network


def main() -> None:
    options = _options()
    if options.command == "collect":
        torch.set_num_threads(options.threads)
        plan = Plan(dict(_counted(each) for each in options.scenes), options.planted, options.full)
        collect(load_caption_network(options.model), plan, options.words)
    elif options.command == "tables":
        for table in tables({folder.name: words_of(folder) for folder in options.words}):
            print(table, flush=True)
    else:
        write_json(options.out, fit(words_of(options.words), data=options.data).as_json())


def words_of(folder: Path) -> list[JudgedWord]:
    """All that was collected in a folder."""
    return [word for file in sorted(folder.glob("*.csv")) for word in read_judged(file)]


def _counted(text: str) -> tuple[str, int]:
    condition, _, count = text.partition("=")
    if condition not in CONDITIONS or not count.isdecimal():
        raise SystemExit(f"--scenes is {text!r}; give CONDITION=NUMBER, the condition one of {', '.join(CONDITIONS)}")
    return condition, int(count)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("words", type=Path)
    collecting.add_argument("--model", default="scenes-captioner")
    collecting.add_argument(
        "--scenes", nargs="+", default=["plain=1000", "occluded=300", "cropped=300", "held-out=300"]
    )
    collecting.add_argument("--planted", type=int, default=200)
    collecting.add_argument("--full", type=int, default=0)
    collecting.add_argument("--threads", type=int, default=1)
    commands.add_parser("tables").add_argument("words", type=Path, nargs="+")
    fitting = commands.add_parser("fit")
    fitting.add_argument("words", type=Path)
    fitting.add_argument("--data", required=True)
    fitting.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
