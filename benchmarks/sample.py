"""Which cases a run makes when nobody names them: a choice out of suites, classes, shares and logs
that has some of everything, and is the same for the same seed.

Trying all of them would be tens of thousands of cases; a plain lot would leave out what is rare. So
every value of every dimension gets its turn, and among the values whose turn it is, the one that
was least often together with what the case already has.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from benchmarks.faults import CLASSES, CONTROLS
from benchmarks.generator import STEPS
from benchmarks.history import Plan
from benchmarks.suites import Suite

SHARES = (0.0, 0.3, 0.6)
COUNTS = {"XXS": 60, "XS": 120, "S": 60, "M": 10}  # cases for each seed
COUNT_MAX = 999  # a case's seed is the run's with three digits behind it
Value = TypeVar("Value", bound=Hashable)
_CONTROLS = {"legitimate-only": 0.10, "nothing-changed": 0.05}


@dataclass(frozen=True, slots=True)
class LogKind:
    """A way of telling the history, and how often it is taken against the others."""

    level: str
    mode: str
    complaints: str
    weight: int


# The exact log as intended and the one of level G2 carry most rows of the targets, so most cases
# have them; everything else is there often enough to be seen going wrong.
LOGS = (
    LogKind("G0", "intended", "0", 30),
    LogKind("G2", "intended", "0", 16),
    LogKind("G0", "executed", "3", 8),
    LogKind("G2", "executed", "3", 6),
    LogKind("G1", "intended", "0", 4),
    LogKind("G0", "unknown", "0", 4),
    LogKind("G0", "intended", "1v", 3),
    LogKind("G0", "intended", "3", 3),
    LogKind("G0", "intended", "3f", 3),
    LogKind("G0", "executed", "10v", 3),
    LogKind("G0", "mixed", "3", 3),
    LogKind("G0", "mixed", "0", 3),
    LogKind("G3", "intended", "0", 3),
    LogKind("G2", "executed", "3vf", 2),
    LogKind("G0", "executed", "1", 2),
    LogKind("G3", "unknown", "3v", 2),
    LogKind("G2", "unknown", "10", 2),
    LogKind("G2", "mixed", "10vf", 2),
    LogKind("G4", "intended", "0", 2),
    LogKind("G4", "executed", "10f", 2),
)


@dataclass(frozen=True, slots=True)
class Space:
    """What there is to choose from."""

    suites: tuple[Suite, ...]
    classes: tuple[str, ...] = (*CLASSES, *CONTROLS)
    shares: tuple[float, ...] = SHARES
    logs: tuple[LogKind, ...] = LOGS


def sample(space: Space, size: str, seed: int, count: int) -> tuple[Plan, ...]:
    """`count` cases for one seed, `count` at most COUNT_MAX. One in ten has legitimate work only,
    one in twenty no change at all, where these are to choose from. The cases' own seeds are the
    seed with three digits behind it, so that depths and parameters differ too."""
    if not 0 < count <= COUNT_MAX:
        raise ValueError(f"{count} cases for a seed; it must be 1 to {COUNT_MAX}")
    chooser = _Chooser(Random(f"sample {size} {seed} {count}"))
    classes = _classes(space, count)
    plans = []
    for number, fault_class in enumerate(classes, start=1):
        able = [one for one in space.suites if _has_place(one, fault_class)]
        if not able:
            continue
        control = fault_class in CONTROLS
        log = chooser.one("log", space.logs, fault_class, weight=lambda log: log.weight)
        share = chooser.one("share", space.shares, fault_class, log)
        if fault_class == "nothing-changed":
            log, share = LOGS[0], 0.0
        suite = chooser.one("suite", able, fault_class, log, share)
        plans.append(
            Plan(
                suite, fault_class, share, seed * (COUNT_MAX + 1) + number, STEPS[size], size,
                log.level, log.mode, "0" if control else log.complaints,
            )
        )  # fmt: skip
    return tuple(plans)


def absent(plans: Sequence[Plan], space: Space) -> list[str]:
    """What there was to choose from and no case has, for people."""
    wanted = {
        "suite": {suite.name for suite in space.suites},
        "class": set(space.classes),
        "share": {f"{share:.0%}" for share in space.shares},
        "level": {log.level for log in space.logs},
        "mode": {log.mode for log in space.logs},
        "complaints": {log.complaints for log in space.logs},
    }
    return [
        f"{name} {value}"
        for name, values in wanted.items()
        for value in sorted(values - strata(plans)[name].keys())
    ]


def strata(plans: Sequence[Plan]) -> dict[str, Counter[str]]:
    """How many cases have what."""
    return {
        "suite": Counter(plan.suite.name for plan in plans),
        "class": Counter(plan.fault_class for plan in plans),
        "share": Counter(f"{plan.missing:.0%}" for plan in plans),
        "level": Counter(plan.level for plan in plans),
        "mode": Counter(plan.mode for plan in plans),
        "complaints": Counter(plan.complaints for plan in plans),
    }


def _classes(space: Space, count: int) -> list[str]:
    """One class for each case: controls by their share, the rest in turn."""
    controls = [
        name
        for name, share in _CONTROLS.items()
        if name in space.classes
        for _ in range(max(1, round(share * count)))
    ]
    faults = [name for name in CLASSES if name in space.classes]
    if not faults:
        return (controls * count)[:count]
    left = max(0, count - len(controls))
    # A sample that is too small for all of them begins with what is met most often in the field.
    return [faults[at % len(faults)] for at in range(left)] + controls[: count - left]


def _has_place(suite: Suite, fault_class: str) -> bool:
    return fault_class != "sequence-behind" or suite.places.serial is not None


class _Chooser:
    """Values in their turn; `_pairs` counts what was together in a case."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._used: Counter[tuple[str, Hashable]] = Counter()
        self._pairs: Counter[tuple[Hashable, Hashable]] = Counter()

    def one(
        self, name: str, values: Sequence[Value], *chosen: Hashable,
        weight: Callable[[Value], int] = lambda _: 1,
    ) -> Value:  # fmt: skip
        def order(value: Value) -> tuple[float, int, float]:
            together = sum(self._pairs[other, value] for other in chosen)
            turn = (self._used[name, value] + 0.5) / weight(value)
            return turn, together, self._random.random()

        best = min(values, key=order)
        self._used[name, best] += 1
        self._pairs.update((other, best) for other in chosen)
        return best
