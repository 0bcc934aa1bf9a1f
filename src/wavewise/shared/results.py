"""The one protocol of results: reasons instead of numbers, checks, provenance, tables, JSON."""

import base64
import functools
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError, UnavailableError
from wavewise.shared.text_tables import (
    Printed,
    html_table,
    latex_table,
    markdown_table,
    printed_rows,
    text_table,
)
from wavewise.shared.version import __version__

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "BoolArray",
    "CheckResult",
    "FloatArray",
    "FrameKind",
    "IntArray",
    "NotEstimable",
    "Provenance",
    "Record",
    "Result",
    "StrArray",
    "as_given",
    "frame_as",
    "hash_arrays",
    "plain",
    "read_only",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
StrArray = npt.NDArray[np.str_]
FrameKind = Literal["polars", "pandas", "pyarrow"]

R = TypeVar("R")

_VERSION = 1
_HTML_ROWS = 50
# Names of public results by package: a result is read back before its module was ever loaded.
_PACKAGES = ("estimate", "decide", "evaluate", "randomize")
# Results whose facts are all of them, by their kind.
_ALL_FACTS = {"next shares": "NextShares"}
# Homes of results that only methods of others give.
_HOMES = {
    "Adjusted": "estimate.effects.table",
    "BetaContrast": "estimate.bayes.beta_intervals",
    "DrawsContrast": "estimate.bayes.draws",
    "EffectEstimate": "estimate.effects.table",
    "EffectTable": "estimate.effects.table",
    "PlannedPower": "design.power",
}


_KNOWN: dict[str, type["Record"]] = {}


class Record:
    """A frozen dataclass that a result is made of; it can be written as JSON and read back.

    Two records are equal where their fields are. A record is known by its class's name, or by
    ``tag`` where that name is taken: ``class Row(Record, tag="row of a plan")``.
    """

    _tag: ClassVar[str] = "Record"

    def __init_subclass__(cls, tag: str | None = None) -> None:
        super().__init_subclass__()
        cls._tag = tag or cls.__name__
        other = _KNOWN.setdefault(cls._tag, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two results are called {cls._tag}; give one of them a tag")
        _KNOWN[cls._tag] = cls

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Record)
            and type(self) is type(other)
            and (self is other or _same(self._state(), other._state()))
        )

    def __hash__(self) -> int:
        texts = (value for _, value in _fields(self) if isinstance(value, str))
        return hash((self._tag, *texts))

    def _state(self) -> dict[str, Any]:
        """What a record is made again from; the fields, unless it has a form of its own."""
        return dict(_fields(self))

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        return cls(**state)


