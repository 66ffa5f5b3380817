"""A step log written as JSON, as the same tree of nodes: numbers keep their digits, every node
knows its line (the standard reader gives neither)."""

import re
from json import JSONDecodeError, JSONDecoder

from recovery.steps.nodes import (
    DEPTH_MAX,
    Entry,
    Fault,
    Fields,
    Items,
    Node,
    Scalar,
    Unreadable,
    add_entry,
)

_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)\b")


def parse_json(text: str) -> tuple[Node, tuple[Fault, ...]]:
    """The tree of the one value in `text`, and names that were given twice.

    Raises Unreadable where the text is no JSON.
    """
    reader = _Reader(text)
    node = reader.value(0)
    reader.skip()
    if reader.position < len(text):
        raise reader.broken("something follows the end of the document")
    return node, tuple(reader.faults)


_STRINGS = JSONDecoder()  # asked for one string at a time


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.faults: list[Fault] = []
        self._line = 1
        self._counted = 0

    @property
    def line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def broken(self, what: str) -> Unreadable:
        return Unreadable(Fault(self.line, f"this is no JSON: {what}"))

    def skip(self) -> str:
        """Go to the next character that is no white space and look at it ('' at the end)."""
        found = _SPACE.match(self.text, self.position)
        assert found is not None
        self.position = found.end()
        return self.text[self.position : self.position + 1]

    def value(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise Unreadable(Fault(self.line, f"nested deeper than {DEPTH_MAX} levels"))
        match self.skip():
            case "{":
                return self._fields(depth)
            case "[":
                return self._items(depth)
            case '"':
                return self._string()
            case _:
                found = _WORD.match(self.text, self.position)
                if found is None:
                    raise self.broken("a value is expected here")
                line = self.line
                self.position = found.end()
                return Scalar(line, found.group(), True, line, False)

    def _string(self) -> Scalar:
        line = self.line
        try:
            text, self.position = _STRINGS.raw_decode(self.text, self.position)
        except JSONDecodeError as error:
            self.position = error.pos
            said = error.msg.removesuffix(" at").removesuffix(" starting")
            raise self.broken(said[0].lower() + said[1:]) from error
        return Scalar(line, text, False, line, False)

    def _fields(self, depth: int) -> Fields:
        line = self.line
        entries: list[Entry] = []
        self.position += 1
        if self.skip() == "}":
            self.position += 1
            return Fields(line, ())
        while True:
            if self.skip() != '"':
                raise self.broken("a name in double quotes is expected here")
            name = self._string()
            self._expect(":")
            add_entry(entries, Entry(name.text, name.line, self.value(depth + 1)), self.faults)
            if self._more("}"):
                return Fields(line, tuple(entries))

    def _items(self, depth: int) -> Items:
        line = self.line
        items: list[Node] = []
        self.position += 1
        if self.skip() == "]":
            self.position += 1
            return Items(line, ())
        while True:
            items.append(self.value(depth + 1))
            if self._more("]"):
                return Items(line, tuple(items))

    def _expect(self, character: str) -> None:
        if self.skip() != character:
            raise self.broken(f"'{character}' is expected here")
        self.position += 1

    def _more(self, end: str) -> bool:
        """True at `end`, False after a comma."""
        character = self.skip()
        if character not in (",", end) or not character:
            raise self.broken(f"',' or '{end}' is expected here")
        self.position += 1
        return character == end
