"""Folders that hold no network which can be loaded as it is: what they are, and what to give instead."""

from pathlib import Path

from regard.networks.sources.checkpoint import in_parts, listed

FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz")
_CONFIGURATIONS = ("config.json", "adapter_config.json")


def what_folder(folder: Path) -> str:
    """What a folder that holds no network is, and what to give instead."""
    if (folder / "adapter_config.json").is_file():
        return (
            f"{folder} is an adapter (LoRA), which is part of a network only; merge it into the network that it was "
            "trained on, PeftModel.from_pretrained(NETWORK, FOLDER).merge_and_unload().save_pretrained('merged'), and "
            "give that folder with the processor beside it"
        )
    if parts := in_parts(folder):
        return parts
    inside = [path.parent for path in folder.glob("checkpoint-*/*") if path.name in _CONFIGURATIONS]
    steps = sorted(set(inside), key=lambda path: (int("".join(filter(str.isdigit, path.name)) or 0), path.name))
    if steps:
        names = listed([path.name for path in steps], 4)
        return f"{folder} holds a Trainer's checkpoints ({names}); give one of them: {steps[-1]} is the last"
    files = sorted(path.name for path in folder.iterdir() if path.suffix in FILE_ENDINGS)
    if files:
        return (
            f"{folder} is a folder with weights ({listed(files, 3)}), but nothing that says of which network they are; "
            f"name it: --model NAME --weights {folder / files[0]}"
        )
    return (
        f"{folder} is a folder, but neither a run (it has no model.json) nor a Hugging Face network (no config.json); "
        "give the folder that has it"
    )
