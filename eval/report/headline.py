"""The head of a report: the main figures beside those of the paper, and a table of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.report.numbers import UNKNOWN, between, known, number, of, percent
from eval.report.verdict import at_alpha
from eval.report.view import Cell, Table, Words

Part = Mapping


@dataclass(frozen=True)
class Card:
    """One main figure with details, and the figure of the paper."""

    title: str
    value: str
    lines: Sequence[str]
    paper: str

    @property
    def is_measured(self) -> bool:
        return any(character.isalnum() for character in self.value)


def cards(figures: Mapping, paper: Mapping) -> list[Card]:
    """The five main figures, each with its interval and, if there is one, the paper's figure."""
    head = figures["headline"]
    ours, theirs = head["identity"], paper["identity"]
    aus, their_aus = head["expression"], paper["expression"]
    nearer, error = ours["nearer"], aus["error"]["all"]
    none, wise = error["no_transfer"], figures["recommended_alpha"]
    return [
        _card(
            "Identity: nearer to the target than the source",
            percent(nearer["rate"]),
            [of(nearer), *_of_which(head), _interval(nearer, percent)],
            f"{percent(theirs['nearer']['rate'])} ({of(theirs['nearer'])})",
        ),
        _card(
            "AU gain: share of the expression that arrives",
            number(aus["gain"]["value"]),
            [*_of_which(head), _interval(aus["gain"])],
            _over_alpha(their_aus["by_alpha"], "gain"),
        ),
        _card(
            "AU correlation r: is it the right expression",
            number(aus["correlation"]["value"]),
            [
                *_of_which(head),
                _interval(aus["correlation"]),
                _chance(aus["permutation_p"]),
            ],
            _over_alpha(their_aus["by_alpha"], "correlation"),
        ),
        _card(
            "AU error, all AUs read (0–5, less is better)",
            number(error["output"], 3),
            [*_of_which(head), f"doing nothing: {number(none, 3)}" if known(none) else ""],
            _against(their_aus["error"]["all"]),
        ),
        _card(
            "Recommended α",
            number_of_alpha(wise["alpha"]) if known(wise["alpha"]) else "none",
            [f"{wise['why'][:1].upper()}{wise['why'][1:]}."],
            "no rule; 0.3 to 0.5 were tried",
        ),
    ]


def _card(title: str, value: str, lines: Sequence[str], paper: str) -> Card:
    """A figure; a dash says that it was not measured."""
    lines = [line for line in lines if line] if value != UNKNOWN else ["not measured"]
    return Card(title, value, lines, paper)


def number_of_alpha(alpha: object) -> str:
    """An alpha as short as it goes: 0.5."""
    return f"{alpha:.4g}" if known(alpha) else "none"


def _interval(figure: Part, show=number) -> str:
    """95 % interval, where there is one."""
    text = between(figure, show)
    return f"95 % interval {text}" if text else ""


def _of_which(head: Part) -> list[str]:
    """The outputs that a figure is of: their alpha, and whether they are too few to judge."""
    at = at_alpha(head).removesuffix(": ")
    return [at, "too few outputs to judge" if head["too_few"] else ""]


def _chance(p: object) -> str:
    return f"chance alone: p = {number(p, 3)}" if known(p) else ""


def _against(error: Part) -> str:
    return f"{number(error['output'], 3)}; doing nothing {number(error['no_transfer'], 3)}"


def _over_alpha(rows: Sequence[Part], key: str) -> str:
    """The paper's range over alpha: 0.24 to 0.38 (α 0.3 to 0.5)."""
    first, last = rows[0], rows[-1]
    ends = f"α {first['alpha']:g} to {last['alpha']:g}"
    return f"{number(first[key])} to {number(last[key])} ({ends})"


def all_figures(figures: Mapping, paper: Mapping) -> Table:
    """Every overall figure with its interval and the paper's."""
    ours, theirs = figures["identity"], paper["identity"]
    aus, their_aus = figures["expression"], paper["expression"]
    rows: list[list[Words]] = [
        _rate("Outputs nearer to the target than to the source", ours, theirs, "nearer"),
        _rate("Outputs verified as the target", ours, theirs, "verified"),
        _mean("Identity distance to the target", ours, theirs, "to_target_mean"),
        _mean("Identity distance to the source", ours, theirs, "to_source_mean"),
        _mean("Distance to the target's nearest photograph", ours, theirs, "to_target_nearest"),
        _mean("Margin: distance to the source − distance to the target", ours, theirs, "margin"),
        [
            "Distance to the target rises with α (Spearman ρ)",
            number(ours["rising"]["spearman"]),
            "",
            number(theirs["rising"]["spearman"]),
        ],
    ]
    for key, title in (("gain", "AU gain"), ("correlation", "AU correlation r")):
        their = _over_alpha(their_aus["by_alpha"], key)
        rows.append([title, number(aus[key]["value"]), between(aus[key]), their])
    for key, title in (
        ("all", "AU error, all AUs"),
        ("reference", "AU error, AUs at 0.5 or more in the expression"),
        ("present", "AU error, AUs flagged present in the expression"),
    ):
        rows += _errors(title, aus["error"][key], their_aus["error"].get(key))
    for key, title in (("all", "all AUs"), ("reference", "AUs at 0.5 or more")):
        rows += _best(title, aus["best_alpha"][key], their_aus["best_alpha"].get(key) or {})
    head = ["figure", "here", "95 % interval", "paper"]
    pooled = ", over all α together" if len(figures["counts"]["alphas"]) > 1 else ""
    return Table(f"All figures{pooled}", head, rows, style="figures")


def _rate(title: str, ours: Part, theirs: Part, key: str) -> list[Words]:
    rate, their = ours[key], theirs.get(key)
    counted = f"{percent(rate['rate'])} ({of(rate)})" if rate["of"] else percent(None)
    return [title, counted, between(rate, percent), percent(their["rate"]) if their else ""]


def _mean(title: str, ours: Part, theirs: Part, key: str) -> list[Words]:
    figure, their = ours[key], theirs.get(key)
    shown = number(figure["mean"], 3)
    return [title, shown, between(figure, _three), number(their["mean"], 3) if their else ""]


def _three(value: object) -> str:
    return number(value, 3)


def _errors(title: str, error: Part, their: Part | None) -> list[list[Words]]:
    there = their or {"output": None, "no_transfer": None}
    return [
        [title, number(error["output"], 3), "", _blank(there["output"])],
        [
            Cell(title, emphasis="with no transfer"),
            number(error["no_transfer"], 3),
            "",
            _blank(there["no_transfer"]),
        ],
    ]


def _best(title: str, best: Part, their: Part) -> list[list[Words]]:
    """Figures at the best alpha of each series, which is chosen by the true error."""
    beats, n = best["beats_no_transfer"], best["series"]
    won = f"{beats} of {n}" if known(beats) and n else number(None)
    their_won = f"{their['beats_no_transfer']} of {their['series']}" if "series" in their else ""
    return [
        [f"Best α per series, {title}", number(best["alpha"]), "", _blank(their.get("alpha"))],
        [f"AU error at it, {title}", number(best["error"], 3), "", _blank(their.get("error"))],
        [f"Series in which it beats no transfer, {title}", won, "", their_won],
    ]


def _blank(value: object) -> str:
    return number(value, 3) if known(value) else ""
