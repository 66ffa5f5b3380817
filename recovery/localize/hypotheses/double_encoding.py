"""double-encoding: texts were read in another character encoding than they were written in, and
stored like that.

was: Иванов
is:  РРІР°РЅРѕРІ    (UTF-8 read as windows-1251)

A row counts when the server itself, encoding the former text and decoding it wrongly, comes to just
what is there now. That mapping tells texts apart, so what is there now decodes back to one text
alone. Where bytes had no character and became '?' the way back is lost.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from typing import Literal

import duckdb
from psycopg import sql

from diffing.model import Column
from recovery.localize.batches import candidates, cells_told, parameters
from recovery.localize.hypothesis import Candidate, Hypothesis
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.transforms import (
    Batch,
    Change,
    batch,
    cell,
    look,
    suspects,
    typed,
    unsteady,
)
from recovery.messages import message
from recovery.model import Alternative, Fault, FaultClass, Question, Variant

Lost = Literal["", "?", "\ufffd", "dropped"]  # what became of a byte without a character

_SINGLE = {  # names in Python and in the server
    "latin-1": "LATIN1",
    "windows-1252": "WIN1252",
    "windows-1251": "WIN1251",
    "cp866": "WIN866",
    "koi8-r": "KOI8R",
}
_LOST: tuple[Lost, ...] = ("", "?", "\ufffd", "dropped")
_SAMPLE_MAX = 200  # cells of a column read to tell which encodings it may have been
_AGREE = 0.3  # share of the sample that one reading must explain
_READINGS_MAX = 3

_OBSERVED = """
SELECT DISTINCT predicted, current FROM residue
WHERE "table" = $table AND "column" = $column AND kind = 'changed'
  AND regexp_matches(predicted, '[^\\x00-\\x7F]') AND current IS NOT NULL
