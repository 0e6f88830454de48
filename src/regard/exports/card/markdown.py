"""Text for Markdown that strangers open: nothing in it is taken for markup, an address, or a mention."""

import re
from collections.abc import Iterable, Mapping, Sequence

from regard.files import readable
from regard.records import Score
from regard.records.display import counted

_SIGNS = re.compile(r"[\\`*\[\]#|~$@<>&]|(?<![^\W_])_|_(?![^\W_])|(?<=:)/(?=/)|(?i:(?<=www)\.)")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def escaped(text: object) -> str:
    """What stands in Markdown as the very text, on one line.

    >>> print(escaped("<b>*cats*</b> | see https://example.org"))
    &lt;b&gt;\\*cats\\*&lt;/b&gt; \\| see https:\\//example.org
    """
    return _SIGNS.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), plain(text))


def plain(text: object) -> str:
    """Text on one line, without signs that no one sees (of control, or that turn the writing's direction)."""
    line = " ".join(readable(str(text)).split())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)


def code(text: object) -> str:
    """Text as code, in a table too.

    >>> print(code("a`b|c"))
    `` a`b\\|c ``
    """
    line = plain(text).replace("|", "\\|")
    longest = max(map(len, re.findall("`+", line)), default=0)
    return f"{'`' * (longest + 1)} {line} {'`' * (longest + 1)}" if longest else f"`{line}`"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of cells, escaped already, by column; "" for none."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns, without what is empty."""
    return table([{"": name, " ": value} for name, value in rows if value])


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def share(score: Score) -> str:
    """A share in words: "84 % [74, 91]", the interval where there is one.

    >>> share(Score(0.838, 0.737, 0.905, 74)), share(Score(0.5, float("nan"), float("nan"), 1))
    ('84 % [74, 91]', '50 %')
    """
    percent = [f"{100 * each:.0f}" for each in (score.value, score.low, score.high)]
    value, low, high = ("0" if each == "-0" else each for each in percent)
    return f"{value} % [{low}, {high}]" if "nan" not in (low, high) else f"{value} %"


def points(score: Score) -> str:
    """A difference of shares: "8 points [2, 14]"."""
    return share(score).replace(" %", " points", 1)


def pictures(count: int) -> str:
    return counted(count, "picture")


def joined(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))
