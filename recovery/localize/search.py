"""Find what went wrong: propose, try on scratch, keep what explains the most.

First the steps that may have deviated from the log (a lost WHERE, another constant), judged by
the divergences they explain; then the steps that the customer suspects and that did just what the
log says; then those that complaints accuse. After each fault the rest is looked at anew, with the
fault in the history.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import duckdb

from diffing.model import Schema
from recovery.deviation import Drop, Replace, deviate
from recovery.localize.accusation import Heard, accused, charged, listen, settle
from recovery.localize.cells import lay_side_by_side
from recovery.localize.complaints import answered, reopened
from recovery.localize.hypotheses import (
    as_described,
    double_encoding,
    double_import,
    id_reuse,
    lost_update,
    mangled_values,
    missing_where,
    partial,
    repeated,
    shifted_columns,
    skipped,
    storage,
    time_shift,
    too_narrow,
    truncated_table,
    unlogged,
    wrong_merge,
    wrong_order,
    wrong_predicate,
    wrong_restore,
    wrong_target,
    wrong_value,
)
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.looks import with_end
from recovery.localize.rivals import last_to_write
from recovery.localize.scene import Scene
from recovery.localize.score import CREDIBLE, Score, score
from recovery.localize.sides import sides
from recovery.localize.trial import Found, Trial, explains_the_same, is_the_same
from recovery.model import FaultClass, Forecast, History, Laboratory, Progress, Replay, StepLog

# Classes of faults in which something else was done than the log says.
DEVIATIONS: tuple[Hypothesis, ...] = (
    missing_where.HYPOTHESIS,
    wrong_value.HYPOTHESIS,
    wrong_predicate.HYPOTHESIS,
    truncated_table.HYPOTHESIS,
    storage.HYPOTHESIS,
    unlogged.HYPOTHESIS,
    mangled_values.HYPOTHESIS,
    time_shift.HYPOTHESIS,
    shifted_columns.HYPOTHESIS,
    double_encoding.HYPOTHESIS,
    too_narrow.HYPOTHESIS,
    skipped.HYPOTHESIS,
    partial.HYPOTHESIS,
    double_import.HYPOTHESIS,
    wrong_merge.HYPOTHESIS,
    wrong_restore.HYPOTHESIS,
    wrong_target.HYPOTHESIS,
    wrong_order.HYPOTHESIS,
    lost_update.HYPOTHESIS,
    repeated.HYPOTHESIS,
    id_reuse.HYPOTHESIS,
)
# Classes in which just that was done, and it was the mistake.
MISTAKES: tuple[Hypothesis, ...] = (as_described.HYPOTHESIS,)
BY_CLASS: dict[FaultClass, Hypothesis] = {one.fault_class: one for one in DEVIATIONS + MISTAKES}

FAULTS_MAX = 3
RIVALS_MAX = 4  # accused steps that are shown beside the likeliest
_CLEAR_ROWS, _CLEAR_BITS = 5, 20.0  # what may be somebody's work is told of no less than these
_SPARED_ROWS = 8  # the same of a step that left nothing: a few rows are put back by hand
TRIALS_MAX = 8  # candidates of one class that are tried


@dataclass(frozen=True, slots=True)
class Search:
    """What a search is given. `base` is the run of the log as it stands."""

    log: StepLog
    schema: Schema
    facts: duckdb.DuckDBPyConnection
    laboratory: Laboratory
    base: Replay
    progress: Progress
    time_is_up: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Findings:
    """Faults in the order in which they were found; each explains what the ones before left.
    `cut_short`: the time was up before everything was tried."""

    found: tuple[Found, ...] = ()
    cut_short: bool = False


class _TimeIsUp(Exception):
    """A round that was not finished tells nothing: what was not tried may explain more."""


def find_faults(search: Search, history: History) -> Findings:
    found: list[Found] = []
    try:
        _find(search, history, found)
    except _TimeIsUp:
        return Findings(tuple(found), cut_short=True)
    return Findings(tuple(found))


def _find(search: Search, history: History, found: list[Found]) -> None:
    """Fill `found`. Raises _TimeIsUp."""
    scene = Scene(search.log, history, search.base, search.schema, search.facts)
    unsure: list[Trial] = []
    while len(found) < FAULTS_MAX:
        scene.lay_out()
        best, unsure = _best(search, scene, len(found))
        if best is None:
            break
        found.append(best)
        answered(search.facts, best.trial.name)
        scene = _with_fault(search, scene, best.candidate, len(found))
    if len(found) > 1:
        scene = _only_needed(search, history, scene, found)
    for trial in _mistakes(search, scene):
        found.append(Found(trial, ()))
        answered(search.facts, trial.name)
    while len(found) < FAULTS_MAX and (one := _accused(search, scene, found)) is not None:
        found.append(one)
        answered(search.facts, one.trial.name)
    if not found:  # beside what is known, what is not would only blur it
        # What is worse than the likeliest only says the same in other words.
        found += [one for trial in unsure[:1] if (one := _doubtful(scene, trial)) is not None]


def _only_needed(search: Search, history: History, scene: Scene, found: list[Found]) -> Scene:
    """The scene with the faults that are still needed beside those found after them: one that no
    longer explains enough by itself is taken out of `found`."""
    for one in found[:-1]:
        reopened(search.facts)
        others = [other for other in found if other is not one]
        rest = _scene_of(search, history, others)
        rest.lay_out()
        trial = _try(search, rest, one.candidate, "needed")
        if trial is None or not trial.score.accepted:
            found.remove(one)
            scene = rest
    for one in found:
        answered(search.facts, one.trial.name)
    return scene


def _scene_of(search: Search, history: History, found: Sequence[Found]) -> Scene:
    """The scene in which just these faults happened."""
    deviant = deviate(history, (change for one in found for change in one.candidate.happened))
    run = search.laboratory.run(deviant, "needed-base")
    assert run is not None
    taken = frozenset(act for one in found for act in one.candidate.acts | {one.candidate.step})
    return Scene(search.log, deviant, run, search.schema, search.facts, taken)


def _with_fault(search: Search, scene: Scene, candidate: Candidate, number: int) -> Scene:
    """The scene once this fault is part of what happened."""
    history = deviate(scene.history, candidate.happened)
    run = search.laboratory.run(history, f"fault-{number}")
    assert run is not None
    taken = scene.taken | candidate.acts | {candidate.step}
    return replace(scene, history=history, base=run, taken=taken)


def _best(search: Search, scene: Scene, found: int) -> tuple[Found | None, list[Trial]]:
    """The fault that explains the most of what is left, with what cannot be told from it; and the
    likelier ones that may be work that nobody wrote down as well."""
    tried = [
        trial
        for number, candidate in enumerate(_candidates(search, scene))
        if (trial := _try(search, scene, candidate, f"trial-{found}-{number}")) is not None
    ]
    tried.sort(key=lambda one: (-round(one.score.fit, 3), -one.score.hits, one.name))
    refused: list[Trial] = []
    doubtful: list[Trial] = []
    for place, likely in enumerate(tried):
        proof = _proved(search, scene, likely)
        if proof is None:
            continue
        trial = proof.trial
        if not proof.admitted:
            refused.append(trial)
            if not proof.foreign:
                doubtful.append(trial)
            continue
        others = [
            one
            for one in (*refused, *tried[place + 1 :])
            if explains_the_same(search.facts, trial, one)
            and not is_the_same(search.facts, trial, one)
        ]
        # What explains the same much better, and may be work that nobody wrote down, stays in
        # the way of a worse explanation.
        if any(one.score.fit - trial.score.fit > CREDIBLE for one in others):
            continue
        rivals = [one for one in others if trial.score.fit - one.score.fit <= CREDIBLE]
        return Found(trial, tuple(rivals)), doubtful
    return None, doubtful


def _doubtful(scene: Scene, trial: Trial) -> Found | None:
    """What may be work that nobody wrote down, when a step of the log would explain all of it to
    the letter, had it been run otherwise or not at all: a person has to say which it was."""
    judged, step = trial.score, scene.step(trial.candidate.step)
    happened = trial.candidate.happened
    otherwise = all(isinstance(one, Replace) for one in happened)
    not_at_all = len(happened) == 1 and isinstance(happened[0], Drop)
    least = _CLEAR_ROWS if otherwise else _SPARED_ROWS
    clear = judged.hit_rows >= least and judged.gain >= _CLEAR_BITS
    spotless = not (judged.misses or judged.others or judged.agreement.fine)
    logged = step is not None and step.action is not None
    if not (logged and (otherwise or not_at_all) and clear and spotless):
        return None
    candidate = replace(trial.candidate, confirmed=False)
    return Found(replace(trial, candidate=candidate), (), doubtful=True)


def _candidates(search: Search, scene: Scene) -> Iterator[Candidate]:
    looks = tuple(dict.fromkeys(look for one in DEVIATIONS for look in one.ask(scene)))
    if looks:
        search.laboratory.sketch(with_end(scene.history), looks)
    for hypothesis in DEVIATIONS:
        yield from islice(hypothesis.propose(scene), TRIALS_MAX)


def _try(search: Search, scene: Scene, candidate: Candidate, name: str) -> Trial | None:
    """The candidate's forecast beside the current state; None when it predicts what is not
    there. Raises _TimeIsUp."""
    if search.time_is_up():
        raise _TimeIsUp
    search.progress.advance()
    deviant = deviate(scene.history, candidate.happened or candidate.meant)
    told = search.laboratory.forecast(scene.base, scene.history, deviant, name)
    if told is None:
        return None
    judged = _judged(search, scene, candidate, told)
    return Trial(candidate, judged, name) if judged.holds else None


def _judged(search: Search, scene: Scene, candidate: Candidate, told: Forecast) -> Score:
    step = scene.step(candidate.step)
    return score(
        search.facts,
        told.name,
        candidate.bits,
        suspect=step is not None and step.suspect,
        rows_agree=_rows_agree(scene, candidate, told),
        covered=scene.covered(candidate.targets),
        meant=not candidate.happened,
    )


@dataclass(frozen=True, slots=True)
class _Proof:
    """A trial by a replay of its whole history. Not `admitted`: there is no evidence but the
    cells. `foreign`: touched-at columns show that somebody else wrote them."""

    trial: Trial
    admitted: bool
    foreign: bool = False


def _proved(search: Search, scene: Scene, trial: Trial) -> _Proof | None:
    """None when the replay says otherwise than what was forecast: it explains too little."""
    candidate = trial.candidate
    if not trial.score.accepted:
        return None
    run = search.laboratory.run(deviate(scene.history, candidate.happened), "trial")
    if run is None:
        return None
    search.laboratory.lay_beside(scene.base.run, "trial", trial.name)
    told = Forecast(trial.name, _rows(run))
    judged = _judged(search, scene, candidate, told)
    if not judged.accepted:
        return None
    lay_side_by_side(search.facts, target=scene.base.run, faulty="trial", fault_act=candidate.act)
    witness = Witness(
        scene.step(candidate.step),
        _rows_agree(scene, candidate, told),
        scene.covered(candidate.targets),
        last_to_write(search.facts),
        judged.agreement,
    )
    if witness.twice_complained:
        # Had the log been mistaken and the data right, nobody would say that the data are wrong.
        candidate = replace(candidate, confirmed=True)
    hypothesis = BY_CLASS[candidate.fault_class]
    vouched = witness.covered or witness.vouched
    if hypothesis.on_purpose(candidate) and not (vouched or hypothesis.attested(scene, candidate)):
        candidate = replace(candidate, certain=False)
    admitted = hypothesis.admits(scene, candidate, judged, witness)
    foreign = not admitted and (
        witness.last_writer == "somebody"
        or sides(search.facts, candidate.act, candidate.targets).worked_on
    )
    return _Proof(Trial(candidate, judged, trial.name), admitted, foreign)


def _mistakes(search: Search, scene: Scene) -> Sequence[Trial]:
    """Steps that did just what the log says, and should not have: people say so."""
    scene.lay_out()
    tried = []
    for hypothesis in MISTAKES:
        for number, candidate in enumerate(hypothesis.propose(scene)):
            trial = _try_mistake(search, scene, candidate, f"{candidate.fault_class}-{number}")
            if trial is not None:
                tried.append(trial)
    return tried


def _try_mistake(search: Search, scene: Scene, candidate: Candidate, name: str) -> Trial | None:
    deviant = deviate(scene.history, candidate.meant)
    if search.laboratory.forecast(scene.base, scene.history, deviant, name) is None:
        return None
    judged = score(search.facts, name, candidate.bits, suspect=True, meant=True)
    return Trial(candidate, judged, name) if judged.hits > judged.misses else None


def _accused(search: Search, scene: Scene, found: Sequence[Found]) -> Found | None:
    """The step that open complaints speak for the most, with those they speak for as well."""
    taken = scene.taken | {one.candidate.act for one in found}
    charges = []
    for number, ways in enumerate(accused(replace(scene, taken=taken))):
        name = f"accused-{len(found)}-{number}"
        told = [_heard(search, scene, one, f"{name}-{way}") for way, one in enumerate(ways)]
        charge = charged(scene, [one for one in told if one is not None])
        if charge is not None:
            charges.append(charge)
    charges.sort(key=lambda one: (-round(one.bits, 3), one.trial.name))
    if not charges:
        return None
    best, *others = charges
    settle(search.facts, best)
    rivals = [one.trial for one in others if best.bits - one.bits <= CREDIBLE]
    return Found(best.trial, tuple(rivals[:RIVALS_MAX]), accused=True)


def _heard(search: Search, scene: Scene, candidate: Candidate, name: str) -> Heard | None:
    """What complaints say for the candidate; None when its forecast cannot be told. Raises
    _TimeIsUp."""
    if search.time_is_up():
        raise _TimeIsUp
    search.progress.advance()
    deviant = deviate(scene.history, candidate.meant)
    if search.laboratory.forecast(scene.base, scene.history, deviant, name) is None:
        return None
    judged = score(search.facts, name, candidate.bits, meant=True)
    return listen(scene, Trial(candidate, judged, name))


def _rows_agree(scene: Scene, candidate: Candidate, told: Forecast) -> bool:
    """The client program reported the number of rows that the fault touches, and not the
    number that the log's own statement touches."""
    step = scene.step(candidate.step)
    rows = dict(told.rows).get(candidate.act)
    logged = dict(_rows(scene.base)).get(candidate.step)
    return step is not None and step.rows is not None and rows == step.rows != logged


def _rows(run: Replay) -> tuple[tuple[str, int], ...]:
    return tuple((one.step, one.rows) for one in run.outcomes if one.rows is not None)
