"""The paper's protocol, pure functions on the scores table: `figures`, and `PAPER`'s own."""

from eval.protocol.assemble import PAPER, figures
from eval.protocol.scores import check_scores

__all__ = ["PAPER", "check_scores", "figures"]
