"""The sequences of one session: where they stand, where they are set to, and which ids a step has
issued by them.
"""

from collections.abc import Mapping

import psycopg
from psycopg import Connection

from diffing.model import Schema
from recovery.replay.identity import (
    Feed,
    Identities,
    issued_rows,
    positions,
    set_positions,
    still_there,
)
from recovery.replay.stands import put_back
from recovery.replay.trial import IdsFound, Trial

_ROUNDS_MAX = 3  # ids of one table may depend on those of another


class Sequences:
    """`feeds`: those that no step has taken away; `at`: where they stand, while that is known."""

    def __init__(
        self,
        connection: Connection[tuple[object, ...]],
        schema: Schema,
        identities: Identities,
        feeds: tuple[Feed, ...],
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._identities = identities
        self.feeds = feeds
        self.at: dict[str, int] | None = None

    def positions(self) -> dict[str, int]:
        if self.at is None:
            try:
                self.at = self.read()
            except (psycopg.errors.UndefinedTable, psycopg.errors.WrongObjectType):
                self.lose()
                self.at = self.read()
        return dict(self.at)

    def read(self) -> dict[str, int]:
        return positions(self._connection, self.feeds)

    def lose(self) -> None:
        """Some may be gone."""
        self.feeds = still_there(self._connection, self.feeds)

    def set_to(self, last: Mapping[str, int]) -> None:
        if last:
            set_positions(self._connection, self.feeds, last)
            self.at = None

    def again(self, trial: Trial) -> None:
        """What was tried took no numbers: the customer ran it once."""
        put_back(self._connection, trial.stood)
        self.at = None

    def match(self, trial: Trial, now: Mapping[str, int]) -> None:
        """Remember which ids were issued. Raises IdsFound when it should have been others."""
        name = (trial.name, "\n".join(trial.batch.statements))
        if name in self._identities.issued:
            return
        begun = trial.begun
        moved = [feed for feed in self.feeds if now[feed.label] != begun[feed.label]]
        if not moved:
            return
        # Rows are compared as text: in the zone of all texts, not in that of the step.
        self._connection.execute("SET LOCAL TimeZone = 'UTC'")
        last: dict[str, int] = {}
        made: dict[str, list[int]] = {}
        unfound: set[str] = set()
        for feed in moved:
            before = begun[feed.label]
            rows = issued_rows(self._connection, feed, self._schema, (before, now[feed.label]))
            found = self._identities.began(feed, rows, act=trial.act.id, after=before)
            last[feed.label] = before if found is None else found
            if found is None:
                unfound.add(feed.label)
            made[feed.label] = [int(str(row[feed.column])) for row in rows]
        if (
            not trial.settled
            and trial.rounds < _ROUNDS_MAX
            and any(last[label] != begun[label] for label in last)
        ):
            raise IdsFound(last)
        issued = {label: begun[label] for label in last}
        if trial.settled or unfound == last.keys():
            self._identities.count_on(name, issued)
        else:
            self._identities.issued[name] = issued
        for feed in moved:
            counted = trial.settled or feed.label in unfound
            self._identities.take(feed, trial.act.id, made[feed.label], counted=counted)
