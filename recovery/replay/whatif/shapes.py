"""Statements that differ in their constants only are read once: a log has thousands of a few
shapes, and reading is what takes most of the time there.

A shape is believed when its first statement and the same one with other constants are read alike,
but for the constants that conditions name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recovery.replay.whatif.filters import Filter, told_as
from recovery.replay.whatif.reads import Access, Reader, Reading

# Constants that look it wherever they stand, in texts without anything that could hide them.
_CONSTANT = re.compile(r"('[^']*'|(?<![\w.])\d+(?:\.\d+)?(?![\w.]))")
_HIDING = re.compile(r"[\\$\"]|--|/\*|\border\b|\blimit\b", re.I)
_READ = re.compile(r"\s*(?:insert|update|delete|select)\b", re.I)

_Shape = tuple[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One text of a condition: of which access, in which place, and which constant it is."""

    access: int
    equal: int
    text: int
    constant: int


@dataclass(frozen=True, slots=True)
class _Known:
    reading: Reading
    slots: tuple[_Slot, ...]


class Shapes:
    """Not `filled`: the constants of a statement whose shape is known are left out."""

    def __init__(self, reader: Reader, *, filled: bool = True) -> None:
        self._reader = reader
        self._fills = filled
        self._known: dict[_Shape, _Known | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, statements: Sequence[str]) -> Reading:
        """As `Reader.read`."""
        found = Reading()
        for text in statements:
            found.add(self._statement(text))
        return found

    def _statement(self, text: str) -> Reading:
        if not _READ.match(text) or _HIDING.search(text):
            return self._reader.read([text])
        parts = _CONSTANT.split(text)
        constants = parts[1::2]
        shape = (tuple(parts[::2]), "".join(map(_kind, constants)))
        if shape not in self._known:
            first = self._reader.read([text])
            self._known[shape] = self._learned(first, parts)
            return first
        known = self._known[shape]
        if known is not None and not self._fills:
            return known.reading
        found = None if known is None else self._filled(known, constants)
        return found or self._reader.read([text])

    def _learned(self, reading: Reading, parts: Sequence[str]) -> _Known | None:
        """None: what is read depends on the constants otherwise than by what conditions name."""
        constants = parts[1::2]
        others = [_other(one, place) for place, one in enumerate(constants)]
        text = "".join(
            others[place // 2] if place % 2 else part for place, part in enumerate(parts)
        )
        other = self._reader.read([text])
        slots = tuple(_slots(other, others))
        known = _Known(other, slots)
        return known if self._filled(known, constants) == reading else None

    def _filled(self, known: _Known, constants: Sequence[str]) -> Reading | None:
        """The reading with these constants; None where one does not tell its value."""
        accesses = list(known.reading.accesses)
        for slot in known.slots:
            access = accesses[slot.access]
            place, texts = access.filter.equal[slot.equal]
            column = self._reader.relations.tables[access.table].columns[place]
            constant = constants[slot.constant]
            quoted = constant.startswith("'")
            text = told_as(constant[1:-1] if quoted else constant, column, quoted=quoted)
            if text is None:
                return None
            fresh = (*texts[: slot.text], text, *texts[slot.text + 1 :])
            accesses[slot.access] = _with(access, slot.equal, (place, fresh))
        return replace(known.reading, accesses=accesses, writes=set(known.reading.writes))


def _with(access: Access, number: int, equal: tuple[int, tuple[str, ...]]) -> Access:
    all_ = access.filter.equal
    return replace(
        access, filter=Filter((*all_[:number], equal, *all_[number + 1 :]), access.filter.where)
    )


def _slots(reading: Reading, constants: Sequence[str]) -> Iterator[_Slot]:
    where = {one.strip("'"): place for place, one in enumerate(constants)}
    for access, one in enumerate(reading.accesses):
        for equal, (_, texts) in enumerate(one.filter.equal):
            for text, value in enumerate(texts):
                if value in where:
                    yield _Slot(access, equal, text, where[value])


def _kind(constant: str) -> str:
    return "'" if constant.startswith("'") else "." if "." in constant else "0"


def _other(constant: str, place: int) -> str:
    """A constant of the same kind that no statement has."""
    number = 730_000_001 + place
    match _kind(constant):
        case "'":
            return f"'{number}'"
        case ".":
            return f"{number}.5"
        case _:
            return str(number)
