"""Run a history on a clone of the backup and record what every step wrote."""

from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta

from recovery.model import (
    Forecast,
    History,
    Preparation,
    Progress,
    Replay,
    StepOutcome,
    Variant,
)
from recovery.replay import capture, clock, effects, forecast, sentry
from recovery.replay.alignment import align
from recovery.replay.generated import filled
from recovery.replay.ground import SEED, Ground, clone
from recovery.replay.identity import Supposed
from recovery.replay.order import learn_unsteady
from recovery.replay.session import PreparationRefused, Session
from recovery.replay.whatif import WhatIf, open_whatif
from recovery.scratch.cluster import Cluster

_PATIENCE = 1  # a base run with notes costs little more than a plain one, what-ifs next to nothing
_SLOWLY = "~forecast"  # ends the name of a run for a forecast
_FORECASTS_KEPT = 8  # the likeliest come first, and are run again by whoever claims them
_SUSPECTS_MAX = 24  # steps and tables that are told whole because their images do not add up

Suspects = dict[str, frozenset[str]]

__all__ = ["Ground", "Laboratory", "prepare_ground", "replay"]


def prepare_ground(cluster: Cluster, backup: str, template: str) -> tuple[str, ...]:
    """Make the database that replays are cloned from; returns what the clock shim cannot reach."""
    if cluster.exists(template):
        cluster.drop(template)
    cluster.clone(backup, template)
    with cluster.keeper(template) as keeper:
        capture.publish(keeper)
        sentry.install(keeper)
    with cluster.connect(template) as jail:
        return clock.install(jail)


def replay(
    ground: Ground,
    history: History,
    run: str,
    *,
    shift: timedelta = timedelta(0),
    seed: float = SEED,
    beside: str = "",
    preparation: Preparation | None = None,
    progress: Progress | None = None,
) -> Replay:
    """Run `history` on a fresh clone; its effects replace those of `run` in the case database,
    and the ids that it issued are remembered there.

    `shift` and `seed` move clock and chance, to learn which effects are unstable; with `beside`,
    the run that they are compared with, rows are moved too where an act may depend on their
    order, and the relation `unsteady` is filled. Raises PreparationRefused when a constraint does
    not allow the preparation."""
    manner = _Manner(shift, seed, shuffling=bool(beside))
    done, shuffled = _replay(ground, history, run, manner, preparation, progress)
    if beside:
        learn_unsteady(ground.facts, (beside, run), history, shuffled, ground.schema)
    ground.identities.remember(ground.facts)
    return done


@dataclass(frozen=True, slots=True)
class _Manner:
    shift: timedelta = timedelta(0)
    seed: float = SEED
    shuffling: bool = False


_PLAIN = _Manner()


@dataclass(frozen=True, slots=True)
class _Passed:
    replay: Replay
    suspects: Suspects
    shuffled: tuple[str, ...]


def _replay(
    ground: Ground,
    history: History,
    run: str,
    manner: _Manner = _PLAIN,
    preparation: Preparation | None = None,
    progress: Progress | None = None,
) -> tuple[Replay, tuple[str, ...]]:
    """What does not add up is run once more, with the rows of those tables told whole. Beside the
    replay, the acts before which rows were moved."""
    passed = _once(ground, history, run, manner, preparation, progress)
    if ground.identities.settle():
        passed = _once(ground, history, run, manner, preparation, None)
    fresh = {
        step: ground.suspects.get(step, frozenset()) | tables
        for step, tables in passed.suspects.items()
        if not tables <= ground.suspects.get(step, frozenset())
    }
    if fresh and sum(map(len, (ground.suspects | fresh).values())) <= _SUSPECTS_MAX:
        ground.suspects.update(fresh)
        passed = _once(ground, history, run, manner, preparation, None)
    return passed.replay, passed.shuffled


def _once(
    ground: Ground,
    history: History,
    run: str,
    manner: _Manner,
    preparation: Preparation | None,
    progress: Progress | None,
) -> _Passed:
    database = "replay_run"
    slot = "replay_run"
    with clone(ground, database), ground.cluster.connect(database, role="capture") as reader:
        capture.start(reader, slot)
        try:
            with closing(_session(ground, database, manner)) as session:
                outcomes = []
                for outcome in session.play(history, preparation):
                    outcomes.append(outcome)
                    if progress:
                        progress.advance()
            with ground.cluster.connect(database) as calculator:
                decoded = filled(capture.changes(reader, slot), ground.schema, calculator)
                tally = effects.store(ground.facts, decoded, run, ground.schema, ground.workspace)
            align(ground.facts, run, ground.schema, ground.identities.feeds)
        finally:
            capture.stop(reader, slot)
    blind = tally.blind | {name for name in session.rewritten if ground.schema.has(name)}
    checked = [_counted(one, tally, session.written.get(one.step, {})) for one in outcomes]
    suspects = {
        one.step: doubtful
        for one in outcomes
        if one.complete and (doubtful := _doubtful(one.step, tally, session) - session.rewritten)
    }
    shuffled = tuple(session.disorder.shuffled) if session.disorder else ()
    return _Passed(Replay(run, tuple(checked), frozenset(blind)), suspects, shuffled)


def _doubtful(step: str, tally: effects.Tally, session: Session) -> frozenset[str]:
    """Tables of the backup for which the images of the step do not add up."""
    seen, written = tally.images.get(step, {}), session.written.get(step, {})
    differing = {name for name in seen | written if seen.get(name) != written.get(name)}
    return frozenset(
        name for name in differing | tally.missed.get(step, set()) if session.schema.has(name)
    )


