"""What captions and their maps cost, side by side in one run.

    python bench/caption.py [--rounds 7] [--words 12] [--threads 2]

In each round all rows are timed once, one right behind the other; a ratio is the median over rounds of the two times
of a round, with the 95 % interval of the median. Networks are random and of real size (CATR as it is; BLIP base; a
Qwen2.5-VL of 0.25 billion parameters): what they say does not matter to the time. `tokens` says whether both ways said
the same.

    CATR          a caption of so many words at 299 pixels, against the original way: backbone, encoder and decoder are
                  run anew for each word, over all 128 positions; and batches of 8 pictures against pictures one by one
    maps          captions with the maps of all words, layers and the mean over heads, against captions without, and
                  against what transformers generates, which says nothing of probabilities either
    beams         maps of a beam search against teacher forcing of what it found: the largest difference
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
import torch
import transformers
from captioners import TEMPLATE, byte_vocabulary, word_vocabulary
from PIL import Image
from torch import Tensor

from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.families.catr import Catr, CatrCaptioner
from regard.networks.captioners.load import load_caption_network

ALL = Capture(None, "mean")


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, float32, {options.rounds} rounds, captions of {options.words} words\n")
    print("| what | against | ratio | 95 % interval | seconds | tokens |")
    print("|---|---|---|---|---|---|")
    catr = _catr()
    image = _picture(299, 224)
    _speed(catr, image, options)
    _batches(catr, image, options)
    captioners = {"CATR": catr}
    with tempfile.TemporaryDirectory() as scratch:
        captioners["BLIP"] = load_caption_network(_blip(Path(scratch) / "blip"))
        captioners["Qwen2.5-VL"] = load_caption_network(_qwen(Path(scratch) / "qwen"))
        for name, captioner in captioners.items():
            _maps(name, captioner, image, options)
        print()
        for name, captioner in captioners.items():
            difference, size = _beams(captioner, image, options)
            print(f"{name}: maps of 3 beams differ from teacher forcing by {difference:.1e}; they take {size:.0f} kB")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


# CATR.


def _catr() -> CatrCaptioner:
    torch.manual_seed(0)
    return CatrCaptioner(Catr().eval())


def original(module: Catr, pixels: Tensor, words: int) -> list[int]:
    """The way of CATR's own script: everything anew for each word, over all positions."""
    tokens = torch.zeros(1, module.limit + 1, dtype=torch.long)
    tokens[0, 0] = module.start
    with torch.no_grad():
        for place in range(words):
            logits = module(pixels, tokens[:, : module.limit + 1])
            tokens[0, place + 1] = logits[0, place].argmax()
    return tokens[0, 1 : words + 1].tolist()


