"""What made-up schemas have beside tables: triggers, views, functions. Imports nothing of the
product.
"""

from random import Random

from tests.any_schema import (
    FLAG,
    INT,
    LITERALS,
    MOMENT,
    NAMES,
    NUMERIC,
    TEXT,
    Col,
    Made,
    Tab,
    Tables,
)


def make_schema(number: int) -> Made:
    """The same for the same number, on every machine."""
    chance = Random(f"schema/{number}")
    return _Objects(chance).build()


class _Objects(Tables):
    def build(self) -> Made:
        chance = self.chance
        for name in NAMES[: chance.choice((2, 2, 2, 3, 3, 4))]:
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
            self.numbered,
        )

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
        if chance.random() < 0.45:
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
