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
KEYS = tuple(str(number) for number in range(1, 9))  # what keys of one number are made of
_NAMES = ("alpha", "beta", "gamma", "delta")
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

    def table(self, name: str) -> Tab:
        return next(table for table in self.tables if table.name == name)


def literal(chance: Random, col: Col, *, nulls: float = 0.1) -> str:
    if chance.random() < nulls:
        return "NULL"
    if col.parent:
        return chance.choice(KEYS)
    return chance.choice(LITERALS[col.type])


def make_schema(number: int) -> Made:
    """The same for the same number, on every machine."""
    chance = Random(f"schema/{number}")
    builder = _Builder(chance)
    return builder.build()


class _Builder:
    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.text: list[str] = []
        self.late: list[str] = []  # indexes of the table in hand
        self.after: list[str] = []  # made when the rows are there
        self.tables: list[Tab] = []
        self.cascaded: set[str] = set()  # tables that a foreign key writes
        self.views: list[tuple[str, str]] = []
        self.counts: list[str] = []
        self.calls: list[str] = []
        self.readers: list[str] = []
        self.triggers: list[tuple[str, str]] = []

    def build(self) -> Made:
        chance = self.chance
        for name in _NAMES[: chance.choice((2, 2, 3, 3, 4))]:
            self.add_table(name)
        for table in tuple(self.tables):
            self.add_rows(table)
        mains = tuple(self.tables)
        if chance.random() < 0.75:
            self.add_helpers()
        for table in mains:
            self.add_triggers(table)
        self.add_views(mains)
        self.add_functions(mains)
        return Made(
            "\n".join([*self.text, *self.after]),
            tuple(self.tables),
            tuple(self.views),
            tuple(self.counts),
            tuple(self.calls),
            tuple(self.readers),
            tuple(self.triggers),
        )

    # --- tables -----------------------------------------------------------------------------------

    def add_table(self, name: str) -> None:
        chance = self.chance
        shape = chance.choices(
            ("int", "serial", "identity", "composite", "parts", "none", "loose"),
            (6, 2, 1, 3, 1 if self.tables else 0, 2 if self.tables else 0, 1),
        )[0]
        data = [Col(*one) for one in sorted(chance.sample(_DATA, chance.randint(2, 4)))]
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
        if shape == "parts" or not fitting or chance.random() < 0.6:
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
                f"CREATE UNIQUE INDEX {_NAMES[len(self.tables)]}_some"
                f" ON {_NAMES[len(self.tables)]} ({told}) WHERE {flags[0]};"
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
        for number in range(chance.randint(2, 8)):
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

    # --- what happens by itself -------------------------------------------------------------------

    def add_helpers(self) -> None:
        chance = self.chance
        serial = chance.random() < 0.35
        key = "no serial PRIMARY KEY, " if serial else ""
        self.after.append(f"CREATE TABLE audit ({key}what text, tab text, id text, v text);")
        self.after.append("CREATE TABLE total (k int PRIMARY KEY, n numeric(12,2), c int);")
        number = (Col("no", INT, serial=True),) if serial else ()
        texts = tuple(Col(name, TEXT) for name in ("what", "tab", "id", "v"))
        self.tables.append(Tab("audit", (*number, *texts), ("no",) if serial else (), helper=True))
        sums = (Col("k", INT), Col("n", NUMERIC), Col("c", INT))
        self.tables.append(Tab("total", sums, ("k",), helper=True, conflict=("k",)))

    def add_triggers(self, table: Tab) -> None:
        chance = self.chance
        if chance.random() < 0.35:
            self.before(table)
        if any(one.helper for one in self.tables):
            if chance.random() < 0.4:
                self.audit(table)
            if chance.random() < 0.35:
                self.total(table)

    def function(self, name: str, body: str) -> str:
        return (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN {body} END $$;"
        )

    def before(self, table: Tab) -> None:
        """Changes the new row, reads a third table for it, leaves it out or refuses it."""
        chance = self.chance
        free = [c for c in table.data if not (c.unique or c.partial or c.parent)]
        free = [c for c in free if not (table.partitioned and c.name == "a")]
        third = [
            one
            for one in self.tables
            if one.name != table.name and one.name not in self.cascaded and not one.helper
        ]
        source = next((c.name for c in table.cols if c.type == INT), "")
        bodies = [f"IF NEW.{source} = 4 THEN RAISE EXCEPTION 'no more'; END IF; RETURN NEW;"]
        if table.name not in self.cascaded:
            bodies.append(f"IF NEW.{source} = 3 THEN RETURN NULL; END IF; RETURN NEW;")
        for col in free:
            change = {
                INT: f"least(coalesce(NEW.{source}, 0) + 1, 6)",
                NUMERIC: f"round(coalesce(NEW.{col.name}, 1) / 2, 2)",
                TEXT: f"upper(NEW.{col.name})",
                FLAG: f"NEW.{source} > 2",
                MOMENT: "now()",
            }[col.type]
            bodies += [f"NEW.{col.name} := {change}; RETURN NEW;"] * 2
            if third and col.type in (INT, NUMERIC):
                other = chance.choice(third)
                number = next(c.name for c in other.cols if c.type == INT)
                seen = chance.choice(
                    (
                        f"(SELECT least(count(*), 7) FROM {other.name} x WHERE x.{number} > 1)",
                        f"(SELECT max(x.{number}) FROM {other.name} x"
                        f" WHERE x.{number} <> NEW.{source})",
                    )
                )
                bodies += [f"NEW.{col.name} := {seen}; RETURN NEW;"] * 3
        name = f"{table.name}_before"
        self.after.append(self.function(name, chance.choice(bodies)))
        events = chance.choice(("INSERT OR UPDATE", "INSERT", "UPDATE", f"UPDATE OF {source}"))
        when = chance.choice(("", "", f" WHEN (NEW.{source} IS NOT NULL)"))
        self.after.append(
            f"CREATE TRIGGER {name} BEFORE {events} ON {table.name} FOR EACH ROW{when}"
            f" EXECUTE FUNCTION {name}();"
        )
        self.triggers.append((name, table.name))

    def audit(self, table: Tab) -> None:
        chance = self.chance
        key = table.key[0] if table.key else table.data[0].name
        shown = chance.choice([c.name for c in table.written])
        name = f"{table.name}_audit"
        if self.table("audit").key:  # numbered: only in an order of its own, once per statement
            if table.name in self.cascaded:
                return
            kind = chance.choice(("NEW", "OLD"))
            event = chance.choice(("INSERT", "UPDATE") if kind == "NEW" else ("DELETE", "UPDATE"))
            columns = ", ".join(f"r.{c.name}" for c in table.written)
            self.after.append(
                self.function(
                    name,
                    f"INSERT INTO audit (what, tab, id, v) SELECT TG_OP, TG_TABLE_NAME,"
                    f" r.{key}::text, r.{shown}::text FROM rows r ORDER BY {columns}; RETURN NULL;",
                )
            )
            self.after.append(
                f"CREATE TRIGGER {name} AFTER {event} ON {table.name} REFERENCING {kind} TABLE"
                f" AS rows FOR EACH STATEMENT EXECUTE FUNCTION {name}();"
            )
        else:
            self.after.append(
                self.function(
                    name,
                    f"INSERT INTO audit VALUES (TG_OP, '{table.name}',"
                    f" coalesce(NEW.{key}, OLD.{key})::text,"
                    f" coalesce(NEW.{shown}, OLD.{shown})::text); RETURN NULL;",
                )
            )
            events = chance.choice(("INSERT OR UPDATE OR DELETE", "UPDATE", "DELETE", "INSERT"))
            self.after.append(
                f"CREATE TRIGGER {name} AFTER {events} ON {table.name} FOR EACH ROW"
                f" EXECUTE FUNCTION {name}();"
            )
        self.triggers.append((name, table.name))

    def total(self, table: Tab) -> None:
        group = next(c.name for c in table.cols if c.type == INT)
        amount = next((c.name for c in table.data if c.type == NUMERIC), group)
        name = f"{table.name}_total"
        add = (
            "INSERT INTO total VALUES (coalesce({row}.{group}, -1), {sign}coalesce({row}.{amount},"
            " 0), {sign}1) ON CONFLICT (k) DO UPDATE SET n = total.n + excluded.n,"
            " c = total.c + excluded.c;"
        )
        minus = add.format(row="OLD", sign="-", group=group, amount=amount)
        plus = add.format(row="NEW", sign="", group=group, amount=amount)
        self.after.append(
            self.function(
                name,
                f"IF TG_OP <> 'INSERT' THEN {minus} END IF;\n"
                f"IF TG_OP <> 'DELETE' THEN {plus} END IF; RETURN NULL;",
            )
        )
        self.after.append(
            f"CREATE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {table.name}"
            f" FOR EACH ROW EXECUTE FUNCTION {name}();"
        )
        self.triggers.append((name, table.name))

    def table(self, name: str) -> Tab:
        return next(table for table in self.tables if table.name == name)

    # --- views and functions ----------------------------------------------------------------------

    def add_views(self, mains: tuple[Tab, ...]) -> None:
        chance = self.chance
        if chance.random() < 0.4:
            table = chance.choice(mains)
            number = next(c.name for c in table.cols if c.type == INT)
            check = chance.choice(("", " WITH CHECK OPTION"))
            self.after.append(
                f"CREATE VIEW chosen AS SELECT * FROM {table.name} WHERE {number} > 1{check};"
            )
            self.views.append(("chosen", table.name))
        if chance.random() < 0.4:
            table = chance.choice(mains)
            number = next(c.name for c in table.cols if c.type == INT)
            self.after.append(
                f"CREATE VIEW tally AS SELECT {number} AS k, count(*)::int AS n"
                f" FROM {table.name} GROUP BY {number};"
            )
            self.counts.append("tally")

    def add_functions(self, mains: tuple[Tab, ...]) -> None:
        chance = self.chance
        if chance.random() < 0.4:
            table = chance.choice(mains)
            number = next(c.name for c in table.cols if c.type == INT)
            counting = f"SELECT count(*)::int FROM {table.name} x WHERE x.{number} > p"
            body = _counting(chance).replace("@", counting)
            self.after.append(f"CREATE FUNCTION how_many(p int) RETURNS int LANGUAGE {body}")
            self.readers.append("how_many")
        if chance.random() < 0.4:
            table = chance.choice(mains)
            free = [c for c in table.data if not (c.unique or c.partial or c.parent)]
            number = next(c.name for c in table.cols if c.type == INT)
            if not free:
                return
            col = chance.choice(free)
            value = chance.choice(LITERALS[col.type])
            other = chance.choice(mains)
            self.after.append(
                "CREATE FUNCTION shift(p int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN\n"
                f"IF (SELECT count(*) FROM {other.name}) > p THEN\n"
                f"  UPDATE {table.name} SET {col.name} = {value} WHERE {number} = p; END IF;\n"
                f"RETURN p; END $$;"
            )
            self.calls.append("SELECT shift({})")


def _counting(chance: Random) -> str:
    return chance.choice(
        (
            "sql STABLE AS $$ @ $$;",
            "plpgsql STABLE AS $$ BEGIN RETURN (@); END $$;",
            "sql STABLE RETURN (@);",
        )
    )


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
