"""The text of a step log as a tree of nodes that know their lines, without any conversion.

Scalars keep exactly the characters that were written: `500.00` stays `500.00`, `id: 007` stays
`007`, a date stays text. Aliases, tags and merge keys are refused, nesting is limited, so a small
file can never grow into a large one.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import ruamel.yaml
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

DEPTH_MAX = 16
NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """`plain`: written without quotes, so that null, true and false mean what they say.
    `first`: the line on which the text itself begins; `literal`: its lines are the file's."""

    line: int
    text: str
    plain: bool
    first: int
    literal: bool

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in NULLS


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    line: int
    value: "Node"


@dataclass(frozen=True, slots=True)
class Fields:
    line: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Items:
    line: int
    items: tuple["Node", ...]


Node = Scalar | Fields | Items


@dataclass(frozen=True, slots=True)
class Fault:
    line: int
    message: str
    hint: str = ""


class Unreadable(Exception):
    """The text breaks the rules of its format: nothing after `fault` can be read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    line: int
    mapping: bool
    entries: list[Entry]
    items: list[Node]
    name: Scalar | None = None

    def close(self) -> Node:
        if self.mapping:
            return Fields(self.line, tuple(self.entries))
        return Items(self.line, tuple(self.items))


def parse_yaml(text: str) -> tuple[Node | None, tuple[Fault, ...]]:
    """The tree of the only document in `text` (None: there is none), and what was refused in it.

    Raises Unreadable where the text is no YAML.
    """
    builder = _Builder()
    try:
        for event in _events(text):
            builder.take(event)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{ord(text[error.position]):04X}"
        raise Unreadable(Fault(line, f"the character {character} is not allowed here")) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        what = error.problem or error.context or "cannot be read"
        hint = "indent with spaces, not tabs" if "'\\t'" in what else ""
        raise Unreadable(Fault(line, f"this is no YAML: {what}", hint)) from error
    except YAMLError as error:
        raise Unreadable(Fault(0, "this is no YAML")) from error
    return builder.root, tuple(builder.faults)


def _events(text: str) -> Iterator[Event]:
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yield from yaml.parse(io.StringIO(text))


class _Builder:
    """Turns events into nodes with a stack of its own: no recursion, whatever the input."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Event) -> None:
        line = event.start_mark.line + 1
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise Unreadable(Fault(line, "a second document begins here", "keep one"))
            case AliasEvent():
                self.faults.append(
                    Fault(line, f"the alias *{event.anchor} is not read", "write the value out")
                )
                self._place(Scalar(line, f"*{event.anchor}", False, line, False))
            case ScalarEvent():
                self._refuse_tag(event.tag, line)
                literal = event.style == "|"
                first = line + 1 if event.style in ("|", ">") else line
                text = _joined(event.value)
                self._place(Scalar(line, text, event.style is None, first, literal))
            case MappingStartEvent() | SequenceStartEvent():
                self._refuse_tag(event.tag, line)
                if len(self._open) >= DEPTH_MAX:
                    raise Unreadable(Fault(line, f"nested deeper than {DEPTH_MAX} levels"))
                self._open.append(_Open(line, isinstance(event, MappingStartEvent), [], []))
            case MappingEndEvent() | SequenceEndEvent():
                self._place(self._open.pop().close())
            case _:
                pass

    def _refuse_tag(self, tag: object, line: int) -> None:
        if tag is not None and str(tag) != "!":
            short = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.faults.append(
                Fault(line, f"the tag {short} is not read", "leave it out: values are text")
            )

    def _place(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if not parent.mapping:
            parent.items.append(node)
        elif parent.name is None:
            if not isinstance(node, Scalar):
                raise Unreadable(Fault(node.line, "a field's name must be a word"))
            parent.name = node
        else:
            name, parent.name = parent.name, None
            add_entry(parent.entries, Entry(name.text, name.line, node), self.faults)


def _joined(text: str) -> str:
    """Characters that were escaped as two halves, as JSON does, made whole."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def add_entry(entries: list[Entry], entry: Entry, faults: list[Fault]) -> None:
    """Append `entry`; a name given twice is a fault, and its first value stays."""
    for other in entries:
        if other.name == entry.name:
            faults.append(
                Fault(entry.line, f"'{entry.name}' is given twice", f"first in line {other.line}")
            )
            return
    entries.append(entry)


FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


def forbidden(node: Node) -> Iterator[Fault]:
    """Characters that no database text can hold, wherever they are in the tree."""
    match node:
        case Scalar():
            found = FORBIDDEN.search(node.text)
            if found:
                code = f"U+{ord(found.group()):04X}"
                yield Fault(node.line, f"the character {code} cannot be stored in a database")
        case Fields():
            for entry in node.entries:
                yield from forbidden(Scalar(entry.line, entry.name, False, entry.line, False))
                yield from forbidden(entry.value)
        case Items():
            for item in node.items:
                yield from forbidden(item)
