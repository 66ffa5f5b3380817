"""Reading the fields of a mapping by name and type; what disagrees is collected, never raised."""

import difflib
from collections.abc import Iterable

from diffing.model import qualified
from recovery.model import Problem
from recovery.steps.nodes import Entry, Fields, Items, Node, Scalar


class Faults:
    """Where everything that is wrong with one file is gathered."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, line: int, message: str, hint: str = "") -> None:
        self.found.append(Problem(self.file, line, message, hint))

    def sorted(self) -> tuple[Problem, ...]:
        """In the order of the file, each once."""
        return tuple(dict.fromkeys(sorted(self.found, key=lambda problem: problem.line)))


def describe(node: Node) -> str:
    match node:
        case Fields():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar():
            return "empty" if node.is_null else f"'{_short(node.text)}'"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:37] + "..."


class Record:
    """One mapping of the log; `where` names it in messages ("step 7", "the log")."""

    def __init__(self, node: Fields, where: str, faults: Faults) -> None:
        self.line = node.line
        self.where = where
        self.faults = faults
        self._entries = {entry.name: entry for entry in node.entries}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str) -> Node | None:
        entry = self._entries.get(name)
        return entry.value if entry else None

    def line_of(self, name: str) -> int:
        entry = self._entries.get(name)
        return entry.line if entry else self.line

    def fault(self, name: str, message: str, hint: str = "") -> None:
        self.faults.add(self.line_of(name), f"{self.where}: {message}", hint)

    def unknown(self, known: Iterable[str]) -> None:
        """Report every field whose name is not one of `known`."""
        names = tuple(known)
        for entry in self._entries.values():
            if entry.name in names:
                continue
            near = difflib.get_close_matches(entry.name.lower(), names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(names)
            self.faults.add(entry.line, f"{self.where}: unknown field '{entry.name}'", hint)

    def scalar(self, name: str, what: str) -> Scalar | None:
        """The field's scalar that is not null; None when absent or (reported) anything else."""
        node = self.get(name)
        if node is None:
            return None
        if not isinstance(node, Scalar) or node.is_null:
            self.fault(name, f"'{name}' must be {what}, this is {describe(node)}")
            return None
        return node

    def text(self, name: str) -> str:
        node = self.scalar(name, "text")
        return node.text if node else ""

    def flag(self, name: str) -> bool | None:
        node = self.scalar(name, "true or false")
        if node is None:
            return None
        if not node.plain or node.text not in ("true", "false"):
            self.fault(name, f"'{name}' must be true or false, this is {describe(node)}")
            return None
        return node.text == "true"

    def count(self, name: str) -> int | None:
        node = self.scalar(name, "a whole number")
        if node is None:
            return None
        digits = node.text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            self.fault(name, f"'{name}' must be a whole number, this is {describe(node)}")
            return None
        return int(digits)

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        offered = ", ".join(choices)
        node = self.scalar(name, f"one of {offered}")
        if node is None:
            return None
        if node.text not in choices:
            near = difflib.get_close_matches(node.text.lower(), choices, n=1)
            hint = f"did you mean '{near[0]}'?" if near else ""
            self.fault(name, f"'{name}' must be one of {offered}, this is {describe(node)}", hint)
            return None
        return node.text

    def items(self, name: str) -> tuple[Node, ...]:
        node = self.get(name)
        if node is None:
            return ()
        if not isinstance(node, Items):
            self.fault(name, f"'{name}' must be a list, this is {describe(node)}")
            return ()
        return node.items

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, each once."""
        found: list[str] = []
        for item in self.items(name):
            if not isinstance(item, Scalar) or item.is_null or not item.text:
                message = f"{self.where}: '{name}' holds texts, this is {describe(item)}"
                self.faults.add(item.line, message)
            elif item.text in found:
                self.faults.add(item.line, f"{self.where}: '{item.text}' is named twice")
            else:
                found.append(item.text)
        return tuple(found)

    def table(self, name: str = "table") -> str:
        """A table's name as `diffing.model.qualified` writes it; without schema: public."""
        node = self.scalar(name, "a table's name")
        return self.table_name(node) if node else ""

    def tables(self, name: str) -> tuple[str, ...]:
        named: list[str] = []
        for item in self.items(name):
            if isinstance(item, Scalar) and not item.is_null:
                named.append(self.table_name(item))
            else:
                message = f"{self.where}: '{name}' holds names of tables, this is {describe(item)}"
                self.faults.add(item.line, message)
        return tuple(named)

    def table_name(self, node: Scalar) -> str:
        parts = split_name(node.text)
        if parts is None or len(parts) > 2:
            message = f"{self.where}: {describe(node)} is no table's name"
            self.faults.add(node.line, message, "write schema.table")
            return ""
        return qualified(*(("public", *parts) if len(parts) == 1 else parts))

    def values(self, name: str) -> tuple[tuple[str, str | None], ...]:
        """A mapping of columns to values as text; null is None."""
        node = self.get(name)
        if node is None:
            return ()
        if not isinstance(node, Fields):
            hint = "write {column: value}"
            self.fault(name, f"'{name}' must be a mapping, this is {describe(node)}", hint)
            return ()
        if not node.entries:
            self.fault(name, f"'{name}' is empty", "write {column: value}")
        return tuple(self._value(entry) for entry in node.entries)

    def _value(self, entry: Entry) -> tuple[str, str | None]:
        match entry.value:
            case Scalar() as scalar:
                return entry.name, None if scalar.is_null else scalar.text
            case other:
                message = f"{self.where}: the value of '{entry.name}' is {describe(other)}"
                self.faults.add(entry.line, message, "write it as text, in quotes")
                return entry.name, None


def split_name(text: str) -> tuple[str, ...] | None:
    """`a.b`, `"a.b".c`: the parts of a dotted name, None when it is none."""
    parts: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            end = _closing(rest)
            if end < 0:
                return None
            part, rest = rest[1:end].replace('""', '"'), rest[end + 1 :]
        else:
            part = rest.split(".", 1)[0]
            rest = rest[len(part) :]
        if not part or part != part.strip():
            return None
        parts.append(part)
        if not rest:
            return tuple(parts)
        if not rest.startswith("."):
            return None
        rest = rest[1:]


def _closing(text: str) -> int:
    """Where the quote that opens `text` is closed; -1 when nowhere."""
    position = 1
    while position < len(text):
        if text[position] != '"':
            position += 1
        elif text.startswith('""', position):
            position += 2
        else:
            return position
    return -1
