"""Every kind against its file of text pairs in `test_kinds_texts/`: rows before and after, and
exactly what is proposed for the difference, with hazards, or the refusal by name.

A block is `### name`, settings (`fault`, `grade`, and facts of the table), the rows `before` and
`after`, and what is `proposed`: one line per operation, its hazards below it. Only lines of the
file's own kind may come out, so a block without any shows what the kind does not fire on.
"""

import re
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from recovery.model import FaultClass
from repair_rules import registry
from repair_rules.kinds import cells_overwritten, rows_added, rows_deleted
from repair_rules.model import OF_DATA, Damage, Hazard, Kind, Refusal, SetCells

TEXTS = Path(__file__).parent / "test_kinds_texts"
SHAPES = ("cells", "rows-gone", "rows-added")
TABLE = "public.item"


@dataclass
class Facts:
    """What a block says of its table."""

    columns_there: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)

    def has_key(self, table):
        return bool(self.key(table))

    def key(self, table):
        return frozenset(self.settings.get("key", "").split())

    def schema_differs(self, table):
        return "schema differs" in self.settings

    def triggers(self, table, event):
        return tuple(self.settings.get(f"triggers on {event}", "").split())

    def children(self, table):
        return ()

    def columns(self, table):
        return frozenset(self.columns_there)

    def generated(self, table):
        return frozenset(self.settings.get("generated", "").split())

    def always_identity(self, table):
        return frozenset(self.settings.get("always identity", "").split())

    def mandatory(self, table):
        return frozenset(self.settings.get("mandatory", "").split())

    def rows(self, table):
        return int(self.settings.get("rows", "0"))


@dataclass
class Block:
    settings: dict[str, str]
    columns: tuple[str, ...]  # of the current table
    before: dict[str, dict[str, str]]
    after: dict[str, dict[str, str]]
    proposed: str


def blocks():
    for file in sorted(TEXTS.glob("*.txt")):
        for text in re.split(r"^### ", file.read_text("utf-8"), flags=re.M)[1:]:
            name, _, rest = text.partition("\n")
            yield pytest.param(file.stem, parsed(rest), id=f"{file.stem}: {name}")


def parsed(text):
    head, _, rest = text.partition("before:\n")
    before, _, rest = rest.partition("after:\n")
    after, _, proposed = rest.partition("proposed:\n")
    settings = dict(
        (name.strip(), value.strip())
        for name, _, value in (line.partition(":") for line in head.splitlines() if line)
    )
    _, was = rows(before)
    columns, now = rows(after)
    return Block(settings, columns, was, now, proposed.strip())


def rows(text):
    lines = [re.split(r" *\| *", line.strip()) for line in text.splitlines() if line.strip()]
    found = {}
    for first, last, values in expanded(lines[1:]):
        for number in range(first, last + 1):
            row = dict(zip(lines[0], (str(number), *values), strict=True))
            found[row[lines[0][0]]] = row
    return tuple(lines[0]), found


def expanded(lines):
    """A first value `1-30` stands for thirty rows."""
    for first, *values in lines:
        start, _, end = first.partition("-")
        yield int(start), int(end or start), values


def damages(block):
    both = block.before.keys() & block.after.keys()
    cells = [
        (key, column)
        for key, column in product(sorted(both), next(iter(block.before.values()), {}))
        if block.before[key][column] != block.after[key].get(column)
    ]
    gone, added = block.before.keys() - both, block.after.keys() - both
    for shape, keys, count, columns in (
        ("cells", {key for key, _ in cells}, len(cells), sorted({column for _, column in cells})),
        ("rows-gone", gone, len(gone), next(iter(block.before.values()), {})),
        ("rows-added", added, len(added), block.columns),
    ):
        if keys:
            yield Damage(
                "F1", block.settings["fault"], TABLE, shape, block.settings["grade"],
                tuple(columns), len(keys), count,
            )  # fmt: skip


def told(kind, proposal):
    if isinstance(proposal, Refusal):
        return f"{kind} refuses: {proposal.reason}"
    lines = []
    for operation in proposal:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(operation).__name__).lower()
        columns = ", ".join(operation.columns) if isinstance(operation, SetCells) else ""
        lines.append(f"{kind}: {name} {operation.table} {columns}".rstrip())
        lines += [f"  {hazard}: {detail}" for hazard, detail in operation.hazards]
    return "\n".join(lines)


@pytest.mark.parametrize(("kind", "block"), tuple(blocks()))
def test_texts(kind, block):
    facts = Facts(block.columns, block.settings)
    answers = [registry.propose(damage, facts) for damage in damages(block)]
    found = "\n".join(told(name, proposal) for name, proposal in answers if name == kind)
    assert (found or "nothing") == block.proposed


def test_every_kind_has_its_texts():
    assert {kind.name for kind in registry.KINDS} == {file.stem for file in TEXTS.glob("*.txt")}


def test_claims_never_overlap():
    """For every fault of data and shape exactly one kind: no order of asking decides; damage of
    the structure itself is none of theirs."""
    claims = {
        (str(fault), shape): [
            kind.name for kind in registry.KINDS if fault in kind.fits and kind.shape == shape
        ]
        for fault, shape in product(FaultClass, SHAPES)
    }
    names = {
        "cells": cells_overwritten.KIND.name,
        "rows-gone": rows_deleted.KIND.name,
        "rows-added": rows_added.KIND.name,
    }
    assert claims == {
        (fault, shape): [names[shape]] if fault in OF_DATA else [] for fault, shape in claims
    }
    assert {str(fault) for fault in FaultClass} - OF_DATA == {"dropped-object", "sequence-behind"}


def test_kinds_claim_faults_that_exist_and_have_names_of_their_own():
    faults = {str(fault) for fault in FaultClass}
    assert [kind.name for kind in registry.KINDS if not kind.fits or kind.fits - faults] == []
    assert len({kind.name for kind in registry.KINDS}) == len(registry.KINDS)


def test_a_new_kind_is_one_file_and_one_line(monkeypatch):
    """Its file gives a Kind; the line is its place in KINDS. Nothing else knows of kinds."""
    asked = []

    def proposal(damage, facts):
        asked.append(damage)
        return (SetCells(damage.table, damage.columns, ((Hazard.PARTIAL, "new"),)),)

    new = Kind("new-kind", frozenset({"sequence-behind"}), "cells", proposal)
    damage = Damage("F1", "sequence-behind", TABLE, "cells", "proven", ("a",), 1, 1)
    facts = Facts(("id", "a"), {"key": "id"})
    unknown = ("", Refusal("no kind of repair is known for this damage"))
    assert registry.propose(damage, facts) == unknown
    monkeypatch.setattr(registry, "KINDS", (*registry.KINDS, new))
    hazards = ((Hazard.PARTIAL, "new"),)
    assert registry.propose(damage, facts) == ("new-kind", (SetCells(TABLE, ("a",), hazards),))
    assert asked == [damage]


def test_the_registry_lists_every_file():
    import repair_rules.kinds

    place = Path(repair_rules.kinds.__file__).parent
    files = {file.stem for file in place.glob("*.py")} - {"__init__"}
    assert files == {kind.name.replace("-", "_") for kind in registry.KINDS}
