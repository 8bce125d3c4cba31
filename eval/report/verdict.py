"""The verdict on a judged folder in one plain sentence, from the headline of its figures."""

from collections.abc import Mapping

from eval.protocol.headline import MIN_OUTPUTS, MIN_TARGETS
from eval.report.numbers import known, number, of, percent
from glow_jax.io.messages import counted

SHARES = (
    (0.15, "little of the expression arrives"),
    (0.28, "about a quarter of the expression arrives"),
    (0.40, "about a third of the expression arrives"),
    (0.60, "about half of the expression arrives"),
    (0.85, "most of the expression arrives"),
    (1.15, "nearly all of the expression arrives"),
)
"""What a gain below the number is called."""

HARDLY = 0.05
"""An AU error within this share of doing nothing is called hardly better."""


def verdict(head: Mapping) -> str:
    """One sentence: still the target, does the expression arrive, is it better than nothing.

    Of too few outputs it says that, and their figures without words for them.

    Args:
        head: `headline` of the figures.
    """
    outputs = head["counts"]["outputs"]
    if not outputs:
        return "There is nothing to judge: no outputs."
    expression = head.get("expression") or {}
    nearer = (head.get("identity") or {}).get("nearer")
    clauses = [_identity(nearer), _arrival(expression), _error(expression)]
    parts = [clause for clause in clauses if clause]
    if not parts:
        judged = counted(outputs, "output")
        return f"Neither identity nor expression could be measured in any of {judged}."
    if head["too_few"]:
        parts = [_too_few(head["counts"]), *_plain_figures(nearer, expression)]
    if clauses[0] is None:
        parts.append("identity was not measured")
    if clauses[1] is None and clauses[2] is None:
        parts.append("expression was not measured")
    if missing := head["counts"]["no_face"]:
        parts.append(f"no face was found in {missing} of {counted(outputs, 'output')}")
    sentence = f"{at_alpha(head)}{'; '.join(parts)}."
    return sentence[0].upper() + sentence[1:]


def at_alpha(head: Mapping) -> str:
    """The alpha of a headline, as the beginning of a sentence; empty if it is of all outputs."""
    if not known(head["alpha"]):
        return ""
    why = "" if head["why"] == "the only one" else f" ({head['why']})"
    return f"at α {head['alpha']:.4g}{why}: "


def _too_few(counts: Mapping) -> str:
    people = counted(counts["targets"], "person", "people")
    return (
        f"too few outputs to judge: {counted(counts['judged'], 'output')} of {people}, and at "
        f"least {MIN_OUTPUTS} of {MIN_TARGETS} people are needed"
    )


def _plain_figures(nearer: Mapping | None, expression: Mapping) -> list[str]:
    """The figures of a verdict, without words for how good they are."""
    figures = []
    if nearer and known(nearer.get("rate")):
        figures.append(f"{of(nearer)} nearer to the target than to the source")
    gain, fit = expression.get("gain") or {}, expression.get("correlation") or {}
    if known(gain.get("value")):
        figures.append(f"gain {number(gain['value'])}, r {number(fit.get('value'))}")
    every = (expression.get("error") or {}).get("all") or {}
    if known(every.get("output")) and known(every.get("no_transfer")):
        output, none = number(every["output"], 3), number(every["no_transfer"], 3)
        figures.append(f"mean AU error {output} against {none} of doing nothing")
    return figures


def _identity(nearer: Mapping | None) -> str | None:
    """Whether the outputs look like the target, as far as the interval allows to say."""
    if not nearer or not known(nearer.get("rate")):
        return None
    low, high = nearer["low"], nearer["high"]
    counts = f"{of(nearer)} nearer to the target than to the source, {percent(nearer['rate'])}"
    if low >= 0.9:
        return f"the outputs keep the target's identity ({counts})"
    if low > 0.5:
        return f"most outputs keep the target's identity ({counts})"
    if high < 0.5:
        return f"most outputs look more like the source than like the target ({counts})"
    return f"whether the outputs keep the target's identity is undecided ({counts})"


def _arrival(expression: Mapping) -> str | None:
    """How much of the expression arrives, or that none can be shown to."""
    gain, fit = expression.get("gain") or {}, expression.get("correlation") or {}
    if not known(gain.get("value")):
        return None
    counts = f"gain {number(gain['value'])}, r {number(fit.get('value'))}"
    if known(gain.get("high")) and gain["high"] < 0 and gain["value"] <= -0.05:
        return f"the AUs move the wrong way ({counts})"
    least = gain["low"] if known(gain.get("low")) else gain["value"]
    if least <= 0:
        return f"no expression can be shown to arrive ({counts})"
    chance = expression.get("permutation_p")
    if known(chance) and chance >= 0.05:
        counts += f"; p = {number(chance)}: it could be chance"
    for below, words in SHARES:
        if gain["value"] < below:
            return f"{words} ({counts})"
    return f"the expression is overdone ({counts})"


def _error(expression: Mapping) -> str | None:
    """Whether the outputs are nearer to the expression than the target's reference picture is."""
    error = expression.get("error") or {}
    every = error.get("all") or {}
    if not known(every.get("output")) or not known(every.get("no_transfer")):
        return None
    n = len(expression.get("aus_read") or ())
    aus = f"on all {n} AUs read" if n != 1 else "on the one AU read"
    counts = f"mean AU error {number(every['output'], 3)} against {number(every['no_transfer'], 3)}"
    shown = error.get("reference") or {}
    helped = known(shown.get("output")) and known(shown.get("no_transfer"))
    helped = helped and shown["output"] < (1 - HARDLY) * shown["no_transfer"]
    active = f"{number(shown.get('output'), 3)} against {number(shown.get('no_transfer'), 3)}"
    though = f", though better on those that the expression shows ({active})" if helped else ""
    if every["output"] >= every["no_transfer"]:
        return f"{aus} it transfers no better than doing nothing ({counts}){though}"
    if every["output"] > (1 - HARDLY) * every["no_transfer"]:
        return f"{aus} it is hardly better than doing nothing ({counts}){though}"
    less = percent(1 - every["output"] / every["no_transfer"])
    return f"{aus} the error is {less} below doing nothing ({counts})"
