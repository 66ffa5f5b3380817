"""The folder of a case: its layout, its lock, its documents. Everything in it is written whole or
not at all, for the owner alone (0700, 0600), so that a killed run leaves nothing half and running
again resumes.

Refusals: a case in use, closed, or made from other evidence exits with 4 (the call is a good one,
its time or its target is not; nothing was changed); a folder that is no case exits with 2.
"""

import errno
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from recovery.case import files, journal, manifest, stages, wiping
from recovery.case.evidence import Exhibit, take, verify
from recovery.case.lock import LOCK, take_lock
from recovery.case.reading import Reader, damaged
from recovery.case.result import Json
from recovery.case.toml import write_toml
from recovery.model import Clock, EngineError, Evidence, Exit

SETTINGS = "case.toml"
FACTS = "case.duckdb"
JOURNAL = "journal.jsonl"
MANIFEST = "evidence/manifest.json"
STAMPS = "stages.json"
WORK = "work"
EARLIER = "earlier.json"  # where other backups differ, in numbers
HALF_MADE = frozenset({LOCK, "evidence", JOURNAL, STAMPS, WORK})
HEAD = "A case of dbmend. The rows in this folder are the customer's: keep it private."


class CaseFolder:
    """A case on disk. Use `prepare`, `open` or `look`; as a context manager it keeps the lock."""

    def __init__(self, path: Path, clock: Clock, lock: int | None) -> None:
        self.path = path
        self.clock = clock
        self._lock = lock

    # --- opening --------------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls,
        path: Path,
        evidence: Sequence[Evidence],
        clock: Clock,
        *,
        version: str,
        options: Mapping[str, str] | None = None,
    ) -> "CaseFolder":
        """The case at `path`, made if there is none; locked. Inputs are hashed before anything is
        written. An existing case must be made from the same inputs (by content).

        Raises EngineError: UNUSABLE for unreadable inputs and for a folder that holds other
        things, REFUSED when the case is in use, closed or made from other evidence.
        """
        exhibits = tuple(take(item, clock()) for item in evidence)
        if (path / SETTINGS).exists():
            case = cls.open(path, clock)
            with case._or_release():
                case._same_evidence(exhibits)
            return case
        _make(path)
        case = cls(path, clock, take_lock(path))
        with case._or_release():
            if not (path / SETTINGS).exists():  # nobody was faster
                case._create(exhibits, version, options or {})
            case._same_evidence(exhibits)
            case._clean()
        return case

    @classmethod
    def open(cls, path: Path, clock: Clock, *, closed: bool = False) -> "CaseFolder":
        """An existing case, locked for writing. With `closed`, a wiped one too."""
        _require_case(path)
        case = cls(path, clock, take_lock(path))
        with case._or_release():
            if case.closed and not closed:
                raise EngineError(
                    Exit.REFUSED,
                    "the case was closed: its rows are wiped",
                    where=str(path),
                    hint="open a new case from the same evidence",
                )
            case._clean()
        return case

    @classmethod
    def look(cls, path: Path, clock: Clock) -> "CaseFolder":
        """An existing case to read from, also while another process works on it."""
        _require_case(path)
        return cls(path, clock, None)

    def __enter__(self) -> "CaseFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock back; the modes of all files are set first."""
        if self._lock is not None:
            files.seal(self.path)
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _or_release(self) -> Iterator[None]:
        """When opening fails half-way the lock must not stay."""
        opened = False
        try:
            yield
            opened = True
        finally:
            if not opened and self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _create(
        self, exhibits: tuple[Exhibit, ...], version: str, options: Mapping[str, str]
    ) -> None:
        at = self.clock()
        self._write_manifest(exhibits)
        # A run that died before the case existed may have left lines of its own.
        (self.path / JOURNAL).unlink(missing_ok=True)
        (self.path / STAMPS).unlink(missing_ok=True)
        self.record("dbmend", "opened the case", {"inputs": manifest.hashes(exhibits)})
        head = {"id": uuid4().hex[:12], "made": at.isoformat(), "version": version}
        sources = {manifest.name(n, exhibits): str(e.evidence.path) for n, e in enumerate(exhibits)}
        tables = {"case": head, "sources": sources, "options": options}
        # The last file of all: where it is, the case is whole.
        self.write(SETTINGS, write_toml(HEAD, tables).encode())

    def _same_evidence(self, exhibits: tuple[Exhibit, ...]) -> None:
        known = self.evidence()
        differs = manifest.differences(known, exhibits)
        if differs:
            raise EngineError(
                Exit.REFUSED,
                "the case was made from other evidence: " + "; ".join(differs),
                where=str(self.path),
                hint="give another --case folder, or the files the case was made from",
            )
        if [item.evidence.path for item in known] != [item.evidence.path for item in exhibits]:
            self._write_manifest(exhibits)
            self.record("dbmend", "inputs were moved", {"inputs": manifest.hashes(exhibits)})

    def _clean(self) -> None:
        """Remove what a killed run left: temporary names and its work folder."""
        for pattern in (f".*{files.TEMPORARY}", f"*/.*{files.TEMPORARY}"):
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)
        wiping.remove(self.path / WORK)

    # --- settings and documents -----------------------------------------------------------------

    @property
    def settings(self) -> Mapping[str, Mapping[str, str]]:
        """case.toml: tables `case` (id, made, version), `sources`, `options`."""
        try:
            return tomllib.loads(self.read(SETTINGS).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise damaged(str(self.path / SETTINGS), "it cannot be read") from error

    @property
    def id(self) -> str:
        """Stable name of the case: of its scratch databases, its scripts, its reports."""
        return Reader(self.settings, str(self.path / SETTINGS)).one("case").text("id")

    @property
    def facts(self) -> Path:
        return self.path / FACTS

    @property
    def work(self) -> Path:
        """A folder for what a stage needs only while it runs; emptied when the case is opened."""
        folder = self.path / WORK
        folder.mkdir(mode=files.FOLDER_MODE, exist_ok=True)
        return folder

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """`with case.writing("diff.parquet") as path:` a temporary name, renamed at the end."""
        target = self.path / name
        target.parent.mkdir(mode=files.FOLDER_MODE, exist_ok=True)
        return files.writing(target)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file of the case, whole or not at all."""
        with self.writing(name) as temporary:
            files.create(temporary, content)

    def read(self, name: str) -> bytes:
        """A file of the case. Raises EngineError(UNUSABLE) when it is not there yet."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise EngineError(
                Exit.UNUSABLE,
                f"{name} cannot be read: {error.strerror}",
                where=str(self.path),
                hint="run the stage that makes it first: see dbmend status",
            ) from error

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def write_document(self, name: str, kind: str, document: Mapping[str, Json]) -> None:
        """Write a JSON document with its kind and version at the head."""
        whole = {"dbmend": f"{kind}/1", **document}
        text = json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False)
        self.write(name, (text + "\n").encode())

    def read_document(self, name: str, kind: str) -> Reader:
        """A JSON document of the given kind. Raises EngineError(UNUSABLE)."""
        place = str(self.path / name)
        try:
            document = json.loads(self.read(name))
        except ValueError as error:
            raise damaged(place, "it is no JSON") from error
        reader = Reader(document, place)
        if reader.text("dbmend") != f"{kind}/1":
            raise damaged(place, f"'{kind}/1' is expected, this is '{reader.text('dbmend')}'")
        return reader

    # --- evidence -------------------------------------------------------------------------------

    def evidence(self) -> tuple[Exhibit, ...]:
        return manifest.read(self.read_document(MANIFEST, "manifest"))

    def verify_evidence(self, *, whole: bool = False) -> None:
        """Every input is what it was: by its file's times, or with `whole` by every byte.

        Raises EngineError(REFUSED) naming the one that changed.
        """
        at = self.clock()
        self._write_manifest(tuple(verify(item, at, whole=whole) for item in self.evidence()))

    def describe_evidence(self, name: str, *, kind: str, detail: str, taken_at: str) -> None:
        """Keep what the reader of a source found out about it. Names as in `named_evidence`."""
        self._write_manifest(
            tuple(
                manifest.described(item, kind, detail, taken_at) if known == name else item
                for known, item in manifest.named(self.evidence())
            )
        )

    def named_evidence(self) -> Mapping[str, Evidence]:
        """`backup`, `current`, `steps`, `backup-2`, `import-1`, `restore-1` and so on."""
        return {name: item.evidence for name, item in manifest.named(self.evidence())}

    def _write_manifest(self, exhibits: tuple[Exhibit, ...]) -> None:
        self.write_document(MANIFEST, "manifest", manifest.to_json(exhibits))

    # --- journal --------------------------------------------------------------------------------

    def record(self, who: str, what: str, detail: Mapping[str, Json] | None = None) -> str:
        """Add a line to the journal; never with values of rows. Returns its hash."""
        at = self.clock()
        return journal.append(self.path / JOURNAL, at=at, who=who, what=what, detail=detail)

    def journal(self) -> journal.Verified:
        return journal.verify(self.path / JOURNAL)

    # --- stages ---------------------------------------------------------------------------------

    def finished(self) -> tuple[stages.Finished, ...]:
        if not self.has(STAMPS):
            return ()
        document = self.read_document(STAMPS, "stages")
        return tuple(
            stages.Finished(
                one.text("stage"),
                one.text("at"),
                one.texts_by_name("inputs"),
                one.texts_by_name("outputs"),
            )
            for one in document.many("stages")
        )

    def is_done(self, stage: str, options: Mapping[str, str] | None = None) -> bool:
        """Has this stage finished on the very same inputs, and are its documents untouched?"""
        known = stages.find(self.finished(), stage)
        if known is None or dict(known.inputs) != self._inputs(stage, options or {}):
            return False
        return all(self._digest(name) == digest for name, digest in known.outputs)

    def require(self, stage: str) -> None:
        """Raise EngineError(UNUSABLE) unless `stage` has finished."""
        if stages.find(self.finished(), stage) is None:
            raise EngineError(
                Exit.UNUSABLE,
                f"'{stage}' has not been done yet",
                where=str(self.path),
                hint=f"dbmend {stage} {self.path}",
            )

    def begin(self, stage: str) -> None:
        """A stage starts: it and all that stands on it count as not done from now on."""
        earlier = stages.before(stage)
        if earlier:
            self.require(earlier)
        known = self.finished()
        left = stages.without(known, stage)
        if left != known:
            self.write_document(STAMPS, "stages", stages.to_json(left))
        self.record("dbmend", f"began {stage}")

    def finish(
        self, stage: str, outputs: Sequence[str] = (), options: Mapping[str, str] | None = None
    ) -> None:
        """A stage is over: evidence is verified (the last stage reads every byte again), then the
        stage counts as done on its inputs, with `outputs` (names of files) as they are now."""
        self.verify_evidence(whole=stage == stages.STAGES[-1])
        made = tuple((name, self._digest(name)) for name in outputs)
        inputs = tuple(self._inputs(stage, options or {}).items())
        stamp = stages.Finished(stage, self.clock().isoformat(), inputs, made)
        known = (*stages.without(self.finished(), stage), stamp)
        self.write_document(STAMPS, "stages", stages.to_json(known))
        self.record("dbmend", f"finished {stage}", {"outputs": dict(made)})

    def _inputs(self, stage: str, options: Mapping[str, str]) -> dict[str, str]:
        hashes = manifest.hashes(self.evidence())
        inputs = {f"evidence {key}": value for key, value in hashes.items()}
        inputs |= {f"option {key}": value for key, value in options.items()}
        earlier = stages.find(self.finished(), stages.before(stage))
        if earlier is not None:
            inputs[earlier.stage] = earlier.digest
        return inputs

    def _digest(self, name: str) -> str:
        path = self.path / name
        return files.sha256(path) if path.is_file() else ""

    # --- closing --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self.has(wiping.CLOSED)

    def close(self, who: str) -> wiping.Wiped:
        """Wipe everything that holds values; keep hashes, the journal, decisions and counts.

        A killed close goes on when it is called again.
        """
        if not self.closed:
            self.write_document(wiping.CLOSED, "closed", wiping.inventory(self.path))
            self.record(who, "closed the case: rows are wiped, hashes are kept")
        return wiping.wipe(self.path)


