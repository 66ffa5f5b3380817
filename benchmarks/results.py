"""Scored cases as lines of a file, so that a run can be stopped and go on."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.generator import Case
from benchmarks.history import Plan
from benchmarks.metrics import Counts, Measures, Named
from benchmarks.score import Repair, Score
from benchmarks.suites import SUITES
from benchmarks.suspects import Looked


@dataclass(frozen=True, slots=True)
class Line:
    """One scored case, without its rows. `not_here`: why the suite has no such case."""

    plan: Plan
    kind: str
    damaged: int
    score: Score
    faults: tuple[str, ...] = ()  # classes, the masked ones too
    masked: int = 0  # faults
    ambiguous: str = "unknown"
    baselines: dict[str, Repair] = field(default_factory=dict)
    not_here: str = ""
    looked: dict[str, Looked] = field(default_factory=dict)

    @property
    def is_identifiable(self) -> bool:
        """Whether the fault can be told from every other that was tried."""
        return self.ambiguous != "yes" and not self.masked


def line_of(
    case: Case, score: Score, baselines: dict[str, Repair], looked: dict[str, Looked] | None = None
) -> Line:
    return Line(
        case.plan,
        case.kind,
        len(case.cells),
        score,
        tuple(fault.fault_class for fault in case.history.faults),
        len(case.truth.masked),
        case.truth.ambiguous,
        baselines,
        looked=looked or {},
    )


def nothing(plan: Plan, why: str) -> Line:
    """A case that the suite cannot have."""
    score = Score("none", True, True, Repair(0, 0, 0, 0, 0), 0, 0, 0.0)
    return Line(plan, "", 0, score, not_here=why)


def append(file: Path, line: Line) -> None:
    """One line more, whole or not at all as far as a reader is concerned."""
    document = asdict(line)
    document["plan"]["suite"] = line.plan.suite.name
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(document, ensure_ascii=False, default=list) + "\n")


def read(file: Path) -> list[Line]:
    """What is there; a line that was cut off when a run died is not."""
    if not file.exists():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").split("\n"):
        try:
            lines.append(_line(json.loads(text)))
        except json.JSONDecodeError:
            continue
    return lines


def _line(document: dict) -> Line:
    plan = document.pop("plan")
    name = plan.pop("suite")
    suite = next(one for one in SUITES if one.name == name)
    score = document.pop("score")
    measures = score.pop("measures")
    measures["named"] = tuple(Named(**one) for one in measures["named"])
    measures["stated"] = tuple((p, right) for p, right in measures["stated"])
    measures["cells"] = {name: Counts(**one) for name, one in measures["cells"].items()}
    return Line(
        plan=Plan(suite=suite, **plan),
        score=Score(
            repair=_repair(score.pop("repair")), measures=Measures(**_tuples(measures)), **score
        ),
        baselines={name: _repair(one) for name, one in document.pop("baselines").items()},
        looked={name: Looked(**one) for name, one in document.pop("looked", {}).items()},
        **_tuples(document),
    )


def _repair(document: dict) -> Repair:
    return Repair(**_tuples(document))


def _tuples(document: dict) -> dict:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }


def bad_gates(lines: Iterable[Line]) -> list[str]:
    """Every gate that does not hold, with cells, for people."""
    texts = []
    for line in lines:
        score, repair = line.score, line.score.repair
        if score.gates_hold:
            continue
        head = (
            f"{line.plan.name} ({line.plan.size}, {line.kind}): harmed {repair.harmed}, legit lost"
            f" {repair.legitimate_lost}, safe wrong {score.wrong_safe}, orphans {score.violations}"
        )
        texts += [head, *(f"    wrote {one}" for one in repair.shown)]
        texts += [f"    said {one}" for one in score.measures.wrong_cells]
    return texts
