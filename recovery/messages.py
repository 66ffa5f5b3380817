"""Sentences that are shown in the reader's language, written once in English.

A stage that has something to say to the customer writes `message("{n} tables were compared", n=4)`
and keeps the result wherever a plain string is kept: an assumption, a warning, a question. The
string is compact JSON (`["msgid", {...}]`), so it survives every file, and `show` turns it into a
sentence of the reader's language. Text that is no message is shown as it is.

The msgid is the English sentence. Its translations are `reports/locale/<language>/LC_MESSAGES/
dbmend.po`; they are read here as data, no package above this layer is imported.
"""

import gettext
import io
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files

from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

LANGUAGES = ("en", "ru")

Parameter = str | int | float | datetime

# Parameters of these names hold words of the program, which have a translation of their own.
TERMS = frozenset({"fault_class", "label", "grade"})

_PLACE = re.compile(r"\{(\w+)\}")


def message(msgid: str, /, **parameters: Parameter) -> str:
    """A sentence with its parameters, as one string. Whole numbers are shown as counts, fractions
    as percentages, times with their zone, text as it is; a parameter named as one of `TERMS` is
    translated."""
    return _packed([msgid, _stored(parameters)])


def counted(one: str, many: str, n: int, /, **parameters: Parameter) -> str:
    """A sentence about `n` things, in singular and plural; `{n}` stands for the number."""
    return _packed([one, many, n, _stored(parameters)])


def marked(msgid: str) -> str:
    """The sentence itself, noted for translation: for tables of sentences."""
    return msgid


def show(text: str, language: str) -> str:
    """The sentence of a message in `language`; any other text as it is (translated when the
    whole of it is a known sentence). Never fails: a message that cannot be read is text."""
    match _unpacked(text):
        case [str(msgid), dict(stored)]:
            return say(msgid, language, **_restored(stored))
        case [str(one), str(many), int(n), dict(stored)]:
            return say_counted(one, many, n, language, **_restored(stored))
        case _:
            return catalogue(language).gettext(text) if text else text


def say(msgid: str, language: str, /, **parameters: Parameter) -> str:
    """The translated sentence, parameters filled in."""
    return filled(catalogue(language).gettext(msgid), _formatted(parameters, language))


def say_counted(one: str, many: str, n: int, language: str, /, **parameters: Parameter) -> str:
    """The translated sentence in the plural form that `n` asks for."""
    template = catalogue(language).ngettext(one, many, n)
    return filled(template, _formatted({**parameters, "n": n}, language))


def filled(template: str, parameters: Mapping[str, str]) -> str:
    """`{name}` replaced by its parameter, and nothing else: values are never read as templates."""
    return _PLACE.sub(lambda place: parameters.get(place[1], place[0]), template)


def shown(parameter: Parameter, language: str) -> str:
    """One parameter as a person of that language writes it."""
    match parameter:
        case str():
            return parameter
        case int():
            return format_decimal(parameter, locale=language)
        case float():
            return percent(parameter, language)
        case datetime():
            return moment(parameter, language)


def percent(share: float, language: str) -> str:
    """A share with one decimal. Less than all never reads 100 %, more than nothing never 0 %."""
    thousandths = round(share * 1000)
    if share < 1.0:
        thousandths = min(thousandths, 999)
    if share > 0.0 and thousandths == 0:
        return "< " + percent(0.001, language)
    return format_percent(thousandths / 1000, locale=language, decimal_quantization=False)


def moment(time: datetime, language: str) -> str:
    """Day and minute with the offset from UTC in which the time was given."""
    pattern = "d MMMM y, HH:mm ZZZZ" if time.tzinfo else "d MMMM y, HH:mm"
    return format_datetime(time, pattern, tzinfo=time.tzinfo, locale=language)


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The sentences of one language; KeyError for a language that there is none of."""
    if language not in LANGUAGES:
        raise KeyError(language)
    place = files("recovery").joinpath("reports", "locale", language, "LC_MESSAGES", "dbmend.po")
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(place.read_bytes()), locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _packed(parts: list[object]) -> str:
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def _unpacked(text: str) -> object:
    if not text.startswith('["'):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _stored(parameters: Mapping[str, Parameter]) -> dict[str, object]:
    return {
        name: {"time": value.isoformat()} if isinstance(value, datetime) else value
        for name, value in parameters.items()
    }


def _restored(stored: Mapping[object, object]) -> dict[str, Parameter]:
    return {str(name): _restored_one(value) for name, value in stored.items()}


def _restored_one(value: object) -> Parameter:
    match value:
        case {"time": str(text)}:
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                return text
        case bool() | None:
            return str(value)
        case int() | float() | str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def _formatted(parameters: Mapping[str, Parameter], language: str) -> dict[str, str]:
    formatted = {name: shown(value, language) for name, value in parameters.items()}
    known = catalogue(language)
    return {
        name: known.gettext(text) if name in TERMS and text else text
        for name, text in formatted.items()
    }
