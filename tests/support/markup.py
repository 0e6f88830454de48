"""Reads HTML strictly, and checks what must hold of every page whatever went into it."""

import re
from html.parser import HTMLParser

SVG = '"http://www.w3.org/2000/svg"'
"""The name of a kind of elements, which nothing is fetched from."""
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Reader(HTMLParser):
    """Reads a page strictly: tags must close in order; keeps elements, texts and what scripts hold."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.scripts, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, tag

    def handle_data(self, data):
        (self.scripts if self._open and self._open[-1] == "script" else self.texts).append(data)

    @property
    def text(self):
        return " ".join(self.texts)

    def images(self):
        return [
            attrs[key]
            for tag, attrs in self.elements
            for key in ("src", "href")
            if tag in ("img", "image") and key in attrs
        ]


def check_safe(text):
    """What must hold of any page, whatever went into it."""
    reader = Reader(text)
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"iframe", "object", "embed", "form", "base", "applet"}
    scripts = [attrs for tag, attrs in reader.elements if tag == "script"]
    assert all("src" not in attrs for attrs in scripts)
    assert sum("type" not in attrs for attrs in scripts) <= 1  # the others are data
    assert {attrs.get("type") for attrs in scripts} <= {None, "application/json", "application/octet-stream"}
    for tag, attrs in reader.elements:
        assert not [key for key in attrs if key.startswith("on")], (tag, attrs)
        for key in ("src", "href", "xlink:href", "action", "srcset"):
            assert key not in attrs or attrs[key].startswith(("data:", "#")), (tag, key)
        if "style" in attrs:
            assert "url(" not in attrs["style"]
    text = text.replace(SVG, "")
    assert not re.search(r"https?:|url\(|@import|\bimport\s*\(|fetch\(", text)
    assert text.encode()
    assert not set(text) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\x00")
    return reader
