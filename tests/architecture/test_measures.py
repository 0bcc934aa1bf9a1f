"""The layout keeps its measures: full pages, short folders, arrows that never close a circle.

One concept a page: a page of under 100 lines that only one other page of its package uses belongs
in that page. What a package offers through its ``__init__`` is a page of its own, and so are the
providers of channels, which are found by name.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "wavewise"
MOST_FILES = 375
LINES_PER_PAGE = 260  # on average, at most: a page is one concept, not a drawer
MOST_ENTRIES = 16
NO_ENTRIES = {"__pycache__", "__init__.py", "py.typed"}  # Nothing to read.
MOST_INTERNAL_DOCSTRING_LINES = 6_300
SHORT_PAGE = 100
FOUND_BY_NAME = ("wavewise.fieldwork.channels.", "wavewise.store.migrations.")
NOT_PAGES = ("__init__", "__main__", "_version")


@cache
def pages() -> dict[str, Path]:
    """Module name: its file; a package goes by its folder's name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Modules that a page imports, wherever it does so and for whatever reason."""
    found = set()
    for node in ast.walk(tree(pages()[module])):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wavewise"):
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in pages() else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name in pages()}
    return found - {module}


def is_door(module: str) -> bool:
    return pages()[module].name == "__init__.py"


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one page (Tarjan)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    waiting: list[str] = []
    found = []

    def visit(page: str) -> None:
        order[page] = lowest[page] = len(order)
        waiting.append(page)
        for other in arrows[page]:
            if other not in order:
                visit(other)
            if other in waiting:
                lowest[page] = min(lowest[page], lowest[other])
        if lowest[page] == order[page]:
            at = waiting.index(page)
            group = waiting[at:]
            del waiting[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for page in arrows:
        if page not in order:
            visit(page)
    return found


def public_names(module: str) -> set[str]:
    for node in tree(pages()[module]).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def internal_docstrings(node: ast.AST, names: set[str], public: bool) -> Iterator[int]:
    """Lines of each docstring that stands on a name which no package offers."""
    for item in getattr(node, "body", []):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            at_top = isinstance(node, ast.Module)
            offered = item.name in names if at_top else public and not item.name.startswith("_")
            first = item.body[0]
            if ast.get_docstring(item, clean=False) is not None and not offered:
                yield first.end_lineno - first.lineno + 1
            yield from internal_docstrings(item, names, offered)


def test_source_keeps_its_size() -> None:
    assert len(pages()) <= MOST_FILES
    lines = sum(path.read_text(encoding="utf-8").count("\n") for path in pages().values())
    assert lines <= LINES_PER_PAGE * len(pages())


def test_a_folder_fits_on_a_screen() -> None:
    full = {}
    for folder in {path.parent for path in pages().values()}:
        entries = [item for item in folder.iterdir() if item.name not in NO_ENTRIES]
        if len(entries) > MOST_ENTRIES:
            full[str(folder.relative_to(SOURCE))] = len(entries)
    assert full == {}


def test_imports_close_no_circle() -> None:
    inner = [module for module in pages() if not is_door(module)]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)
    try:
        assert circles({page: imports(page) & set(inner) for page in inner}) == []
    finally:
        sys.setrecursionlimit(limit)


def test_the_search_for_circles_finds_them() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(arrows) == [["b", "c"]]


def test_no_page_is_a_satellite_of_another() -> None:
    users: dict[str, set[str]] = {module: set() for module in pages()}
    for module in pages():
        for other in imports(module):
            users[other].add(module)
    satellites = {}
    for module, path in pages().items():
        if path.stem in NOT_PAGES or module.startswith(FOUND_BY_NAME):
            continue
        package = module.split(".")[1]
        short = path.read_text(encoding="utf-8").count("\n") < SHORT_PAGE
        used = users[module]
        apart = any(is_door(user) or user.split(".")[1] != package for user in used)
        if short and len(used) <= 1 and not apart:
            satellites[module] = sorted(used)
    assert satellites == {}


def test_no_page_bears_the_name_of_what_its_package_offers() -> None:
    doors = [module for module in pages() if is_door(module) and module != "wavewise"]
    both = {f"{door}.{name}" for door in doors for name in public_names(door)}
    assert {module for module in both & set(pages()) if not is_door(module)} == set()


def test_internal_docstrings_stay_short() -> None:
    names = {name for module in pages() if is_door(module) for name in public_names(module)}
    lines = [
        count
        for module, path in pages().items()
        if ".migrations" not in module
        for count in internal_docstrings(tree(path), names, public=False)
    ]
    assert sum(lines) <= MOST_INTERNAL_DOCSTRING_LINES
