"""Pages that may be shared: pictures' names become `picture-0001`, and no path of anybody's disk is left in a text.

Where in doubt a text loses a word too many rather than too few.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

PATH = "[path]"
LEFT_OUT = "[left out]"

_PRIVATE = {"command", "argv", "path", "source", "folder", "host", "hostname", "user", "cwd", "out", "file", "files"}
"""Facts that are a place or a person by their very name."""

_END = r"[^'\"<>|;\n\r\t`]*?(?=$|['\"<>|;\n\r\t`]|[,:.)\]](?:\s|$))"
_ABSOLUTE = re.compile(r"(?<![\w.])(?:~[\w.-]*[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|file:|\\\\|/(?=[^\s/]))" + _END)
_RELATIVE = re.compile(r"[^\s'\"<>|;,()\[\]]+[/\\][^\s'\"<>|;,()\[\]]*")
_NUMBERS = re.compile(r"[\d.,%]+[/\\][\d.,%]+")


class Anonymiser:
    """New names for pictures, the same for the same picture, and texts in which the old ones are replaced.

    `names` are the pictures' names in the order they are numbered in; `keep` (class names) are words that stay even
    where a picture is called the same.
    """

    def __init__(self, names: Iterable[str], keep: Iterable[str] = ()) -> None:
        self._aliases = {name: f"picture-{place:04d}" for place, name in enumerate(dict.fromkeys(names), 1)}
        words = {word.casefold() for word in keep}
        self._forms: dict[str, str] = {}
        for name, alias in self._aliases.items():
            for form in _forms(name):
                # a letter, or a number like a count, says nothing of a picture and would be matched everywhere
                common = len(form) < (2 if form == name else 3) or (form.isdecimal() and len(form) < 4)
                if form.casefold() not in words and not common:
                    self._forms.setdefault(form.casefold(), alias)

    def name(self, name: str) -> str:
        """The new name of a picture."""
        return self._aliases.get(name, LEFT_OUT)

    def text(self, text: str) -> str:
        """A text without names and paths."""

        def place(match: re.Match[str]) -> str:
            aliases = re.findall(r"picture-\d{4,}", match[0])
            return aliases[-1] if aliases else PATH

        text = self._replace_names(text)
        text = _ABSOLUTE.sub(place, text)
        return _RELATIVE.sub(lambda match: match[0] if _NUMBERS.fullmatch(match[0]) else place(match), text)

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Facts without names and paths, at any depth; those that are places by their name are left out."""
        return {
            self.text(str(key)): LEFT_OUT if str(key).casefold() in _PRIVATE and value else self.anything(value)
            for key, value in facts.items()
        }

    def anything(self, value: Any) -> Any:
        """The same for a value of any JSON kind; other kinds by their text."""
        if isinstance(value, Mapping):
            return self.facts(value)
        if isinstance(value, (list, tuple)):
            return [self.anything(each) for each in value]
        return value if value is None or isinstance(value, (bool, int, float)) else self.text(str(value))

    def _replace_names(self, text: str) -> str:
        """One pass over the text per length of name, longest first, so that ten thousand names stay quick."""
        lowered = text.casefold()
        present = [form for form in self._forms if form in lowered]
        if not present:
            return text
        longest = sorted(present, key=len, reverse=True)
        pattern = "|".join(re.escape(form) for form in longest)
        swap: Callable[[re.Match[str]], str] = lambda match: self._forms[match[0].casefold()]  # noqa: E731
        return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", swap, text, flags=re.IGNORECASE)


def pathless(text: str) -> str:
    """A text without whole paths, as messages of a system have them; names below a folder of pictures stay."""
    return _ABSOLUTE.sub(PATH, text)


def _forms(name: str) -> set[str]:
    """The ways a picture's name is written: with and without its folders, with and without its extension."""
    last = re.split(r"[/\\]", name)[-1]
    shapes = {name, last, re.sub(r"\.\w{1,5}$", "", name), re.sub(r"\.\w{1,5}$", "", last)}
    return {shape for shape in shapes if shape}
