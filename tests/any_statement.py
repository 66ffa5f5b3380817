"""Statements over a made-up schema. Imports nothing of the product.

Each comes with others that somebody may have run instead: another constant, another condition,
none. What a statement does never depends on the order in which the server meets the rows (see
`tests.any_schema`): unique values are written to single rows, or are the same for all; what is
joined is joined by something unique; rows are inserted in an order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.any_pieces import Pieces
from tests.any_schema import FLAG, INT, MOMENT, NUMERIC, TEXT, Col, Made, Tab


@dataclass(frozen=True, slots=True)
class Text:
    sql: str
    others: tuple[str, ...] = ()


class Writer(Pieces):
    """Makes up statements. `opaque` is how often one hides what it does; `rare` how often one
    does what histories seldom hold: TRUNCATE, definitions, chance."""

    def __init__(self, chance: Random, made: Made, *, opaque: float, rare: float) -> None:
        super().__init__(chance, made)
        self.opaque = opaque
        self.rare = rare

    def statement(self) -> Text:
        chance = self.chance
        if chance.random() < self.rare:
            return self.seldom()
        if chance.random() < self.opaque:
            return self.hidden()
        table = chance.choice(self.mains if chance.random() < 0.92 else self.made.tables)
        kinds: list[tuple[Callable[[Tab], Text], int]] = [
            (self.insert, 24),
            (self.update, 36),
            (self.delete, 9),
            (self.insert_select, 11),
            (self.update_from, 9),
            (self.writable, 6),
            (self.merge, 4 if table.key == ("id",) and not table.loose_key else 0),
            (self.read, 3),
        ]
        make = chance.choices([one[0] for one in kinds], [one[1] for one in kinds])[0]
        return make(table)

    # --- statements -------------------------------------------------------------------------------

    def assignments(self, table: Tab, q: str, *, single: bool) -> str:
        chance = self.chance
        columns = list(table.data)
        if single or table.loose_key or table.partitioned:
            columns += [col for col in table.written if col.name in table.key and not col.serial]
        if not columns:
            columns = list(table.written)
        chosen = chance.sample(columns, min(len(columns), chance.choice((1, 1, 1, 2))))
        done = []
        for col in chosen:
            keyed = col.name in table.key and not table.loose_key
            alike = col.unique or col.partial or keyed
            value = self.value(col) if alike and not single else self.expression(col, table, q)
            if single and keyed and col.type == INT and chance.random() < 0.3:
                value = f"{q}.{col.name} + 1"
            done.append(f"{col.name} = {value}")
        return ", ".join(done)

    def update(self, table: Tab) -> Text:
        chance = self.chance
        q = self.target(table)
        single = bool(table.key) and chance.random() < 0.4
        sets = [self.assignments(table, q, single=single) for _ in range(3)]
        wheres = [
            f" WHERE {self.one_row(table, q)}" if single else self.where(table, q) for _ in range(3)
        ]
        if not single and chance.random() < 0.06:
            wheres[0] = ""
        others = [
            f"UPDATE {q} SET {sets[1]}{wheres[0]}",
            f"UPDATE {q} SET {sets[0]}{wheres[1]}",
            f"UPDATE {q} SET {sets[2]}{wheres[2]}",
        ]
        plain = self.assignments(table, q, single=False)
        others.append(f"UPDATE {q} SET {sets[0] if not single else plain}")
        return Text(f"UPDATE {q} SET {sets[0]}{wheres[0]}", tuple(others))

    def delete(self, table: Tab) -> Text:
        q = self.target(table)
        wheres = [self.where(table, q) for _ in range(3)]
        texts = [f"DELETE FROM {q}{where}" for where in wheres]
        return Text(texts[0], (*texts[1:], f"DELETE FROM {q}"))

    def row(self, table: Tab, columns: list[Col]) -> str:
        values = [
            str(self.chance.randint(1, 14)) if col.name == "id" else self.value(col)
            for col in columns
        ]
        return f"({', '.join(values)})"

    def insert(self, table: Tab) -> Text:
        chance = self.chance
        q = self.target(table)
        must = [c for c in table.written if c.name in table.key and not c.serial]
        may = [
            c
            for c in table.written
            if c not in must and (chance.random() < 0.1 if c.serial else chance.random() < 0.8)
        ]
        columns = [*must, *may] or list(table.written)[:1]
        names = ", ".join(col.name for col in columns)
        late = self.on_conflict(table, q, columns)
        head = f"INSERT INTO {q} ({names}) VALUES "

        def some() -> str:
            rows = chance.choice((1, 1, 2, 3))
            return ", ".join(self.row(table, columns) for _ in range(rows))

        texts = [f"{head}{some()}{late}" for _ in range(3)]
        first = f"{head}{some()}"
        return Text(f"{first}{late}", (*texts, first))

    def on_conflict(self, table: Tab, q: str, columns: list[Col]) -> str:
        chance = self.chance
        if table.loose_key or chance.random() < 0.5:
            return ""
        data = [c for c in table.data if not (c.unique or c.partial)]
        if not table.conflict or not data or chance.random() < 0.35:
            return " ON CONFLICT DO NOTHING"
        col = chance.choice(data)
        value = self.expression(col, table, q)
        if col in columns and chance.random() < 0.5:
            value = f"excluded.{col.name}"
        where = f" WHERE {self.condition(table, q, 1)}" if chance.random() < 0.3 else ""
        keys = ", ".join(table.conflict)
        return f" ON CONFLICT ({keys}) DO UPDATE SET {col.name} = {value}{where}"

    def insert_select(self, table: Tab) -> Text:
        """Rows made of other rows, in an order of all that they hold."""
        name, other = self.source()
        chance = self.chance
        columns = [c for c in table.written if not c.serial]
        grouped = chance.random() < 0.4
        theirs = self.number(other)
        if not theirs:
            return self.insert(table)
        values = [self.selected(col, other, theirs, grouped=grouped) for col in columns]
        order = ", ".join(str(place + 1) for place in range(len(columns)))
        group = f" GROUP BY o.{theirs}" if grouped else ""
        late = "" if table.loose_key or chance.random() < 0.3 else " ON CONFLICT DO NOTHING"
        head = f"INSERT INTO {table.name} ({', '.join(c.name for c in columns)})"
        # The order is of the outside, so that constants are no places of columns.
        texts = [
            f"{head} SELECT * FROM (SELECT {', '.join(values)} FROM {name} o{where}{group}) q"
            f" ORDER BY {order}{late}"
            for where in [*(f" WHERE {self.condition(other, 'o')}" for _ in range(3)), ""]
        ]
        return Text(texts[0], tuple(texts[1:]))

    def selected(self, col: Col, other: Tab, theirs: str, *, grouped: bool) -> str:
        chance = self.chance
        key = col.name == "id"
        if grouped:
            made = {
                INT: (f"o.{theirs}::int", f"o.{theirs}::int + 4", "count(*)::int", "2"),
                NUMERIC: (f"sum(o.{theirs})", "count(*)", f"avg(o.{theirs})"),
                TEXT: (f"max(o.{theirs})::text", "'a'"),
                FLAG: ("count(*) > 1", "true"),
                MOMENT: ("'2026-01-01 00:00+00'::timestamptz", "now()"),
            }[col.type]
            return f"{made[chance.randint(0, 1)] if key else chance.choice(made)} AS {col.name}"
        same = [c.name for c in other.cols if c.type == col.type and not c.generated]
        if key:
            return f"(o.{theirs}::int + {chance.randint(0, 6)}) AS id"
        if same and chance.random() < 0.75:
            return f"o.{chance.choice(same)} AS {col.name}"
        return f"({self.value(col)})::{col.type} AS {col.name}"

    def update_from(self, table: Tab) -> Text:
        """Joined with a parent, a total, or groups: never two rows for one."""
        chance = self.chance
        mine = chance.choice([c.name for c in table.cols if c.type == INT] or [""])
        free = [c for c in table.data if not (c.unique or c.partial or c.parent)]
        if not mine or not free:
            return self.update(table)
        col = chance.choice(free)
        name, other = self.source()
        theirs = self.number(other)
        if not theirs:
            return self.update(table)
        values = {
            INT: ("count(*)::int", f"max(o.{theirs})::int", f"min(o.{theirs})::int"),
            NUMERIC: (f"sum(o.{theirs})", f"avg(o.{theirs})", "count(*)"),
            TEXT: (f"max(o.{theirs})::text",),
            FLAG: ("count(*) > 1", f"bool_or(o.{theirs} > 2)"),
            MOMENT: ("timestamptz '2026-01-01 00:00+00' + count(*) * interval '1 day'",),
        }[col.type]
        group = chance.choice([c.name for c in other.cols if c.type == INT] or [theirs])
        texts = []
        keyed = [one for one in self.made.tables if one.key in (("id",), ("k",)) and one != table]
        if keyed and chance.random() < 0.5:
            return self.update_by_key(table, col, chance.choice(keyed), mine)
        for where in [*(f" WHERE {self.condition(other, 'o')}" for _ in range(2)), ""]:
            more = f" AND {self.condition(table, table.name, 1)}" if chance.random() < 0.4 else ""
            texts.append(
                f"UPDATE {table.name} SET {col.name} = x.v FROM (SELECT o.{group} AS k,"
                f" {chance.choice(values)} AS v FROM {name} o{where} GROUP BY o.{group}) x"
                f" WHERE x.k = {table.name}.{mine}{more}"
            )
        return Text(texts[0], tuple(texts[1:]))

    def update_by_key(self, table: Tab, col: Col, other: Tab, mine: str) -> Text:
        """Every row from the one that it names."""
        same = [f"o.{c.name}" for c in other.cols if c.type == col.type]
        value = self.chance.choice([*same, self.value(col)])
        parents = [c.name for c in table.cols if c.parent == other.name] or [mine]
        q = table.name
        texts = [
            f"UPDATE {q} SET {col.name} = {value} FROM {other.name} o"
            f" WHERE o.{other.key[0]} = {q}.{parents[0]}{more}"
            for more in [
                f" AND {self.condition(other, 'o', 1)}",
                f" AND {self.condition(other, 'o', 1)}",
                f" AND {self.condition(table, q, 1)}",
                "",
            ]
        ]
        return Text(texts[0], tuple(texts[1:]))

    def writable(self, table: Tab) -> Text:
        """A statement that writes twice."""
        chance = self.chance
        other = chance.choice([one for one in self.mains if one is not table] or [table])
        free = [c for c in other.data if not (c.unique or c.partial or c.parent)]
        if other is table or not free:
            return self.update(table)
        col = chance.choice(free)
        do = chance.choice(("delete", "update"))
        texts = []
        for _ in range(3):
            where = self.where(table, table.name)
            first = (
                f"DELETE FROM {table.name}{where}"
                if do == "delete"
                else f"UPDATE {table.name} SET {self.assignments(table, table.name, single=False)}"
                f"{where}"
            )
            then = f" AND {self.condition(other, other.name, 1)}"
            texts.append(
                f"WITH done AS ({first} RETURNING 1) UPDATE {other.name} SET {col.name} ="
                f" {self.expression(col, other, other.name)}"
                f" WHERE (SELECT count(*) FROM done) > {chance.randint(0, 2)}{then}"
            )
        return Text(texts[0], tuple(texts[1:]))

    def merge(self, table: Tab) -> Text:
        chance = self.chance
        name, other = self.source()
        theirs = self.number(other)
        free = [c for c in table.data if not (c.unique or c.partial or c.parent)]
        if not theirs or not free:
            return self.update(table)
        col = chance.choice(free)
        columns = [Col("id", INT), *(c for c in table.data if c.unique or chance.random() < 0.5)]
        names = ", ".join(c.name for c in columns)
        texts = []
        for _ in range(3):
            values = ", ".join(["x.k", *(self.value(c) for c in columns[1:])])
            # In no order, so that no numbers may be issued by it.
            inserts = chance.random() < 0.6 and not any(c.name == "t" for c in table.cols)
            insert = f" WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
            gone = f" WHEN MATCHED AND x.n > {chance.randint(1, 2)} THEN DELETE"
            texts.append(
                f"MERGE INTO {table.name} t USING (SELECT o.{theirs}::int AS k, count(*) AS n"
                f" FROM {name} o WHERE {self.condition(other, 'o')} AND o.{theirs} IS NOT NULL"
                f" GROUP BY o.{theirs}::int) x ON t.id = x.k"
                f"{gone if chance.random() < 0.4 else ''}"
                f" WHEN MATCHED THEN UPDATE SET {col.name} = {self.expression(col, table, 't')}"
                f"{insert if inserts else ''}"
            )
        return Text(texts[0], tuple(texts[1:]))

    def read(self, table: Tab) -> Text:
        if self.made.numbered and self.chance.random() < 0.5:
            return Text("SELECT nextval('ticket')")
        return Text(f"SELECT count(*) FROM {table.name} WHERE {self.condition(table, table.name)}")

    # --- what cannot be seen through, and what is seldom ------------------------------------------

    def hidden(self) -> Text:
        chance = self.chance
        if self.made.calls and chance.random() < 0.4:
            call = chance.choice(self.made.calls)
            one, two = chance.sample(range(5), 2)
            return Text(call.format(one), (call.format(two),))
        table = chance.choice(self.mains)
        inner = chance.choice((self.update, self.delete, self.insert))(table)
        name, _ = self.source()
        forms = [
            f"IF (SELECT count(*) FROM {name}) > {chance.randint(0, 6)} THEN @; END IF;",
            "@; EXCEPTION WHEN OTHERS THEN NULL;",
            "EXECUTE $q$ @ $q$;",
        ]
        free = [c for c in table.data if not (c.unique or c.partial or c.parent)]
        if table.key == ("id",) and free:
            col = chance.choice(free)
            forms.append(
                f"DECLARE r record; BEGIN FOR r IN SELECT id FROM {table.name} ORDER BY id LOOP"
                f" UPDATE {table.name} SET {col.name} = {self.expression(col, table, table.name)}"
                " WHERE id = r.id; END LOOP; END;"
            )
        form = chance.choice(forms)
        return Text(
            f"DO $$ BEGIN {form.replace('@', inner.sql)} END $$",
            tuple(f"DO $$ BEGIN {form.replace('@', one)} END $$" for one in inner.others),
        )

    def seldom(self) -> Text:
        chance = self.chance
        table = chance.choice(self.mains)
        number = next(c.name for c in table.cols if c.type == INT)
        texts = [c.name for c in table.data if c.type == TEXT and not c.unique]
        kinds = [
            f"TRUNCATE {table.name}{chance.choice((' CASCADE', ''))}",
            f"TRUNCATE {chance.choice(self.made.tables).name}",
            f"CREATE TABLE extra AS SELECT {number} AS k, 1 AS n FROM {table.name}",
            f"CREATE INDEX ON {table.name} ({number})",
            f"ALTER TABLE {table.name} ADD CHECK ({number} < 6) NOT VALID",
            f"ALTER TABLE {table.name} ALTER {number} SET DEFAULT 1",
            f"UPDATE {table.name} SET {number} = {number} WHERE {number} > 1",
        ]
        if self.made.triggers:
            trigger, on = chance.choice(self.made.triggers)
            kinds.append(f"ALTER TABLE {on} DISABLE TRIGGER {trigger}")
        if table.key:
            by = self.one_row(table, table.name)
            column = table.data[0].name if table.data and table.data[0].type == INT else ""
            kinds += ["SELECT set_config('my.own', '3', false)", "SET my.own = '2'"]
            if column:
                kinds += [
                    f"UPDATE {table.name} SET {column} = lastval() % 5 WHERE {by}",
                    f"UPDATE {table.name} SET {column} ="
                    f" length(current_setting('my.own', true)) WHERE {by}",
                ]
        if texts and table.key:
            by = self.one_row(table, table.name)
            kinds += [
                f"UPDATE {table.name} SET {texts[0]} = left(gen_random_uuid()::text, 4) WHERE {by}",
                f"UPDATE {table.name} SET {texts[0]} = (random() * 9)::int::text WHERE {by}",
                f"UPDATE {table.name} SET {texts[0]} = CURRENT_DATE::text WHERE {by}",
            ]
        return Text(chance.choice(kinds))
