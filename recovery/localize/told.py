"""What localization says about what it found: sentences a person can check, and questions only a
person can answer. Every sentence is a message, so that the report can say it in its own language.
"""

from collections.abc import Sequence

import duckdb

from recovery.localize import structure
from recovery.localize.hypothesis import Candidate
from recovery.localize.score import Score
from recovery.localize.search import BY_CLASS
from recovery.localize.trial import Found, Trial
from recovery.messages import message
from recovery.model import Alternative, Fault, FaultClass, Outcome, Question, Replay, StepLog


def evidence(found: Found) -> tuple[str, ...]:
    """What a person can check by hand."""
    judged, candidate = found.score, found.candidate
    sentences = [
        _accused(candidate, judged)
        if found.accused
        else BY_CLASS[candidate.fault_class].told(candidate, judged)
    ]
    if judged.misses:
        sentences.append(
            message(
                "{n} cells speak against it: they are as if it had not happened", n=judged.misses
            )
        )
    if judged.others:
        sentences.append(
            message(
                "{n} cells hold something else, so they were changed once more", n=judged.others
            )
        )
    return tuple(sentences)


def _accused(candidate: Candidate, judged: Score) -> str:
    heard = judged.agreement
    wider = _wider(candidate)
    if wider:
        return message(
            "Had step {step} been done without {dropped}, {explained} of the places you complain"
            " about would be otherwise",
            step=candidate.step,
            dropped=wider,
            explained=heard.explained,
        )
    return message(
        "Without step {step}, {explained} of the places you complain about would be otherwise;"
        " {right} right values that you gave come out, {against} do not; {fine} places that you"
        " call right would change as well",
        step=candidate.step,
        explained=heard.explained,
        right=heard.right,
        against=heard.against,
        fine=heard.fine,
    )


def _wider(candidate: Candidate) -> str:
    """The condition without which an accused step would have done what was meant; '' for one that
    should not have been done."""
    return dict(candidate.parameters).get("without", "")


def rivalry(rival: Trial) -> tuple[str, ...]:
    """How much an explanation that could not be excluded explains."""
    candidate = rival.candidate
    return (
        message(
            "Step {step} ({fault_class}) explains {hits} cells",
            step=candidate.step,
            fault_class=str(candidate.fault_class),
            hits=rival.score.hits,
        )
        if candidate.step
        else message(
            "No step, but {fault_class} explains {hits} cells",
            fault_class=str(candidate.fault_class),
            hits=rival.score.hits,
        ),
    )


def questions(
    facts: duckdb.DuckDBPyConnection, faults: Sequence[Fault], found: Sequence[Found]
) -> tuple[Question, ...]:
    """`found` are the accepted ones of `faults`, in the same order."""
    questions = []
    accepted = (fault for fault in faults if fault.accepted)
    for fault, one in zip(accepted, found, strict=True):
        if one.doubtful:
            questions.append(_or_afterwards(fault, one))
            continue
        if not one.candidate.confirmed:
            otherwise = bool(one.candidate.happened) and bool(fault.step)
            questions.append(_as_run(fault, one) if otherwise else _which(facts, fault, one))
            continue
        own = BY_CLASS[fault.fault_class].asks(facts, one.candidate, fault)
        questions += own
        if fault.fault_class is FaultClass.AS_DESCRIBED:
            cells = sum(count for _, count in fault.cells)
            questions.append(
                Question(
                    f"{fault.id}-narrower",
                    message(
                        "Should step {step} not have been done at all, or was a narrower one"
                        " intended?",
                        step=fault.step,
                    ),
                    (
                        Alternative(
                            message("Not at all"),
                            message("Everything it changed goes back to what it was before"),
                            cells,
                        ),
                        Alternative(
                            message("A narrower one was intended"),
                            message("Write it into the step log as intended, and assess again"),
                            0,
                        ),
                    ),
                    cells,
                )
            )
        undecided = facts.execute(
            'SELECT count(*), count(DISTINCT ("table", key)) FROM damage'
            " WHERE fault = ? AND grade = 'undecided'",
            [fault.id],
        ).fetchone()
        assert undecided is not None
        if undecided[0] > sum(question.rows for question in own):
            questions.append(
                Question(
                    f"{fault.id}-again",
                    message(
                        "{n} cells that step {step} damaged hold another value today. Was it"
                        " typed in afterwards, so that it is right?",
                        n=int(undecided[0]),
                        step=fault.step,
                    )
                    if fault.step
                    else message(
                        "{n} damaged cells hold another value today. Was it typed in afterwards,"
                        " so that it is right?",
                        n=int(undecided[0]),
                    ),
                    (
                        Alternative(message("It is right"), message("They stay as they are"), 0),
                        Alternative(
                            message("It is wrong"),
                            message("Say what each should be: nothing in the data tells"),
                            int(undecided[1]),
                        ),
                    ),
                    int(undecided[1]),
                )
            )
    return tuple(questions)


def _as_run(fault: Fault, found: Found) -> Question:
    """Something else was run than is written down, and nobody says which of the two was meant."""
    rows = found.score.hit_rows
    return Question(
        f"{fault.id}-meant",
        message(
            "Step {step} was not run as it is written down, by what the data show. Which was"
            " meant?",
            step=fault.step,
        ),
        (
            Alternative(
                message("What is written down"),
                message("Write 'describes: intended' at the step, and assess again"),
                rows,
            ),
            Alternative(
                message("What was run: the step log is mistaken"),
                message("Put the step log right: nothing is damaged here"),
                0,
            ),
        ),
        rows,
    )


