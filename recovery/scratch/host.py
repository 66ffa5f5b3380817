"""What a cluster needs from whoever runs its server."""

from pathlib import Path
from typing import Literal, Protocol

Role = Literal["jail", "capture", "keeper"]


class Host(Protocol):
    """A server that we may use: our own (embedded) or one given by DSN (hosted)."""

    @property
    def place(self) -> Path | None:
        """The folder its data is in, when it is on this machine and ours."""
        ...

    @property
    def own(self) -> bool:
        """Whether the whole server is ours, and goes when we go."""
        ...

    @property
    def major(self) -> int: ...

    def role(self, role: Role) -> str:
        """The name that the role has on this server."""
        ...

    def login(self, role: Role) -> str:
        """libpq connection string, without a database."""
        ...

    def real(self, database: str) -> str:
        """The name that the database has on this server."""
        ...

    def shown(self, real: str) -> str | None:
        """The other way round; None when the database is not ours."""
        ...

    def maintenance(self) -> str:
        """The database to be connected to while others are made and dropped."""
        ...

    def trouble(self) -> str:
        """What the server said last, for an error message."""
        ...

    def stop(self, *, at_once: bool = False) -> None: ...

    def remove(self) -> None: ...
