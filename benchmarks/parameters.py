"""Whether a tool that names the right step and class also says rightly what was done there.

What it says was executed (`statement`) is run where the fault struck, in the world as it happened,
and what the fault really ran is run there too: right is what leaves the same rows in every table,
however it is written. What no statement says (how often, in which order, which way storage failed)
is read from `parameters`.
"""

from collections.abc import Mapping, Sequence

import psycopg

from benchmarks.generator import Case, load_dump
from benchmarks.history import Fault, Happening, happened
from benchmarks.lives import Act, Moment
from benchmarks.metrics import is_named
from recovery.demo.bundle import Server

RIGHT, WRONG, SILENT, NOTHING = "right", "wrong", "not said", "nothing to say"
_DATABASE = "where_it_struck"
_STORAGE = {"bit-flip": "bits", "stale-block": "stale", "zeroed-block": "gone", "lost-tail": "gone"}


def parameters(server: Server, case: Case, listed: Sequence[Mapping[str, object]]) -> list[str]:
    """For each fault of the truth one of the four words; '' where the tool did not name it with its
    step and its class. The first fault that does is the one that is judged."""
    found = []
    for fault in case.faults:
        said = next((one for one in listed if is_named(one, fault, "intended")), None)
        found.append("" if said is None else _judged(server, case, fault, said))
    return found


def _judged(server: Server, case: Case, fault: Fault, said: Mapping[str, object]) -> str:
    told = said.get("parameters")
    words = {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}
    wanted = dict(fault.strike.parameters)
    match fault.fault_class:
        case "as-described" | "skipped" | "outside":
            return NOTHING
        case "repeated":
            return _same(words.get("times"), wanted["times"])
        case "wrong-order":
            if not {"first", "second"} <= words.keys():
                return SILENT
            return RIGHT if {words["first"], words["second"]} == {*fault.steps} else WRONG
        case "storage":
            return _same(words.get("model"), _STORAGE[fault.strike.kind])
        case "sequence-behind":
            return _same(words.get("sequence", "").split(".")[-1] or None, wanted["sequence"])
    statement = str(said.get("statement") or "")
    done = next(
        one
        for one in case.history.happenings
        if one.fault == fault.id and one.executed and one.executed != one.intended
    )
    return _by_effect(server, case, done, statement) if statement else SILENT


def _same(said: str | None, wanted: str) -> str:
    return SILENT if said is None else RIGHT if said == wanted else WRONG


def _by_effect(server: Server, case: Case, done: Happening, statement: str) -> str:
    """Run both where the first was run."""
    text = case.worlds.actual.texts.get(done.id, done.executed)
    if _plain(statement) == _plain(text):
        return RIGHT
    acts = happened(case.history.happenings)
    before = acts[: next(at for at, act in enumerate(acts) if act.id == done.id)]
    server.drop(_DATABASE)
    server.create(_DATABASE)
    try:
        load_dump(server, case.folder / "backup.sql", _DATABASE)
        with server.connect(_DATABASE) as connection:
            moment = Moment(connection, before)
            true = moment.effect(Act(done.id, done.at, text, done.slot))
            try:
                told = moment.effect(Act(done.id, done.at, statement, done.slot))
            except psycopg.Error:
                return WRONG
            return RIGHT if told == true else WRONG
    finally:
        server.drop(_DATABASE)


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip("; ").lower()