class Result(Record):
    """What an estimator, a decision or an evaluation found.

    A result is a frozen dataclass, made with ``eq=False`` since this base compares; its arrays are
    made read-only. It says its table in ``_frame`` (one row of its single values, by default) and
    its words in ``summary`` (the table, by default). Where more is to say: ``_facts`` for the
    numbers that verbs print and the store keeps (every public field, by default), ``_printed`` for
    a printed table that is not the frame, ``_notes`` for what stands below it. ``kind`` is what
    `facts` calls it; ``tag`` is only for a class whose name another result has.

    Examples
    --------
    >>> import polars as pl
    >>> @dataclass(frozen=True, eq=False)
    ... class Means(Result, kind="means of arms"):
    ...     arms: tuple[str, ...]
    ...     mean: FloatArray
    ...
    ...     def _frame(self) -> pl.DataFrame:
    ...         return pl.DataFrame({"arm": self.arms, "mean": self.mean})
    >>> found = Means(("control", "sms"), np.array([0.25, np.nan]))
    >>> print(found)
    arm        mean
    control  0.2500
    sms           -
    >>> print(found.to_markdown())
    | arm | mean |
    | :-- | --: |
    | control | 0.2500 |
    | sms | - |
    >>> Result.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    True
    """

    _kind: ClassVar[str] = "result"

    def __post_init__(self) -> None:
        for name, value in _fields(self):
            frozen = _frozen(value)
            if frozen is not value:
                object.__setattr__(self, name, frozen)

    def __init_subclass__(cls, kind: str | None = None, tag: str | None = None) -> None:
        super().__init_subclass__(tag=tag)
        cls._kind = kind or cls._tag
        if "summary" in cls.__dict__:
            cls.summary = _with_mark(cls.summary)  # type: ignore[method-assign]

    def _frame(self, *args: Any, **kwargs: Any) -> "pl.DataFrame":  # noqa: ARG002
        """The tidy table, as a Polars frame; it takes the options of `to_frame`."""
        import polars as pl

        row = {name: value for name, value in _public(self).items() if _is_single(value)}
        return pl.DataFrame([plain(row)])

    def _facts(self) -> Mapping[str, Any]:
        """What `facts` tells between the kind and the provenance; it is made plain there."""
        return _public(self)

    def _notes(self) -> Sequence[str]:
        """What stands below a printed table: by default what is assumed, where that is said."""
        return tuple(getattr(self, "assumptions", ()))

    def _printed(self, *args: Any, **kwargs: Any) -> Printed:
        """Head, rows and notes of the printed table; the frame's, by default."""
        return printed_rows(self._frame(*args, **kwargs), self._notes())

    def summary(self, *args: Any, **kwargs: Any) -> str:
        """Table, and what is assumed, as text."""
        shown = self._printed(*args, **kwargs)
        return "\n".join([text_table(shown), *shown.notes, *_mark(self)])

    def __str__(self) -> str:
        return self.summary()

    def to_frame(self, container: FrameKind | None = None, /, **options: Any) -> Any:
        """The tidy table, as a frame of the kind that came in, Polars otherwise.

        Parameters
        ----------
        container : {"polars", "pandas", "pyarrow"}, optional
            Kind of frame to give instead.
        **options
            What else a result lets choose, such as ``prob`` of its intervals.

        Raises
        ------
        InputError
            Another kind of frame.
        UnavailableError
            That kind is not installed.
        """
        if container is not None and container not in get_args(FrameKind):
            raise InputError(
                f"to_frame: found {container!r}; needed one of {', '.join(get_args(FrameKind))}"
            )
        given: FrameKind = getattr(self, "_given", "polars")
        return frame_as(self._frame(**options), container or given)

    def facts(self) -> dict[str, Any]:
        """The numbers that a verb prints and the store keeps, as plain values; nothing by unit."""
        found = {"version": _VERSION, "kind": self._kind, **self._facts()}
        if hasattr(self, "provenance"):
            found["provenance"] = found.pop("provenance", self.provenance)  # it stands last
        return dict(plain(found))

    def to_dict(self) -> dict[str, Any]:
        """The whole result as plain values, for JSON; `from_dict` reads it back exactly.

        The keys of `facts` are there to be read; ``fields`` holds every field, arrays as bytes in
        base 64, so that no digit is lost. A result that holds data of units writes them too.
        """
        head = {"version": _VERSION, "kind": self._kind}
        whole = {} if self._is_all_facts() else {"fields": _encoded(self)}
        return head | self.facts() | whole

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The result that `to_dict` wrote; ``Result.from_dict`` reads any, each as its own type.

        Raises
        ------
        InputError
            Not such a dictionary, one of a later version, or of another type of result.
        """
        found = cls._read(values)
        if not isinstance(found, cls):
            raise InputError(
                f"result: found a {type(found).__name__}; needed a {cls.__name__}; read it with "
                "Result.from_dict, or as its own type"
            )
        return found

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> Any:
        if not isinstance(values.get("fields"), Mapping):
            return _class_of_facts(cls, values)._from_facts(values)
        if values.get("version") != _VERSION:
            raise InputError(
                f"result: found version {values.get('version')!r}; needed {_VERSION}; read it "
                "with the version of Wavewise that wrote it, or a later one"
            )
        try:
            return _decoded(values["fields"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"result: found fields that cannot be read ({error}); needed those of to_dict()"
            ) from error

    @classmethod
    def _from_facts(cls, values: Mapping[str, Any]) -> Any:
        """For a result whose facts are all of it, so that the store can give it back."""
        raise InputError(
            f"result: found no fields in a {values.get('kind', 'dictionary')}; needed what "
            "to_dict() gives (facts() leaves out what a result is made of)"
        )

    @classmethod
    def _is_all_facts(cls) -> bool:
        return cls._from_facts.__func__ is not Result._from_facts.__func__  # type: ignore[attr-defined]

    def to_markdown(self, **options: Any) -> str:
        """The printed table as Markdown."""
        return markdown_table(self._printed(**options))

    def to_latex(self, **options: Any) -> str:
        """The printed table as a LaTeX ``tabular`` of the package booktabs."""
        return latex_table(self._printed(**options))

    def to_html(self, **options: Any) -> str:
        """The printed table as an HTML ``table``, its notes as the caption."""
        return html_table(self._printed(**options))

    def _repr_html_(self) -> str:
        """For notebooks; a long table is cut."""
        return html_table(self._printed(), most_rows=_HTML_ROWS)

    def plot(self, **options: Any) -> Any:
        """The report's figure of this result.

        Returns
        -------
        altair.Chart or Figure
            A chart where altair is installed; else a figure that a notebook shows as SVG, with
            ``to_svg()``, ``to_png()`` and ``to_dict()`` (Vega-Lite).

        Raises
        ------
        UnavailableError
            The report has no figure of such a result.
        """
        # by name: reports stand above results, which import nothing of them
        return import_module("wavewise.report.figures.of_results").plotted(self, **options)


def _mark(result: Any) -> list[str]:
    """That a result is observational, where it is."""
    found = getattr(getattr(result, "provenance", result), "observational", None)
    return [found] if found else []


def _with_mark(summary: Callable[..., str]) -> Callable[..., str]:
    """A summary that ends by saying so where arms were not randomized."""

    @functools.wraps(summary)
    def told(self: Any, *args: Any, **kwargs: Any) -> str:
        text = summary(self, *args, **kwargs)
        return "\n".join([text, *(line for line in _mark(self) if line not in text)])

    return told


@dataclass(frozen=True, eq=False)
class NotEstimable(Record):
    """A quantity that the data cannot give, with the reason. Never a number.

    Examples
    --------
    >>> bool(NotEstimable("arm 'peers' has no units"))
    False
    """

    reason: str

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"not estimable: {self.reason}"


@dataclass(frozen=True, eq=False)
class CheckResult(Result):
    """A check's outcome: passed, failed, or inconclusive, with its scope and its sentence."""

    name: str  # What is checked, in the field's words.
    scope: str  # What the check covers, e.g. ``all 5 arms, 344,084 units``.
    passed: bool | None  # None means inconclusive; ``text`` then says why.
    text: str  # One sentence made from the same numbers as ``table``.
    table: tuple[Mapping[str, Any], ...] = ()  # The numbers, one mapping a row.
    # The one number that says how large the matter is; the text names it.
    number: float | None = None
    advice: str = ""  # What to do.

    @property
    def verdict(self) -> str:
        """``pass``, ``fail`` or ``inconclusive``."""
        return {True: "pass", False: "fail", None: "inconclusive"}[self.passed]

    def facts(self) -> dict[str, Any]:
        """The check as plain values, for JSON."""
        found = _public(self) | {"verdict": self.verdict}
        del found["passed"]
        return dict(plain(found))

    @property
    def line(self) -> str:
        """Name, verdict, sentence and what to do, on one line."""
        return " ".join([f"{self.name}: {self.verdict}.", self.text, self.advice]).strip()

    def summary(self) -> str:
        """Name, verdict, sentence and what to do, on one line."""
        return self.line

    def _frame(self) -> "pl.DataFrame":
        import polars as pl

        return pl.DataFrame([dict(row) for row in self.table], infer_schema_length=None)

    def _notes(self) -> Sequence[str]:
        return (self.line,)


