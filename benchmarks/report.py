"""RESULTS.md: the totals beside their targets, the losses, the baselines, every case."""

from collections.abc import Mapping, Sequence

from benchmarks.calibration import at_most, bounds, reliability
from benchmarks.faults import CLASSES, CONTROLS
from benchmarks.metrics import LABELS, Named
from benchmarks.parameters import RIGHT, WRONG
from benchmarks.results import Line
from benchmarks.speed import Part
from benchmarks.suites import SUITES
from benchmarks.targets import targets


def bad(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if not line.score.gates_hold]


def report(lines: Sequence[Line], head: str, speed: Mapping[str, Part] | None = None) -> str:
    """The whole file. `head` says how it was made; `speed` is what other commands measured."""
    lines = [line for line in lines if not line.not_here]
    text = ["# Figures of the benchmark", "", head, "", *_totals(lines), ""]
    text += ["## Beside the targets", "", *targets(lines, speed or {}), ""]
    text += ["## Bounds", "", *bounds(lines), ""]
    text += ["## By class", "", *_by_class(lines), ""]
    text += ["## By label of cells", "", *_by_label(lines), ""]
    text += ["## Probabilities", "", *reliability(lines), ""]
    text += ["## Baselines", "", *_baselines(lines), ""]
    text += ["## Looking for the step without hypotheses", "", *_looked(lines), ""]
    text += ["## Losses", "", *_losses(lines), ""]
    text += ["## Every case", "", HEAD, *(row(line) for line in sorted(lines, key=_order))]
    return "\n".join(text) + "\n"


# --- totals ---------------------------------------------------------------------------------------


def _totals(lines: Sequence[Line]) -> list[str]:
    faults = [line for line in lines if line.plan.fault_class in CLASSES]
    controls = [line for line in lines if line.plan.fault_class in CONTROLS]
    unclean = [line for line in controls if line.score.verdict != "clean"]
    wrong = bad(lines)
    times = sorted(line.score.seconds for line in lines) or [0.0]
    memory = max((line.score.memory_bytes for line in lines), default=0)
    rows = [
        "| figure | value | asked for |",
        "|---|--:|--:|",
        f"| cells harmed | {sum(x.score.repair.harmed for x in lines)} | 0 |",
        f"| legitimate cells lost | {sum(x.score.repair.legitimate_lost for x in lines)} | 0 |",
        f"| wrong cells graded proven or consistent | {sum(x.score.wrong_safe for x in lines)}"
        " | 0 |",
        f"| rows that lost their parent | {sum(x.score.violations for x in lines)} | 0 |",
        f"| cases in which one of these is not 0 | {len(wrong)} of {len(lines)} | 0 |",
        f"| controls found clean | {len(controls) - len(unclean)} of {len(controls)}"
        f" | {len(controls)} |",
        f"| cases that did not run to the end | {sum(bool(x.score.trouble) for x in lines)} | 0 |",
        f"| fault's step and class named first | {sum(x.score.fault_right for x in faults)} of "
        f"{len(faults)} | |",
        f"| seconds a case, median / 95 % / longest | {times[len(times) // 2]:.1f} / "
        f"{times[min(len(times) - 1, len(times) * 95 // 100)]:.1f} / {times[-1]:.1f} | |",
        f"| memory of the largest process, without database servers | {memory >> 20} MiB | |",
    ]
    if lines:
        bound = f"at most {at_most(len(wrong), len(lines)):.1%}"
        rows += ["", f"{len(wrong)} bad of {len(lines)} cases; with 95 % confidence {bound}."]
    return rows


# --- tables ---------------------------------------------------------------------------------------


