"""Faults of a statement that changes values: its WHERE, its constant, its column, its place, and
how often or how far it ran."""

from benchmarks.faults.model import Draw, NotHere, Part, Strike, Touch, literal, value_touch
from benchmarks.suites.model import Target

_FACTORS = (("1.10", "11.0"), ("0.9", "0.09"), ("1.25", "12.5"))
_ADDED = (("0.50", "5.00"), ("1.20", "12.0"))
_WHAT = "The step in question"
_KINDS = ("multiply", "add", "constant", "delete")


def as_described(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS)
    right, _ = _assignments(draw, kind, target)
    part = Part("", right + where, _WHAT, suspect=True)
    return _strike(draw, "as-described", kind, (part,), target, where, {"where": where.strip()})


def missing_where(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS)
    right, _ = _assignments(draw, kind, target)
    part = Part(right + where, right, _WHAT)
    return _strike(draw, "missing-where", kind, (part,), target, "", {"where": where.strip()})


def wrong_value(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS[:3])
    right, wrong = _assignments(draw, kind, target)
    part = Part(right + where, wrong + where, _WHAT)
    return _strike(
        draw, "wrong-value", kind, (part,), target, where, {"meant": right, "executed": wrong}
    )


def wrong_predicate(draw: Draw) -> Strike:
    kind, target, _ = _place(draw, _KINDS[:3])
    right, _ = _assignments(draw, kind, target)
    meant, ran = _near_predicates(draw)
    part = Part(f"{right} WHERE {meant}", f"{right} WHERE {ran}", _WHAT)
    both = f" WHERE ({meant}) OR ({ran})"
    return _strike(
        draw, "wrong-predicate", kind, (part,), target, both, {"meant": meant, "executed": ran}
    )


def too_narrow(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS[:3])
    right, _ = _assignments(draw, kind, target)
    keys = _numbers(draw, f"{target.keys}{where}")
    half = f"{draw.suite.places.key} > {keys[len(keys) // 2]}"
    part = Part(right + where, f"{right}{where} AND {half}", _WHAT)
    return _strike(draw, "too-narrow", kind, (part,), target, where, {"added": half})


def repeated(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS[:2])
    right, _ = _assignments(draw, kind, target)
    times = 2 + draw.random.randrange(2)
    again = [
        Part("", right + where, f"{_WHAT}, again", logged=False, offset=0.1 * one)
        for one in range(1, times)
    ]
    parts = (Part(right + where, right + where, _WHAT), *again)
    return _strike(draw, "repeated", kind, parts, target, where, {"times": str(times)})


def skipped(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS[:3])
    right, _ = _assignments(draw, kind, target)
    return _strike(draw, "skipped", kind, (Part(right + where, "", _WHAT),), target, where, {})


def wrong_order(draw: Draw) -> Strike:
    """A factor and an addition on the same rows: which came first can be told from the sum."""
    target = draw.suite.values
    where = f" WHERE {draw.random.choice(target.wheres)}"
    factor, _ = draw.random.choice(_FACTORS)
    first = f"{_head(target)}{target.column} * {factor}{where}"
    second = f"{_head(target)}{target.column} + 7.50{where}"
    parts = (
        Part(first, first, _WHAT, ran_offset=1.3),
        Part(second, second, "The step after it", offset=1.2),
    )
    return _strike(draw, "wrong-order", "multiply", parts, target, where, {"swapped": "2"})


def wrong_target(draw: Draw) -> Strike:
    kind, target, where = _place(draw, ("column", "rows", "rows"))
    places = draw.suite.places
    if kind == "column":
        right = f"{_head(target)}{target.column} + 3{where}"
        wrong = f"UPDATE {target.table} SET {places.sibling} = {places.sibling} + 3{where}"
        told = {"column": target.column, "executed": places.sibling}
        return _strike(
            draw, "wrong-target", kind, (Part(right, wrong, _WHAT),), target, where, told
        )
    keys = draw.keys(draw.struck, 10)
    meant, ran = keys[::2], keys[1::2]
    start = f"{_head(target)}{target.column} + 2.5 WHERE {places.key} IN "
    lists = [f"({', '.join(one)})" for one in (meant, ran)]
    part = Part(start + lists[0], start + lists[1], _WHAT)
    both = f" WHERE {places.key} IN ({', '.join(keys)})"
    told = {"meant": lists[0], "executed": lists[1]}
    return _strike(draw, "wrong-target", kind, (part,), target, both, told)


def partial(draw: Draw) -> Strike:
    kind, target, where = _place(draw, ("statements", "rows"))
    factor, _ = draw.random.choice(_FACTORS)
    whole = f"{_head(target)}{target.column} * {factor}{where}"
    if kind == "statements":
        sibling = draw.suite.places.sibling
        rest = f"UPDATE {target.table} SET {sibling} = {sibling} + 1{where}"
        part = Part(f"{rest};\n{whole}", rest, _WHAT)
        return _strike(draw, "partial", kind, (part,), target, where, {"done": "1 of 2"})
    keys = _numbers(draw, f"{target.keys}{where}")
    cut = keys[round(len(keys) * draw.random.choice((0.3, 0.5, 0.7)))]
    part = Part(whole, f"{whole} AND {draw.suite.places.key} <= {cut}", _WHAT)
    return _strike(draw, "partial", kind, (part,), target, where, {"up to": cut})


