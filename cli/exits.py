"""What every exit code means, in one table: the help ends with it, the README repeats it."""

from recovery.model import Exit

MEANINGS: tuple[tuple[Exit, str], ...] = (
    (Exit.FINE, "proven fine: no divergence, no damage, done; demo: its own expectations hold"),
    (Exit.FINDINGS, "findings: sources differ, damage found, something was rejected"),
    (
        Exit.UNUSABLE,
        "the call or the input is unusable (usage, unreadable file, bad step log): "
        "nothing was made",
    ),
    (
        Exit.COULD_NOT_TELL,
        "could not tell or could not finish: something was not compared, disk full, server died, "
        "connection lost; the output says what, why, and how to go on",
    ),
    (
        Exit.REFUSED,
        "refused: unreviewed, no agreement, stale, guard failed, wrong target, missing consent, "
        "case in use: nothing was changed",
    ),
    (Exit.BUG, "a bug in dbmend"),
    (Exit.INTERRUPTED, "interrupted (re-running resumes)"),
)
