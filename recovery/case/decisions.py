"""review.json: who decided what, and who agreed to which report. A decision is bound to the plan's
digest and an agreement to the report's: when either is made anew, what was said about the old one
no longer counts, but it stays on record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from recovery.case.folder import CaseFolder
from recovery.case.reading import Reader
from recovery.case.result import Json
from recovery.model import SAFE, Decision, EngineError, Exit, Group, Plan

NAME = "review.json"


@dataclass(frozen=True, slots=True)
class Agreement:
    """The customer's consent, recorded before anything is applied."""

    by: str
    at: datetime
    report_digest: str


@dataclass(frozen=True, slots=True)
class Review:
    """Everything that was ever said, in order; the latest word on a group counts."""

    decisions: tuple[Decision, ...] = ()
    agreements: tuple[Agreement, ...] = ()

    def in_force(self, plan_digest: str) -> Mapping[str, Decision]:
        """The latest decision on every group of this very plan."""
        return {one.group: one for one in self.decisions if one.plan_digest == plan_digest}

    def approved(self, plan: Plan) -> tuple[Group, ...]:
        """The groups of `plan` that are approved with it, in its order."""
        known = self.in_force(plan.digest)
        return tuple(
            group for group in plan.groups if group.id in known and known[group.id].approved
        )

    def agreed(self, report_digest: str) -> Agreement | None:
        """The latest agreement to this very report."""
        fits = [one for one in self.agreements if one.report_digest == report_digest]
        return fits[-1] if fits else None


def select(plan: Plan, names: Iterable[str]) -> tuple[Group, ...]:
    """The groups meant by `names`: their ids, `safe` (graded proven or consistent), or `all`.

    Raises EngineError(UNUSABLE) naming what is no group.
    """
    wanted: set[str] = set()
    wrong: list[str] = []
    ids = {group.id for group in plan.groups}
    for name in names:
        if name == "all":
            wanted |= ids
        elif name == "safe":
            wanted |= {group.id for group in plan.groups if group.grade in SAFE}
        elif name in ids:
            wanted.add(name)
        else:
            wrong.append(name)
    if wrong:
        raise EngineError(
            Exit.UNUSABLE,
            f"no such group in this plan: {', '.join(wrong)}",
            hint="one of safe, all, " + ", ".join(sorted(ids)),
        )
    return tuple(group for group in plan.groups if group.id in wanted)


def unconsented(group: Group, accepted: Iterable[str]) -> tuple[str, ...]:
    """The hazards of `group` that `accepted` does not name; `all` accepts every one."""
    named = frozenset(accepted)
    if "all" in named:
        return ()
    return tuple(dict.fromkeys(note.name for note in group.hazards if note.name not in named))


def read_review(case: CaseFolder) -> Review:
    """What was said so far; nothing when there is no review.json yet. Raises EngineError."""
    if not case.has(NAME):
        return Review()
    document = case.read_document(NAME, "review")
    return Review(
        tuple(_decision(one) for one in document.many("decisions")),
        tuple(
            Agreement(one.text("by"), one.moment("at"), one.text("report_digest"))
            for one in document.many("agreements")
        ),
    )


def decide(case: CaseFolder, decisions: tuple[Decision, ...]) -> Review:
    """Add decisions to review.json and to the journal. Raises EngineError."""
    known = read_review(case)
    review = Review((*known.decisions, *decisions), known.agreements)
    _write(case, review)
    for one in decisions:
        what = f"{'approved' if one.approved else 'rejected'} group {one.group}"
        accepted = {"plan": one.plan_digest, "accepted": one.accepted}
        case.record(one.by, what, accepted)
    return review


def agree(case: CaseFolder, agreement: Agreement) -> Review:
    """Add an agreement to review.json and to the journal. Raises EngineError."""
    known = read_review(case)
    review = Review(known.decisions, (*known.agreements, agreement))
    _write(case, review)
    case.record(agreement.by, "agreed to the report", {"report": agreement.report_digest})
    return review


def _write(case: CaseFolder, review: Review) -> None:
    decisions = [_decision_json(one) for one in review.decisions]
    agreements = [
        {"by": one.by, "at": one.at.isoformat(), "report_digest": one.report_digest}
        for one in review.agreements
    ]
    case.write_document(NAME, "review", {"decisions": decisions, "agreements": agreements})


def _decision_json(one: Decision) -> Mapping[str, Json]:
    return {
        "group": one.group,
        "approved": one.approved,
        "by": one.by,
        "at": one.at.isoformat(),
        "note": one.note,
        "accepted": one.accepted,
        "plan_digest": one.plan_digest,
    }


def _decision(one: Reader) -> Decision:
    return Decision(
        group=one.text("group"),
        approved=one.flag("approved"),
        by=one.text("by"),
        at=one.moment("at"),
        note=one.text("note"),
        accepted=one.texts("accepted"),
        plan_digest=one.text("plan_digest"),
    )
