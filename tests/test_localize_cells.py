"""Two runs, the backup and the current state beside each other, against a slow oracle: histories
of single rows are played out in Python, and what is known of every cell is compared."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.case.facts import open_facts
from recovery.localize.cells import lay_side_by_side

COLUMNS = ("id", "v", "w")
FAULT = "3"


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- one row's history ----------------------------------------------------------------------------

values = st.one_of(st.none(), st.sampled_from(["a", "b", 'q"x']))
contents = st.fixed_dictionaries({"v": values, "w": values})
# A step sets cells of the row, makes it (again), or takes it away; what does not apply is left out.
deeds = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", FAULT, "4"]),
        st.one_of(
            st.just(None),
            contents,
            st.dictionaries(st.sampled_from(["v", "w"]), values, min_size=1),
        ),
    ),
    max_size=4,
).map(lambda found: sorted(found, key=lambda one: one[0]))
rows = st.fixed_dictionaries(
    {
        "backup": st.one_of(st.none(), contents),
        "target": deeds,
        "faulty": deeds,
        "current": st.one_of(st.none(), contents, st.sampled_from(["target", "faulty", "backup"])),
    }
)


def played(number, before, steps):
    """(effects, the row afterwards, who wrote each column last, who wrote it at all)."""
    now = None if before is None else {"id": str(number), **before}
    effects, last, wrote = [], {}, {}

    def write(step, column):
        last[column] = step
        wrote.setdefault(column, set()).add(step)

    for step, deed in steps:
        if deed is None and now is not None:
            effects.append((step, "delete", "", compact(now), None))
            effects += [(step, "delete", name, value, None) for name, value in now.items()]
            for name in ("", *now):
                write(step, name)
            now = None
        elif deed is not None and now is None and len(deed) == 2:
            now = {"id": str(number), **deed}
            effects.append((step, "insert", "", None, compact(now)))
            effects += [(step, "insert", name, None, value) for name, value in now.items()]
            for name in ("", *now):
                write(step, name)
        elif deed is not None and now is not None:
            for name, value in deed.items():
                if now[name] != value:
                    effects.append((step, "update", name, now[name], value))
                    write(step, name)
            now = {**now, **deed}
    return effects, now, last, wrote


class Case:
    """All rows played out, as relations and as what the oracle knows."""

    def __init__(self, found):
        self.facts = open_facts(Path(":memory:"))
        self.cells, self.rows = {}, {}
        ordinal = 0
        for number, row in enumerate(found):
            key = compact({"id": str(number)})
            backup = None if row["backup"] is None else {"id": str(number), **row["backup"]}
            runs = {run: played(number, row["backup"], row[run]) for run in ("target", "faulty")}
            for run, (effects, *_) in runs.items():
                for step, op, column, old, new in effects:
                    ordinal += 1
                    self.facts.execute(
                        "INSERT INTO effect VALUES (?, ?, ?, 't', ?, ?, ?, ?, ?)",
                        [run, step, ordinal, key, op, column, old, new],
                    )
            current = row["current"]
            if isinstance(current, str):
                current = backup if current == "backup" else runs[current][1]
            elif current is not None:
                current = {"id": str(number), **current}
            self._diverge(key, backup, current)
            self._expect(key, backup, current, runs)

    def _diverge(self, key, backup, current):
        told = []
        if backup is None and current is not None:
            told = [("extra", "", None, compact(current))]
        elif backup is not None and current is None:
            told = [("missing", "", compact(backup), None)]
        elif backup is not None and current is not None:
            told = [
                ("changed", name, backup[name], current[name])
                for name in COLUMNS
                if backup[name] != current[name]
            ]
        for kind, column, was, now in told:
            self.facts.execute(
                "INSERT INTO divergence VALUES ('t', ?, ?, ?, ?, ?)", [key, kind, column, was, now]
            )

    def _expect(self, key, backup, current, runs):
        (_, target, t_last, t_wrote), (_, faulty, f_last, f_wrote) = runs.values()
        if not t_wrote and not f_wrote:
            return
        there = tuple(one is not None for one in (backup, target, faulty, current))
        self.rows[key] = (*there, FAULT in f_wrote.get("", ()))
        for column in (t_wrote.keys() | f_wrote.keys()) - {""}:
            b, t, f, c = (
                one[column] if one is not None else None
                for one in (backup, target, faulty, current)
            )
            by_fault = FAULT in f_wrote.get(column, ())
            steps = (f_last.get(column), t_last.get(column))
            self.cells[key, column] = (b, t, f, c, *there, by_fault, *steps)


def only_where_there(cell):
    """A cell of a row that is not there has no value; nobody asks for it."""
    values, there, rest = cell[:4], cell[4:8], cell[8:]
    shown = tuple(v if is_there else None for v, is_there in zip(values, there, strict=True))
    return (*shown, *there, *rest)


def compared(found):
    case = Case(found)
    lay_side_by_side(case.facts, target="target", faulty="faulty", fault_act=FAULT)
    rows = case.facts.execute("SELECT key, b, t, f, c, by_fault FROM row").fetchall()
    assert {key: tuple(rest) for key, *rest in rows} == case.rows
    cells = case.facts.execute(
        'SELECT key, "column", b, t, f, c, b_row, t_row, f_row, c_row, by_fault, f_step, t_step'
        " FROM cell"
    ).fetchall()
    assert len(cells) == len(case.cells)
    seen = {(key, column): only_where_there(tuple(rest)) for key, column, *rest in cells}
    assert seen == {name: only_where_there(cell) for name, cell in case.cells.items()}


@given(st.lists(rows, min_size=1, max_size=10))
@settings(max_examples=50)
def test_every_history_of_rows(found):
    compared(found)


def test_every_existence_of_a_row():
    """The row is there or not in the backup, the target, the faulty and the current state."""
    a, b, c = ({"v": text, "w": "a"} for text in ("a", "b", 'q"x'))
    found = []
    for backup in (None, a):
        for target in (None, b):
            for faulty in (None, c):
                for current in (None, a, b, c):
                    found.append(
                        {
                            "backup": backup,
                            "target": [("2", target)],
                            "faulty": [(FAULT, faulty)],
                            "current": current,
                        }
                    )
    compared(found)


def test_nothing_was_written():
    compared([{"backup": None, "target": [], "faulty": [], "current": {"v": "a", "w": "b"}}])