@dataclass(frozen=True, eq=False)
class Provenance(Record):
    """Where a result came from: enough to make it again."""

    method: str  # The estimator or procedure with its options, e.g. ``OLS, HC2``.
    data_hash: str  # SHA-256 of the arrays that went in.
    design_hash: str | None = None  # SHA-256 of the canonical spec, where there is one.
    seed: int | None = None  # Seed of the random draws, where there were any.
    version: str = field(default=__version__)  # Version of Wavewise.
    # Why this is no experiment, a sentence, where arms were not randomized.
    observational: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The provenance as plain values, for JSON."""
        return {k: v for k, v in _fields(self) if (k, v) != ("observational", None)}


def read_only(values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """An array that cannot be written to (a view where possible; the caller's stays writable)."""
    array = np.asarray(values, dtype=dtype).view()
    array.flags.writeable = False
    return array


def hash_arrays(**arrays: Any) -> str:
    """SHA-256 of named arrays: of their names, types, shapes and bytes.

    Strings are hashed as UTF-8 text, so that their storage width does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = arrays[name]
        if value is None:
            continue
        array = np.ascontiguousarray(value)
        if array.dtype.kind in "OUST":
            array = np.asarray(array, dtype=object)
            body = json.dumps(array.ravel().tolist(), ensure_ascii=False, default=str).encode()
            kind = "text"
        else:
            body, kind = array.tobytes(), array.dtype.str
        digest.update(f"{name}|{kind}|{array.shape}|".encode())
        digest.update(body)
    return digest.hexdigest()


# Frames of the kind that came in.


def as_given(found: R, values: Iterable[Any]) -> R:
    """What was found from these inputs; a result gives frames of their kind from now on."""
    kind = _given_kind(values) if isinstance(found, Result) else None
    if kind is not None:
        object.__setattr__(found, "_given", kind)
    return found


def _given_kind(values: Iterable[Any]) -> FrameKind | None:
    for value in values:
        inner = list(value.values()) if isinstance(value, dict) else [value]
        for one in inner:
            library = type(one).__module__.partition(".")[0]
            if library in get_args(FrameKind):
                return library  # type: ignore[return-value]
    return None


def frame_as(frame: "pl.DataFrame", kind: FrameKind) -> Any:
    """A Polars frame as one of another kind."""
    if kind == "polars":
        return frame
    import narwhals as nw

    try:
        columns = {name: _values(frame[name], kind) for name in frame.columns}
        return nw.from_dict(columns, backend=kind).to_native()
    except ImportError as error:
        raise UnavailableError(
            f"to_frame: found no {kind}; needed it for a frame of that kind; install it with pip "
            f"install {kind}, or take to_frame('polars')"
        ) from error


def _values(column: "pl.Series", kind: FrameKind) -> Any:
    if kind == "pyarrow":
        return column.to_arrow()
    whole = column.dtype.is_numeric() or (column.dtype == bool and not column.null_count())
    return column.to_numpy() if whole else column.to_list()


# Plain values that people read, and exact ones that are read back.


def plain(value: Any) -> Any:
    """Values as JSON has them: lists, mappings, text, finite numbers; None where none is."""
    if is_dataclass(value) and not isinstance(value, type | NotEstimable):
        value = value.facts() if isinstance(value, Result) else _public(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    for to_python in ("tolist", "to_dicts", "to_list"):  # arrays and their numbers, frames, series
        if hasattr(value, to_python):
            return plain(getattr(value, to_python)())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, NotEstimable):
        return None
    return _finite(value) if isinstance(value, str | int | float | None) else str(value)


def _finite(value: Any) -> Any:
    """The value, or None for a number that JSON does not have (infinite, not a number)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _encoded(value: Any) -> Any:
    for kinds, encode in _ENCODERS:
        if isinstance(value, kinds):
            return encode(value)
    if type(value).__module__.startswith("polars."):
        file = io.BytesIO()
        frame = value.to_frame() if hasattr(value, "to_frame") else value
        frame.write_ipc(file)
        return {f"${type(value).__name__}": _text(file.getvalue())}
    raise TypeError(f"a {type(value).__name__} cannot be written in a result's dictionary")


def _encoded_record(value: Record) -> dict[str, Any]:
    return {"$class": value._tag} | {name: _encoded(x) for name, x in value._state().items()}


def _encoded_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _encoded(item) for key, item in value.items()}
    return {"$items": [[_encoded(key), _encoded(item)] for key, item in value.items()]}


