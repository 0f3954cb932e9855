"""The text of HTML, as in FHIR attachments and narratives: no entity but characters, no script."""

import re
from html.parser import HTMLParser

_HIDDEN = frozenset({"script", "style", "head", "title"})
_LINES = frozenset(
    {"p", "div", "br", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
     "section", "article", "dt", "dd", "hr", "thead", "tbody"}
)  # fmt: skip
_CELLS = frozenset({"td", "th"})

# Comments, declarations and instructions, closed or not: the parser would search to the end of the
# text for each that is not closed.
_NO_TEXT = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][^>]*(?:>|\Z)", re.DOTALL)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self.hidden += 1
        self._space(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN and self.hidden:
            self.hidden -= 1
        self._space(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)

    def _space(self, tag: str) -> None:
        if tag in _LINES:
            self.parts.append("\n")
        elif tag in _CELLS:
            self.parts.append(" ")


def html_text(markup: str) -> str:
    """Text with a line a block element; blank lines are left out."""
    parser = _Text()
    markup = _NO_TEXT.sub("", markup)
    end = markup.rfind(">") + 1  # what begins behind it is no tag
    parser.feed(markup[:end] + markup[end:].replace("<", "&lt;"))
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)