def _require_case(path: Path) -> None:
    if not (path / SETTINGS).is_file():
        what = "this folder is no case" if path.is_dir() else "no such case folder"
        hint = "dbmend open --backup FILE --current FILE --case DIR makes one"
        raise EngineError(Exit.UNUSABLE, what, where=str(path), hint=hint)


def require_place(path: Path) -> None:
    """Raises EngineError(UNUSABLE) when no case can be made at `path`; makes nothing."""
    try:
        if not path.exists():
            _require_writable(path.parent)
            return
        present = {entry.name for entry in path.iterdir()}
        other = sorted(n for n in present - HALF_MADE if not n.endswith(files.TEMPORARY))
        if other:
            raise EngineError(
                Exit.UNUSABLE,
                f"the folder holds other things ({', '.join(other[:3])}): no case is made there",
                where=str(path),
                hint="give an empty or a new folder",
            )
    except OSError as error:
        raise _no_place(path, error) from error


def _require_writable(folder: Path) -> None:
    """Raises OSError as making something there would."""
    folder.stat()
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _make(path: Path) -> None:
    """The empty folder of a new case, or one that a killed run began."""
    require_place(path)
    try:
        path.mkdir(mode=files.FOLDER_MODE, exist_ok=True)
        os.chmod(path, files.FOLDER_MODE)
    except OSError as error:
        raise _no_place(path, error) from error


def _no_place(path: Path, error: OSError) -> EngineError:
    reason = error.strerror or str(error)
    return EngineError(
        Exit.UNUSABLE,
        f"the case folder cannot be made: {reason}",
        where=str(path),
        hint="give another --case folder",
    )
