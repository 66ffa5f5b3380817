"""The recovery depth report as one self-contained HTML page per language.

Made from the document alone, so that a page can be made again from `depth.json`. No scripts, no
external resources, and a content security policy that holds it to that; everything from the case
is escaped, and characters that a reader could not see are spelt out.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files

from jinja2 import BaseLoader, BytecodeCache, Environment, StrictUndefined, TemplateNotFound
from jinja2.bccache import Bucket
from markupsafe import Markup

from recovery.case.result import Json
from recovery.messages import (
    LANGUAGES,
    Parameter,
    catalogue,
    moment,
    percent,
    say,
    say_counted,
    shown,
)
from recovery.reports import words
from recovery.reports.pictures import PATTERNS, Part, bar, swatch

_REGISTRIES: Mapping[str, Mapping[str, str]] = {
    "word": words.WORDS,
    "word_means": words.WORDS_MEAN,
    "grade": words.GRADES,
    "grade_means": words.GRADES_MEAN,
    "label": words.LABELS,
    "fault": words.FAULTS,
    "cause": words.CAUSES,
    "role": words.ROLES,
    "hazard": words.HAZARDS,
    "check": words.CHECKS,
    "figure": words.FIGURES,
    "unknown_status": words.UNKNOWN_STATUS,
}


_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # Unicode categories


class _Templates(BaseLoader):
    """Templates from the package's own data, never from the case."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, None, None]:
        place = files("recovery.reports").joinpath("templates", template)
        if not place.is_file():
            raise TemplateNotFound(template)
        return place.read_text(encoding="utf-8"), None, None


def html(document: Mapping[str, Json], language: str) -> str:
    """The page of a `depth/1` document. KeyError for a language that there is no catalogue of."""
    style = files("recovery.reports").joinpath("templates", "depth.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = _environment(language).get_template("depth.html")
    return template.render(
        depth=document,
        language=language,
        style=Markup(style),
        style_digest=f"sha256-{digest}",
    )


class _Compiled(BytecodeCache):
    """Templates are compiled once, for all languages: what one says is asked for when it runs."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


@cache
def _environment(language: str) -> Environment:
    catalogue(language)
    environment = Environment(
        loader=_Templates(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
        bytecode_cache=_COMPILED,
        optimized=False,  # nothing of one language becomes a constant of the template
    )
    voice = _Voice(language)
    environment.globals.update(
        t=voice.t, tn=voice.tn, bar=voice.bar, swatch=swatch, patterns=PATTERNS, voice=voice
    )
    environment.filters.update(
        number=voice.number, percent=voice.percent, moment=voice.moment, value=exact
    )
    return environment


class _Voice:
    """What a template says, in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.other = next(name for name in LANGUAGES if name != language)

    def t(self, msgid: str, **parameters: Parameter) -> str:
        return say(msgid, self.language, **parameters)

    def tn(self, one: str, many: str, n: int, **parameters: Parameter) -> str:
        return say_counted(one, many, n, self.language, **parameters)

    def word(self, registry: str, name: str) -> str:
        """The customer's word for a name of the program; a name without one stays itself."""
        return catalogue(self.language).gettext(_REGISTRIES[registry].get(name, name))

    def fault(self, fault_class: str, parameters: Mapping[str, str]) -> str:
        """What went wrong, with the particulars that localization found."""
        match fault_class, parameters:
            case "missing-where", {"dropped": dropped} if dropped.upper() != "WHERE":
                return self.t(words.MISSING_CONDITION, condition=dropped)
            case "wrong-value", {"logged": logged, "executed": executed}:
                return self.t(words.OTHER_VALUE, logged=logged, executed=executed)
            case "wrong-predicate", {"logged": logged, "executed": executed}:
                return self.t(words.OTHER_CONDITION, logged=logged, executed=executed)
            case "too-narrow", {"added": added}:
                return self.t(words.ONE_CONDITION_MORE, added=added)
            case "wrong-target", {"logged": logged, "executed": executed}:
                return self.t(words.OTHER_TARGET, logged=logged, executed=executed)
            case "partial", {"done": done, "of": all_of_it}:
                return self.t(words.STOPPED, done=done, all=all_of_it)
            case _:
                return self.word("fault", fault_class)

    def meaning(self, registry: str, name: str) -> str:
        return _REGISTRIES[registry].get(name, "")

    def foreign(self, text: str) -> bool:
        """Whether a text that has no translation is plainly of another language: English words on
        a page that is not English. Such text is quoted, not passed off as the page's own."""
        latin = re.findall(r"[A-Za-z]{2,}", text)
        return self.language != "en" and len(latin) > 2 and not re.search("[\u0400-\u04ff]", text)

    def number(self, count: int) -> str:
        return shown(count, self.language)

    def percent(self, share: float) -> str:
        return percent(share, self.language)

    def moment(self, time: str) -> str:
        return moment(datetime.fromisoformat(time), self.language)

    def bar(self, counts: Mapping[str, int], registry: str) -> Markup:
        """A stacked bar over words or grades, with its numbers as text alternative."""
        whole = sum(counts.values())
        parts = [
            Part(
                pattern=PATTERNS.get(name, name),
                name=self.word(registry, name),
                count=count,
                share=self.percent(count / whole) if whole else "",
            )
            for name, count in counts.items()
        ]
        spoken = [f"{part.name}: {self.number(part.count)}" for part in parts if part.count]
        return bar(parts, "; ".join(spoken))


def visible(output: object) -> object:
    """Text with control, direction and zero-width characters spelt out, so that no value can look
    like another one or turn the page around."""
    if isinstance(output, Markup) or not isinstance(output, str):
        return output
    return "".join(_visible(character) for character in output)


def exact(text: str) -> str:
    """A value as it stands in the database: line ends and spaces at the edges are shown."""
    core = text.strip(" ")
    if not core:
        return "␣" * len(text)
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - len(text.rstrip(" "))
    return "␣" * before + core.replace("\t", "⇥\t").replace("\n", "↵\n") + "␣" * after


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
        return character
    return f"⟨U+{ord(character):04X}⟩"
