"""The table of targets: every figure that was asked for, beside its target and its floor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.metrics import Named
from benchmarks.parameters import RIGHT, SILENT, WRONG
from benchmarks.results import Line
from benchmarks.sample import SHARES
from benchmarks.speed import Part

FLOORS = {0.0: 1.0, 0.3: 0.9, 0.6: 0.7}  # of the restored share, by what is missing
_RESTORED = {0.0: 1.0, 0.3: 0.95, 0.6: 0.85}
_LEVELS = ("G0", "G2")
NOT_RUN = "NOT RUN"


@dataclass(frozen=True, slots=True)
class Asked:
    """Target and floor of a figure; `most`: it may be at most so much. A floor that is None was not
    asked for."""

    target: float | None
    floor: float | None
    most: bool = False
    unit: str = ""

    def standing(self, value: float | None) -> str:
        if value is None:
            return NOT_RUN
        for name, bound in (("target", self.target), ("floor", self.floor)):
            if bound is not None and (value <= bound if self.most else value >= bound):
                return name
        return "BELOW" if self.target is not None else ""


Figure = Callable[[Sequence[Line]], float | None]


def targets(lines: Sequence[Line], speed: Mapping[str, Part]) -> list[str]:
    """G0 and G2 are logs that lack no more than their level says; logs that lack a share of the
    legitimate steps besides, which is another question, have columns of their own."""
    rows = [
        "| figure | G0 | target | floor | holds | G2 | target | floor | holds | 30% missing"
        " | 60% missing |",
        "|---|--:|--:|--:|---|--:|--:|--:|---|--:|--:|",
    ]
    for name, figure, of, exact, worse in _entries(lines):
        cells = [name]
        for level, asked in zip(_LEVELS, (exact, worse), strict=True):
            value = figure([line for line in of if _is(line, level, 0.0)])
            cells += _cells(value, asked)
        for missing in SHARES[1:]:
            value = figure([line for line in of if line.plan.missing == missing])
            cells.append(_shown(value))
        rows.append(f"| {' | '.join(cells)} |")
    told = _as_intended(lines)
    for missing in SHARES:
        asked = Asked(_RESTORED[missing], FLOORS[missing])
        for data in (False, True):
            name = f"restored share, {missing:.0%} missing" + (", without records" * data)
            cells = [name, *_cells(share_of(told, missing, data=data), asked), *[""] * 6]
            rows.append(f"| {' | '.join(cells)} |")
    physical = f"{NOT_RUN} | 0.97 | 0.93 | | {NOT_RUN} | 0.92 | - | | | |"
    rows.append(f"| hardware or human, F1, physical copies | {physical}")
    rows += [
        "",
        "| speed and size | measured | target | floor | holds |",
        "|---|--:|--:|--:|---|",
    ]
    for name, value, asked in _speeds({**speed, **_own(lines)}):
        rows.append(f"| {' | '.join([name, *_cells(value, asked)])} |")
    return [*rows, "", *_sources(lines, {**speed, **_own(lines)})]


def whole_cases(lines: Sequence[Line]) -> Part:
    """How long whole cases of size M took; nothing where there are none."""
    ran = [line for line in lines if line.plan.size == "M" and not line.not_here]
    times = sorted(line.score.seconds for line in ran if not line.score.trouble)
    if not times:
        return {}
    return {
        "cases": len(times),
        "did not run": len(ran) - len(times),
        "median seconds": times[len(times) // 2],
        "longest seconds": times[-1],
        "memory bytes": max(line.score.memory_bytes for line in ran),
    }


def _own(lines: Sequence[Line]) -> dict[str, Part]:
    figures = whole_cases(lines)
    return {"case-M": {"command": "the run of this file", **figures}} if figures else {}


def share_of(lines: Sequence[Line], missing: float, *, data: bool = False) -> float | None:
    """The mean over cases with an exact log but for what is missing, each case weighing the same;
    cases without a restorable cell are left out. `data`: without the cells of record tables."""
    cases = [
        line.score.repair.share_of_data if data else line.score.repair.share
        for line in lines
        if _is(line, "G0", missing) and line.score.repair.restorable
    ]
    return sum(cases) / len(cases) if cases else None


def _is(line: Line, level: str, missing: float) -> bool:
    return line.plan.level == level and line.plan.missing == missing


def _as_intended(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.plan.mode == "intended"]


def _entries(lines: Sequence[Line]) -> list[tuple[str, Figure, Sequence[Line], Asked, Asked]]:
    told = _as_intended(lines)
    ran = [line for line in lines if line.plan.mode == "executed" and _complaints(line) >= 3]
    none, exact = Asked(None, None), Asked(1.0, 1.0)
    return [
        ("step first, identifiable, as intended", lambda x: _top(x, 1), told,
         Asked(0.98, 0.95), Asked(0.93, 0.88)),
        ("step among the first three", lambda x: _top(x, 3), told,
         Asked(0.995, 0.98), Asked(0.97, 0.94)),
        ("mean reciprocal rank", _reciprocal, told, none, none),
        ("class right where the step is named", _class_right, told,
         Asked(0.93, 0.88), Asked(0.85, 0.78)),
        ("parameters right where they are said", _parameters_right, told, none, none),
        ("parameters said where there is something to say", _parameters_said, told, none, none),
        ("as executed, 3 complaints or more, first three", lambda x: _top(x, 3), ran,
         Asked(0.95, 0.90), Asked(0.88, 0.80)),
        ("truth in the credible set", _covered, told, none, none),
        ("size of the credible set, mean", _listed, told, none, none),
        ("damaged cells, precision", lambda x: _damage(x, precision=True), told,
         Asked(0.995, 0.99), Asked(0.97, None)),
        ("damaged cells, recall", lambda x: _damage(x, precision=False), told,
         Asked(0.995, 0.98), Asked(0.95, None)),
        ("hardware or human, F1, dumps only", _hardware, told,
         Asked(0.90, 0.85), Asked(0.80, None)),
        ("safe cells that are exact", _safe_exact, lines, exact, exact),
        ("legitimate cells lost", _lost, lines,
         Asked(0, 0, most=True), Asked(0, 0, most=True)),
        ("error of the promised depth, points", _depth, told,
         Asked(1, 2, most=True), Asked(3, 5, most=True)),
    ]  # fmt: skip


def _speeds(speed: Mapping[str, Part]) -> list[tuple[str, float | None, Asked]]:
    def of(part: str, *names: str) -> float | None:
        found: object = speed.get(part)
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return float(found) if isinstance(found, int | float) else None

    def ratio(one: float | None, other: float | None) -> float | None:
        return one / other if one is not None and other else None

    rows: list[tuple[str, float | None, Asked]] = []
    settings = (
        ("one step", "one step left out"),
        ("1 %", "1 % left out"),
        ("10 %", "10 % left out"),
    )
    for setting, name in settings:
        least = "what-if against restore and replay"
        for figure, asked in (
            ("geometric mean", Asked(100, 30, unit="x")),
            ("least", Asked(10, 5, unit="x")),
            ("best", Asked(1000, None, unit="x")),
        ):
            rows.append((f"{least}, {name}, {figure}", of("what-if", setting, figure), asked))
        again = of("what-if", setting, "run again, median")
        share = None if again is None else 100 * again
        rows.append(
            (f"later steps run again, {name}, median", share, Asked(10, 20, most=True, unit=" %"))
        )
    over = of("what-if", "capture overhead")
    percent = None if over is None else 100 * over
    store = ratio(of("what-if", "version store bytes"), of("what-if", "log bytes"))
    minutes = [ratio(of("case-M", f"{which} seconds"), 60.0) for which in ("median", "longest")]
    minutes_asked = Asked(10, 30, most=True, unit=" min")
    return [
        *rows,
        *_captured(speed, percent),
        ("base replay over plain, by triggers", None, Asked(60, 100, most=True, unit=" %")),
        ("hypotheses a minute", of("what-if", "one step", "a minute"), Asked(1000, 300)),
        ("whole case of M, with restoring, median", minutes[0], minutes_asked),
        ("whole case of M, with restoring, longest", minutes[1], minutes_asked),
        ("version store against WAL of the replay", store, Asked(3, 5, most=True, unit="x")),
    ]


def _captured(
    speed: Mapping[str, Part], otherwise: float | None
) -> Iterator[tuple[str, float | None, Asked]]:
    """What capture costs by `benchmarks.capture`, else what the what-ifs' own run says."""
    asked = Asked(15, 30, most=True, unit=" %")
    name = "base replay over plain, by decoding"
    found = speed.get("capture", {}).get("percent over")
    if not isinstance(found, dict):
        yield name, otherwise, asked
        return
    for history, percents in found.items():
        for way, percent in percents.items():
            yield f"{name}, {history}, {way}", float(percent), asked


