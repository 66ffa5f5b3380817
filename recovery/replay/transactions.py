"""A step as the transactions it runs in: its shape in the log, and the BEGIN, COMMIT and ROLLBACK
that its own text may hold.
"""

import re
from dataclasses import dataclass
from typing import Literal

import postgast

from recovery.model import Act

_BEGIN = re.compile(r"\s*(?:begin|start)\b\s*(?:work\b|transaction\b)?\s*(.*?)[\s;]*", re.I | re.S)
_OTHER = re.compile(r"\s*(?:insert|update|delete|select|with|merge)\b", re.I)


@dataclass(frozen=True, slots=True)
class Batch:
    """Statements that stand or fall together. Not `wrapped`: one that only runs outside of any
    transaction of ours. Not `kept`: the step itself took them back."""

    statements: tuple[str, ...]
    wrapped: bool = True
    kept: bool = True


def batches(act: Act) -> tuple[Batch, ...]:
    """As a client runs them: with shape 'one' a transaction is open from the start and after
    every COMMIT; with the other shapes only where the text opens one. What the text leaves open
    at its end is committed."""
    implicit = act.transaction == "one"
    inside = implicit
    found: list[Batch] = []
    gathered: list[str] = []
    for statement in act.statements:
        match control(statement):
            case "begin":
                inside = True
                options = _BEGIN.fullmatch(statement)
                if options and options[1] and not gathered:
                    gathered.append(f"SET TRANSACTION {options[1]}")
            case "commit" | "rollback" as end:
                if gathered:
                    found.append(Batch(tuple(gathered), kept=end == "commit"))
                gathered = []
                inside = implicit
            case None if inside:
                gathered.append(statement)
            case None:
                # Alone, it is wrapped unless the server will not have it so: that can be counted.
                found.append(Batch((statement,)))
    return (*found, Batch(tuple(gathered))) if gathered else tuple(found)


def control(statement: str) -> Literal["begin", "commit", "rollback"] | None:
    """What a statement does to the transaction it is in; savepoints are none of it."""
    if _OTHER.match(statement):
        return None
    words = first_words(statement)
    match words[:1]:
        case ["begin"] | ["start"]:
            return "begin"
        case ["commit"] | ["end"]:
            return None if "prepared" in words else "commit"
        case ["rollback"] | ["abort"]:
            return None if "prepared" in words or "to" in words else "rollback"
        case _:
            return None


def opens(statement: str) -> bool:
    """Whether it says how the transaction runs: then nothing may come before it."""
    return first_words(statement, most=2) == ["set", "transaction"]


def keeps_rows(statement: str) -> bool:
    """Whether it changes no row, whatever it does to files and indexes."""
    words = first_words(statement)
    return words[:1] in (["vacuum"], ["cluster"], ["reindex"]) or (
        words[:1] in (["create"], ["drop"]) and {"index", "concurrently"} <= set(words)
    )


def savepoint(statement: str) -> tuple[Literal["set", "back"], str] | None:
    """The savepoint that a statement sets or goes back to."""
    match first_words(statement):
        case ["savepoint", name]:
            return "set", name
        case ["rollback", *_, "to", "savepoint", name] | ["rollback", *_, "to", name]:
            return "back", name
        case _:
            return None


def creates(statement: str) -> bool:
    """Whether it may make something under a name without a schema."""
    words = first_words(statement, most=1)
    if words == ["create"]:
        return True
    text = statement.lower()
    return (words == ["do"] and "create" in text) or (
        words in (["select"], ["with"]) and re.search(r"\binto\b", text) is not None
    )


def first_words(statement: str, *, most: int = 6) -> list[str]:
    """The first tokens, lower-case; comments are none. Nothing for text that does not scan."""
    raw = statement.encode()
    try:
        tokens = postgast.scan(statement).tokens
    except postgast.PgQueryError:
        return []
    words: list[str] = []
    for token in tokens:
        word = raw[token.start : token.end].decode()
        if len(words) == most:
            break
        if word != ";" and not word.startswith(("--", "/*")):
            words.append(word.lower())
    return words
