"""Readers of what customers hand over. `open_source` finds the kind by content."""
