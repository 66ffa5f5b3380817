"""Fuzzing of the fast what-if: made-up histories, each gone otherwise in several ways, told three
ways (`tests.whatif_trials`). Used by the tests and by the nightly command.

A *history* is counted as a base with one way in which it went otherwise; both numbers are told.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from recovery.replay.whatif import SOUND, Dependence
from recovery.scratch.cluster import Cluster, open_cluster
from tests.any_objects import make_schema
from tests.histories import SHARED, Case, Changes, Inserted, Steps, make_case
from tests.whatif_trials import Room, Trials, room

FAULTS = 6  # ways in which one history goes otherwise
UNANSWERED_MAX = 0.4  # the share of histories that may be left to the slow way
# Histories of their own find these out (tests/test_whatif_alone.py).
ALONE = ("onlookers", "companions", "parts", "constants")
WEAKER: dict[str, Dependence] = {
    one.name: replace(SOUND, **{one.name: False})
    for one in fields(Dependence)
    if one.name not in ALONE
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One history that was told in two ways. `number` is that of the fault."""

    seed: int
    number: int
    kind: str
    detail: str
    steps: Steps
    changes: Changes

    def __str__(self) -> str:
        lines = [f"seed {self.seed} fault {self.number}: {self.kind}", f"  {self.detail}"]
        for step in self.steps:
            lines += [f"  {step.id} ({step.shape}) {text}" for text in step.statements]
        lines += [f"  otherwise: {change}" for change in self.changes]
        lines.append(f"  python -m benchmarks.fuzz_whatif --seed {self.seed}")
        return "\n".join(lines)