def _speed(catr: CatrCaptioner, image: Image.Image, options: argparse.Namespace) -> None:
    prepared = catr.prepare(image)
    pixels = prepared.inputs["pixels"][None]
    said: dict[str, list[int]] = {}

    def ours() -> None:
        said["ours"] = list(catr.generate([prepared], limit=options.words)[0].tokens)

    def theirs() -> None:
        said["theirs"] = original(catr.module, pixels, options.words)

    rounds = max(3, options.rounds // 2)
    row = _timed(theirs, ours, rounds)
    _print("CATR, the original way", "regard", row, said["ours"] == said["theirs"])


def _batches(catr: CatrCaptioner, image: Image.Image, options: argparse.Namespace) -> None:
    pictures = [catr.prepare(_picture(299, 224, seed)) for seed in range(8)]
    said: dict[str, list[tuple[int, ...]]] = {}

    def alone() -> None:
        said["alone"] = [catr.generate([picture], limit=options.words)[0].tokens for picture in pictures]

    def together() -> None:
        said["together"] = [each.tokens for each in catr.generate(pictures, limit=options.words)]

    row = _timed(alone, together, max(3, options.rounds // 2))
    _print("CATR, 8 pictures one by one", "a batch of 8", row, said["alone"] == said["together"])


# Maps.


def _maps(name: str, captioner: CaptionNetwork, image: Image.Image, options: argparse.Namespace) -> None:
    prepared = captioner.prepare(image)
    said: dict[str, tuple[int, ...]] = {}

    def without() -> None:
        said["without"] = captioner.generate([prepared], limit=options.words)[0].tokens

    def maps() -> None:
        said["with"] = captioner.generate([prepared], limit=options.words, capture=ALL)[0].tokens

    row = _timed(maps, without, options.rounds)
    _print(f"{name} with all maps", "without", row, said["with"] == said["without"])
    if isinstance(captioner, CatrCaptioner):
        return

    def plain() -> None:
        with torch.no_grad():
            found = captioner.module.generate(**prepared.inputs, max_new_tokens=options.words, do_sample=False)[0]
        said["plain"] = tuple(found[-options.words :].tolist())

    row = _timed(maps, plain, options.rounds)
    _print(f"{name} with all maps", "transformers' generate", row, said["with"] == said["plain"])


def _beams(captioner: CaptionNetwork, image: Image.Image, options: argparse.Namespace) -> tuple[float, float]:
    """(largest difference between the maps of a beam search and those of its caption when given, kB of them)."""
    prepared = captioner.prepare(image)
    found = captioner.generate([prepared], beams=3, limit=options.words, capture=ALL)[0]
    forced = captioner.teacher_force([prepared], [found.tokens], capture=ALL)[0]
    assert found.attention is not None and forced.attention is not None
    return float((found.attention - forced.attention).abs().max()), found.attention.nbytes / 1000


# Networks of real size.


def _blip(folder: Path) -> str:
    """BLIP base at 384 pixels."""
    torch.manual_seed(0)
    tokenizer = word_vocabulary()
    text = {"vocab_size": 30524, "bos_token_id": 30522, "sep_token_id": 102, "eos_token_id": 2, "pad_token_id": 0}
    vision = {"image_size": 384, "patch_size": 16}
    config = transformers.BlipConfig(text_config={**text, "encoder_hidden_size": 768}, vision_config=vision)
    module = transformers.BlipForConditionalGeneration(config).eval()
    for part in (module, tokenizer, transformers.BlipImageProcessor(size={"height": 384, "width": 384})):
        part.save_pretrained(folder)
    return str(folder)


def _qwen(folder: Path) -> str:
    """A Qwen2.5-VL of about a quarter of a billion parameters, its pictures at their own size."""
    torch.manual_seed(0)
    tokenizer = byte_vocabulary("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>", size=320)
    start, image, end, video = tokenizer.convert_tokens_to_ids(
        ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    )
    text = {
        "vocab_size": 32000, "hidden_size": 896, "intermediate_size": 3584, "num_hidden_layers": 14,
        "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 4096, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1000000.0},
    }  # fmt: skip
    vision = {
        "depth": 8, "hidden_size": 640, "intermediate_size": 1712, "num_heads": 10, "out_hidden_size": 896,
        "patch_size": 14, "fullatt_block_indexes": [7], "window_size": 112,
    }  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=image, video_token_id=video, vision_start_token_id=start,
        vision_end_token_id=end, tie_word_embeddings=False,
    )  # fmt: skip
    module = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    module.generation_config.update(eos_token_id=[2, 0], pad_token_id=0, bos_token_id=1)
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    template = TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    sizes = {"shortest_edge": 56 * 56, "longest_edge": 448 * 448}
    processor = transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(size=sizes), tokenizer, transformers.Qwen2VLVideoProcessor(),
        chat_template=template,
    )  # fmt: skip
    for part in (module, processor):
        part.save_pretrained(folder)
    return str(folder)


def _picture(width: int, height: int, seed: int = 0) -> Image.Image:
    blots = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


# Times.


def _timed(slow: Callable[[], None], fast: Callable[[], None], rounds: int) -> tuple[list[float], float]:
    """The ratio of both in each round, and the median seconds of the second; both have run once before."""
    slow()
    fast()
    pairs = [(_seconds(slow), _seconds(fast)) for _ in range(rounds)]
    return [one / two for one, two in pairs], statistics.median(two for _, two in pairs)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _print(what: str, against: str, row: tuple[list[float], float], same: bool) -> None:
    ratios, seconds = row
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    numbers = f"{statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} | {seconds:.2f}"
    print(f"| {what} | {against} | {numbers} | {'same' if same else 'OTHER'} |", flush=True)


if __name__ == "__main__":
    main()