def lost_update(draw: Draw) -> Strike:
    """An application wrote back a sum that it had computed before another step changed the rows.
    The step that is overwritten changed more rows than these."""
    target, key = draw.suite.values, draw.suite.places.key
    keys = draw.keys(draw.struck, 12)
    few, many = ", ".join(keys[:7]), ", ".join(keys)
    known = draw.random.choice(target.constants)
    set_to = f"{_head(target)}{known} WHERE {key} IN ({few})"
    between = f"{_head(target)}{target.column} + 1.25 WHERE {key} IN ({many})"
    meant = f"{_head(target)}{target.column} + 2 WHERE {key} IN ({few})"
    ran = f"{_head(target)}{float(known) + 2:.2f} WHERE {key} IN ({few})"
    parts = (
        Part(set_to, set_to, "Values of the day", guilty=False),
        Part(between, between, "A surcharge", guilty=False, offset=1.1),
        Part(meant, ran, _WHAT, offset=2.2),
    )
    told = {"overwritten": "the step before it"}
    touch = value_touch(target, key, f" WHERE {key} NOT IN ({many})")
    return Strike("lost-update", "add", frozenset({target.name}), touch, parts, _pairs(told))


def unlogged(draw: Draw) -> Strike:
    kind, target, where = _place(draw, _KINDS[:3])
    right, _ = _assignments(draw, kind, target)
    part = Part("", right + where, "Nobody wrote it down", logged=False)
    return _strike(draw, "unlogged", kind, (part,), target, where, {"statement": right + where})


def outside(draw: Draw) -> Strike:
    """Values shuffled among rows, or noise: no statement of the contract's classes does that."""
    target, key = draw.suite.values, draw.suite.places.key
    table, column = target.table, target.column
    if draw.seed % 2:
        kind = "shuffled"
        ran = (
            f"UPDATE {table} t SET {column} = other.{column} FROM\n"
            f"(SELECT {key}, row_number() OVER (ORDER BY md5({key}::text)) AS n FROM {table}) one\n"
            f"JOIN (SELECT {column}, row_number() OVER (ORDER BY md5({key}::text || 'x')) AS n\n"
            f"FROM {table}) other ON other.n = one.n + 1 WHERE t.{key} = one.{key}"
        )
    else:
        kind = "noise"
        noise = f"('x' || left(md5({key}::text), 3))::bit(12)::integer % 70"
        ran = f"UPDATE {table} SET {column} = {column} + ({noise}) / 10.0"
    part = Part("", ran, "Nobody wrote it down", logged=False)
    touch = value_touch(target, key, "")
    return Strike(
        "outside", kind, frozenset({target.name}), touch, (part,), outside=True,
        audited=target.audited,
    )  # fmt: skip


def _place(draw: Draw, kinds: tuple[str, ...]) -> tuple[str, Target, str]:
    """What is struck by this seed: the kind of change, the target, a WHERE of the log."""
    kind = kinds[draw.seed % len(kinds)]
    target = draw.suite.rows if kind == "delete" else draw.suite.values
    return kind, target, f" WHERE {draw.random.choice(target.wheres)}"


def _assignments(draw: Draw, kind: str, target: Target) -> tuple[str, str]:
    """The statement without its WHERE, with the right value and with a wrong one."""
    start = _head(target) if kind != "delete" else ""
    match kind:
        case "multiply":
            right, wrong = draw.random.choice(_FACTORS)
            return f"{start}{target.column} * {right}", f"{start}{target.column} * {wrong}"
        case "add":
            right, wrong = draw.random.choice(_ADDED)
            return f"{start}{target.column} + {right}", f"{start}{target.column} + {wrong}"
        case "constant":
            right = draw.random.choice(target.constants)
            return start + right, start + f"{float(right) * 10:.2f}"
        case _:
            return f"DELETE FROM {target.table}", ""


def _near_predicates(draw: Draw) -> tuple[str, str]:
    """A predicate and one near it, with constants that occur in the data."""
    column = draw.random.choice(draw.suite.places.predicates)
    table = draw.suite.values.table
    values = draw.texts(
        f"SELECT {column}::text FROM {table} WHERE {column} IS NOT NULL"
        f" GROUP BY {column} ORDER BY min({column})"
    )
    if len(values) < 3:
        raise NotHere(f"{table}.{column} has fewer than three values")
    at = draw.random.randrange(len(values) // 4, max(len(values) // 4 + 1, len(values) * 3 // 4))
    step = max(1, len(values) // 12) * draw.random.choice((1, -1))
    near = min(max(at + step, 0), len(values) - 1)
    near = near if near != at else (at + 1 if at + 1 < len(values) else at - 1)
    right, wrong = literal(values[at]), literal(values[near])
    if len(values) <= 12:
        return f"{column} = {right}", f"{column} = {wrong}"
    if draw.seed % 2:
        return f"{column} < {right}", f"{column} < {wrong}"
    low = literal(values[max(0, min(at, near) - len(values) // 5)])
    return f"{column} BETWEEN {low} AND {right}", f"{column} BETWEEN {low} AND {wrong}"


def _numbers(draw: Draw, query: str) -> tuple[str, ...]:
    found = sorted(draw.texts(query), key=int)
    if len(found) < 4:
        raise NotHere(f"too few rows: {query}")
    return tuple(found)


def _head(target: Target) -> str:
    return f"UPDATE {target.table} SET {target.column} = "


def _strike(
    draw: Draw, name: str, kind: str, parts: tuple[Part, ...], target: Target, where: str,
    parameters: dict[str, str],
) -> Strike:  # fmt: skip
    touch: Touch = value_touch(target, draw.suite.places.key, where)
    return Strike(
        name, kind, frozenset({target.name}), touch, parts, _pairs(parameters),
        audited=target.audited,
    )  # fmt: skip


def _pairs(parameters: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(parameters.items())
