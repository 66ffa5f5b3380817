"""Which stage has finished, on what: so that running again goes on where it stopped, and never
builds on what was made from something else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from recovery.case.result import Json

STAGES = ("open", "load", "compare", "replay", "locate", "plan", "rehearse", "report")


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished stage: digests of what went in and of the documents that came out."""

    stage: str
    at: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Over inputs and outputs, not over the time: what the next stage is bound to."""
        parts = [self.stage, sorted(self.inputs), sorted(self.outputs)]
        text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def before(stage: str) -> str:
    """The stage that has to be finished first; '' for the first one."""
    position = STAGES.index(stage)
    return STAGES[position - 1] if position else ""


def without(finished: tuple[Finished, ...], stage: str) -> tuple[Finished, ...]:
    """What stays valid when `stage` is done again: the stages ahead of it."""
    position = STAGES.index(stage)
    return tuple(one for one in finished if STAGES.index(one.stage) < position)


def find(finished: tuple[Finished, ...], stage: str) -> Finished | None:
    return next((one for one in finished if one.stage == stage), None)


def to_json(finished: tuple[Finished, ...]) -> Mapping[str, Json]:
    return {
        "stages": [
            {
                "stage": one.stage,
                "at": one.at,
                "inputs": dict(one.inputs),
                "outputs": dict(one.outputs),
            }
            for one in finished
        ]
    }
