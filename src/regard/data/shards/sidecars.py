"""What the members beside a picture say of it: `.cls` a label, `.json` fields, `.txt` a caption."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from regard.data.dataset import split_name
from regard.data.shards.base import Options
from regard.data.shards.index import Index
from regard.errors import DataError

_LABELS = ("label", "class", "cls")
_CAPTIONS = ("caption", "captions", "text")


@dataclass(frozen=True)
class Sidecar:
    """A picture's label, captions, split and further columns; what nothing is said of is None or empty."""

    label: str | None = None
    captions: tuple[str, ...] = ()
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


EMPTY = Sidecar()


def sidecar(index: Index, key: str, options: Options, address: str) -> Sidecar:
    """What is said of a picture. `options.label` is the ending of a member, or a field of the `.json`, that has its
    label; without, it is the `.cls`, or the field `label`. Raises `DataError` for JSON that cannot be read."""
    texts = index.texts.get(key)
    if not texts:
        return EMPTY
    fields = _fields(texts["json"], f"{address}: {key}.json") if "json" in texts else {}
    label: object = None
    if options.label is not None:
        label = texts.get(options.label, fields.get(options.label))
    else:
        label = texts.get("cls", next((fields[name] for name in _LABELS if name in fields), None))
    captions: list[str] = []
    if "txt" in texts:
        captions = [texts["txt"]]
    else:
        stated = next((fields[name] for name in _CAPTIONS if name in fields), [])
        captions = [str(each) for each in (stated if isinstance(stated, list) else [stated])]
    columns = {name: str(value) for name, value in fields.items() if isinstance(value, str | int | float)}
    split = split_name(columns.pop("split", "")) or None
    text = None if label is None else str(label).strip() or None
    return Sidecar(text, tuple(filter(None, map(str.strip, captions))), split, columns)


def _fields(text: str, name: str) -> Mapping[str, object]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON ({error}); mend it, or write the shard again") from error
    return content if isinstance(content, dict) else {}
