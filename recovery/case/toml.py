"""case.toml: what a case was made from, for people and for the next run. The standard library
reads TOML; the few lines written here are strings in tables."""

import json
import re
from collections.abc import Mapping

Tables = Mapping[str, Mapping[str, str]]


def write_toml(head: str, tables: Tables) -> str:
    """`head` as comment lines, then every table with its values as strings."""
    lines = [f"# {line}" for line in head.splitlines()]
    for name, values in tables.items():
        lines += ["", f"[{_key(name)}]"]
        lines += [f"{_key(key)} = {_text(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    # A basic string of TOML is one of JSON, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