def _encoded_array(value: npt.NDArray[Any]) -> dict[str, Any]:
    if value.dtype.kind == "O":
        return {"$objects": _encoded(value.ravel().tolist()), "shape": list(value.shape)}
    dtype = value.dtype.newbyteorder("<")
    body = np.ascontiguousarray(value, dtype=dtype).tobytes()
    return {"$array": _text(body), "dtype": dtype.str, "shape": list(value.shape)}


# In this order: a truth value is a whole number too, and a time a date.
_ENCODERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str | None, lambda text: text),
    (bool | np.bool_, bool),
    (int | np.integer, int),
    (float | np.floating, lambda x: float(x) if math.isfinite(x) else {"$float": str(float(x))}),
    (Record, _encoded_record),
    (Mapping, _encoded_mapping),
    (tuple, lambda items: {"$tuple": [_encoded(item) for item in items]}),
    (list, lambda items: [_encoded(item) for item in items]),
    (np.ndarray, _encoded_array),
    (bytes, lambda body: {"$bytes": _text(body)}),
    (datetime, lambda time: {"$time": time.isoformat()}),
    (date, lambda day: {"$date": day.isoformat()}),
)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    first = next(iter(value), "")
    if first == "$class":
        state = {name: _decoded(item) for name, item in value.items() if name != "$class"}
        return _record_class(value["$class"])._from_state(state)
    if first.startswith("$"):
        return _DECODERS[first](value[first], value)
    return {key: _decoded(item) for key, item in value.items()}


