"""Dumps into scratch databases: `load` and what it has to say."""

from recovery.load.loader import load
from recovery.load.rules import Finding, Loaded

__all__ = ["Finding", "Loaded", "load"]
