"""The program with one part taken out of it, for `benchmarks.ablations`:

python -m tests.ablated no-priors assess --backup ...
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

from cli.main import main as program
from recovery.localize import grade, search
from recovery.localize import score as scoring
from recovery.localize.hypothesis import Candidate, Hypothesis
from recovery.localize.scene import Scene
from recovery.model import FaultClass
from recovery.replay.whatif import SOUND


def _no_phantom_test() -> None:
    """What-ifs do not look at rows that a condition selects only in the other world."""
    object.__setattr__(SOUND, "phantoms", False)


def _no_storage_models() -> None:
    left = (one for one in search.DEVIATIONS if one.fault_class is not FaultClass.STORAGE)
    search.DEVIATIONS = tuple(left)


def _no_priors() -> None:
    """Every explanation costs the same, whatever its class and parameters; neither the customer's
    suspicion nor reported numbers of rows count."""
    search.DEVIATIONS = tuple(_flat(one) for one in search.DEVIATIONS)
    scoring._SUSPECT = scoring._ROWS_REPORTED = 0.0


def _no_certain_repair() -> None:
    """The best explanation is repaired, and not what all credible ones agree on."""
    grade.doubt = lambda *_, **__: None


WEAKENED: dict[str, Callable[[], None]] = {
    "no-phantom-test": _no_phantom_test,
    "no-storage-models": _no_storage_models,
    "no-priors": _no_priors,
    "no-certain-repair": _no_certain_repair,
}


def _flat(hypothesis: Hypothesis) -> Hypothesis:
    def propose(scene: Scene) -> Iterator[Candidate]:
        bits = math.log2(max(len(scene.history), 2))
        return (replace(one, bits=bits) for one in hypothesis.propose(scene))

    return replace(hypothesis, propose=propose)


def main(arguments: Sequence[str]) -> NoReturn:
    name, *rest = arguments
    WEAKENED[name]()
    sys.argv = ["dbmend", *rest]
    program()


if __name__ == "__main__":
    main(sys.argv[1:])
