"""Schemas made up from one number: SQL text, and as much about it as whoever makes up statements
has to know. Imports nothing of the product.

Values come from domains of a few, so that things collide. What a statement does here never depends
on the order in which the server meets the rows, because no two runs have to agree about that:
triggers on rows only write what commutes, and read what no statement that fires them writes.
"""

from dataclasses import dataclass, replace
from random import Random

INT, NUMERIC, TEXT, FLAG, MOMENT = "int", "numeric(8,2)", "text", "boolean", "timestamptz"
LITERALS = {
    INT: ("0", "1", "2", "3", "4"),
    NUMERIC: ("0", "0.50", "1", "1.25", "2.50", "10"),
    TEXT: ("'a'", "'b'", "'c'", "''", "'ж'"),
    FLAG: ("true", "false"),
    MOMENT: ("'2026-01-01 00:00+00'", "'2026-01-02 12:00+00'", "'2026-01-03 23:59:59.5+00'"),
}
KEYS = tuple(str(number) for number in range(1, 8))  # what keys of one number are made of
NAMES = ("alpha", "beta", "gamma", "delta")
_DATA = (("a", INT), ("b", INT), ("n", NUMERIC), ("s", TEXT), ("f", FLAG), ("w", MOMENT))


@dataclass(frozen=True, slots=True)
class Col:
    name: str
    type: str
    serial: bool = False
    generated: bool = False
    unique: bool = False  # part of something unique, beside the key
    partial: bool = False  # which rows a partial unique index sees depends on it
    parent: str = ""  # the table whose key `id` it refers to


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    cols: tuple[Col, ...]
    key: tuple[str, ...]
    helper: bool = False  # written by triggers
    partitioned: bool = False
    conflict: tuple[str, ...] = ()  # what ON CONFLICT may name; () is nothing
    loose_key: bool = False  # the key is checked at the end of a statement only

    def col(self, name: str) -> Col:
        return next(col for col in self.cols if col.name == name)

    @property
    def written(self) -> tuple[Col, ...]:
        """What a statement may name as a target."""
        return tuple(col for col in self.cols if not col.generated)

    @property
    def data(self) -> tuple[Col, ...]:
        return tuple(col for col in self.written if col.name not in self.key)


@dataclass(frozen=True, slots=True)
class Made:
    """A schema with its rows. `views` can be read and written like the table beside them;
    `counts` are views that can only be read, with columns k and n. `calls` are expressions that
    write, with one number left out; `readers` functions of one number that read."""

    text: str
    tables: tuple[Tab, ...]
    views: tuple[tuple[str, str], ...] = ()
    counts: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    triggers: tuple[tuple[str, str], ...] = ()  # (trigger, table)
    numbered: bool = False  # there is a sequence `ticket` that belongs to no column

    def table(self, name: str) -> Tab:
        return next(table for table in self.tables if table.name == name)


def literal(chance: Random, col: Col, *, nulls: float = 0.1) -> str:
    if chance.random() < nulls:
        return "NULL"
    if col.parent:
        return chance.choice(KEYS)
    return chance.choice(LITERALS[col.type])


