"""What-ifs over one base run."""

from types import TracebackType
from typing import Self

from recovery.model import Forecast, History, Replay
from recovery.replay.ground import Ground
from recovery.replay.whatif.dependence import SOUND, Dependence


class WhatIf:
    """Forecasts over one base run, from one working database. `reran`: acts that the last
    forecast ran again, in order. `refusal`: why the last one was not told, '' if it was."""

    def __init__(
        self, ground: Ground, history: History, base: Replay, dependence: Dependence
    ) -> None:
        self.ground = ground
        self.history = history
        self.base = base
        self.dependence = dependence
        self.reran: tuple[str, ...] = ()
        self.refusal = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """The working database goes."""

    def forecast(self, deviant: History, name: str) -> Forecast | None:
        """As `recovery.model.Laboratory.forecast`, for the base that this was opened with. None:
        it cannot be told this way, a whole replay has to."""
        self.refusal = "not built"
        return None


def open_whatif(
    ground: Ground, history: History, base: Replay, *, dependence: Dependence = SOUND
) -> WhatIf:
    """`base` is the run of `history` on this ground. Costs one replay of it."""
    return WhatIf(ground, history, base, dependence)