def _sources(lines: Sequence[Line], speed: Mapping[str, Part]) -> list[str]:
    """Where the figures of the second table come from, and what of the asked is not there."""
    text = []
    for name, part in sorted(speed.items()):
        told = ", ".join(f"{key} {part[key]}" for key in ("rows", "steps", "skew") if key in part)
        text.append(
            f"{name}: `{part.get('command', '')}`, {part.get('made', '')}, commit"
            f" {part.get('commit', '')}{f', {told}' if told else ''}."
        )
    sizes = sorted({line.plan.size for line in lines})
    text.append(
        f"The targets speak of sizes S and M; these cases are {', '.join(sizes) or 'none'}. Nothing"
        " is captured by triggers, and cases have dumps, no physical copies. The best what-if is"
        " asked for at 10,000 steps and more."
    )
    return [" ".join(text)]


def _cells(value: float | None, asked: Asked) -> list[str]:
    bounds = [
        "-" if bound is None else f"{bound:g}{asked.unit}" for bound in (asked.target, asked.floor)
    ]
    return [_shown(value, asked.unit), *bounds, "" if value is None else asked.standing(value)]


def _shown(value: float | None, unit: str = "") -> str:
    return NOT_RUN if value is None else f"{_number(value)}{unit}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if value < 10 else f"{value:,.1f}"


