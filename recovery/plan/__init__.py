"""From graded damage to a plan that the database accepts."""

from recovery.plan.catalog import Catalog, CurrentRows, Held
from recovery.plan.lookup import ScratchRows
from recovery.plan.make import make_plan

__all__ = ["Catalog", "CurrentRows", "Held", "ScratchRows", "make_plan"]
