"""The customer's words for verdicts, words of certainty, grades, labels, causes and risks.

Everything a page says about a finding is made from these and from counts, so that a page has one
language whatever stage the finding came from. Texts are msgids; the catalogues translate them.
"""

from collections.abc import Mapping

from recovery.depth import Word
from recovery.messages import marked
from recovery.model import FaultClass, Grade, Label
from repair_rules.model import Hazard

WORDS: Mapping[str, str] = {
    Word.EXACTLY: marked("exactly"),
    Word.PROBABLY: marked("probably"),
    Word.DECISION: marked("your decision"),
    Word.LOST: marked("lost"),
}

WORDS_MEAN: Mapping[str, str] = {
    Word.EXACTLY: marked(
        "The former value is known for certain, under the assumptions named below."
    ),
    Word.PROBABLY: marked("There is a good value, but no fact that shows it is the newest one."),
    Word.DECISION: marked("Several values are possible. Only a person who knows can choose."),
    Word.LOST: marked("Nothing that was handed over holds the value."),
}

GRADES: Mapping[str, str] = {
    Grade.PROVEN: marked("proven"),
    Grade.CONSISTENT: marked("consistent"),
    Grade.DERIVED: marked("derived"),
    Grade.STALE: marked("stale"),
    Grade.UNDECIDED: marked("undecided"),
    Grade.LOST: marked("lost"),
}

GRADES_MEAN: Mapping[str, str] = {
    Grade.PROVEN: marked(
        "every credible explanation gives this value, and the log covers the table"
    ),
    Grade.CONSISTENT: marked("a fact in the data shows that nothing else changed the value"),
    Grade.DERIVED: marked("computed from other data that is sound"),
    Grade.STALE: marked("the backup's value; it may have been changed since, and nothing shows it"),
    Grade.UNDECIDED: marked("credible explanations disagree"),
    Grade.LOST: marked("nothing holds the value"),
}

LABELS: Mapping[str, str] = {
    Label.LOST_WORK: marked("newer legitimate work that the fault overwrote or deleted"),
    Label.DIRECT: marked("written by the faulty step itself"),
    Label.CASCADE: marked("changed by the database in the same step (linked rows, triggers)"),
    Label.COLLATERAL: marked("written later by a correct step from a damaged value"),
    Label.OMISSION: marked("should have been written and was not"),
    Label.STORAGE: marked("damaged in the file itself"),
    Label.UNEXPLAINED: marked("known to be wrong, but no fault explains it"),
}

FAULTS: Mapping[str, str] = {
    FaultClass.AS_DESCRIBED: marked(
        "The step did exactly what the step log says, and that was the mistake."
    ),
    FaultClass.MISSING_WHERE: marked(
        "The step was carried out without its condition: it reached every row of the table, "
        "not only the rows that were meant."
    ),
    FaultClass.WRONG_VALUE: marked(
        "The step was carried out with another value than the one in the step log."
    ),
    FaultClass.WRONG_PREDICATE: marked(
        "The step was carried out with another condition than the one in the step log: it "
        "reached other rows than were meant."
    ),
    FaultClass.TOO_NARROW: marked(
        "The step was carried out with a condition that was too narrow: some of the rows that "
        "were meant were left out."
    ),
    FaultClass.REPEATED: marked("The step was carried out more than once."),
    FaultClass.SKIPPED: marked(
        "The step stands in the step log, but it was not carried out, or its result was lost."
    ),
    FaultClass.WRONG_ORDER: marked(
        "The step was carried out at another place in the order than the step log says."
    ),
    FaultClass.WRONG_TARGET: marked("The step was carried out on other data than were meant."),
    FaultClass.UNLOGGED: marked("A change that is not in the step log did the damage."),
    FaultClass.PARTIAL: marked("The step was carried out only in part."),
    FaultClass.LOST_UPDATE: marked(
        "The step worked with values that another step had changed in the meantime, and "
        "overwrote that change."
    ),
    FaultClass.STORAGE: marked("The data were damaged where they are stored, not by any step."),
    FaultClass.WRONG_RESTORE: marked("Older data were put over newer ones."),
    FaultClass.MANGLED_VALUES: marked(
        "Values were spoiled on a way through another program: digits, leading zeros or "
        "characters were lost."
    ),
    FaultClass.DOUBLE_ENCODING: marked(
        "Texts were read in the wrong character encoding and written back."
    ),
    FaultClass.TIME_SHIFT: marked(
        "Times were shifted by a constant, as if read in another time zone."
    ),
    FaultClass.DOUBLE_IMPORT: marked("The same data were imported more than once."),
    FaultClass.SHIFTED_COLUMNS: marked("Values stand in the wrong columns."),
    FaultClass.WRONG_MERGE: marked("Records that are not the same were merged into one."),
    FaultClass.ID_REUSE: marked(
        "A number was given to something else: the same key stands for another thing now."
    ),
    FaultClass.DROPPED_OBJECT: marked(
        "A table, a column or another part of the structure was removed."
    ),
    FaultClass.TRUNCATED_TABLE: marked("A table was emptied."),
    FaultClass.SEQUENCE_BEHIND: marked(
        "A counter of numbers stands behind the numbers already given: it will give them again."
    ),
}

# With the particulars that localization gives for these classes.
MISSING_CONDITION = marked(
    "The step was carried out without one of its conditions ({condition}): it reached more rows "
    "than were meant."
)
OTHER_VALUE = marked(
    "The step was carried out with the value {executed}; the step log says {logged}."
)
OTHER_CONDITION = marked(
    "The step was carried out with the condition {executed}; the step log says {logged}."
)
ONE_CONDITION_MORE = marked(
    "The step was carried out with one more condition ({added}): it left out rows that were meant."
)
OTHER_TARGET = marked("The step was carried out on {executed}; the step log says {logged}.")
STOPPED = marked("The step stopped half-way, after {done} of {all}.")

