"""The objects that the templates render: cells, tables, figures. Templates escape their text."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.axes import Drawing


@dataclass(frozen=True)
class Cell:
    """Words of a table or list.

    Fields:
        text: the words.
        is_name: whether they are somebody's name or file, which is kept apart from the direction
            of the text around it.
        strong: words before them, bold.
        emphasis: words after them, in italics.
    """

    text: str
    is_name: bool = False
    strong: str = ""
    emphasis: str = ""


def name(text: object) -> Cell:
    """Someone's name or file."""
    return Cell(str(text), is_name=True)


Words = str | Cell


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it.

    Fields:
        caption, head, rows: what it says.
        style: class of the style sheet; empty for none.
        limit: rows beyond it are counted and not shown.
        rest: the file that has them.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Words]]
    style: str = ""
    limit: int = 40
    rest: str = "figures.json"


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption; without a drawing the caption stands alone, as a remark."""

    caption: str
    drawing: Drawing | None = None


NOT_MEASURED = Figure("Not measured.")