ORDER BY ALL LIMIT $most
"""
_NEWER = """
SELECT DISTINCT json_extract_string(d.current, $path) AS text FROM divergence d
ANTI JOIN row r ON r."table" = d."table" AND r.key = d.key
WHERE d.kind = 'extra' AND d."table" = $table AND regexp_matches(text, '[^\\x00-\\x7F]')
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Written in one encoding and read in another, once or twice."""

    written: str  # 'utf-8' or a name of _SINGLE
    read: str
    times: int
    lost: Lost

    def __str__(self) -> str:
        lost = {"": "", "?": " (?)", "\ufffd": " (U+FFFD)", "dropped": " (-)"}[self.lost]
        return f"{self.written} → {self.read}{' ×2' if self.times == 2 else ''}{lost}"

    def of(self, text: str) -> str:
        """What becomes of a text. Characters that `written` does not have stay."""
        for _ in range(self.times):
            if self.written == "utf-8":
                text = text.encode("utf-8").decode("latin-1")
            text = text.translate(self.table)
        return text

    def back(self, text: str) -> str | None:
        """The one text that it was made of; None when there is none."""
        for _ in range(self.times):
            found = "".join(self.inverse.get(one, one) for one in text)
            if self.written == "utf-8":
                try:
                    found = found.encode("latin-1").decode("utf-8")
                except UnicodeError:
                    return None
            text = found
        return text

    @property
    def table(self) -> dict[int, str]:
        return _table(self.written, self.read, self.lost)

    @property
    def inverse(self) -> dict[str, str]:
        return {new: chr(old) for old, new in self.table.items() if len(new) == 1}

    def expression(self, text: sql.Composable) -> sql.Composable:
        for _ in range(self.times):
            text = self._once(text)
        return text

    def _once(self, text: sql.Composable) -> sql.Composable:
        if self.written == "utf-8" and not _holes(self.read):
            return sql.SQL("pg_catalog.convert_from(pg_catalog.convert_to({}, 'UTF8'), {})").format(
                text, sql.Literal(_SINGLE[self.read])
            )
        kept = sorted((chr(old), new) for old, new in self.table.items() if new)
        gone = sorted(chr(old) for old, new in self.table.items() if not new)
        if self.written == "utf-8":
            text = sql.SQL(
                "pg_catalog.convert_from(pg_catalog.convert_to({}, 'UTF8'), 'LATIN1')"
            ).format(text)
        return sql.SQL("pg_catalog.translate({}, {}, {})").format(
            text,
            sql.Literal("".join(old for old, _ in kept) + "".join(gone)),
            sql.Literal("".join(new for _, new in kept)),
        )


@cache
def _decoded(encoding: str) -> tuple[str, ...]:
    """The characters of bytes 128 to 255; '' for those that have none."""
    return tuple(bytes([byte]).decode(encoding, "ignore") for byte in range(128, 256))


def _holes(encoding: str) -> bool:
    return "" in _decoded(encoding)


@cache
def _table(written: str, read: str, lost: Lost) -> dict[int, str]:
    """Character by character, for all that changes. With UTF-8 the bytes stand for characters."""
    instead = "" if lost == "dropped" else lost
    old = [chr(byte) for byte in range(128, 256)] if written == "utf-8" else _decoded(written)
    return {
        ord(one): new or instead or (chr(byte) if lost == "" else "")
        for byte, one, new in zip(range(128, 256), old, _decoded(read), strict=True)
        if one and one != new
    }


def readings() -> Iterator[Reading]:
    """The likelier first."""
    for times, lost, read in product((1, 2), _LOST, _SINGLE):
        if not lost or _holes(read):
            yield Reading("utf-8", read, times, lost)
    russian = ("windows-1251", "cp866", "koi8-r")
    for written, read in product(russian, (*russian, "latin-1", "windows-1252")):
        if written != read:
            yield Reading(written, read, 1, "")


def strangeness(text: str) -> int:
    """How little a text looks like one that people write: signs and frames, and capital letters
    behind small ones."""
    odd = sum(1 for one in text if ord(one) > 127 and not one.isalpha() and one not in "«»№—–…’“”")
    humps = sum(a.islower() and b.isupper() for a, b in pairwise(text))
    mixed = sum(
        (_cyrillic(a) and b.isalpha() and not _cyrillic(b)) or (_accented(a) and _accented(b))
        for a, b in pairwise(text)
    )
    return 2 * odd + humps + mixed


def ask(scene: Scene) -> Iterator[Variant]:
    for change, _ in _changes(scene):
        yield look(change)


def propose(scene: Scene) -> Iterator[Candidate]:
    best: dict[tuple[str, str], Batch] = {}
    injective: set[tuple[str, str]] = set()
    for change, reading in _changes(scene):
        place = (change.table.name, change.column.name)
        found = batch(scene, change, possible=_made_by(reading))
        # What is lost is judged by itself: the rest of the column can be decoded.
        if found is None or (place in injective and reading.lost):
            continue
        if not reading.lost and place not in injective:
            injective.add(place)
            best[place] = found
        elif found.hits > (best[place].hits if place in best else 0):
            best[place] = found
    for table in sorted({name for name, _ in best}):
        batches = [found for (name, _), found in sorted(best.items()) if name == table]
        columns = frozenset(column for name, column in injective if name == table)
        told = parameters(batches)
        yield from candidates(scene, FaultClass.DOUBLE_ENCODING, batches, told, columns)


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "{hits} texts are what comes out when the former text is written in one encoding and read"
        " in another ({how})",
        hits=cells_told(candidate),
        how="; ".join(value for _, value in candidate.parameters if " → " in value),
    )


def asks(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    """Rows newer than the backup, of no step: what they should be only their texts say."""
    questions = []
    for table, column, reading in _readings_of(candidate):
        texts = facts.execute(
            _NEWER, {"table": table, "path": f"$.{json.dumps(column, ensure_ascii=False)}"}
        )
        alike = {
            str(text): former
            for (text,) in texts.fetchall()
            if (former := reading.back(str(text))) is not None
            and strangeness(former) < strangeness(str(text))
        }
        if alike:
            text, former = min(alike.items())
            questions.append(
                _question(f"{fault.id}-newer-{column}", table, len(alike), text, former)
            )
    return tuple(questions)


def _question(name: str, table: str, count: int, text: str, former: str) -> Question:
    sentence = message(
        "{n} texts in rows of {table} that are newer than the backup look the same; {text} would"
        " have been {former}. Are they damaged too?",
        n=count,
        table=table,
        text=text,
        former=former,
    )
    yes = message("Say what each should be in a complaint, and assess again")
    return Question(
        name,
        sentence,
        (
            Alternative(message("They are damaged"), yes, count),
            Alternative(message("They are right"), message("They stay as they are"), 0),
        ),
        count,
    )


def _readings_of(candidate: Candidate) -> Iterator[tuple[str, str, Reading]]:
    """Columns whose texts can be decoded: table, column, how they were misread."""
    known = {str(one): one for one in readings() if one.written == "utf-8" and not one.lost}
    (target,) = candidate.targets
    told = dict(candidate.parameters)
    for column in sorted(target.columns & candidate.injective):
        how = told["how"] if told.get("column") == column else told.get(column, "")
        reading = known.get(how.partition(";")[0])
        if reading is not None:
            yield target.table, column, reading


def _changes(scene: Scene) -> Iterator[tuple[Change, Reading]]:
    for table, column, _ in suspects(scene, _is_text):
        rows = scene.facts.execute(
            _OBSERVED, {"table": table.name, "column": column.name, "most": _SAMPLE_MAX}
        ).fetchall()
        for reading in likely([(str(old), str(new)) for old, new in rows]):
            expression = typed(column, reading.expression(cell(column)))
            yield Change(table, column, str(reading), expression, unsteady(scene, table)), reading


def likely(pairs: Sequence[tuple[str, str]]) -> Sequence[Reading]:
    """Readings that explain enough of the pairs (former, current), the best first; none when the
    former texts are the stranger ones: then somebody put them right."""
    if sum(strangeness(new) - strangeness(old) for old, new in pairs) <= 0:
        return ()
    votes: Counter[Reading] = Counter()
    for reading in readings():
        votes[reading] = sum(_cut(reading.of(old), new) for old, new in pairs)
    enough = max(2.0, _AGREE * len(pairs))
    return [one for one, count in votes.most_common(_READINGS_MAX) if count >= enough]


def _cut(made: str, seen: str) -> bool:
    """The column may have been too short for all of it."""
    return made == seen or (len(seen) >= 8 and made.startswith(seen))


def _made_by(reading: Reading) -> Callable[[str | None], bool]:
    def possible(current: str | None) -> bool:
        if current is None or current.isascii():
            return False
        if reading.lost:
            return strangeness(current) > 0
        former = reading.back(current)
        return former is not None and strangeness(former) < strangeness(current)

    return possible


def _is_text(column: Column) -> bool:
    return column.family == "text" and (
        column.type == "text" or column.type.startswith("character varying")
    )


def _cyrillic(one: str) -> bool:
    return "\u0400" <= one <= "\u04ff"


def _accented(one: str) -> bool:
    return "\u00c0" <= one <= "\u017f" and one.isalpha()


HYPOTHESIS = Hypothesis(FaultClass.DOUBLE_ENCODING, propose, told, ask, asks=asks)
