"""The published JSON Schemas of the documents of a case: `dbmend schema KIND` prints one."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import cast

from recovery.case.result import Json
from recovery.model import EngineError, Exit

KINDS = ("steps", "diff", "assessment", "plan", "review", "rehearsal", "manifest", "depth")


def schema(kind: str) -> Mapping[str, Json]:
    """The schema of documents of this kind, JSON Schema 2020-12. Raises EngineError(UNUSABLE)."""
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise EngineError(Exit.UNUSABLE, f"no document is called '{kind}'", hint=f"known: {known}")
    text = files("recovery.case").joinpath("schemas", f"{kind}.json").read_text("utf-8")
    return cast(Mapping[str, Json], json.loads(text))
