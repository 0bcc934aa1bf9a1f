"""Per-unit fields made by rule from another one, such as a level from a score."""

from collections.abc import Mapping

import polars as pl

from wavewise.design.messages import Derived

__all__ = ["MEDIAN", "derived_fields"]

MEDIAN = " median"  # "class median": the median among the units with the same value of `class`


def derived_fields(rules: Mapping[str, Derived], fields: pl.DataFrame) -> pl.DataFrame:
    """The derived fields of units.

    Parameters
    ----------
    rules : mapping of str to Derived
        As in the study file.
    fields : DataFrame, shape (n_units, n_columns)
        Columns of the people file, of all units: medians are over all of them.

    Returns
    -------
    DataFrame, shape (n_units, n_rules)
        Null where no rule gives a value.

    Notes
    -----
    A value belongs to the cut with the largest lower bound that it reaches. So a median of 29.5
    falls to 0-29 where the next cut begins at 30, a value above all cuts to the highest, and one
    below all of them to the lowest.

    Examples
    --------
    >>> level = Derived.model_validate(
    ...     {
    ...         "from": "score",
    ...         "cut": {"basic": (0, 29), "intermediate": (30, 64), "advanced": (65, 85)},
    ...         "missing": ("class median", "intermediate"),
    ...     }
    ... )
    >>> units = pl.DataFrame({"class": ["a", "a", "b"], "score": ["70", None, None]})
    >>> derived_fields({"level": level}, units)["level"].to_list()
    ['advanced', 'advanced', 'intermediate']
    """
    made = [_derived(rule, fields).alias(name) for name, rule in rules.items()]
    return pl.DataFrame(made) if made else pl.DataFrame()


def _derived(rule: Derived, fields: pl.DataFrame) -> pl.Series:
    source = fields[rule.from_].cast(pl.Float64, strict=False).fill_nan(None)
    found = _cut(rule, source)
    for way in rule.missing:
        if way.endswith(MEDIAN) and way not in rule.cut:
            group = fields[way.removesuffix(MEDIAN)]
            table = pl.DataFrame({"group": group, "source": source})
            median = table.select(
                pl.when(pl.col("group").is_not_null()).then(pl.col("source").median().over("group"))
            ).to_series()
            found = _filled(found, _cut(rule, median))
        else:
            found = found.fill_null(way)
    return found


def _cut(rule: Derived, source: pl.Series) -> pl.Series:
    ordered = sorted(rule.cut.items(), key=lambda item: item[1][0])
    value = pl.col("value")
    chosen: pl.Expr = pl.when(value.is_not_null()).then(pl.lit(ordered[0][0]))
    for name, (low, _) in ordered[1:]:
        chosen = pl.when(value >= low).then(pl.lit(name)).otherwise(chosen)
    return pl.DataFrame({"value": source}).select(chosen.alias("found"))["found"]


def _filled(found: pl.Series, other: pl.Series) -> pl.Series:
    return found.zip_with(found.is_not_null(), other)
