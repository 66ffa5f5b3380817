"""What a run wrote as lines of CSV, one for each cell, made from what decoding tells."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from diffing.model import Schema, Table
from recovery.replay.images import (
    Cells,
    Change,
    Image,
    Images,
    Marker,
    Row,
    Settled,
    Told,
    Truncated,
    Withheld,
)

_FIRST = ',"#n":"1"}'


class Tally:
    """Per step and table: row images captured, and tables whose rows capture has missed; per
    step, how many rows were told in the place of images."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, int]] = {}
        self.told: dict[str, int] = {}
        self.missed: dict[str, set[str]] = {}

    @property
    def blind(self) -> set[str]:
        return {table for tables in self.missed.values() for table in tables}


def key_of(table: Table, row: Row) -> str:
    """The key of a row image, as everywhere in dbmend: compact JSON in key order. Of equal rows
    without a key: that of the first."""
    return key_in(shape_of(table), row)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of a table is asked for every row. `key`: its columns, and whether they are numeric."""

    names: tuple[str, ...]
    known: frozenset[str]
    key: tuple[tuple[str, bool], ...]


def shape_of(table: Table) -> _Shape:
    names = tuple(column.name for column in table.columns)
    key = tuple((column.name, column.family == "numeric") for column in table.key_columns)
    return _Shape(names, frozenset(names), key)


def key_in(shape: _Shape, row: Row) -> str:
    if shape.key:
        return _compact(
            {name: _trimmed(row[name]) if numeric else row[name] for name, numeric in shape.key}
        )
    shown = {name: row[name] for name in shape.names if name in row}
    return f'{{"#row":"{hashlib.sha256(_compact(shown).encode()).hexdigest()}"{_FIRST}'


def _same_key(shape: _Shape, old: Row, new: Row) -> bool:
    return bool(shape.key) and all(
        old[name] == new[name] or (numeric and _trimmed(old[name]) == _trimmed(new[name]))
        for name, numeric in shape.key
    )


class Book:
    """What is written of a run: lines of CSV, one for each cell."""

    def __init__(self, run: str, schema: Schema, tally: Tally) -> None:
        self._run = run
        self._tally = tally
        self._step = ""
        self._ordinal = 0
        self._shapes = {table.name: shape_of(table) for table in schema.tables}
        self._plans: dict[tuple[str, tuple[str, ...]], _Plan | None] = {}
        self._copies = _Copies()
        self._withheld: set[str] = set()

    def lines(self, changes: Iterable[Change]) -> Iterator[bytes]:
        for change in changes:
            match change:
                case Images() | Image() if change.table in self._withheld:
                    pass
                case Images() as images:
                    yield from self._images(images)
                case Image() as image:
                    if self._plan(image, 1) is not None:
                        yield from self._cells(image)
                case Marker(name):
                    self._step = name
                    self._withheld = set()
                case Withheld(name):
                    self._withheld.add(name)
                case Settled():
                    self._withheld = set()
                case Truncated(names):
                    lost = {name for name in names if name in self._shapes} - self._withheld
                    if lost:
                        self._tally.missed.setdefault(self._step, set()).update(lost)
                case Told(name, old, new):
                    self._tally.told[self._step] = self._tally.told.get(self._step, 0) + 1
                    yield from self._cells(Image.of("update", name, old, new))

    def _plan(self, found: Image | Images, many: int) -> "_Plan | None":
        """How the rows are written down; None where they are counted and not told."""
        table = found.table
        counted = self._tally.images.setdefault(self._step, {})
        counted[table] = counted.get(table, 0) + many
        shape = self._shapes.get(table)
        if shape is None:  # made by the step itself: no row of the backup is concerned
            return None
        columns = table, found.names
        if columns not in self._plans:
            self._plans[columns] = _plan(table, shape, found.names)
        plan = self._plans[columns]
        if plan is None or (isinstance(found, Image) and not found.whole):
            self._tally.missed.setdefault(self._step, set()).add(table)
            return None
        return plan

    def _images(self, images: Images) -> Iterator[bytes]:
        plan = self._plan(images, len(images.rows))
        if plan is None:
            return
        if not plan.labels:
            for image in images.each():
                yield from self._cells(image)
        elif images.op == "update":
            yield from self._updates(images, plan)
        else:
            yield from self._wholes(images, plan)

    def _updates(self, images: Images, plan: "_Plan") -> Iterator[bytes]:
        """As `_cells` tells them, but without a row ever being put together: most of what a history
        writes are cells of rows that stay what they are."""
        head = b'"%s","%s","' % (_quoted(self._run), _quoted(self._step))
        many = len(images.names)
        pairs = [(place, place + many, column) for place, column in enumerate(plan.columns)]
        lines: list[bytes] = []
        for row in images.rows:
            key = plan.key(row, many)
            if key is None:
                yield b"".join(lines)
                lines = []
                halves = row[:many], row[many:]
                yield from self._cells(Image("update", images.table, images.names, *halves))
                continue
            for before, after, column in pairs:
                old, new = row[before], row[after]
                if old != new:
                    self._ordinal += 1
                    line = head, self._ordinal, key, column, _field(old), _field(new)
                    lines.append(b"%s%d%s%s%s,%s\n" % line)
        yield b"".join(lines)

    def _wholes(self, images: Images, plan: "_Plan") -> Iterator[bytes]:
        """Rows that come or go, as `_cells` tells them."""
        head = b'"%s","%s","' % (_quoted(self._run), _quoted(self._step))
        op = images.op.encode()
        form = b'%s%d%s""}","%s","%s",,%s\n' if op == b"insert" else b'%s%d%s""}","%s","%s",%s,\n'
        for image, row in zip(images.each(), images.rows, strict=True):
            key = plan.key(row, 0)
            if key is None or not all(cell is None or _SIMPLE(cell, 1) for cell in row):
                yield from self._cells(image)
                continue
            texts = [b"null" if cell is None else b'""%s""' % cell[1:] for cell in row]
            whole = b'"{%s}"' % b",".join(map(b"".join, zip(plan.members, texts, strict=True)))
            lines = [form % (head, self._ordinal + 1, key, op, b"", whole)]
            for place, cell in enumerate(row):
                line = head, self._ordinal + 2 + place, key, op, plan.names[place], _field(cell)
                lines.append(form % line)
            self._ordinal += len(lines)
            yield b"".join(lines)

    def _cells(self, image: Image) -> Iterator[bytes]:
        for key, op, column, old, new in _cells(image, self._shapes[image.table], self._copies):
            self._ordinal += 1
            ordinal = str(self._ordinal)
            text = line(self._run, self._step, ordinal, image.table, key, op, column, old, new)
            yield text.encode()


_Match = Callable[[bytes, int], re.Match[bytes] | None]
_SIMPLE: _Match = re.compile(rb'[^"\\\x00-\x1f]*\Z').match  # stands in JSON and CSV as it is
_WHOLE: _Match = re.compile(rb"[0-9-]*\Z").match  # a number without zeros to be trimmed


@dataclass(frozen=True, slots=True)
class _Plan:
    """Rows of a table as images have them, with all its columns: the pieces of a line."""

    names: tuple[bytes, ...]
    columns: tuple[bytes, ...]
    members: tuple[bytes, ...]
    labels: tuple[tuple[int, bytes, _Match], ...]  # of the key: where, behind what, if like what

    def key(self, row: Cells, many: int) -> bytes | None:
        """Table and key as a line has them, of a row that stays what it is; None for one that may
        not, or whose key is not as simple as that."""
        text = b""
        for place, label, simple in self.labels:
            cell = row[place]
            if cell is None or cell != row[place + many] or not simple(cell, 1):
                return None
            text += label + cell[1:]
        return text


def _plan(table: str, shape: _Shape, names: tuple[str, ...]) -> _Plan | None:
    if not shape.known <= set(names):
        return None
    labels: list[tuple[int, bytes, _Match]] = []
    for place, (name, numeric) in enumerate(shape.key):
        label = _quoted(('",' if place else "{") + _compact(name) + ':"')
        lead = b"" if place else b'","%s","' % _quoted(table)
        labels.append((names.index(name), lead + label, _WHOLE if numeric else _SIMPLE))
    quoted = tuple(map(_quoted, names))
    return _Plan(
        quoted,
        tuple(b'""}","update","%s",' % name for name in quoted),
        tuple(_quoted(_compact(name) + ":") for name in names),
        tuple(labels),
    )


Cell = tuple[str, str, str, str | None, str | None]


class _Copies:
    """Which of several equal rows without a key is meant: the n-th that comes or goes, counted
    from the backup, so that one that went and came again is the same one. A small number is kept
    for every such row that the run has written and not put back."""

    def __init__(self) -> None:
        self._come: dict[str, int] = {}

    def gone(self, key: str) -> str:
        come = self._come.get(key, 0)
        return self._numbered(key, come - 1, come if come > 0 else 1 - come)

    def came(self, key: str) -> str:
        come = self._come.get(key, 0)
        return self._numbered(key, come + 1, -come if come < 0 else come + 1)

    def _numbered(self, key: str, come: int, number: int) -> str:
        if come:
            self._come[key] = come
        else:
            self._come.pop(key, None)
        return f'{key.removesuffix(_FIRST)},"#n":"{number}"}}'


def _cells(image: Image, shape: _Shape, copies: _Copies) -> Iterator[Cell]:
    old, new = image.old, image.new
    if old == new:
        return
    if old is not None and new is not None and _same_key(shape, old, new):
        key = key_in(shape, new)
        for name, value in new.items():
            if old[name] != value:
                yield key, "update", name, old[name], value
        return
    if old is not None:
        key = key_in(shape, old) if shape.key else copies.gone(key_in(shape, old))
        yield key, "delete", "", _compact(old), None
        for name, value in old.items():
            yield key, "delete", name, value, None
    if new is not None:
        key = key_in(shape, new) if shape.key else copies.came(key_in(shape, new))
        yield key, "insert", "", None, _compact(new)
        for name, value in new.items():
            yield key, "insert", name, None, value


def _trimmed(value: str | None) -> str | None:
    return value.rstrip("0").rstrip(".") if value and "." in value else value


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _field(cell: bytes | None) -> bytes:
    if cell is None:
        return b""
    if b'"' in cell:
        return b'"%s"' % cell[1:].replace(b'"', b'""')
    return b'"%s"' % cell[1:]


def _quoted(text: str) -> bytes:
    return text.replace('"', '""').encode()


def line(*fields: str | None) -> str:
    return (
        ",".join("" if field is None else '"' + field.replace('"', '""') + '"' for field in fields)
        + "\n"
    )