def _by_class(lines: Sequence[Line]) -> list[str]:
    rows = [
        "| class | cases | masked | ambiguous | step first | first three | class right"
        " | parameters right | restored share | bad cases | did not run |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in CLASSES:
        mine = [line for line in lines if line.plan.fault_class == name]
        if not mine:
            continue
        shares = [x.score.repair.share for x in mine if x.score.repair.restorable]
        share = f"{sum(shares) / len(shares):.3f}" if shares else "-"
        own = [
            [one for one in line.score.measures.named if one.fault_class == name][:1]
            for line in mine
        ]
        named = [one for some in own for one in some]
        rows.append(
            f"| {name} | {len(mine)} | {sum(bool(x.masked) for x in mine)}"
            f" | {sum(x.ambiguous == 'yes' for x in mine)}"
            f" | {sum(one.rank == 1 for one in named)} of {len(named)}"
            f" | {sum(0 < one.rank <= 3 for one in named)}"
            f" | {sum(one.class_right for one in named)} | {_parameters(named)} | {share}"
            f" | {len(bad(mine))}"
            f" | {sum(bool(x.score.trouble) for x in mine)} |"
        )
    return rows


def _parameters(named: Sequence[Named]) -> str:
    said = [one for one in named if one.parameters in (RIGHT, WRONG)]
    return f"{sum(one.parameters == RIGHT for one in said)} of {len(said)}" if said else "-"


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _by_label(lines: Sequence[Line]) -> list[str]:
    rows = [
        "| label | true cells | said | both | precision | recall |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for label in ("", *LABELS):
        said = true = both = 0
        for line in lines:
            counts = line.score.measures.cells.get(label)
            if counts is not None:
                said, true, both = said + counts.said, true + counts.true, both + counts.both
        name = label or "any"
        rows.append(
            f"| {name} | {true} | {said} | {both} | {_ratio(both, said)} | {_ratio(both, true)} |"
        )
    return rows


def _baselines(lines: Sequence[Line]) -> list[str]:
    names = list(dict.fromkeys(name for line in lines for name in line.baselines))
    rows = [
        "| by hand | cases | bad cases | cells harmed | legit lost | restored share |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        mine = [line.baselines[name] for line in lines if name in line.baselines]
        shares = [one.share for one in mine if one.restorable]
        share = f"{sum(shares) / len(shares):.3f}" if shares else "-"
        rows.append(
            f"| {name} | {len(mine)} | {sum(one.harmed > 0 for one in mine)}"
            f" | {sum(one.harmed for one in mine)} | {sum(one.legitimate_lost for one in mine)}"
            f" | {share} |"
        )
    return rows


def _looked(lines: Sequence[Line]) -> list[str]:
    """Ways to look for the step, and how much a replay would run that is told the step."""
    rows = [
        "| way | cases | step first | first three | mean reciprocal rank"
        " | later steps run again, median | 95 % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    names = list(dict.fromkeys(name for line in lines for name in line.looked))
    ranked = [
        line
        for line in lines
        if line.is_identifiable and any(one.rank is not None for one in line.looked.values())
    ]
    own = [line.score.measures.named[0].rank for line in ranked if line.score.measures.named]
    rows.append(
        f"| the tool, same cases | {len(own)} | {_ranks([float(one) for one in own])} | | |"
    )
    for name in names:
        found = [line.looked[name] for line in ranked if name in line.looked]
        ranks = [one.rank for one in found if one.rank is not None]
        again = sorted(
            one.again
            for line in lines
            for one in [line.looked.get(name)]
            if one is not None and one.again is not None
        )
        middle = f"{again[len(again) // 2]:.0%}" if again else ""
        most = f"{again[min(len(again) - 1, len(again) * 95 // 100)]:.0%}" if again else ""
        rows.append(
            f"| {name} | {len(ranks) or len(again)} | {_ranks(ranks)} | {middle} | {most} |"
        )
    return rows


def _ranks(ranks: Sequence[float]) -> str:
    """First, among the first three, mean reciprocal; 0 is not at all."""
    if not ranks:
        return " | | "
    first = sum(0 < one <= 1 for one in ranks) / len(ranks)
    three = sum(0 < one <= 3 for one in ranks) / len(ranks)
    mean = sum(1 / one for one in ranks if one) / len(ranks)
    return f"{first:.3f} | {three:.3f} | {mean:.3f}"


def _losses(lines: Sequence[Line]) -> list[str]:
    """Cases in which something is not as it should be, in one line each."""
    rows = []
    for line in sorted(lines, key=_order):
        score, words = line.score, []
        if not score.gates_hold:
            words.append("A GATE DOES NOT HOLD")
        if score.trouble:
            words.append(" ".join(score.trouble.split())[:160])
        if not score.verdict_right:
            words.append(f"verdict {score.verdict}")
        if not score.fault_right:
            words.append("fault not named first")
        if score.repair.share < 1:
            words.append(f"restored {score.repair.restored} of {score.repair.restorable}")
        if not score.sequences:
            words.append("a sequence stayed behind")
        if words:
            rows.append(f"- {line.plan.name}: {'; '.join(words)}")
    return rows or ["None."]


HEAD = (
    "| schema | class | log | missing | seed | fault | damaged | restorable | restored | share "
    "| without records | written | harmed | legit lost | safe | safe wrong | verdict "
    "| fault found | seconds |\n"
    "|---|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|--:|"
)


def row(line: Line) -> str:
    plan, got = line.plan, line.score
    repair = got.repair
    share = f"{repair.share:.3f}" if repair.restorable else "-"
    data = f"{repair.share_of_data:.3f}" if repair.restorable > repair.restorable_records else "-"
    log = f"{plan.level} {plan.mode}" + ("" if plan.complaints == "0" else f" {plan.complaints}")
    log += f" skew {plan.skew:g}" if plan.skew else ""
    kind = line.kind or "-"
    kind += f" and {len(line.faults) - 1}" if len(line.faults) > 1 else ""
    cells = [
        plan.suite.name, plan.fault_class, log, f"{plan.missing:.0%}", plan.seed,
        kind, line.damaged, repair.restorable, repair.restored, share, data,
        repair.written, repair.harmed, repair.legitimate_lost, got.safe, got.wrong_safe,
        got.verdict, "yes" if got.fault_right else "no", f"{got.seconds:.1f}",
    ]  # fmt: skip
    text = "| " + " | ".join(str(cell) for cell in cells) + " |"
    return text + (f" {' '.join(got.trouble.split())}" if got.trouble else "")


def _order(line: Line) -> tuple[object, ...]:
    plan = line.plan
    classes = [*CLASSES, *CONTROLS]
    return (
        SUITES.index(plan.suite), classes.index(plan.fault_class), plan.level, plan.mode,
        plan.missing, plan.seed,
    )  # fmt: skip