def _session(ground: Ground, database: str, manner: _Manner = _PLAIN) -> Session:
    return Session(
        ground.cluster,
        database,
        ground.schema,
        ground.identities,
        shift=manner.shift,
        seed=manner.seed,
        folder=ground.workspace,
        suspects=ground.suspects,
        shuffling=manner.shuffling,
    )


@dataclass(slots=True)
class _Opened:
    """What-ifs over one base. They are opened when so many forecasts were asked for that the
    base run with notes is worth it."""

    base: Replay
    history: History
    asked: int = 0
    whatif: WhatIf | None = None

    def close(self) -> None:
        if self.whatif is not None:
            self.whatif.close()


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run whose effects are in the case database; `supposed`: what it issued, when it was made
    for a forecast."""

    history: History
    preparation: Preparation | None
    replay: Replay
    supposed: Supposed | None = None


@dataclass(frozen=True, slots=True)
class Laboratory:
    """`recovery.model.Laboratory` over a ground. Steps issue the ids of the replay before. The
    first `patience` forecasts over a base are whole replays; then a database is opened for what-ifs
    over it, and stays open for others. What those tell is quick, and proved by nobody: whoever
    claims something runs the history. No history is run twice while its effects are there."""

    ground: Ground
    patience: int = _PATIENCE
    _open: list[_Opened] = field(default_factory=list, repr=False, compare=False)
    _ran: dict[str, _Ran] = field(default_factory=dict, repr=False, compare=False)

    def know(self, history: History, replay: Replay) -> None:
        """An earlier stage ran this history; nobody writes over its effects but by `run`."""
        self._ran[replay.run] = _Ran(history, None, replay)

    def close(self) -> None:
        """Give up what was kept open for forecasts; it is opened again when it is needed."""
        while self._open:
            self._open.pop().close()
        for run in [one for one in self._ran if one.endswith(_SLOWLY)]:
            self._forget(run)

    def _forget(self, run: str) -> None:
        del self._ran[run]
        effects.remove(self.ground.facts, run)

    def run(
        self, history: History, run: str, preparation: Preparation | None = None
    ) -> Replay | None:
        done = (one for one in self._ran.values()
                if one.history == history and one.preparation == preparation)  # fmt: skip
        if known := next(done, None):
            if known.supposed is not None:
                self.ground.identities.believe(known.supposed)
            effects.copy(self.ground.facts, known.replay.run, run)
            replay = replace(known.replay, run=run)
        else:
            self.ground.identities.recall(self.ground.facts)
            try:
                replay, _ = _replay(self.ground, history, run, preparation=preparation)
            except PreparationRefused:
                return None
        self._ran[run] = _Ran(history, preparation, replay)
        return replay

    def forecast(
        self, base: Replay, history: History, deviant: History, name: str
    ) -> Forecast | None:
        """By running again only the acts that can tell; where that cannot be, or is not worth it
        yet, by replaying all."""
        if not any(one.base is base and one.history == history for one in self._open):
            self.close()
            self._open.append(_Opened(base, history))
        opened = self._open[0]
        opened.asked += 1
        if opened.whatif is None and opened.asked > self.patience:
            self.ground.identities.recall(self.ground.facts)
            opened.whatif = open_whatif(self.ground, history, base)
        told = opened.whatif.forecast(deviant, name, exact=False) if opened.whatif else None
        return told or self.forecast_slowly(base, history, deviant, name)

    def lay_beside(self, base: str, run: str, name: str) -> None:
        forecast.lay(self.ground.facts, base, run, name)

    def forecast_slowly(
        self, base: Replay, history: History, deviant: History, name: str
    ) -> Forecast | None:
        """By replaying all of it: the slow way that is always right."""
        run = f"{name}{_SLOWLY}"
        with self.ground.identities.supposing() as supposed:
            replay = self.run(deviant, run)
        assert replay is not None
        self._ran[run] = replace(self._ran[run], supposed=supposed)
        forecast.lay(self.ground.facts, base.run, run, name)
        if sum(one.endswith(_SLOWLY) for one in self._ran) > _FORECASTS_KEPT:
            self._forget(run)
        known = {act.id: act for act in history}
        again = {act.id for act in deviant if known.get(act.id) != act}
        rows = tuple(
            (one.step, one.rows)
            for one in replay.outcomes
            if one.step in again and one.rows is not None
        )
        return Forecast(name, rows)

    def sketch(self, history: History, variants: tuple[Variant, ...]) -> None:
        self.ground.identities.recall(self.ground.facts)
        by_act: dict[str, tuple[Variant, ...]] = {}
        for variant in variants:
            by_act[variant.act] = (*by_act.get(variant.act, ()), variant)
        with (
            effects.Sketch(self.ground.facts, self.ground.schema, self.ground.workspace) as book,
            clone(self.ground, "replay_sketch"),
            closing(_session(self.ground, "replay_sketch")) as session,
        ):
            session.variants = by_act
            session.on_tried = book.note
            for _ in session.play(history):
                pass


def _counted(outcome: StepOutcome, tally: effects.Tally, written: dict[str, int]) -> StepOutcome:
    """Capture is complete when it saw as many row images of every table as the server itself
    counted, and nothing was done that has no images."""
    seen = tally.images.get(outcome.step, {})
    return replace(
        outcome,
        effects=sum(seen.values()) + tally.told.get(outcome.step, 0),
        complete=outcome.complete and outcome.step not in tally.missed and seen == written,
    )
