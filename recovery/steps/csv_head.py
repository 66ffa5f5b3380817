"""The first line of a CSV file that a step imported: names of columns, or a row already?"""

import csv
from dataclasses import dataclass
from pathlib import Path

LINE_MAX = 1 << 20  # characters of a first line
# The server's name of an encoding, and this language's.
ENCODINGS = {
    "UTF8": "utf-8-sig",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN866": "cp866",
    "KOI8R": "koi8-r",
    "LATIN1": "latin-1",
}


class NoHead(Exception):
    """There is no first line to be read; the message says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Head:
    fields: tuple[str, ...]

    @property
    def plausible(self) -> bool:
        """Could these be names of columns?"""
        return all(field.strip() for field in self.fields) and len(set(self.fields)) == len(
            self.fields
        )

    def names(self, columns: tuple[str, ...]) -> bool:
        """Are these the columns, in this order, whatever the case of the letters?"""
        ours = [field.strip().casefold() for field in self.fields]
        return ours == [column.casefold() for column in columns]


def read_head(path: Path, delimiter: str, encoding: str) -> Head:
    """Raises NoHead for an empty file, one that cannot be read, or text that is not in this
    encoding."""
    try:
        with path.open(encoding=ENCODINGS[encoding], newline="") as file:
            rows = csv.reader(iter(lambda: file.readline(LINE_MAX), ""), delimiter=delimiter)
            first = next(rows, None)
    except OSError as error:
        raise NoHead(f"cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise NoHead(f"its first line is not {encoding}", "say its 'encoding'") from error
    except csv.Error as error:
        raise NoHead(f"its first line is no CSV: {error}") from error
    if not first:
        raise NoHead("it is empty" if first is None else "its first line is empty")
    return Head(tuple(first))