def _record_class(tag: str) -> type[Record]:
    if tag in _HOMES:
        import_module(f"wavewise.{_HOMES[tag]}")
    for package in _PACKAGES if tag not in _KNOWN else ():
        module = import_module(f"wavewise.{package}")
        if tag in module.__all__:
            getattr(module, tag)
    if tag not in _KNOWN:
        _import_the_verb_that_gives(tag.removeprefix("verb "))
    if tag not in _KNOWN:
        raise ValueError(f"a result called {tag!r} is not known to this version")
    return _KNOWN[tag]


def _import_the_verb_that_gives(name: str) -> None:
    """Import the module that a verb's result stands in; all of them would take seconds."""
    folder = Path(__file__).parents[1]
    for path in sorted((folder / "workflow").rglob("*.py")):
        if f"\nclass {name}(" in path.read_text(encoding="utf-8"):
            import_module(".".join(["wavewise", *path.relative_to(folder).with_suffix("").parts]))


def _class_of_facts(asked: type[Result], values: Mapping[str, Any]) -> type[Result]:
    kind = values.get("kind")
    if asked is Result and kind in _ALL_FACTS:
        return _record_class(_ALL_FACTS[kind])  # type: ignore[return-value]
    return asked


def _array(body: str, value: Mapping[str, Any]) -> npt.NDArray[Any]:
    dtype = np.dtype(value["dtype"])
    array = np.frombuffer(_bytes(body), dtype=dtype).astype(dtype.newbyteorder("="))
    return array.reshape(value["shape"])


def _objects(items: Any, value: Mapping[str, Any]) -> npt.NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = _decoded(items)
    return array.reshape(value["shape"])


def _polars(body: str) -> "pl.DataFrame":
    import polars as pl

    return pl.read_ipc(io.BytesIO(_bytes(body)))


_DECODERS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "$float": lambda text, _: float(text),
    "$tuple": lambda items, _: tuple(_decoded(item) for item in items),
    "$items": lambda items, _: {_decoded(key): _decoded(item) for key, item in items},
    "$array": _array,
    "$objects": _objects,
    "$bytes": lambda text, _: _bytes(text),
    "$DataFrame": lambda text, _: _polars(text),
    "$Series": lambda text, _: _polars(text).to_series(),
    "$date": lambda text, _: date.fromisoformat(text),
    "$time": lambda text, _: datetime.fromisoformat(text),
}


def _text(body: bytes) -> str:
    return base64.b64encode(body).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    return ((f.name, getattr(record, f.name)) for f in fields(record) if f.init)


def _public(record: Any) -> dict[str, Any]:
    return {name: value for name, value in _fields(record) if not name.startswith("_")}


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | NotEstimable | np.generic)


def _frozen(value: Any) -> Any:
    """An array as a view that cannot be written to, also within a mapping; others as they are."""
    if isinstance(value, np.ndarray) and value.flags.writeable:
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, dict) and any(_frozen(item) is not item for item in value.values()):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        alike = one.shape == two.shape and one.dtype.kind == two.dtype.kind
        return alike and np.array_equal(one, two, equal_nan=one.dtype.kind in "fc")
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_same(item, two[key]) for key, item in one.items())
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    if type(one).__module__.startswith("polars."):
        return type(one) is type(two) and bool(one.equals(two))
    return bool(np.all(one == two)) or (_is_nan(one) and _is_nan(two))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
