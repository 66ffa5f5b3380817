"""The recovery depth report: what the customer reads before anything is repaired."""

from recovery.reports.document import Case, depth_document
from recovery.reports.page import html

__all__ = ["Case", "depth_document", "html"]
