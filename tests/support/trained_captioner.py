"""A tiny ViT-GPT2 that learnt in seconds to say of which colour a ball and a box are, and so where to look."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 220, 50)}
SIDE = 5
PATCH = 8
RATE = 1e-2
WORDS = ["<pad>", "<s>", "</s>", "<unk>", "a", "and", "ball", "box", *COLOURS]


def picture(seed: int) -> tuple[NDArray[np.uint8], str, dict[str, tuple[int, int]]]:
    """A ball (round, in one patch) and a box (all of another) on grey noise: the picture (40, 40, 3), what is true of
    it, and the (row, column) of the patch of each colour word's item, by the item's name."""
    random = np.random.default_rng(seed)
    pixels = random.integers(70, 130, (SIDE * PATCH, SIDE * PATCH, 3)).astype(np.uint8)
    places = random.choice(SIDE * SIDE, 2, replace=False)
    names = random.choice(list(COLOURS), 2)
    across = np.arange(PATCH) - (PATCH - 1) / 2
    round_one = across[:, None] ** 2 + across**2 < 12
    where = {}
    for item, place, name, inside in zip(
        ("ball", "box"), places, names, (round_one, np.ones_like(round_one)), strict=True
    ):
        row, column = divmod(int(place), SIDE)
        pixels[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH][inside] = COLOURS[name]
        where[item] = row, column
    return pixels, f"a {names[0]} ball and a {names[1]} box", where


def _network() -> transformers.VisionEncoderDecoderModel:
    vit = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=SIDE * PATCH,
        patch_size=PATCH,
    )  # fmt: skip
    gpt = transformers.GPT2Config(
        vocab_size=len(WORDS), n_positions=16, n_embd=32, n_inner=64, n_layer=1, n_head=2, add_cross_attention=True,
        is_decoder=True, bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, gpt)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    module = transformers.VisionEncoderDecoderModel(config=config)
    module.generation_config.update(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    return module


def _drawn(count: int) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 40, 40) and their captions (n, tokens), the start and the stop among them."""
    drawn = [picture(1000 + number) for number in range(count)]
    pixels = np.stack([pixels for pixels, _, _ in drawn])
    tokens = [[1, *(WORDS.index(word) for word in text.split()), 2] for _, text, _ in drawn]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor(tokens)


def trained(folder: Path, steps: int = 300) -> Path:
    """A folder that `regard caption --model` loads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = _network()
        optimiser = torch.optim.AdamW(module.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        pixels, tokens = _drawn(1500)
        for _ in range(steps):
            chosen = torch.randint(len(tokens), (32,))
            logits = module(pixel_values=pixels[chosen], decoder_input_ids=tokens[chosen, :-1]).logits
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[chosen, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    parts = (
        module.eval(),
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special),
        transformers.ViTImageProcessor(size={"height": 40, "width": 40}, image_mean=[0.5] * 3, image_std=[0.5] * 3),
    )
    for part in parts:
        part.save_pretrained(folder)
    return folder
