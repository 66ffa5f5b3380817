"""What would a history with other acts have left? Answered by running again only the acts that
can tell the difference.

`open_whatif` replays the base once on a database of its own; every forecast after that costs what
it runs again, whatever the length of the history. An act that treats every row by itself, or writes
a sum, is not even run: what becomes of the rows that are otherwise is computed from them alone.
"""

from recovery.replay.whatif.dependence import SOUND, Dependence
from recovery.replay.whatif.engine import WhatIf, open_whatif

__all__ = ["SOUND", "Dependence", "WhatIf", "open_whatif"]
