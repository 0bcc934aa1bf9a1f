"""Reads a report's page as a browser would: tags, ids, links and texts."""

from collections import Counter
from html.parser import HTMLParser

from wavewise.report import RenderedReport

VOID = {"meta", "link", "br", "img"}


class Reader(HTMLParser):
    """Checks that tags are balanced, and keeps ids, links and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values[k]) for k in ("href", "src", "xlink:href") if k in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def read(page: RenderedReport) -> Reader:
    """The page, whose tags are balanced."""
    reader = Reader()
    reader.feed(page.html)
    reader.close()
    assert reader.open == []
    return reader
