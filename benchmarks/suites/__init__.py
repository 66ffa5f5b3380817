"""The databases of the benchmark, one file each."""

from benchmarks.suites.bank import BANK
from benchmarks.suites.chinook import CHINOOK
from benchmarks.suites.ledger import LEDGER
from benchmarks.suites.model import Suite, Target
from benchmarks.suites.northwind import NORTHWIND
from benchmarks.suites.orders import ORDERS
from benchmarks.suites.pagila import PAGILA
from benchmarks.suites.tenants import TENANTS
from benchmarks.suites.webshop import WEBSHOP

SUITES = (PAGILA, NORTHWIND, CHINOOK, WEBSHOP, BANK, ORDERS, TENANTS, LEDGER)

__all__ = ["SUITES", "WEBSHOP", "Suite", "Target"]
