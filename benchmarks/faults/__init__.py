"""What can go wrong, by the names of the contract, as drawers of strikes."""

from collections.abc import Callable

from benchmarks.faults.model import Draw, NotHere, Part, Strike
from benchmarks.faults.others import (
    double_encoding,
    double_import,
    dropped_object,
    id_reuse,
    mangled_values,
    sequence_behind,
    shifted_columns,
    storage,
    time_shift,
    truncated_table,
    wrong_merge,
    wrong_restore,
)
from benchmarks.faults.values import (
    as_described,
    lost_update,
    missing_where,
    outside,
    partial,
    repeated,
    skipped,
    too_narrow,
    unlogged,
    wrong_order,
    wrong_predicate,
    wrong_target,
    wrong_value,
)

DRAWERS: dict[str, Callable[[Draw], Strike]] = {
    "as-described": as_described,
    "missing-where": missing_where,
    "wrong-value": wrong_value,
    "wrong-predicate": wrong_predicate,
    "too-narrow": too_narrow,
    "repeated": repeated,
    "skipped": skipped,
    "wrong-order": wrong_order,
    "wrong-target": wrong_target,
    "partial": partial,
    "lost-update": lost_update,
    "unlogged": unlogged,
    "wrong-restore": wrong_restore,
    "mangled-values": mangled_values,
    "double-encoding": double_encoding,
    "time-shift": time_shift,
    "double-import": double_import,
    "shifted-columns": shifted_columns,
    "wrong-merge": wrong_merge,
    "id-reuse": id_reuse,
    "storage": storage,
    "truncated-table": truncated_table,
    "dropped-object": dropped_object,
    "sequence-behind": sequence_behind,
    "outside": outside,
}
CLASSES = tuple(DRAWERS)
CONTROLS = ("legitimate-only", "nothing-changed")

# Second and third faults of a case are of these: none takes away what another one strikes.
COMPANIONS = (
    "missing-where", "wrong-value", "wrong-predicate", "repeated", "skipped", "wrong-target",
    "mangled-values", "double-encoding", "time-shift", "double-import", "wrong-merge",
)  # fmt: skip

__all__ = ["CLASSES", "COMPANIONS", "CONTROLS", "DRAWERS", "Draw", "NotHere", "Part", "Strike"]
