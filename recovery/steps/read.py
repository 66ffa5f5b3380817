"""The step log as people write it: `steps/1` in YAML or JSON, read whole, with every fault at once.

Values are text, exactly as written. Nothing is guessed: a field nobody knows, a time without a
zone and a statement that is no SQL are faults with their line.
"""

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import cast

from recovery.model import (
    Complaint,
    Describes,
    EngineError,
    Exit,
    Problem,
    Step,
    StepLog,
    TransactionShape,
)
from recovery.steps.actions import ACTIONS, read_action
from recovery.steps.fields import Faults, Record, describe
from recovery.steps.json_text import parse_json
from recovery.steps.nodes import Fields, Items, Node, Scalar, Unreadable, forbidden, parse_yaml
from recovery.steps.times import BadTime, Span, contradictions, in_order, read_span, read_zone

HEADER = "steps/1"
SIZE_MAX = 256 * 1024 * 1024  # bytes; the file is read whole

DESCRIBES = ("intended", "executed", "unknown")
TRANSACTIONS = ("one", "each", "none")
LOG_FIELDS = ("dbmend", "timezone", "describes", "covers", "steps", "complaints")
STEP_FIELDS = (
    *("id", "at", "actor", "what", *ACTIONS, "transaction", "rows", "suspect"),
    *("describes", "tables"),
)
COMPLAINT_FIELDS = ("table", "key", "column", "should_be", "row", "fine")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file gives: the log when there are no problems; warnings stop nobody."""

    log: StepLog | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def read_steps(path: Path) -> StepLog:
    """The log in the order in which its steps were done.

    Raises EngineError(UNUSABLE) whose message lists every problem, one a line.
    """
    return usable(examine(path), path)


def usable(reading: Reading, path: Path) -> StepLog:
    """The log that was read. Raises EngineError(UNUSABLE) as `read_steps` does."""
    if reading.log is None:
        count = len(reading.problems)
        head = f"the step log cannot be used: {count} {'fault' if count == 1 else 'faults'}"
        lines = [head, *(str(problem) for problem in reading.problems)]
        raise EngineError(
            Exit.UNUSABLE, "\n".join(lines), where=str(path), hint="correct these lines, then again"
        )
    return reading.log


def problems(path: Path) -> tuple[Problem, ...]:
    """Every fault of the file, in the order of its lines; none: it can be used."""
    return examine(path).problems


def examine(path: Path) -> Reading:
    """Read the file once: log, problems and warnings. Never raises for what is in the file."""
    faults = Faults(str(path))
    warnings = Faults(str(path))
    root = _tree(path, faults)
    log = _Reader(path.parent, faults, warnings).log(root) if root is not None else None
    if faults.found:
        log = None
    return Reading(log, faults.sorted(), warnings.sorted())


def _tree(path: Path, faults: Faults) -> Node | None:
    text = _content(path, faults)
    if text is None:
        return None
    try:
        start = text.lstrip()[:1]
        root, found = parse_json(text) if start in ("{", "[") else parse_yaml(text)
    except Unreadable as error:
        faults.add(error.fault.line, error.fault.message, error.fault.hint)
        return None
    for fault in found:
        faults.add(fault.line, fault.message, fault.hint)
    if root is None or (isinstance(root, Scalar) and root.is_null):
        faults.add(0, "the file is empty", "a step log begins with 'dbmend: steps/1'")
        return None
    for fault in forbidden(root):
        faults.add(fault.line, fault.message, fault.hint)
    return root


def _content(path: Path, faults: Faults) -> str | None:
    """The file as text; None with a fault when it has none."""
    try:
        if not path.is_file():
            faults.add(0, "no such file" if not path.exists() else "this is no file")
            return None
        if path.stat().st_size > SIZE_MAX:
            faults.add(0, f"larger than {SIZE_MAX // 1024**2} MiB: this is no step log")
            return None
        content = path.read_bytes()
    except OSError as error:
        faults.add(0, f"cannot be read: {error.strerror}")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(line, f"byte {error.start + 1} is not UTF-8", "save the file as UTF-8")
        return None
    if not text.strip():
        faults.add(0, "the file is empty", "a step log begins with 'dbmend: steps/1'")
        return None
    return text


class _Reader:
    """Turns the tree into a log; faults and warnings are gathered on the way."""

    def __init__(self, folder: Path, faults: Faults, warnings: Faults) -> None:
        self.folder = folder  # names of files in the log start here
        self.faults = faults
        self.warnings = warnings
        self.zone: tzinfo | None = None
        self.describes: Describes = "unknown"

    def log(self, root: Node) -> StepLog | None:
        if not isinstance(root, Fields):
            hint = "a step log begins with 'dbmend: steps/1'"
            self.faults.add(root.line, f"a step log is a mapping, this is {describe(root)}", hint)
            return None
        record = Record(root, "the log", self.faults)
        record.unknown(LOG_FIELDS)
        self._header(record)
        self._zone(record)
        self.describes = cast(Describes, record.choice("describes", DESCRIBES) or "unknown")
        complete, covered = self._covers(record)
        complaints = self._complaints(record)
        if "steps" not in record:
            self.faults.add(record.line, "the log: 'steps' is missing")
        steps = self._steps(record)
        if not steps and not complaints and isinstance(record.get("steps"), Items):
            record.fault("steps", "there are neither steps nor complaints")
        return StepLog(in_order(steps), complaints, complete, covered)

    def _header(self, record: Record) -> None:
        if "dbmend" not in record:
            hint = f"begin with 'dbmend: {HEADER}'"
            self.faults.add(1, f"the header 'dbmend: {HEADER}' is missing", hint)
            return
        header = record.scalar("dbmend", HEADER)
        if header is not None and header.text != HEADER:
            record.fault("dbmend", f"this version reads '{HEADER}', this is {describe(header)}")

    def _zone(self, record: Record) -> None:
        node = record.scalar("timezone", "a zone such as Europe/Moscow")
        if node is None:
            if "timezone" in record:
                self.zone = read_zone("UTC")  # reported already; not once more at every step
            return
        try:
            self.zone = read_zone(node.text)
        except BadTime as error:
            record.fault("timezone", error.message, error.hint)
            self.zone = read_zone("UTC")

    def _covers(self, record: Record) -> tuple[bool, frozenset[str]]:
        node = record.get("covers")
        if isinstance(node, Items):
            return False, frozenset(record.tables("covers"))
        if node is None:
            return False, frozenset()
        if isinstance(node, Scalar) and node.text in ("complete", "partial"):
            return node.text == "complete", frozenset()
        message = "'covers' must be partial, complete or a list of tables"
        record.fault("covers", f"{message}, this is {describe(node)}")
        return False, frozenset()

    # --- steps ----------------------------------------------------------------------------------

    def _steps(self, record: Record) -> tuple[Step, ...]:
        steps: list[Step] = []
        first: dict[str, int] = {}
        for position, node in enumerate(record.items("steps"), start=1):
            if not isinstance(node, Fields):
                message = f"step {position} of the list must be a mapping"
                self.faults.add(node.line, f"{message}, this is {describe(node)}")
                continue
            step = self._step(node, position)
            if step.id and step.id in first:
                message = f"step {step.id}: this id is used already"
                self.faults.add(step.line, message, f"first in line {first[step.id]}")
            first.setdefault(step.id, step.line)
            steps.append(step)
        for late, early in contradictions(tuple(steps)):
            message = f"step {late.id} is listed after step {early.id} but was done before it"
            self.warnings.add(late.line, message, "taken in the order of time")
        return tuple(steps)

    def _step(self, node: Fields, position: int) -> Step:
        identity = next((entry for entry in node.entries if entry.name == "id"), None)
        value = identity.value if identity else None
        label = value.text.strip() if isinstance(value, Scalar) and not value.is_null else ""
        where = f"step {label}" if label else f"step {position} of the list"
        record = Record(node, where, self.faults)
        record.unknown(STEP_FIELDS)
        if identity is None:
            self.faults.add(node.line, f"{where}: 'id' is missing")
        elif isinstance(value, Scalar) and not value.is_null and not label:
            record.fault("id", "'id' is empty")
        span = self._at(record)
        transaction = record.choice("transaction", TRANSACTIONS) or "one"
        return Step(
            id=record.text("id"),
            line=node.line,
            what=record.text("what"),
            action=read_action(record, self.folder),
            at=span.start if span else None,
            until=span.end if span and span.end != span.start else None,
            actor=record.text("actor"),
            transaction=cast(TransactionShape, transaction),
            rows=record.count("rows"),
            suspect=bool(record.flag("suspect")),
            describes=cast(Describes, record.choice("describes", DESCRIBES) or self.describes),
        )

    # --- times ----------------------------------------------------------------------------------

    def _at(self, record: Record) -> Span | None:
        node = record.get("at")
        if not isinstance(node, Fields):
            return self._moment(record, "at")
        interval = Record(node, f"{record.where}, at", self.faults)
        interval.unknown(("from", "to"))
        for name in ("from", "to"):
            if name not in interval:
                self.faults.add(node.line, f"{interval.where}: '{name}' is missing")
        start, end = self._moment(interval, "from"), self._moment(interval, "to")
        if start is None or end is None:
            return None
        if end.end < start.start:
            interval.fault("from", "'from' is later than 'to'", "exchange them")
            return None
        return Span(start.start, end.end)

    def _moment(self, record: Record, name: str) -> Span | None:
        node = record.scalar(name, "a time such as 2026-03-01T14:02:00+03:00")
        if node is None:
            return None
        try:
            span = read_span(node.text, self.zone)
        except BadTime as error:
            record.fault(name, error.message, error.hint)
            return None
        if span.warning:
            self.warnings.add(node.line, f"{record.where}: {span.warning}", "write the zone")
        return span

    # --- complaints -----------------------------------------------------------------------------

    def _complaints(self, record: Record) -> tuple[Complaint, ...]:
        complaints: list[Complaint] = []
        for position, node in enumerate(record.items("complaints"), start=1):
            where = f"complaint {position}"
            if isinstance(node, Fields):
                complaints.append(self._complaint(Record(node, where, self.faults)))
            else:
                message = f"{where}: must be a mapping, this is {describe(node)}"
                self.faults.add(node.line, message)
        return tuple(complaints)

    def _complaint(self, record: Record) -> Complaint:
        record.unknown(COMPLAINT_FIELDS)
        for name in ("table", "key"):
            if name not in record:
                self.faults.add(record.line, f"{record.where}: '{name}' is missing")
        fine = bool(record.flag("fine"))
        missing = record.choice("row", ("missing",)) is not None
        has_value = "should_be" in record
        if has_value and "column" not in record:
            record.fault("should_be", "'should_be' needs 'column'")
        if sum((fine, "row" in record, has_value)) > 1:
            self.faults.add(record.line, f"{record.where}: give one of should_be, row, fine")
        elif not fine and not any(name in record for name in ("row", "column", "should_be")):
            hint = "give column, row: missing or fine: true"
            self.faults.add(record.line, f"{record.where}: says nothing", hint)
        return Complaint(
            table=record.table(),
            key=record.values("key"),
            column=record.text("column"),
            should_be=self._should_be(record),
            has_value=has_value,
            fine=fine,
            row_missing=missing,
        )

    def _should_be(self, record: Record) -> str | None:
        node = record.get("should_be")
        if node is None:
            return None
        if not isinstance(node, Scalar):
            hint = "write it as text, in quotes"
            record.fault("should_be", f"'should_be' is {describe(node)}", hint)
            return None
        return None if node.is_null else node.text
