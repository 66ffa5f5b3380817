"""Three days of work in the webshop, and the mistake in the middle of them.

On Tuesday afternoon the prices of store 3 were to rise by 10 %; the WHERE was left out. Orders
went on being taken, at wrong prices where they were not of store 3. The log holds the half of
the work that people remembered, as they meant it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from random import Random

from recovery.demo.rows import CUSTOMERS, STORES, article, literal, order_number
from recovery.demo.twin import Entry

FAULT = "22"
FAULT_TABLE = "public.products"
STARTED = datetime(2026, 3, 2, 9, 5, tzinfo=timezone(timedelta(hours=3)))
_OTHER_STORES = tuple(store for store in range(1, len(STORES) + 1) if store != 3)
_CLERKS = ("Иванова", "Петров", "Щукина", "Ким")


def history(seed: int) -> tuple[Entry, ...]:
    """The entries in the order in which they happened; logged ones are numbered "1", "2" ...,
    the others "u1", "u2" ...; times are microseconds apart from a round figure, as real ones."""
    book = _Book(Random(seed))
    _before(book)
    _fault(book)
    _after(book)
    return tuple(book.entries)


@dataclass(slots=True)
class _Book:
    random: Random
    entries: list[Entry] = field(default_factory=list)
    moment: datetime = STARTED
    logged: int = 0
    unlogged: int = 0
    orders: int = 0

    def add(
        self,
        what: str,
        executed: str = "",
        intended: str | None = None,
        *,
        logged: bool,
        event: str = "",
    ) -> None:
        self.moment += timedelta(
            minutes=self.random.randrange(2, 40), microseconds=self.random.randrange(1, 999_999)
        )
        if self.moment.hour >= 19:
            self.moment += timedelta(hours=14)
        if logged:
            self.logged += 1
            name = str(self.logged)
        else:
            self.unlogged += 1
            name = f"u{self.unlogged}"
        meant = executed if intended is None else intended
        clerk = self.random.choice(_CLERKS)
        self.entries.append(
            Entry(name, self.moment, clerk, what, executed, meant, logged, event=event)
        )

    def order(self, stores: tuple[int, ...], *, logged: bool) -> None:
        """An order at the prices of the moment, its total, and what it takes from the stock."""
        self.orders += 1
        number = f"W-{2000 + self.orders}"
        customer = self.random.randrange(1, CUSTOMERS + 1)
        articles = ", ".join(f"'{self.article(stores)}'" for _ in range(3))
        count = self.random.randrange(1, 4)
        self.add(
            f"Заказ {number} принят по телефону",
            f"INSERT INTO orders (number, customer_id) VALUES ('{number}', {customer});\n"
            "INSERT INTO order_lines (order_id, product_id, quantity, price)\n"
            f"SELECT o.id, p.id, {count}, p.price FROM orders o, products p\n"
            f"WHERE o.number = '{number}' AND p.article IN ({articles}) ORDER BY p.id;\n"
            "UPDATE orders SET total = (SELECT sum(l.quantity * l.price) FROM order_lines l\n"
            f"WHERE l.order_id = orders.id) WHERE number = '{number}';\n"
            f"UPDATE products SET stock = stock - {count} WHERE article IN ({articles})",
            logged=logged,
        )

    def pay(self, number: str, *, logged: bool) -> None:
        self.add(
            f"Оплата заказа {number}",
            "INSERT INTO payments (order_id, amount, method)\n"
            f"SELECT id, total, 'card' FROM orders WHERE number = '{number}';\n"
            f"UPDATE orders SET status = 'paid' WHERE number = '{number}'",
            logged=logged,
        )

    def status(self, status: str, *, logged: bool) -> None:
        number = order_number(self.random.randrange(1, 150))
        self.add(
            f"Заказ {number}: статус {status}",
            f"UPDATE orders SET status = '{status}' WHERE number = '{number}'",
            logged=logged,
        )

    def price(self, store: int, expression: str, *, logged: bool) -> None:
        name = self.article((store,))
        self.add(
            f"Новая цена {name}",
            f"UPDATE products SET price = {expression} WHERE article = '{name}'",
            logged=logged,
        )

    def product(self, assignment: str, *, logged: bool) -> None:
        name = self.article(_OTHER_STORES)
        self.add(
            f"Правка карточки {name}",
            f"UPDATE products SET {assignment} WHERE article = '{name}'",
            logged=logged,
        )

    def customer(self, assignment: str, *, logged: bool) -> None:
        number = self.random.randrange(1, CUSTOMERS + 1)
        self.add(
            f"Клиент {number}: правка",
            f"UPDATE customers SET {assignment} WHERE id = {number}",
            logged=logged,
        )

    def article(self, stores: tuple[int, ...]) -> str:
        return article(self.random.choice(stores), self.random.randrange(1, 61))


def _before(book: _Book) -> None:
    book.add("Пришла смена, проверили кассу", logged=True)
    book.order(_OTHER_STORES, logged=True)
    book.pay("W-2001", logged=True)
    book.order((3,), logged=False)
    book.price(1, "price + 15", logged=False)  # on the damaged column, before the fault
    book.price(2, "990.00", logged=False)
    book.status("closed", logged=True)
    book.customer("phone = '+7 9000000001'", logged=True)
    book.customer(f"note = {literal('Переезд; «код» 0-12')}", logged=False)
    book.product("stock = stock + 40", logged=False)
    book.order(_OTHER_STORES, logged=True)
    book.price(4, "1490.00", logged=True)
    book.price(4, "price - 20", logged=False)
    book.add(
        "Новый клиент из Казани",
        "INSERT INTO customers (full_name, email, phone)\n"
        f"VALUES ({literal('Гайсина Алия')}, 'aliya@example.ru', '+7 9001112233')",
        logged=True,
    )
    book.product("name = name || ' (новый)'", logged=False)
    book.status("sent", logged=True)
    book.status("cancelled", logged=False)
    book.add(
        "Поступление на склад магазина 1",
        "UPDATE products SET stock = stock + 25 WHERE store_id = 1",
        logged=True,
    )
    book.add(
        "Сняли с продажи остатки магазина 5",
        "UPDATE products SET active = false WHERE store_id = 5 AND stock < 80",
        logged=False,
    )
    book.customer("blocked = true", logged=True)
    book.pay("W-2003", logged=True)
    book.order(_OTHER_STORES, logged=False)
    book.add("Звонил поставщик, обещал новый прайс", logged=True)
    book.status("paid", logged=True)
    book.price(3, "price + 30", logged=True)
    book.product("stock = stock + 12", logged=False)
    book.order((1, 3), logged=True)
    book.customer("""profile = profile || '{"card": "gold"}'""", logged=True)
    book.price(5, "price * 1.05", logged=False)
    book.add("Мигнул свет, касса перезагрузилась", logged=True, event="other")
    book.pay("W-2005", logged=True)
    book.status("closed", logged=False)
    book.status("sent", logged=True)
    book.product("active = NOT active", logged=False)
    book.price(1, "750.50", logged=True)
    book.customer("note = 'Просил не звонить'", logged=False)
    book.status("closed", logged=False)


def _fault(book: _Book) -> None:
    wrong = "UPDATE products SET price = price * 1.10"
    book.add("Подняли цены магазина 3 на 10 %", wrong, wrong + " WHERE store_id = 3", logged=True)
    assert book.entries[-1].id == FAULT, book.entries[-1].id


def _after(book: _Book) -> None:
    wrong_orders = [f"W-{2000 + book.orders + ahead}" for ahead in (1, 2, 3)]
    book.order(_OTHER_STORES, logged=True)
    book.order(_OTHER_STORES, logged=False)
    book.order((1, 2), logged=True)
    book.price(2, "1650.00", logged=False)  # on the damaged column, after the fault
    book.price(1, "price + 5", logged=False)
    book.product("stock = stock + 60", logged=False)
    book.pay(wrong_orders[0], logged=True)
    book.price(4, "2100.00", logged=True)
    book.status("closed", logged=True)
    book.status("sent", logged=False)
    book.customer("phone = '+7 9000000002'", logged=False)
    book.order((3,), logged=True)
    book.product("name = name || ' уценка'", logged=False)
    book.add(
        "Скидка постоянным клиентам",
        "UPDATE customers SET profile = profile || '{\"discount\": 5}' WHERE id % 10 = 3",
        logged=True,
    )
    book.add("Обновили прайс на сайте", logged=True)
    book.order(_OTHER_STORES, logged=True)
    book.pay(wrong_orders[1], logged=False)
    book.price(2, "price + 11", logged=False)
    book.product("stock = stock + 3", logged=False)
    book.customer("blocked = NOT blocked", logged=False)
    book.status("cancelled", logged=True)
    book.product("stock = stock + 7", logged=False)
    book.add(
        "Поступление на склад магазина 4",
        "UPDATE products SET stock = stock + 10 WHERE store_id = 4",
        logged=True,
    )
    book.add(
        "Закрыли отправленные заказы января",
        "UPDATE orders SET status = 'closed' WHERE status = 'sent' AND id <= 40",
        logged=False,
    )
    book.order((2, 5), logged=True)
    book.pay(wrong_orders[2], logged=True)
    book.price(3, "price + 40", logged=True)
    book.customer("full_name = full_name || ' (ИП)'", logged=True)
    book.order(_OTHER_STORES, logged=False)
    book.product("active = NOT active", logged=False)
    book.status("sent", logged=True)
    book.add(
        "Удалили двойной платёж",
        "DELETE FROM payments WHERE id = 5",
        logged=True,
    )
    book.add(
        "Почта клиента исправлена",
        "UPDATE customers SET email = 'ok@example.ru' WHERE id = 44",
        logged=False,
    )
    book.status("paid", logged=True)
    book.order(_OTHER_STORES, logged=True)
    book.customer("note = NULL", logged=False)
    book.status("sent", logged=False)
    book.price(5, "round(price)", logged=False)
    book.status("closed", logged=True)
    book.add("Заметили неверные цены, позвонили в поддержку", logged=True)