class Tables:
    """The tables of a schema and their rows, in the making."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.text: list[str] = []
        self.numbered = False  # there is a sequence that belongs to no column
        self.late: list[str] = []  # indexes of the table in hand
        self.after: list[str] = []  # made when the rows are there
        self.tables: list[Tab] = []
        self.cascaded: set[str] = set()  # tables that a foreign key writes
        self.views: list[tuple[str, str]] = []
        self.counts: list[str] = []
        self.calls: list[str] = []
        self.readers: list[str] = []
        self.triggers: list[tuple[str, str]] = []

    def add_table(self, name: str) -> None:
        chance = self.chance
        shape = chance.choices(
            ("int", "serial", "identity", "composite", "parts", "none", "loose"),
            (6, 2, 1, 3, 1 if self.tables else 0, 2 if self.tables else 0, 1),
        )[0]
        data = [Col(*one) for one in sorted(chance.sample(_DATA, chance.choice((2, 2, 3, 3, 4))))]
        if not any(col.type == INT for col in data):
            data[0] = Col("a", INT)
        keys, lines, key = _key_columns(shape)
        data = [col for col in data if col.name not in {one.name for one in keys}]
        data, parts = self.data_lines(data)
        parents = [one for one in self.tables if one.key == ("id",) and not one.loose_key]
        if parents and chance.random() < 0.8:
            data, parts = self.foreign_key(name, chance.choice(parents).name, data, parts)
        elif shape in ("int", "serial") and chance.random() < 0.15:
            data, parts = self.foreign_key(name, name, data, parts)
        uniques, data = self.uniques(shape, data)
        checks = self.checks(data)
        if chance.random() < 0.3 and (source := next((c for c in data if c.type == INT), None)):
            data.append(Col("g", INT, generated=True))
            parts.append(f"g int GENERATED ALWAYS AS (coalesce({source.name}, 0) * 2 + 1) STORED")
        if chance.random() < 0.18:
            data.append(Col("t", INT, serial=True))
            if chance.random() < 0.5 and not self.numbered:
                self.text.append("CREATE SEQUENCE ticket;")
                self.numbered = True
            parts.append("t int DEFAULT nextval('ticket')" if self.numbered else "t serial")
        primary = [f"PRIMARY KEY ({', '.join(key)})"] if key else []
        if shape == "loose":
            primary[0] += " DEFERRABLE"
        body = ",\n  ".join([*lines, *parts, *primary, *uniques, *checks])
        partitioned = shape == "parts"
        how = " PARTITION BY LIST (a)" if partitioned else ""
        self.text.append(f"CREATE TABLE {name} (\n  {body}){how};")
        if partitioned:
            self.text.append(
                f"CREATE TABLE {name}_low PARTITION OF {name} FOR VALUES IN (0, 1);\n"
                f"CREATE TABLE {name}_high PARTITION OF {name} FOR VALUES IN (2, 3);\n"
                f"CREATE TABLE {name}_rest PARTITION OF {name} DEFAULT;"
            )
        self.text += self.late
        self.late.clear()
        self.tables.append(
            Tab(
                name,
                (*keys, *data),
                key,
                partitioned=partitioned,
                conflict=() if shape == "loose" else key,
                loose_key=shape == "loose",
            )
        )

    def data_lines(self, data: list[Col]) -> tuple[list[Col], list[str]]:
        chance = self.chance
        lines = []
        for col in data:
            line = f"{col.name} {col.type}"
            if col.type == MOMENT and chance.random() < 0.5:
                line += " DEFAULT now()"
            elif chance.random() < 0.3:
                line += f" DEFAULT {chance.choice(LITERALS[col.type])}"
            lines.append(line)
        return data, lines

    def foreign_key(
        self, name: str, parent: str, data: list[Col], lines: list[str]
    ) -> tuple[list[Col], list[str]]:
        chance = self.chance
        actions = ("", " ON DELETE CASCADE", " ON DELETE SET NULL", " ON DELETE SET DEFAULT")
        action = chance.choices(actions, (4, 4, 2, 1))[0]
        update = chance.choice(("", "", " ON UPDATE CASCADE"))
        if action or update:
            self.cascaded.add(name)
        late = "" if action else chance.choice(("", "", " DEFERRABLE INITIALLY DEFERRED"))
        line = f"parent int REFERENCES {parent} (id){action}{update}{late}"
        return [*data, Col("parent", INT, parent=parent)], [*lines, line]

    def uniques(self, shape: str, data: list[Col]) -> tuple[list[str], list[Col]]:
        """Something unique beside the key, some of the time; not on partitioned tables."""
        chance = self.chance
        fitting = [col for col in data if col.type in (INT, TEXT) and not col.parent]
        if shape == "parts" or not fitting or chance.random() < 0.5:
            return [], data
        first = chance.choice(fitting)
        names = {first.name}
        if chance.random() < 0.4 and len(fitting) > 1:
            names = {one.name for one in chance.sample(fitting, 2)}
        flags = [col.name for col in data if col.type == FLAG]
        done = [replace(col, unique=True) if col.name in names else col for col in data]
        told = ", ".join(sorted(names))
        if flags and chance.random() < 0.5:
            self.late.append(
                f"CREATE UNIQUE INDEX {NAMES[len(self.tables)]}_some"
                f" ON {NAMES[len(self.tables)]} ({told}) WHERE {flags[0]};"
            )
            return [], [replace(col, partial=True) if col.name == flags[0] else col for col in done]
        nulls = chance.choice(("", "", " NULLS NOT DISTINCT"))
        return [f"UNIQUE{nulls} ({told})"], done

    def checks(self, data: list[Col]) -> list[str]:
        chance = self.chance
        kinds = []
        for col in data:
            if col.type == INT and not col.parent:
                kinds += [f"CHECK ({col.name} >= 0)", f"CHECK ({col.name} < 8)"]
            if col.type == NUMERIC:
                kinds += [f"CHECK ({col.name} <= 25)", f"CHECK ({col.name} >= 0)"]
            if col.type == FLAG and any(one.name == "a" for one in data):
                kinds.append(f"CHECK ({col.name} OR a < 5)")
        return chance.sample(kinds, 1) if kinds and chance.random() < 0.45 else []

    def add_rows(self, table: Tab) -> None:
        """Refused ones are left out: each is an attempt of its own."""
        chance = self.chance
        lines = []
        for number in range(chance.randint(4, 7)):
            names, values = [], []
            for col in table.written:
                if col.serial:
                    continue
                value = literal(chance, col, nulls=0 if col.name in table.key else 0.15)
                if col.name in table.key and col.type == INT and col.name == "id":
                    value = KEYS[number]
                if col.parent and value != "NULL":
                    value = f"(SELECT id FROM {col.parent} WHERE id = {value})"
                names.append(col.name)
                values.append(value)
            # A deferrable key is no arbiter: one row at a time, and never the same key twice.
            late = "" if table.loose_key else " ON CONFLICT DO NOTHING"
            insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})"
            if table.loose_key and any(col.unique for col in table.cols):
                insert = f"DO $$ BEGIN {insert}; EXCEPTION WHEN OTHERS THEN NULL; END $$"
                late = ""
            lines.append(f"{insert}{late};")
        self.text.append("\n".join(lines))


def _key_columns(shape: str) -> tuple[list[Col], list[str], tuple[str, ...]]:
    match shape:
        case "int" | "loose":
            return [Col("id", INT)], ["id int"], ("id",)
        case "serial":
            return [Col("id", INT, serial=True)], ["id serial"], ("id",)
        case "identity":
            line = "id int GENERATED BY DEFAULT AS IDENTITY"
            return [Col("id", INT, serial=True)], [line], ("id",)
        case "composite":
            columns = [Col("s", TEXT), Col("id", INT)]
            return columns, ["s text", "id int"], ("s", "id")
        case "parts":
            columns = [Col("id", INT), Col("a", INT)]
            return columns, ["id int", "a int"], ("id", "a")
        case _:
            return [], [], ()
