"""How far stated probabilities and promises can be trusted: reliability, and bounds per case.

Cells of one fault are not independent, nor are faults of one case: what counts is the case."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.results import Line

_BINS = 10
_EDGES = (0.0, 0.5, 0.9, 0.99, 1.01)  # coarse bins, for single classes
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Stated:
    """A fault that was listed: its probability, whether it is true, of which case and class."""

    probability: float
    right: bool
    case: str
    fault_class: str


def at_most(wrong: int, cases: int) -> float:
    """The share that the true share of wrong cases does not pass, with 95 % confidence: 3/N when
    none was seen, the bound of Clopper and Pearson otherwise; 1.0 without cases."""
    if not cases or wrong >= cases:
        return 1.0
    if not wrong:
        return min(1.0, 3 / cases)
    low, high = wrong / cases, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        fewer = _as_few(wrong, cases, middle)
        low, high = (middle, high) if fewer > 1 - _CONFIDENCE else (low, middle)
    return high


def _as_few(wrong: int, cases: int, share: float) -> float:
    """The probability of at most so many wrong cases."""
    term = (1 - share) ** cases
    total = term
    for one in range(1, wrong + 1):
        term *= (cases - one + 1) / one * share / (1 - share)
        total += term
    return total


def bounds(lines: Sequence[Line]) -> list[str]:
    """Each promise with the cases in which it could be broken, and in how many it was."""
    rows = [
        "| promise | broken | of cases where it could be | with 95 % confidence at most |",
        "|---|--:|--:|--:|",
    ]
    damaged = [line for line in lines if line.damaged]
    wrote = [line for line in lines if line.score.repair.written]
    safe = [line for line in lines if line.score.safe]
    promises: tuple[tuple[str, Callable[[Line], bool], Sequence[Line]], ...] = (
        ("no cell graded proven or consistent is wrong", lambda x: x.score.wrong_safe > 0, safe),
        ("no cell is harmed by the script", lambda x: x.score.repair.harmed > 0, wrote),
        ("no legitimate cell is lost", lambda x: x.score.repair.legitimate_lost > 0, wrote),
        ("no row loses its parent", lambda x: x.score.violations > 0, wrote),
        ("any of these", lambda x: not x.score.gates_hold, lines),
        ("what is undamaged is not called damaged", lambda x: x.score.verdict == "damaged",
         [x for x in lines if not x.damaged and "sequence-behind" not in x.faults]),
        ("what is damaged is not called clean", lambda x: x.score.verdict == "clean", damaged),
    )  # fmt: skip
    for name, broken, of in promises:
        wrong = sum(broken(line) for line in of)
        rows.append(f"| {name} | {wrong} | {len(of)} | {at_most(wrong, len(of)):.1%} |")
    for suite in sorted({line.plan.suite.name for line in lines}):
        mine = [line for line in lines if line.plan.suite.name == suite]
        wrong = sum(not line.score.gates_hold for line in mine)
        rows.append(
            f"| any of the first four, {suite} | {wrong} | {len(mine)}"
            f" | {at_most(wrong, len(mine)):.1%} |"
        )
    return rows


def reliability(lines: Sequence[Line]) -> list[str]:
    stated = [
        Stated(p, right, f"{line.plan.size} {line.plan.name}", fault_class)
        for line in lines
        for (p, right), fault_class in _classed(line)
    ]
    outside = [line for line in lines if line.plan.fault_class == "outside"]
    wrong = sum(line.score.measures.confident_wrong for line in outside)
    brier = sum((one.probability - one.right) ** 2 for one in stated)
    rows = [
        f"Brier score {_ratio(brier, len(stated))} over {len(stated)} faults that were named in"
        f" {_cases(stated)} cases; expected calibration error {_error(stated, by_case=False)}, and"
        f" {_error(stated, by_case=True)} with each case weighing the same. Faults outside the"
        f" classes: {wrong} of {len(outside)} named wrongly with 0.5 or more"
        f" (at most {at_most(wrong, len(outside)):.1%} with 95 % confidence).",
        "",
        "| stated | faults | cases | mean stated | right | cases with a wrong one | at most |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for at, some in sorted(_binned(stated).items()):
        rows.append(f"| {at / _BINS:.1f}-{(at + 1) / _BINS:.1f} | {_figures(some)} |")
    rows += [
        "",
        "| class as named | stated | faults | cases | mean stated | right"
        " | cases with a wrong one | at most |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in sorted({one.fault_class for one in stated}):
        for low, high in pairwise(_EDGES):
            some = [
                one for one in stated if one.fault_class == name and low <= one.probability < high
            ]
            if some:
                rows.append(f"| {name} | {low:.2f}-{min(high, 1.0):.2f} | {_figures(some)} |")
    return rows


def _classed(line: Line) -> Iterable[tuple[tuple[float, bool], str]]:
    measures = line.score.measures
    classes = measures.classes or ("",) * len(measures.stated)
    return zip(measures.stated, classes, strict=True)


def _binned(stated: Sequence[Stated]) -> dict[int, list[Stated]]:
    bins: dict[int, list[Stated]] = defaultdict(list)
    for one in stated:
        bins[min(_BINS - 1, int(one.probability * _BINS))].append(one)
    return bins


def _figures(some: Sequence[Stated]) -> str:
    mean = sum(one.probability for one in some) / len(some)
    right = sum(one.right for one in some) / len(some)
    wrong = len({one.case for one in some if not one.right})
    cases = _cases(some)
    return (
        f"{len(some)} | {cases} | {mean:.3f} | {right:.3f} | {wrong} | {at_most(wrong, cases):.1%}"
    )


def _error(stated: Sequence[Stated], *, by_case: bool) -> str:
    """What the stated probabilities are off by, over bins of a tenth."""
    listed: dict[str, int] = defaultdict(int)
    for one in stated:
        listed[one.case] += 1
    total = off = 0.0
    for some in _binned(stated).values():
        weights = [1 / listed[one.case] if by_case else 1.0 for one in some]
        each = zip(weights, some, strict=True)
        off += abs(sum(weight * (one.probability - one.right) for weight, one in each))
        total += sum(weights)
    return _ratio(off, total)


def _cases(stated: Sequence[Stated]) -> int:
    return len({one.case for one in stated})


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.3f}" if whole else "-"
