"""Localization: from divergences and a step log to faults, damaged cells and their targets.

The procedure is the expert's: replay the log as it stands; see what it does not explain; suppose
a fault, run the history with it, and keep the supposition that reproduces the current state; then
compare with what should have happened, and say of every cell how surely that is known.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb

from diffing.model import Ledger, Schema, Sequence_, Status
from recovery.deviation import Insert, deviate
from recovery.localize import decay, structure, told, whatif
from recovery.localize import grade as grading
from recovery.localize.cells import (
    contradict,
    final_values,
    lay_side_by_side,
    learn_unstable,
    name_columns,
)
from recovery.localize.complaints import heard, lay_out
from recovery.localize.covered import covered, held_whole, unexplained
from recovery.localize.drawn import lay_out_counters, settle_drawn
from recovery.localize.hypothesis import Candidate
from recovery.localize.last_good import put_last_good
from recovery.localize.odds import SAFE_ROOM, none_of_these, probability
from recovery.localize.records import Faulty, find_records
from recovery.localize.search import BY_CLASS, Findings, Search, find_faults
from recovery.localize.trial import Found
from recovery.model import (
    AssessmentVerdict,
    Cause,
    Fault,
    FaultClass,
    History,
    Label,
    Laboratory,
    Outcome,
    Preparation,
    Progress,
    Question,
    Replay,
    Step,
    StepLog,
)

BASE = "log"
MOVED = "log-moved"


@dataclass(frozen=True, slots=True)
class Given:
    """What localization is given. `log` is BASE replayed; its effects and those of MOVED are in
    the case database. `rarely(table, column, values)`: which of them the backup's column
    never holds. `wrong_way_round`: the two states may be swapped; nothing is claimed then."""

    log: StepLog
    history: History
    schema: Schema
    base: Replay
    ledger: Ledger
    facts: duckdb.DuckDBPyConnection
    laboratory: Laboratory
    rarely: Callable[[str, str, tuple[str, ...]], frozenset[str]]
    wrong_way_round: bool
    progress: Progress
    time_is_up: Callable[[], bool] = lambda: False
    behind: tuple[structure.Behind, ...] = ()  # counters that were not so in the backup
    sequences: tuple[Sequence_, ...] = ()  # of the current state


@dataclass(frozen=True, slots=True)
class Kept:
    """Legitimate cells of one table: explained by a step, or by nothing."""

    table: str
    documented: int
    undocumented: int


@dataclass(frozen=True, slots=True)
class Located:
    verdict: AssessmentVerdict
    faults: tuple[Fault, ...]
    kept: tuple[Kept, ...]
    questions: tuple[Question, ...]
    none_of_these: float
    assumptions: tuple[str, ...]
    coverage: tuple[str, ...]
    does_not_prove: tuple[str, ...]
    cut_short: bool


def locate(given: Given) -> Located:
    """Fill `damage` and say what was found."""
    facts = given.facts
    facts.execute("DELETE FROM damage")
    name_columns(facts, given.schema)
    learn_unstable(facts, BASE, MOVED)
    lay_out(facts, given.log, given.schema)
    structure.note_sizes(facts, given.ledger)
    structure.note_absent(facts, given.ledger)
    lay_out_counters(facts, given.schema, given.sequences)
    search = Search(
        given.log,
        given.schema,
        facts,
        given.laboratory,
        given.base,
        given.progress,
        given.time_is_up,
    )
    searched = Findings() if given.wrong_way_round else find_faults(search, given.history)
    found = searched.found
    faulty, target = _histories(given.history, found)
    given.laboratory.run(faulty, "faulty")
    given.laboratory.run(target, "target")
    acts = frozenset(act for one in found for act in one.candidate.acts)
    steps = frozenset(one.candidate.step for one in found)
    faults = tuple(
        fault
        for number, one in enumerate(found, 1)
        for fault in (
            _grade(given, one, f"F{number}", faulty, target, acts - one.candidate.acts, steps),
            *_alternatives(given, one, f"F{number}"),
        )
    )
    lay_side_by_side(facts, target="target", faulty="faulty", fault_act="")
    slow = _slow(given, found, faults)
    contradicted = unexplained(facts)
    complaints = heard(facts, given.log, given.schema)
    kept = _kept(facts)
    counted = tuple(
        replace(fault, cells=_labels(facts, fault.id)) if fault.accepted else fault
        for fault in slow.faults
    )
    more = tuple(replace(fault, cells=_labels(facts, fault.id)) for fault in slow.more)
    damaged = (*more, *_damaged(given, len(found) + len(more) + 1, steps))
    emptied = tuple(structure.emptied(facts, first=len(found) + len(damaged) + 1))
    asked = (*structure.on_purpose(damaged), *(question for _, question in emptied))
    return Located(
        _verdict(
            given,
            (*counted, *damaged),
            (*complaints, *asked),
            contradicted,
            cut_short=searched.cut_short,
            doubtful=bool(found) and not damaged and all(one.doubtful for one in found),
        ),
        (*counted, *damaged, *(fault for fault, _ in emptied)),
        kept,
        (*told.questions(facts, counted, found), *slow.questions, *complaints, *asked),
        none_of_these(given.log, facts, found),
        told.assumptions(given.log, counted),
        told.coverage(given.base),
        told.does_not_prove(given.log, facts, contradicted, cut_short=searched.cut_short),
        searched.cut_short,
    )


def _damaged(given: Given, first: int, steps: frozenset[str]) -> tuple[Fault, ...]:
    """Faults of the structure itself, named from F`first`. `steps`: what others are laid to."""
    if given.wrong_way_round:
        return ()
    lost = structure.gone(given.ledger, given.log, given.schema, first=first, taken=steps)
    gone = tuple(lost)
    return (*gone, *structure.behind(given.behind, first=first + len(gone)))


def _slow(given: Given, found: Sequence[Found], faults: Sequence[Fault]) -> decay.Slow:
    """What went bad over several backups."""
    if given.wrong_way_round:
        return decay.Slow(tuple(faults))
    return decay.find_slow(
        given.facts,
        given.schema,
        given.log,
        faults,
        covered=covered(given.log, given.base, given.schema),
        probability=round(1 - none_of_these(given.log, given.facts, found), 4),
        first=len(found) + 1,
    )


def _histories(history: History, found: Sequence[Found]) -> tuple[History, History]:
    """What happened, and what should have: every fault in, every fault out."""
    happened = deviate(history, (one for each in found for one in each.candidate.happened))
    return happened, deviate(history, (one for each in found for one in each.candidate.meant))


def _grade(
    given: Given,
    found: Found,
    name: str,
    faulty: History,
    target: History,
    others: frozenset[str],
    steps: frozenset[str],
) -> Fault:
    """`others`: acts of the other faults; `steps`: those of the log that all faults are laid to."""
    candidate, facts = found.candidate, given.facts
    step = next((step for step in given.log.steps if step.id == candidate.step), None)
    act = candidate.act
    lay_side_by_side(facts, target="target", faulty="faulty", fault_act=act)
    was, meant = _holding(faulty, target, act), _holding(target, faulty, act)
    for up in (True, False):
        preparation = whatif.moved(act, candidate.targets, given.schema, up=up)
        way = "up" if up else "down"
        _what_if(given, was, f"faulty {way}", preparation)
        _what_if(given, meant, f"target {way}", preparation)
    _early(given, act, meant)
    lay_side_by_side(facts, target="target", faulty="faulty", fault_act=act)
    room = none_of_these(given.log, facts, (found,))
    verdicts = grading.Verdicts(
        name,
        candidate.step,
        act,
        candidate.fault_class,
        _cause(candidate, step),
        "target",
        "faulty",
        candidate.targets,
        candidate.injective,
        held_whole(given.log, given.base, given.schema, facts, faults=steps),
        others,
        candidate.omitted,
        candidate.certain and room < SAFE_ROOM,
    )
    find_records(facts, Faulty("faulty", act, candidate.targets), given.schema)
    asked = grading.prepare(facts, verdicts)
    rare = [
        (table, column, value)
        for table, column, values in asked
        for value in given.rarely(table, column, values)
    ]
    doubtful = grading.doubtful(facts, verdicts)
    preparation = whatif.moved(act, candidate.targets, given.schema, up=True, only=doubtful)
    _what_if(given, meant, "target doubt", preparation)
    grading.grade(facts, verdicts, rare)
    for rival in found.rivals:
        grading.doubt(facts, name, rival.name, same_target=rival.candidate.meant == candidate.meant)
    at = next(one.at for one in was if one.id == act)
    put_last_good(facts, name, at, known=bool(candidate.step))
    if not candidate.confirmed:
        grading.ask_a_person(facts, name)
    BY_CLASS[candidate.fault_class].settle(facts, given.schema, candidate, name)
    settle_drawn(facts, given.schema, candidate, name)
    return Fault(
        name,
        candidate.step,
        candidate.fault_class,
        candidate.parameters,
        probability(found, found.score, room),
        told.evidence(found),
        candidate.statement if candidate.fault_class is not FaultClass.AS_DESCRIBED else "",
        verdicts.cause,
    )


def _cause(candidate: Candidate, step: Step | None) -> Cause:
    if candidate.fault_class is FaultClass.STORAGE:
        return "hardware"
    return "user" if step and step.actor else "unknown"


def _alternatives(given: Given, found: Found, name: str) -> Iterator[Fault]:
    """What would explain the same, not quite as well: listed, not dropped."""
    if not found.rivals:
        return
    room = none_of_these(given.log, given.facts, (found,))
    for number, rival in enumerate(found.rivals, 1):
        candidate = rival.candidate
        yield Fault(
            f"{name}-{number}",
            candidate.step,
            candidate.fault_class,
            candidate.parameters,
            probability(found, rival.score, room),
            told.rivalry(rival),
            candidate.statement,
            accepted=False,
        )


def _holding(history: History, other: History, act: str) -> History:
    """The history with a place before which a preparation can be made, even when the act is only
    in the other one: what is not there does nothing, where it would be."""
    if any(one.id == act for one in history):
        return history
    names = {one.id for one in history}
    before = ""
    for one in other:
        if one.id == act:
            return deviate(history, (Insert(before, replace(one, statements=(), why="left out")),))
        before = one.id if one.id in names else before
    return history


def _what_if(given: Given, history: History, run: str, preparation: Preparation | None) -> None:
    """The outcome of a what-if run; nothing when the data could not be moved (nothing is told
    apart then)."""
    replay = given.laboratory.run(history, run, preparation) if preparation else None
    final_values(given.facts, run, known=replay is not None)


def _early(given: Given, act: str, target: History) -> None:
    """The target with all undocumented edits made before the act. When they could not be made
    that early nothing is known about their order, so no cell agrees."""
    run = "target early"
    preparation = whatif.undocumented_first(given.facts, act, given.schema)
    if preparation is None:
        final_values(given.facts, run, of="target")
    elif given.laboratory.run(target, run, preparation) is not None:
        final_values(given.facts, run)
    else:
        contradict(given.facts, run)


def _labels(facts: duckdb.DuckDBPyConnection, fault: str) -> tuple[tuple[Label, int], ...]:
    rows = facts.execute(
        "SELECT label, count(*) FROM damage WHERE fault = ? GROUP BY label", [fault]
    ).fetchall()
    counts = {Label(label): int(count) for label, count in rows}
    return tuple((label, counts[label]) for label in Label if label in counts)


def _kept(facts: duckdb.DuckDBPyConnection) -> tuple[Kept, ...]:
    """Every divergence that is no damage, split by whether the replay explains it."""
    rows = facts.execute(
        """SELECT d."table",
            count(*) FILTER (CASE d.kind
                WHEN 'changed' THEN c.key IS NOT NULL
                     AND (c.c IS NOT DISTINCT FROM c.f OR c.c IS NOT DISTINCT FROM c.t
                          OR u."column" IS NOT NULL)
                WHEN 'missing' THEN r.key IS NOT NULL AND NOT r.f
                ELSE r.key IS NOT NULL AND r.f END) AS documented,
            count(*) AS everything
        FROM divergence d
        LEFT JOIN damage x ON x."table" = d."table" AND x.key = d.key AND x."column" = d."column"
        LEFT JOIN cell c ON c."table" = d."table" AND c.key = d.key AND c."column" = d."column"
        LEFT JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
        LEFT JOIN row r ON r."table" = d."table" AND r.key = d.key
        WHERE x.key IS NULL AND d.kind IN ('changed', 'missing', 'extra')
        GROUP BY d."table" ORDER BY d."table" """
    ).fetchall()
    return tuple(
        Kept(str(table), int(known), int(every) - int(known)) for table, known, every in rows
    )


def _verdict(
    given: Given,
    faults: Sequence[Fault],
    complaints: Sequence[Question],
    contradicted: frozenset[str],
    *,
    cut_short: bool,
    doubtful: bool,
) -> AssessmentVerdict:
    """Clean needs positive grounds: everything was compared, the structure is the same, there is
    a log wherever something differs, and what it says is complete explains everything."""
    if given.wrong_way_round:
        return "inconclusive"
    if any(table.status in (Status.NOT_COMPARED, Status.PARTIAL) for table in given.ledger):
        return "inconclusive"
    # What is gone from the structure may have been removed on purpose, if nobody suspects it.
    if any(one.step or one.fault_class is not FaultClass.DROPPED_OBJECT for one in faults):
        return "inconclusive" if doubtful else "damaged"
    outcomes = {outcome.step: outcome.outcome for outcome in given.base.outcomes}
    untried = [
        step for step in given.log.steps if step.suspect and outcomes[step.id] is not Outcome.DONE
    ]
    restructured = any(one.kind in ("table", "column") for one in given.ledger.schema)
    without_log = bool(contradicted) and not given.log.steps
    broken_word = any(given.log.covers(table) for table in contradicted)
    open_ends = cut_short or untried or complaints or restructured or without_log or broken_word
    return "inconclusive" if open_ends else "clean"