# --- one figure each, None where there is nothing to count ----------------------------------------


def _named(lines: Sequence[Line]) -> list[Named]:
    return [
        one
        for line in lines
        if line.is_identifiable
        for one in line.score.measures.named
        if not one.outside
    ]


def _top(lines: Sequence[Line], most: int) -> float | None:
    named = _named(lines)
    return _ratio(sum(0 < one.rank <= most for one in named), len(named))


def _reciprocal(lines: Sequence[Line]) -> float | None:
    named = _named(lines)
    return _ratio(sum(1 / one.rank for one in named if one.rank), len(named))


def _class_right(lines: Sequence[Line]) -> float | None:
    named = [one for one in _named(lines) if one.rank]
    return _ratio(sum(one.class_right for one in named), len(named))


def _parameters_right(lines: Sequence[Line]) -> float | None:
    said = [one for one in _named(lines) if one.parameters in (RIGHT, WRONG)]
    return _ratio(sum(one.parameters == RIGHT for one in said), len(said))


def _parameters_said(lines: Sequence[Line]) -> float | None:
    could = [one for one in _named(lines) if one.parameters in (RIGHT, WRONG, SILENT)]
    return _ratio(sum(one.parameters != SILENT for one in could), len(could))


def _covered(lines: Sequence[Line]) -> float | None:
    named = _named(lines)
    return _ratio(sum(one.covered for one in named), len(named))


def _listed(lines: Sequence[Line]) -> float | None:
    sizes = [line.score.measures.listed for line in lines if line.score.measures.named]
    return _ratio(sum(sizes), len(sizes))


def _damage(lines: Sequence[Line], *, precision: bool) -> float | None:
    """The mean over cases that say, or have, damaged cells."""
    values = []
    for line in lines:
        counts = line.score.measures.cells.get("")
        of = 0 if counts is None else counts.said if precision else counts.true
        if counts is not None and of:
            values.append(counts.both / of)
    return _ratio(sum(values), len(values))


def _hardware(lines: Sequence[Line]) -> float | None:
    """Of cases with one visible fault or none: storage, or not."""
    said = true = both = 0
    for line in lines:
        if len(line.faults) != 1:
            continue
        counts = line.score.measures.cells.get("storage")
        mine = counts is not None and counts.said > 0
        real = line.faults == ("storage",) and line.damaged > 0
        said, true, both = said + mine, true + real, both + (mine and real)
    return _ratio(2 * both, said + true)


def _safe_exact(lines: Sequence[Line]) -> float | None:
    safe = sum(line.score.safe for line in lines)
    return _ratio(safe - sum(line.score.wrong_safe for line in lines), safe)


def _lost(lines: Sequence[Line]) -> float | None:
    return sum(line.score.repair.legitimate_lost for line in lines) if lines else None


def _depth(lines: Sequence[Line]) -> float | None:
    errors = [
        abs(line.score.measures.promised - line.score.actual_share) * 100
        for line in lines
        if line.damaged
    ]
    return _ratio(sum(errors), len(errors))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _complaints(line: Line) -> int:
    return int(line.plan.complaints.rstrip("vf"))
