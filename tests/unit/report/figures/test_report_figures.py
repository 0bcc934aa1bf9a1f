from sample_contents import demo, pairs
from wavewise.report.figures.intervals import effects_figure
from wavewise.report.figures.matrix import matrix_figure
from wavewise.report.figures.posterior import posterior_figure, prob_optimal_figure, shares_figure
from wavewise.report.figures.style import Spec, text_width, wrapped

# Widths of Helvetica Bold in thousandths of its size (Adobe's font metrics).
BOLD = dict.fromkeys("bdghnopqu", 611) | dict.fromkeys("acekvxyvs0123456789", 556)
BOLD |= dict.fromkeys("BCDHKNRU", 722) | dict.fromkeys("GOQ", 778) | dict.fromkeys("fijlt", 333)
BOLD |= {"r": 389, "m": 889, "w": 778, "M": 833, "W": 944, "%": 889, "@": 975, " ": 278, "+": 584}


def data(spec: Spec) -> list[dict[str, object]]:
    return list(spec["data"]["values"])


def test_widths_are_not_underestimated() -> None:
    for character, width in BOLD.items():
        assert text_width(character, 1000) >= width, character


def test_arms_stand_from_best_to_worst() -> None:
    figure = effects_figure("x", pairs().waves[0].effects[0], "teacher+teacher")
    values = [row["value"] for row in data(figure.wide)]
    assert len(values) == 16
    assert values == sorted(values, reverse=True)
    assert [row["label"] for row in data(figure.wide) if row["best"]] == [["teacher+teacher"]]


def test_binary_effects_are_drawn_in_percentage_points() -> None:
    effects = demo().effects[0]
    row = data(effects_figure("x", effects, None).wide)[0]
    assert row["value"] == 100 * effects.rows[0].estimate
    assert row["low"] == 100 * effects.rows[0].conf_low
    assert row["outer_high"] == 100 * (effects.rows[0].adjusted_high or 0)


def test_both_widths_show_the_same_numbers() -> None:
    figure = effects_figure("x", demo().effects[0], None)
    for wide, narrow in zip(data(figure.wide), data(figure.narrow), strict=True):
        assert all(wide[key] == narrow[key] for key in ("value", "low", "high", "text"))
    assert figure.narrow["width"] < 344


def test_the_text_alternative_holds_the_numbers() -> None:
    figure = effects_figure("x", demo().effects[0], None)
    assert "teacher: +5.8 (+4.2 to +7.4)" in figure.alt
    assert figure.wide["description"] == figure.alt


def test_what_is_not_estimable_is_named() -> None:
    figure = effects_figure("x", demo().effects[1], None)
    assert figure.caption.endswith("Not estimable, so not drawn: reminder.")


def test_true_values_are_drawn_where_known() -> None:
    figure = effects_figure("x", demo().effects[0], None, truth={"teacher": 0.06})
    assert [row.get("truth") for row in data(figure.wide)] == [6.0, None, None, None, None]


def test_posterior_has_a_curve_an_arm() -> None:
    posterior = demo().waves[1].posterior
    assert posterior
    figure = posterior_figure("x", posterior, "teacher")
    curves = next(layer for layer in figure.wide["layer"] if layer["mark"]["type"] == "area")
    indices = {point["index"] for point in curves["data"]["values"]}
    assert indices == set(range(5))


def test_shares_end_with_the_next_wave() -> None:
    waves = demo().waves
    figure = shares_figure("x", waves[:1])
    assert figure is not None
    assert "next: teacher 35" in figure.alt
    assert shares_figure("x", ()) is None
    assert prob_optimal_figure("x", ()) is None


def test_many_waves_make_the_matrix_wider_not_smaller() -> None:
    columns = [(f"wave-{i}", {"a": 0.5, "b": 0.5}) for i in range(40)]
    spec = matrix_figure(["a", "b"], columns, "text")
    assert spec["width"] == 40 * 36
    assert spec["padding"]["top"] > 12 + 15  # headings take two lines


def test_names_are_wrapped_never_cut() -> None:
    name = "a message of the teacher and then another of the parents in the evening"
    assert " ".join(wrapped(name, 30)) == name
    assert "".join(wrapped("x" * 70, 30)) == "x" * 70