def _or_afterwards(fault: Fault, found: Found) -> Question:
    """The step was run otherwise than it is written down, or not at all; or somebody worked on its
    rows later."""
    rows = found.score.hit_rows
    left_out = fault.fault_class is FaultClass.SKIPPED
    return Question(
        f"{fault.id}-afterwards",
        message(
            "{rows} rows are as if step {step} had not been run. Was it left out, or did somebody"
            " take it back on purpose?",
            rows=rows,
            step=fault.step,
        )
        if left_out
        else message(
            "{rows} rows are as if step {step} had been run otherwise. Was it, or did somebody"
            " change them afterwards on purpose?",
            rows=rows,
            step=fault.step,
        ),
        (
            Alternative(
                message("It was left out") if left_out else message("It was run otherwise"),
                message("Name two or more of the cells as wrong in the step log, and assess again"),
                rows,
            ),
            Alternative(
                message("They were changed on purpose"),
                message("Write it into the step log, and assess again: nothing is damaged"),
                0,
            ),
        ),
        rows,
    )


def _which(facts: duckdb.DuckDBPyConnection, fault: Fault, found: Found) -> Question:
    """The one question of a log that tells what was done: which of it was the mistake?"""
    alternatives = []
    for trial in (found.trial, *found.rivals):
        row = facts.execute(
            'SELECT count(*), count(DISTINCT ("table", key)) FROM forecast WHERE name = ?',
            [trial.name],
        ).fetchone()
        assert row is not None
        alternatives.append(
            Alternative(
                message(
                    "Step {step} should have been done without {dropped}",
                    step=trial.candidate.step,
                    dropped=_wider(trial.candidate),
                )
                if _wider(trial.candidate)
                else message("Step {step} should not have been done", step=trial.candidate.step),
                message(
                    "Write it into the step log as intended, and assess again: {n} cells change",
                    n=int(row[0]),
                )
                if _wider(trial.candidate)
                else message(
                    "Mark it as suspect in the step log and assess again: {n} cells go back",
                    n=int(row[0]),
                ),
                int(row[1]),
            )
        )
    nothing = Alternative(
        message("None of these, or something else was intended"),
        message("Write it into the step log as intended, and assess again"),
        0,
    )
    return Question(
        f"{fault.id}-which",
        message("Which step was the mistake that you complain about?"),
        (*alternatives, nothing),
        alternatives[0].rows,
    )


def assumptions(log: StepLog, faults: Sequence[Fault]) -> tuple[str, ...]:
    sentences = [
        message("The backup and the current data are of the same database"),
        message("Steps happened in the order of the step log"),
    ]
    if log.complete or log.covered:
        sentences.append(message("The step log holds every change since the backup, as it says"))
    if faults:
        sentences.append(message("Steps saw the time that the step log gives for them"))
    return tuple(sentences)


def coverage(replay: Replay) -> tuple[str, ...]:
    done = sum(one.outcome is Outcome.DONE for one in replay.outcomes)
    failed = [one.step for one in replay.outcomes if one.outcome is Outcome.FAILED]
    skipped = [one.step for one in replay.outcomes if one.outcome is Outcome.NOT_REPLAYED]
    sentences = [
        message("{done} of {all} steps were replayed", done=done, all=len(replay.outcomes))
    ]
    if failed:
        sentences.append(
            message(
                "Steps that the database refused in the replay: {steps}", steps=", ".join(failed)
            )
        )
    if skipped:
        sentences.append(
            message("Steps that cannot be replayed: {steps}", steps=", ".join(skipped))
        )
    return tuple(sentences)


def does_not_prove(
    log: StepLog,
    facts: duckdb.DuckDBPyConnection,
    contradicted: frozenset[str],
    *,
    cut_short: bool,
) -> tuple[str, ...]:
    sentences = [
        message(
            "Only known kinds of mistake are looked for, {n} in all; a mistake of another kind"
            " is not found",
            n=len(BY_CLASS) + len(structure.CLASSES),
        ),
        message("Probabilities are estimates that were not calibrated"),
    ]
    if cut_short:
        sentences.append(
            message(
                "The time for the search was up before every supposition was tried: there may be"
                " faults that were not found"
            )
        )
    if not log.complete:
        sentences.append(
            message(
                "The step log is not complete: a change that nobody wrote down and that left"
                " nothing to see cannot be found"
            )
        )
    broken_word = sorted(table for table in contradicted if log.covers(table))
    if broken_word:
        sentences.append(
            message(
                "The step log says that it is complete, but no step explains what changed in"
                " {tables}: it is not complete, or a mistake of another kind happened there",
                tables=", ".join(broken_word),
            )
        )
    if contradicted and not log.steps:
        sentences.append(
            message("There is no step log: what changed since the backup may be work or damage")
        )
    born = facts.execute(
        """SELECT count(*) FROM divergence d
        WHERE d.kind = 'extra' AND d."table" IN (SELECT DISTINCT "table" FROM damage)
          AND (d."table", d.key) NOT IN (SELECT ("table", key) FROM row)"""
    ).fetchone()
    if born and born[0]:
        sentences.append(
            message(
                "{n} rows in the damaged tables are newer than the backup and in no step: whether"
                " they are damaged too is not known; they stay as they are",
                n=int(born[0]),
            )
        )
    return tuple(sentences)
