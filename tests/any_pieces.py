"""What statements over a made-up schema are made of: conditions, expressions, constants. Imports
nothing of the product.
"""

from random import Random

from tests.any_schema import FLAG, INT, KEYS, MOMENT, NUMERIC, TEXT, Col, Made, Tab, literal

_COUNTED = Tab("", (Col("k", INT), Col("n", INT)), ("k",), helper=True)


class Pieces:
    def __init__(self, chance: Random, made: Made) -> None:
        self.chance = chance
        self.made = made
        self.mains = [table for table in made.tables if not table.helper]

    def source(self) -> tuple[str, Tab]:
        """Something to read, and the table whose columns it has."""
        chance = self.chance
        if self.made.views and chance.random() < 0.15:
            name, of = chance.choice(self.made.views)
            return name, self.made.table(of)
        if self.made.counts and chance.random() < 0.15:
            return chance.choice(self.made.counts), _COUNTED
        table = chance.choice(self.made.tables)
        return table.name, table

    def number(self, table: Tab) -> str:
        return self.chance.choice([c.name for c in table.cols if c.type in (INT, NUMERIC)] or [""])

    def value(self, col: Col) -> str:
        """A constant."""
        if col.name == "id":
            key = self.chance.choice(KEYS)
            return f"'{key}'" if col.type == TEXT else key
        return literal(self.chance, col)

    def condition(self, table: Tab, q: str, depth: int = 0) -> str:
        """`q` is what the table is called there."""
        chance = self.chance
        kind = chance.choices(
            ("plain", "and", "or", "not", "exists", "in", "scalar", "reader"),
            (50, 10, 5, 3, 9, 9, 10, 4) if depth < 2 else (1, 0, 0, 0, 0, 0, 0, 0),
        )[0]
        if kind in ("and", "or"):
            parts = [self.condition(table, q, depth + 1) for _ in range(2)]
            return f"({parts[0]} {kind.upper()} {parts[1]})"
        if kind == "not":
            return f"NOT ({self.condition(table, q, depth + 1)})"
        number = self.number(table)
        if kind in ("exists", "in", "scalar") and number:
            return self.subquery(kind, table, q, number, depth)
        if kind == "reader" and self.made.readers and number:
            return f"{chance.choice(self.made.readers)}({q}.{number}::int) > {chance.randint(0, 3)}"
        return self.plain(chance.choice(table.cols), q)

    def plain(self, col: Col, q: str) -> str:
        chance = self.chance
        name = f"{q}.{col.name}"
        if chance.random() < 0.1:
            return f"{name} IS {chance.choice(('', 'NOT '))}NULL"
        if col.type == FLAG:
            return chance.choice((name, f"NOT {name}", f"{name} IS NOT TRUE"))
        # Nothing is equal to NULL: not too often.
        nulls = 0.1 if chance.random() < 0.2 else 0.0
        keyed = Col(col.name, col.type)
        plain = [
            self.value(keyed) if col.name == "id" else literal(chance, keyed, nulls=nulls)
            for _ in range(2)
        ]
        if col.type in (INT, NUMERIC, MOMENT):
            low, high = sorted(plain)
            return chance.choice(
                (
                    f"{name} = {low}",
                    f"{name} < {high}",
                    f"{name} <= {high}",
                    f"{name} >= {low}",
                    f"{name} >= {low}",
                    f"{name} <> {low}",
                    f"{name} BETWEEN {low} AND {high}",
                    f"{name} IN ({low}, {high})",
                )
            )
        return chance.choice(
            (
                f"{name} = {plain[0]}",
                f"{name} IS NOT DISTINCT FROM {plain[0]}",
                f"{name} IN ({plain[0]}, {plain[1]})",
                f"{name} LIKE 'a%'",
            )
        )

    def subquery(self, kind: str, table: Tab, q: str, number: str, depth: int) -> str:
        chance = self.chance
        name, other = self.source()
        o = "o" if q != "o" else "p"  # both tables may have a column of a name
        theirs = self.number(other)
        if not theirs:
            return f"(SELECT count(*) FROM {name}) > {chance.randint(0, 6)}"
        more = f" AND {self.condition(other, o, depth + 1)}" if chance.random() < 0.5 else ""
        if kind == "exists":
            no = chance.choice(("", "NOT "))
            return f"{no}EXISTS (SELECT FROM {name} {o} WHERE {o}.{theirs} = {q}.{number}{more})"
        if kind == "in":
            where = f" WHERE {more[5:]}" if more else ""
            no = chance.choice(("", "NOT "))  # another thing where there are NULLs
            return f"{q}.{number} {no}IN (SELECT {o}.{theirs} FROM {name} {o}{where})"
        joined = chance.choice(("", f" WHERE {o}.{theirs} <> {q}.{number}"))
        of = f"{o}.{theirs}"
        what = chance.choice((f"max({of})", f"min({of})", "count(*)", f"avg({of})"))
        sign = chance.choice((">", "<=", "="))
        return f"{q}.{number} {sign} (SELECT {what} FROM {name} {o}{joined})"

    def expression(self, col: Col, table: Tab, q: str) -> str:
        chance = self.chance
        if chance.random() < 0.38 or col.parent:
            return self.value(col)
        number = self.number(table) or "1"
        of = f"{q}.{number}" if number != "1" else "1"
        here = f"{q}.{col.name}"
        match col.type:
            case "int":
                return chance.choice(
                    (
                        f"{here} + {chance.randint(1, 2)}",
                        f"coalesce({here}, 0) - 1",
                        f"least(coalesce({of}, 1)::int * 2, 9)",
                        f"CASE WHEN {self.condition(table, q, 1)} THEN 1 ELSE {here} END",
                        self.counting(table, q),
                        self.counting(table, q),
                    )
                )
            case "numeric(8,2)":
                name, other = self.source()
                theirs = self.number(other) or "ctid IS NULL"
                return chance.choice(
                    (
                        f"{here} * 1.1",
                        f"{here} + {chance.choice(('0.5', '1', '-1'))}",
                        f"round({here} / 3, 2)",
                        f"coalesce({here}, 0) + coalesce({of}, 0)",
                        f"(SELECT coalesce(sum((o.{theirs})::int), 0) FROM {name} o)",
                    )
                )
            case "text":
                return chance.choice(
                    (
                        f"left({here} || 'x', 3)",
                        f"upper({here})",
                        f"{of}::text",
                        "(SELECT left(string_agg(DISTINCT o.s, '' ORDER BY o.s), 3) FROM"
                        f" {self.texts()} o)",
                    )
                )
            case "boolean":
                return chance.choice((f"NOT {here}", f"{of} > 1", self.condition(table, q, 1)))
            case _:
                return chance.choice((f"{here} + interval '1 day'", "now()", f"{here}"))

    def counting(self, table: Tab, q: str) -> str:
        name, other = self.source()
        theirs, number = self.number(other), self.number(table)
        if not theirs or not number:
            return f"(SELECT count(*)::int FROM {name} o)"
        return self.chance.choice(
            (
                f"(SELECT count(*)::int FROM {name} o WHERE o.{theirs} = {q}.{number})",
                f"(SELECT count(*)::int FROM {name} o WHERE {self.condition(other, 'o', 1)})",
                f"(SELECT max(o.{theirs})::int FROM {name} o)",
            )
        )

    def texts(self) -> str:
        fitting = [t.name for t in self.made.tables if any(c.name == "s" for c in t.cols)]
        return self.chance.choice(fitting) if fitting else "(SELECT 'q' AS s)"

    def where(self, table: Tab, q: str) -> str:
        if table.key and self.chance.random() < 0.35:
            return f" WHERE {self.one_row(table, q)}"
        return f" WHERE {self.condition(table, q)}"

    def one_row(self, table: Tab, q: str) -> str:
        return " AND ".join(
            f"{q}.{name} = {self.value(Col(name, table.col(name).type))}" for name in table.key
        )

    def target(self, table: Tab) -> str:
        """The table, a view of it, or a partition."""
        chance = self.chance
        views = [name for name, of in self.made.views if of == table.name]
        if views and chance.random() < 0.25:
            return chance.choice(views)
        if table.partitioned and chance.random() < 0.15:
            return f"{table.name}_{chance.choice(('low', 'high', 'rest'))}"
        return table.name