# The same as names inside a sentence; in English too they read otherwise than in the program.
FAULT_NAMES = (
    marked("as-described"),
    marked("missing-where"),
    marked("wrong-value"),
    marked("wrong-predicate"),
    marked("too-narrow"),
    marked("repeated"),
    marked("skipped"),
    marked("wrong-order"),
    marked("wrong-target"),
    marked("unlogged"),
    marked("partial"),
    marked("lost-update"),
    marked("storage"),
    marked("wrong-restore"),
    marked("mangled-values"),
    marked("double-encoding"),
    marked("time-shift"),
    marked("double-import"),
    marked("shifted-columns"),
    marked("wrong-merge"),
    marked("id-reuse"),
    marked("dropped-object"),
    marked("truncated-table"),
    marked("sequence-behind"),
)
LABEL_NAMES = (
    marked("lost-work"),
    marked("direct"),
    marked("cascade"),
    marked("collateral"),
    marked("omission"),
    marked("storage"),
    marked("unexplained"),
)

CAUSES: Mapping[str, str] = {
    "user": marked("a user's action"),
    "administrator": marked("an administrator's action"),
    "hardware": marked("a hardware failure"),
    "software": marked("a software error"),
    "unknown": marked("not established"),
}

ROLES: Mapping[str, str] = {
    "backup": marked("backup"),
    "current": marked("current data"),
    "steps": marked("step log"),
    "rules": marked("rules"),
    "other-backup": marked("another backup"),
    "import": marked("imported file"),
    "restore": marked("source of restored tables"),
}

HAZARDS: Mapping[str, str] = {
    Hazard.DELETES_ROWS: marked("rows will be deleted"),
    Hazard.OVERWRITES_NEWER_WORK: marked("newer work will be overwritten"),
    Hazard.CASCADES: marked("rows linked to these will change with them"),
    Hazard.FIRES_TRIGGER: marked("an automatic action of the database will run"),
    Hazard.SUPPRESSES_TRIGGER: marked("an automatic action of the database is held back meanwhile"),
    Hazard.STALE_VALUES: marked("values may be older than the latest ones"),
    Hazard.LONG_LOCK: marked("the table will be unavailable for a while"),
    Hazard.LARGE_CHANGE: marked("a large part of the table changes"),
    Hazard.RE_USED_KEY: marked("a number was given to something else in the meantime"),
    Hazard.NO_KEY: marked("the table has no key, rows are told apart by their contents"),
    Hazard.SCHEMA_DIFFERS: marked("the structure of the table has changed since the backup"),
    Hazard.EXTERNAL_EFFECT: marked("effects outside the database cannot be taken back"),
    Hazard.PARTIAL: marked("rows that have moved on will be skipped"),
}

# What a source is called: its sentence is its name, looked up as a whole.
KINDS = (marked("PostgreSQL plain dump"), marked("PostgreSQL custom archive"))

UNKNOWN_STATUS: Mapping[str, str] = {
    "partial": marked("compared only in part"),
    "not-compared": marked("not compared"),
}

# What each check of a rehearsal says when it has passed.
CHECKS: Mapping[str, str] = {
    "applied": marked("The repair runs to its end."),
    "residual": marked("Everything that was planned was written."),
    "collateral": marked("Nothing else was written."),
    "constraints": marked("No link between tables was broken."),
    "sequences": marked("Number sequences only went forward."),
    "triggers": marked("Automatic actions of the database (triggers) are as they were."),
    "again": marked("Run a second time, it changes nothing."),
    "undo": marked("The undo script brings every row back as it was."),
    "moved on": marked("A row that was changed in the meantime was not overwritten."),
    "killed in the middle": marked("Broken off in the middle, it changes nothing."),
}

FIGURES: Mapping[str, str] = {
    "planned": marked("planned"),
    "reached": marked("written as planned"),
    "residual": marked("not written"),
    "tables read": marked("tables read again"),
    "collateral": marked("written beyond the plan"),
    "foreign keys": marked("links checked"),
    "new orphans": marked("newly broken"),
    "sequences": marked("sequences checked"),
    "moved back": marked("moved back"),
    "triggers": marked("triggers checked"),
    "changed": marked("differing"),
    "tables compared": marked("tables compared"),
    "tables that differ": marked("tables that differ"),
    "changed tables": marked("tables changed"),
    "rows edited": marked("rows changed for the trial"),
    "edited rows lost": marked("of them overwritten"),
    "waited for a lock": marked("times it was made to wait"),
}

# Reasons for refusing that come from below the messages, as whole sentences.
REASONS = (
    marked("a person has to choose: nothing in the data tells what the value should be"),
    marked("nothing holds the value"),
    marked("the current database has no such table"),
    marked("its foreign keys form a cycle that cannot be deferred: no order of writing is safe"),
    marked("the table has no key: a single cell cannot be addressed"),
    marked("the current table lacks a column that is damaged"),
    marked("a column of the key is damaged: which row it was cannot be told"),
    marked("a column is damaged that only the database itself may number"),
    marked("the current table lacks a column that the rows had"),
    marked("the current table has a new column that must be filled in"),
    marked("only generated columns are damaged: they follow from the others"),
    marked("the table has no key: which of equal rows to delete cannot be told"),
    marked("the table has no key: whether a row is there already cannot be told"),
)
