"""Ways to look for the faulty step that know no fault classes and run nothing, scored like a tool:
by coverage, as failing tests are traced to lines, and by taint, as leaks are traced to inputs.

Both get more than a tool has: who wrote which cell is known from the lives of the history. What
looks wrong to them is what the log does not account for (undocumented work too), or, where the log
tells what was executed, what the complaints name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from benchmarks.dependency import Place, Reach, reaches, run_again
from benchmarks.generator import Case
from benchmarks.truth import Cell
from recovery.demo.twin import differences

_PASSING_MAX = 5_000  # cells that are known to be right; more say no more


@dataclass(frozen=True, slots=True)
class Looked:
    """`rank` of the faulty step among the steps of the log, ties counted half; None where it is not
    ranked. `again`: the share of later steps that are run again; None where nothing is run."""

    rank: float | None = None
    again: float | None = None


@dataclass(frozen=True, slots=True)
class Symptoms:
    wrong: frozenset[Cell]
    right: frozenset[Cell]


def look(case: Case) -> dict[str, Looked]:
    """The figures of each way that can be had for this case."""
    if not case.faults:
        return {}
    found = {}
    for name, rows in (("dependency replay by columns", False),
                       ("dependency replay by columns and rows", True)):  # fmt: skip
        again = run_again(case, rows=rows)
        if again is not None:
            found[name] = Looked(again=again)
            found.setdefault("full replay", Looked(again=1.0))
    seen = symptoms(case)
    logged = [step.origin for step in case.log.steps if step.text and step.origin]
    faulty = [step for step in case.faults[0].steps if step in logged]
    if seen.wrong and faulty:
        for name, way in _WAYS.items():
            scores = way(case, seen, list(dict.fromkeys(logged)))
            found[name] = Looked(rank=min(rank(scores, step) for step in faulty))
    return found


def symptoms(case: Case) -> Symptoms:
    """Cells that look wrong, and changed ones that do not."""
    if case.log.describes == "executed":
        said = case.log.complaints
        wrong = {(one.table, one.key, one.column) for one in said if not one.fine}
        right = {(one.table, one.key, one.column) for one in said if one.fine}
        return Symptoms(frozenset(wrong), frozenset(right))
    replayed = (case.worlds.logged_intended or case.worlds.intended).state
    current, start = case.worlds.actual.state, case.worlds.start
    wrong, right = set(), set()
    for shape in case.worlds.tables:
        now, then, old = current[shape.name], replayed[shape.name], start[shape.name]
        for key in now.keys() | then.keys():
            if now.get(key) != then.get(key):
                for column, _ in differences(shape, then.get(key), now.get(key)):
                    wrong.add((shape.name, key, column))
            elif now.get(key) != old.get(key):
                for column, _ in differences(shape, now.get(key), old.get(key)):
                    right.add((shape.name, key, column))
    return Symptoms(frozenset(wrong), frozenset(sorted(right)[:_PASSING_MAX]))


def rank(scores: Mapping[str, tuple[float, ...]], step: str) -> float:
    mine = scores[step]
    better = sum(one > mine for one in scores.values())
    tied = sum(one == mine for one in scores.values())
    return better + (tied + 1) / 2


def _ochiai(case: Case, seen: Symptoms, steps: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """A step covers a cell that it wrote in either life: what it should have written counts."""
    covered: dict[str, list[int]] = {step: [0, 0] for step in steps}
    for at, cells in enumerate((seen.wrong, seen.right)):
        for cell in cells:
            writers = {
                step
                for world in (case.worlds.actual, case.worlds.intended)
                for step in world.writers.get(cell, ())
            }
            for step in writers & covered.keys():
                covered[step][at] += 1
    wrong = len(seen.wrong)
    return {
        step: (failing / sqrt(wrong * (failing + passing)) if failing else 0.0,)
        for step, (failing, passing) in covered.items()
    }


def _taint(case: Case, seen: Symptoms, steps: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """A step taints the columns that it writes, and those that later steps write which read them.
    First who taints most of what is wrong, then who taints least of what is right."""
    known = reaches(case)
    ran = {one.id: one.ran_place for one in case.history.happenings}
    order = sorted(steps, key=lambda step: ran[step])
    scores: dict[str, tuple[float, ...]] = {}
    for at, step in enumerate(order):
        tainted = _tainted(known, step, order[at + 1 :])
        hit, spared = (
            sum((table, column) in tainted for table, _, column in cells)
            for cells in (seen.wrong, seen.right)
        )
        scores[step] = (float(hit), -float(spared), -float(len(tainted)))
    return scores


def _tainted(known: dict[str, Reach], step: str, later: Sequence[str]) -> set[Place]:
    tainted = set(known[step].writes)
    for other in later:
        if known[other].reads & tainted:
            tainted |= known[other].writes
    return tainted


_WAYS: dict[str, Callable[[Case, Symptoms, Sequence[str]], dict[str, tuple[float, ...]]]] = {
    "coverage of steps (Ochiai)": _ochiai,
    "taint alone": _taint,
}