@dataclass
class Tally:
    bases: int = 0
    histories: int = 0
    answered: int = 0
    plainly: int = 0  # told by nothing of the product as well
    whole: int = 0  # told by a replay of all of it as well
    different: int = 0  # the forecast has rows
    later: int = 0  # acts behind the first that went otherwise, of what was answered
    reran: int = 0  # of these, run again
    refusals: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def unanswered(self) -> float:
        return 1 - self.answered / self.histories if self.histories else 0.0

    def add(self, other: "Tally") -> None:
        for name in (
            "bases",
            "histories",
            "answered",
            "plainly",
            "whole",
            "different",
            "later",
            "reran",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.refusals += other.refusals
        self.findings += other.findings

    def __str__(self) -> str:
        share = self.reran / self.later if self.later else 0.0
        why = "; ".join(f"{count} {text}" for text, count in self.refusals.most_common(8))
        return (
            f"{self.histories} histories over {self.bases} bases: {len(self.findings)} told in two"
            f" ways; {self.plainly} held against plain runs, {self.whole} against whole replays;"
            f" {self.different} leave something different; {share:.1%} of {self.later} later acts"
            f" run again; {self.histories - self.answered} ({self.unanswered:.1%}) not answered"
            f"{f' ({why})' if why else ''}"
        )


@contextmanager
def workplace(owner: str, place: Path | None = None) -> Iterator[tuple[Cluster, Path]]:
    """A server and a folder of our own, gone at the end."""
    with open_cluster(owner, place=place) as cluster, tempfile.TemporaryDirectory() as folder:
        try:
            yield cluster, Path(folder)
        finally:
            cluster.remove()


def rooms(cluster: Cluster, folder: Path, seeds: Iterable[int]) -> Iterator[tuple[Room, list[int]]]:
    """The seeds, those that share a schema together."""
    groups: dict[int, list[int]] = {}
    for seed in seeds:
        groups.setdefault(seed // SHARED, []).append(seed)
    for number, some in groups.items():
        name = f"fuzz_{number}"
        with room(cluster, make_schema(number), name, folder / name) as ready:
            yield ready, some


def fuzz(cluster: Cluster, folder: Path, seeds: Iterable[int], *, whole: int = FAULTS) -> Tally:
    """Every history of these seeds; `whole` of each base are replayed as a whole, others only
    where plain runs cannot tell."""
    tally = Tally()
    for ready, some in rooms(cluster, folder, seeds):
        for seed in some:
            case = make_case(seed, FAULTS)
            trials = Trials(ready, case.steps)
            tally.bases += 1
            with trials.fast() as fast:
                for number, changes in enumerate(case.faults):
                    tally.histories += 1
                    slowly = (number + seed) % FAULTS < whole
                    answer = trials.tell(fast, changes, whole=slowly)
                    tally.answered += answer.answered
                    tally.plainly += answer.plainly
                    tally.whole += answer.whole
                    tally.different += answer.different
                    tally.later += answer.later
                    tally.reran += answer.reran
                    if answer.refusal:
                        tally.refusals[_in_general(answer.refusal, case.steps, changes)] += 1
                    tally.findings += [
                        Finding(seed, number, kind, detail, case.steps, changes)
                        for kind, detail in answer.wrong
                    ]
    return tally


def _in_general(refusal: str, steps: Steps, changes: Changes) -> str:
    """A reason without the name of the step."""
    names = {step.id for step in steps}
    names |= {change.step.id for change in changes if isinstance(change, Inserted)}
    words = refusal.split(":")[0].split()
    return " ".join("…" if word in names else word for word in words)


def caught(
    cluster: Cluster, folder: Path, seeds: Iterable[int], weaker: Mapping[str, Dependence]
) -> dict[str, tuple[int, Finding]]:
    """Of these engines, those that told a history wrongly: which, and how many they were given
    until then. Held against plain runs."""
    found: dict[str, tuple[int, Finding]] = {}
    histories = 0
    for ready, some in rooms(cluster, folder, seeds):
        for seed in some:
            left = weaker.keys() - found.keys()
            if not left:
                return found
            case = make_case(seed, FAULTS)
            trials = Trials(ready, case.steps)
            for name in sorted(left) if trials.left is not None else ():
                first = _first_wrong(trials, case, weaker[name])
                if first is not None:
                    found[name] = histories + first.number + 1, first
            histories += len(case.faults)
    return found


def _first_wrong(trials: Trials, case: Case, dependence: Dependence) -> Finding | None:
    """Told wrongly by this engine and rightly by the sound one: else it is a fault of both."""
    with trials.fast(dependence) as fast:
        for number, changes in enumerate(case.faults):
            wrong = trials.wrong(fast, changes)
            if not wrong:
                continue
            with trials.fast() as sound:
                if not trials.wrong(sound, changes):
                    return Finding(case.seed, number, "weakened", wrong, case.steps, changes)
    return None


def shrunk(cluster: Cluster, folder: Path, finding: Finding) -> Finding:
    """The same failure with as few steps as can be had by leaving out one after the other."""
    made = make_schema(finding.seed // SHARED)
    with room(cluster, made, "fuzz_shrink", folder / "fuzz_shrink") as ready:

        def fails(steps: Steps, changes: Changes) -> str:
            trials = Trials(ready, steps)
            with trials.fast() as fast:
                wrong = trials.tell(fast, changes, whole="slow" in finding.kind).wrong
            return next((detail for kind, detail in wrong if kind == finding.kind), "")

        return _shrink(finding, fails)


def _shrink(finding: Finding, fails: Callable[[Steps, Changes], str]) -> Finding:
    for changes in [(one,) for one in finding.changes] if len(finding.changes) > 1 else []:
        try:
            detail = fails(finding.steps, changes)
        except ValueError:  # the second names what only the first makes
            continue
        if detail:
            finding = replace(finding, changes=changes, detail=detail)
            break
    again = True
    while again:
        again = False
        for steps in _smaller(finding.steps, finding.changes):
            detail = fails(steps, finding.changes)
            if detail:
                finding = replace(finding, steps=steps, detail=detail)
                again = True
                break
    return finding


def _smaller(steps: Steps, changes: Changes) -> Iterator[Steps]:
    named = {
        name
        for change in changes
        for name in (getattr(change, "step", ""), getattr(change, "after", ""))
        if isinstance(name, str)
    }
    for place in reversed(range(len(steps))):
        step = steps[place]
        if step.id not in named:
            yield (*steps[:place], *steps[place + 1 :])
        if len(step.statements) > 1:
            for number in range(len(step.statements)):
                kept = (*step.statements[:number], *step.statements[number + 1 :])
                yield (*steps[:place], replace(step, statements=kept), *steps[place + 1 :])


def schema_of(seed: int) -> str:
    return make_schema(seed // SHARED).text
