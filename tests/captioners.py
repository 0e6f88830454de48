"""Small captioners of every kind, of random values and awake, saved as folders with a vocabulary made here."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

SENTENCES = [
    "a small cat raises its left paw near a red ball",
    "the dogs are running unbelievably fast over wet snow, aren't they?",
    "two unbelievable bicycles and a yellow bus in the street.",
]


def byte_vocabulary(*special: str, size: int = 300) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<pad>", "<s>", "</s>", *special],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def word_vocabulary() -> transformers.PreTrainedTokenizerFast:
    words = sorted({word for sentence in SENTENCES for word in sentence.replace(",", " ,").split()})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##believ", "##able", "##ably", ".", *words]
    tokenizer = Tokenizer(models.WordPiece({piece: token for token, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )


def wake(module: nn.Module, attention: Callable[[], list[Tensor]], logits: Callable[[], Tensor]) -> None:
    """Random values everywhere, queries and keys scaled until each layer's largest weight is above 0.3 and far from
    all alike, the head until what is said is no accident."""
    generator = torch.Generator().manual_seed(5)
    sharp = ("q_proj", "k_proj", "query", "key", "q_attn", "c_attn", "qkv")
    with torch.no_grad():
        for name, part in module.named_parameters():
            noise = torch.randn(part.shape, generator=generator)
            if part.ndim == 1:
                part.copy_((1 if name.endswith("weight") else 0) + 0.1 * noise)
            else:
                fan = part.shape[0] if "c_attn" in name or "c_proj" in name else part[0].numel()
                part.copy_(noise / math.sqrt(fan) if "embed" not in name and "wte" not in name else noise)
        for _ in range(40):
            if min(float(layer.max()) for layer in attention()) > 0.3:
                break
            for name, part in module.named_parameters():
                if part.ndim > 1 and any(key in name for key in sharp):
                    part *= 1.15
        else:
            raise AssertionError("the network did not wake")
        assert float(logits().std()) > 0.1


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    blots = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def encoder_decoder(folder: Path) -> Path:
    """ViT-GPT2 of 4 × 6 patches."""
    torch.manual_seed(0)
    tokenizer = byte_vocabulary()
    vit = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=(32, 48),
        patch_size=8,
    )
    gpt = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=40, n_embd=48, n_layer=3, n_head=4, add_cross_attention=True,
        is_decoder=True, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, gpt)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    module = transformers.VisionEncoderDecoderModel(config=config).eval()
    module.generation_config.update(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    module.set_attn_implementation("eager")
    pixels, tokens = torch.randn(1, 3, 32, 48), torch.randint(3, 250, (1, 12))

    def run() -> transformers.utils.ModelOutput:
        return module(pixel_values=pixels, decoder_input_ids=tokens, output_attentions=True)

    wake(module, lambda: list(run().cross_attentions), lambda: run().logits)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 48})
    return _saved(folder, module, tokenizer, processor)


def blip(folder: Path) -> Path:
    """BLIP of 4 × 4 patches."""
    torch.manual_seed(0)
    tokenizer = word_vocabulary()
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    text = {
        **size, "vocab_size": len(tokenizer) + 1, "max_position_embeddings": 40, "encoder_hidden_size": 32,
        "bos_token_id": len(tokenizer), "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0, "num_hidden_layers": 3,
    }  # fmt: skip
    config = transformers.BlipConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 8})
    module = transformers.BlipForConditionalGeneration(config).eval()
    pixels, tokens = torch.randn(1, 3, 32, 32), torch.randint(4, len(tokenizer), (1, 12))

    def run() -> transformers.utils.ModelOutput:
        seen = module.vision_model(pixel_values=pixels).last_hidden_state
        return module.text_decoder(input_ids=tokens, encoder_hidden_states=seen, output_attentions=True)

    wake(module, lambda: list(run().cross_attentions), lambda: run().logits)
    processor = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    return _saved(folder, module, tokenizer, processor)


def _saved(folder: Path, *parts: object) -> Path:
    for part in parts:
        part.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def tiled(folder: Path) -> Path:
    """Idefics3 whose tiles of 32 × 32 pixels are 2 × 2 tokens each."""
    torch.manual_seed(0)
    cells = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    tokenizer = byte_vocabulary(
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *cells, size=320
    )
    text = {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = transformers.Idefics3Config(
        text_config=text, vision_config=vision, scale_factor=2, image_token_id=image, pad_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    module = transformers.Idefics3ForConditionalGeneration(config).eval()
    module.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    processor = transformers.Idefics3Processor(
        transformers.Idefics3ImageProcessor(size={"longest_edge": 96}, max_image_size={"longest_edge": 32}),
        tokenizer, image_seq_len=4, chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )  # fmt: skip
    _wake_chat(module, processor)
    return _saved(folder, module, processor)


def merged(folder: Path) -> Path:
    """Qwen2.5-VL whose tokens hold 2 × 2 patches of 14 pixels."""
    torch.manual_seed(0)
    tokenizer = byte_vocabulary("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>", size=320)
    start, image, end, video = tokenizer.convert_tokens_to_ids(
        ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    )
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32, "patch_size": 14,
        "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=image, video_token_id=video, vision_start_token_id=start,
        vision_end_token_id=end, tie_word_embeddings=False,
    )  # fmt: skip
    module = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    module.generation_config.update(eos_token_id=[2, 0], pad_token_id=0, bos_token_id=1)
    sizes = {"shortest_edge": 56 * 56, "longest_edge": 84 * 140}
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    template = TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(size=sizes), tokenizer, transformers.Qwen2VLVideoProcessor(),
        chat_template=template,
    )  # fmt: skip
    _wake_chat(module, processor)
    return _saved(folder, module, processor)


def _wake_chat(module: nn.Module, processor: transformers.ProcessorMixin) -> None:
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a cat?"}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=[picture(60, 100)], text=[text], return_tensors="pt")
    module.set_attn_implementation("eager")
    last = []

    def run() -> transformers.utils.ModelOutput:
        with torch.no_grad():
            return module(**inputs, output_attentions=True)

    def attention() -> list[Tensor]:
        last[:] = [run()]
        return [layer[:, :, -1] for layer in last[0].attentions]

    wake(module, attention, lambda: last[0].logits)
