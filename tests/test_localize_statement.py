"""What is read out of statements and how they are run differently, as pairs of texts.

`test_localize_texts/<function>.txt`: a statement, then one line `-> answer` per answer; `-> none`
when there is none. Blocks are parted by empty lines.
"""

from pathlib import Path

import pytest

from diffing.model import Key, Schema, Table
from recovery.localize import statement

TEXTS = Path(__file__).parent / "test_localize_texts"


def table(schema, name):
    return Table(schema, name, (), Key((), "none"))


# `orders` is in two schemas: the one that is not named is public's.
TABLES = (("archive", "orders"), ("public", "orders"), ("public", "Line"), ("crm", "person"))
SCHEMA = Schema(tuple(table(*names) for names in TABLES))


def targets(text):
    for one in statement.targets(text, SCHEMA):
        yield f"{one.op} {one.table} {', '.join(sorted(one.columns))}".rstrip()


def without_where(text):
    shorter = statement.without_where(text)
    if shorter is not None:
        yield shorter


def without_each_condition(text):
    for condition, shorter in statement.without_each_condition(text):
        yield f"[{condition}] {shorter}"


def constants(text):
    for one in statement.constants(text):
        yield f"{one.text} {'number' if one.number else 'text'}"


def with_constant(text):
    """Every constant in its turn becomes 7.5, or a text that has to be quoted."""
    for one in statement.constants(text):
        yield statement.with_constant(text, one, "7.5" if one.number else "it's")


def returning(text):
    yield statement.returning(text, ("id", 'odd "name"'))


def injective_columns(text):
    yield from sorted(statement.injective_columns(text))


FUNCTIONS = {
    function.__name__: function
    for function in (
        targets,
        without_where,
        without_each_condition,
        constants,
        with_constant,
        returning,
        injective_columns,
    )
}


def pairs(names):
    return [
        pytest.param(name, *block.split("\n-> ", 1), id=f"{name}: {block.splitlines()[0]}")
        for name in names
        for block in (TEXTS / f"{name}.txt").read_text("utf-8").strip().split("\n\n")
    ]


@pytest.mark.parametrize(("function", "text", "answers"), pairs(FUNCTIONS))
def test_texts(function, text, answers):
    found = list(FUNCTIONS[function](text))
    assert (found or ["none"]) == answers.split("\n-> ")


def test_every_file_has_its_function():
    assert {file.stem for file in TEXTS.glob("*.txt")} == set(FUNCTIONS)
