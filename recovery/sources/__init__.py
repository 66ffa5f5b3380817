"""Readers of what customers hand over. `open_source` finds the kind by content."""

from recovery.sources.detect import open_source

__all__ = ["open_source"]
