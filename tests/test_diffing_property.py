"""Random tables, compared by the engine and by a slow plain-Python reading of the same rules."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffing.engine import Options, compare
from diffing.model import Column, Family, Key, Schema, Table, TableDiff

Row = tuple[str | None, ...]


class Quiet:
    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


class Rows:
    def __init__(self, table: Table, rows: Sequence[Row]) -> None:
        self.schema = Schema((table,))
        self.unloaded: dict[str, str] = {}
        self._rows = rows

    def export(self, table: Table, columns: Sequence[str], path: Path) -> int:
        places = [[column.name for column in table.columns].index(name) for name in columns]
        with path.open("w", encoding="utf-8", newline="") as file:
            for row in self._rows:
                cells = (row[place] for place in places)
                text = ("" if one is None else '"' + one.replace('"', '""') + '"' for one in cells)
                file.write("1" + "".join("," + one for one in text) + "\n")
        return len(self._rows)


# --- the slow reading ---------------------------------------------------------------------------


def value(family: Family, text: str | None) -> object:
    """Something that is equal exactly when the value is."""
    if text is None:
        return None
    match family:
        case "numeric":
            return Decimal(text)
        case "float":
            return "NaN" if text == "NaN" else float(text)
        case "char":
            return text.rstrip(" ")
        case "json":
            return json.dumps(json.loads(text, parse_int=float), sort_keys=True)
        case "array":
            return tuple(next(csv.reader([text.strip("{}")])))
        case _:
            return text


class Slow:
    """Figures, cells of changed rows, and the values of rows that are missing or extra."""

    def __init__(self, table: Table, backup: Sequence[Row], current: Sequence[Row]) -> None:
        self.families = [column.family for column in table.columns]
        names = [column.name for column in table.columns]
        self.key = [names.index(name) for name in table.key.columns]
        self.names = names
        self.same = self.changed = self.represented = 0
        self.cells: set[tuple[str, str, str | None, str | None]] = set()
        self.missing: Counter[object] = Counter()
        self.extra: Counter[object] = Counter()
        self.compare(backup, current)

    def values(self, row: Row) -> tuple[object, ...]:
        return tuple(value(kind, one) for kind, one in zip(self.families, row, strict=True))

    def group(self, rows: Sequence[Row]) -> tuple[dict[object, list[Row]], list[Row]]:
        keyed: dict[object, list[Row]] = defaultdict(list)
        loose: list[Row] = []
        for row in rows:
            if not self.key or any(row[place] is None for place in self.key):
                loose.append(row)
            else:
                values = self.values(row)
                keyed[tuple(values[place] for place in self.key)].append(row)
        return keyed, loose

    def compare(self, backup: Sequence[Row], current: Sequence[Row]) -> None:
        ours, our_loose = self.group(backup)
        theirs, their_loose = self.group(current)
        for key in ours.keys() | theirs.keys():
            left, right = ours.get(key, []), theirs.get(key, [])
            if len(left) > 1 or len(right) > 1:
                our_loose += left
                their_loose += right
            elif left and right:
                self.pair(left[0], right[0])
            else:
                self.missing.update(self.values(row) for row in left)
                self.extra.update(self.values(row) for row in right)
        self.multiset(Counter(our_loose), Counter(their_loose))

    def pair(self, left: Row, right: Row) -> None:
        differing = [n for n in range(len(left)) if left[n] != right[n]]
        real = [
            n
            for n in differing
            if value(self.families[n], left[n]) != value(self.families[n], right[n])
        ]
        for n in real:
            # A key column's text may differ by representation only: the backup's is shown.
            shown = {self.names[k]: self.shown(k, left[k]) for k in self.key}
            text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
            self.cells.add((text, self.names[n], left[n], right[n]))
        self.changed += bool(real)
        self.same += not real
        self.represented += bool(differing and not real)

    def shown(self, place: int, text: str | None) -> str | None:
        if self.families[place] == "numeric" and text and "." in text:
            return text.rstrip("0").rstrip(".")
        return text

    def multiset(self, left: Counter[Row], right: Counter[Row]) -> None:
        exact = left & right
        left_values = Counter(self.values(row) for row in (left - exact).elements())
        right_values = Counter(self.values(row) for row in (right - exact).elements())
        alike = left_values & right_values
        self.same += exact.total() + alike.total()
        self.represented += alike.total()
        self.missing.update(left_values - alike)
        self.extra.update(right_values - alike)


# --- random tables ------------------------------------------------------------------------------

WEIRD = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "NULL",
    "\\N",
    '"',
    '""',
    "a|b",
    ",",
    "\n",
    "\r\n",
    "1",
    "é",
    "😀",
]
TEXTS: dict[Family, list[str]] = {
    "text": WEIRD,
    "numeric": ["0", "0.0", "1", "1.0", "1.00", "10", "100", "-1.5", "-1.50", "9007199254740993"],
    "float": ["0", "-0", "1", "0.1", "0.30000000000000004", "NaN", "Infinity", "1e+20"],
    "char": ["", "a", "a ", " a", "b"],
    "json": ["1", "1.0", '{"a":1,"b":2}', '{"b":2, "a":1.0}', "[1,2]", "[2,1]", "null", '"1"'],
    "array": ["{1,2}", '{"1",2}', "{2,1}", "{}", '{"a,b"}', "{a,b}"],
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, list[Row], list[Row]]:
    families = draw(st.lists(st.sampled_from(sorted(TEXTS)), min_size=1, max_size=4))
    columns = tuple(
        Column(f"c {n}", kind, kind, element="numeric" if kind == "array" else "text")
        for n, kind in enumerate(families)
    )
    width = draw(st.integers(0, min(2, len(columns))))
    named = tuple(column.name for column in columns[:width])
    key = Key(named, "primary" if width else "none")
    cells = [st.one_of(st.none(), st.sampled_from(TEXTS[kind])) for kind in families]
    row = st.tuples(*cells)
    backup = draw(st.lists(row, max_size=12))
    kept = draw(st.lists(st.sampled_from(backup), max_size=12)) if backup else []
    current = kept + draw(st.lists(row, max_size=6))
    return Table("public", "t", columns, key), backup, current


def engine(
    table: Table, backup: Sequence[Row], current: Sequence[Row]
) -> tuple[TableDiff, list[tuple[str, str, str, str | None, str | None]]]:
    facts = duckdb.connect(":memory:")
    facts.execute(
        'CREATE TABLE divergence ("table" VARCHAR, key VARCHAR, kind VARCHAR, '
        '"column" VARCHAR, backup VARCHAR, current VARCHAR)'
    )
    with TemporaryDirectory() as folder:
        ledger = compare(
            Rows(table, backup),
            Rows(table, current),
            facts,
            workspace=Path(folder),
            options=Options(threads=1),
            progress=Quiet(),
        )
    (entry,) = ledger
    found = facts.execute('SELECT key, kind, "column", backup, current FROM divergence').fetchall()
    facts.close()
    return entry, found


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_engine_and_slow_reading_agree(case: tuple[Table, list[Row], list[Row]]):
    table, backup, current = case
    slow = Slow(table, backup, current)
    entry, found = engine(table, backup, current)
    figures = (entry.same, entry.changed, entry.missing, entry.extra, entry.representation_only)
    assert figures == (
        slow.same,
        slow.changed,
        slow.missing.total(),
        slow.extra.total(),
        slow.represented,
    ), entry.why
    assert {(key, column, left, right) for key, kind, column, left, right in found if column} == (
        slow.cells
    )
    for kind, side, expected in (("missing", 3, slow.missing), ("extra", 4, slow.extra)):
        rows = [json.loads(str(row[side])) for row in found if row[1] == kind]
        assert Counter(slow.values(tuple(row.values())) for row in rows) == expected
    # No two divergences have one name.
    assert len({row[:3] for row in found}) == len(found)
