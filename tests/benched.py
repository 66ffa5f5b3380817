"""Cases of the benchmark on its own server, made once for a test module: those of the webshop, at
the size that takes a second or two."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.generator import STEPS, Case, load_backup, make_case
from benchmarks.history import Plan
from benchmarks.server import OwnServer
from benchmarks.suites import WEBSHOP

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Bench:
    server: OwnServer
    make: Callable[[Plan], Case]


@contextmanager
def webshops(folder: Path) -> Iterator[Bench]:
    server = OwnServer()
    try:
        load_backup(server, WEBSHOP, ROOT, "template")

        @cache
        def make(wanted: Plan) -> Case:
            return make_case(server, "template", wanted, folder / wanted.name)

        yield Bench(server, make)
    finally:
        server.close()


def plan(fault_class: str, missing: float, seed: int) -> Plan:
    return Plan(WEBSHOP, fault_class, missing, seed, STEPS["XXS"], "XXS", faults=1)
