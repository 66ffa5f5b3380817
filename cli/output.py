"""Results on stdout, errors on stderr. Nothing that comes out of data reaches the terminal as a
command: control characters are shown, markup is plain text."""

import json
import os
import sys
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recovery.case.result import Grid, Json, Result

UNLIMITED = 100_000  # columns: a pipe has no width


def show(result: Result) -> None:
    """The result for a person: warnings, sentences, tables."""
    console = _console()
    try:
        for warning in result.warnings:
            console.print(Text(f"WARNING: {printable(warning)}", style="yellow"), soft_wrap=True)
        for sentence in result.summary:
            console.print(Text(printable(sentence)), soft_wrap=True)
        for grid in result.grids:
            console.print()
            console.print(_table(grid))
        sys.stdout.flush()
    except BrokenPipeError:
        _nobody_reads()


def show_json(result: Result) -> None:
    """The result for a program: the document alone, warnings in it."""
    document: Mapping[str, Json] = result.document
    if result.warnings and "warnings" not in document:
        document = {**document, "warnings": result.warnings}
    write(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=_plain))


def write(text: str) -> None:
    """A text on stdout as it is."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _nobody_reads()


def show_error(message: str, *, where: str = "", hint: str = "") -> None:
    """What went wrong, on stderr: the message, where, what to do next."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    # Libraries indent what belongs to the line before with a tab.
    told = printable(message.replace("\n\t", "\n  "))
    console.print(Text("dbmend: ", style="bold red") + Text(told))
    if where:
        console.print(Text(f"  where: {printable(where)}"))
    if hint:
        console.print(Text(f"  next:  {printable(hint)}"))


def printable(text: str) -> str:
    """`text` with control characters and bidirectional overrides made visible."""
    return "".join(one if one == "\n" or _harmless(one) else _escape(one) for one in text)


def _harmless(character: str) -> bool:
    code = ord(character)
    controls = code < 0x20 or 0x7F <= code < 0xA0
    directions = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
    return not controls and not directions and not 0xD800 <= code <= 0xDFFF


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _console() -> Console:
    width = None if sys.stdout.isatty() else UNLIMITED
    return Console(highlight=False, width=width)


def _table(grid: Grid) -> Table:
    title = Text(printable(grid.title)) if grid.title else None
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for position, name in enumerate(grid.header):
        cells = [row[position] for row in grid.rows if row[position]]
        numbers = bool(cells) and all(_is_number(cell) for cell in cells)
        table.add_column(
            Text(printable(name)), justify="right" if numbers else "left", overflow="fold"
        )
    for row in grid.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _is_number(cell: str) -> bool:
    return cell.replace(" ", "").replace(",", "").replace(".", "").replace("%", "").isdigit()


def _plain(value: object) -> Json:
    """Mappings and sequences that the standard writer does not know by type."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON: {type(value).__name__}")


def _nobody_reads() -> None:
    """The reader of the pipe has gone: the exit code still says what came out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
