"""Figures that other commands measure, kept in a file beside RESULTS.md: `benchmarks.whatif` and
`benchmarks.run --size M --write` write their part of it, the table of targets reads it."""

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

FILE = Path(__file__).with_name("speed.json")
Part = dict[str, object]


def read_speed(file: Path = FILE) -> dict[str, Part]:
    """What is there; nothing where nobody has measured."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def write_speed(file: Path, part: str, command: str, figures: Mapping[str, object]) -> None:
    """Put one command's figures in, with when and at which commit; other parts stay."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = read_speed(file)
    parts[part] = {"command": command, "made": made, "commit": commit(), **figures}
    file.write_text(json.dumps(parts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def commit() -> str:
    command = ["git", "-C", str(FILE.parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
