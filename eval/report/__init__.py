"""The report of a judged folder: one HTML file, its table and its figures."""

from eval.report.context import Context
from eval.report.page import build_page, write_report

__all__ = ["Context", "build_page", "write_report"]
