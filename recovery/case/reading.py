"""Typed access to a JSON document of a case: what is not as expected is named with its place."""

from collections.abc import Mapping
from datetime import datetime

from recovery.case.result import Json
from recovery.model import EngineError, Exit


def damaged(place: str, what: str) -> EngineError:
    return EngineError(
        Exit.UNUSABLE,
        f"this document of the case is damaged: {what}",
        where=place,
        hint="it was changed outside dbmend: run the stage that writes it again",
    )


class Reader:
    """One JSON object of a document; `place` says where it is, for messages."""

    def __init__(self, value: Json, place: str) -> None:
        if not isinstance(value, Mapping):
            raise damaged(place, "an object is expected")
        self.value: Mapping[str, Json] = value
        self.place = place

    def _get(self, name: str) -> Json:
        if name not in self.value:
            raise damaged(self.place, f"'{name}' is missing")
        return self.value[name]

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            raise damaged(f"{self.place}.{name}", "text is expected")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._get(name) is None else self.text(name)

    def whole(self, name: str) -> int:
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise damaged(f"{self.place}.{name}", "a whole number is expected")
        return value

    def number(self, name: str) -> float:
        value = self._get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise damaged(f"{self.place}.{name}", "a number is expected")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise damaged(f"{self.place}.{name}", "true or false is expected")
        return value

    def moment(self, name: str) -> datetime:
        text = self.text(name)
        try:
            return datetime.fromisoformat(text)
        except ValueError as error:
            raise damaged(f"{self.place}.{name}", "a time is expected") from error

    def moment_or_none(self, name: str) -> datetime | None:
        return None if self._get(name) is None else self.moment(name)

    def one(self, name: str) -> "Reader":
        return Reader(self._get(name), f"{self.place}.{name}")

    def many(self, name: str) -> tuple["Reader", ...]:
        place = f"{self.place}.{name}"
        return tuple(Reader(item, f"{place}[{n}]") for n, item in enumerate(self._list(name)))

    def texts(self, name: str) -> tuple[str, ...]:
        items: list[str] = []
        for item in self._list(name):
            if not isinstance(item, str):
                raise damaged(f"{self.place}.{name}", "a list of texts is expected")
            items.append(item)
        return tuple(items)

    def texts_by_name(self, name: str) -> tuple[tuple[str, str], ...]:
        one = self.one(name)
        return tuple((key, one.text(key)) for key in one.value)

    def counts(self, name: str) -> tuple[tuple[str, int], ...]:
        """An object of whole numbers, in its order."""
        one = self.one(name)
        return tuple((key, one.whole(key)) for key in one.value)

    def _list(self, name: str) -> tuple[Json, ...]:
        value = self._get(name)
        if not isinstance(value, list | tuple):
            raise damaged(f"{self.place}.{name}", "a list is expected")
        return tuple(value)
