"""A film rental: partitions, touched-at columns by trigger, enumerations, arrays, text search."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Serial, Suite, Target

PAGILA = Suite(
    name="pagila",
    file="pagila.sql",
    samples=(
        ("film", "SELECT film_id FROM film"),
        ("customer", "SELECT customer_id FROM customer"),
        ("rental", "SELECT rental_id FROM rental"),
        ("inventory", "SELECT inventory_id FROM inventory"),
        ("address", "SELECT address_id FROM address"),
        ("city", "SELECT city_id FROM city"),
        ("actor", "SELECT actor_id FROM actor"),
    ),
    work=(
        "UPDATE customer SET email = 'mail{n}@example.org' WHERE customer_id = {customer}",
        "UPDATE customer SET active = 0, activebool = false WHERE customer_id = {customer}",
        "UPDATE customer SET store_id = 2 WHERE store_id = 1 AND customer_id % 50 = {i}",
        "UPDATE address SET phone = '7{n}00', district = 'Area {n}' WHERE address_id = {address}",
        "UPDATE address SET postal_code = '{i}0{n}' WHERE city_id = {city}",
        "UPDATE actor SET last_name = upper(last_name) || '-{n}' WHERE actor_id = {actor}",
        "UPDATE film SET length = length + {i} WHERE film_id = {film}",
        "UPDATE film SET rental_duration = 5 WHERE rental_duration = 4 AND film_id % 40 = {i}",
        "UPDATE film SET replacement_cost = replacement_cost + 0.5 WHERE film_id = {film}",
        "UPDATE film SET replacement_cost = replacement_cost * 1.05\n"
        "WHERE rating = 'G' AND length > 17{i}",
        "UPDATE film SET description = description || ' Edition {n}.' WHERE film_id = {film}",
        "UPDATE rental SET return_date = rental_date + interval '{i} days'\n"
        "WHERE rental_id = {rental}",
        "UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id = {inventory}",
        "INSERT INTO actor (first_name, last_name) VALUES ('NEW', 'FACE {n}')",
        "INSERT INTO city (city, country_id) VALUES ('Town {n}', {i})",
        "INSERT INTO inventory (film_id, store_id)\n"
        "SELECT film_id, 1 FROM film WHERE film_id = {film}",
        "UPDATE customer SET last_name = last_name || ' {n}' WHERE customer_id IN\n"
        "(SELECT customer_id FROM rental WHERE rental_id = {rental})",
    ),
    downstream=(
        "INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)\n"
        "SELECT r.customer_id, r.staff_id, r.rental_id, f.rental_rate,\n"
        "timestamptz '2022-06-15 00:00+00' + interval '{n} minutes'\n"
        "FROM rental r JOIN inventory i USING (inventory_id) JOIN film f USING (film_id)\n"
        "WHERE r.rental_id IN ({rental}, {rental2}) ORDER BY r.rental_id",
    ),
    values=Target(
        table="film",
        name="public.film",
        column="rental_rate",
        wheres=(
            "rating = 'PG'",
            "rental_duration = 3",
            "length < 80",
            "film_id BETWEEN 100 AND 300",
        ),
        keys="SELECT film_id FROM film",
        here=(
            "UPDATE film SET rental_rate = {money} WHERE film_id = {key}",
            "UPDATE film SET rental_rate = rental_rate + 0.5 WHERE film_id = {key}",
        ),
        near=(
            "UPDATE film SET replacement_cost = replacement_cost + 1 WHERE film_id = {key}",
            "UPDATE film SET title = title || ' {n}' WHERE film_id = {key}",
        ),
        constants=("3.49", "1.19", "5.49"),
    ),
    rows=Target(
        table="film_category",
        name="public.film_category",
        column="",
        wheres=("category_id = 5", "film_id < 60", "category_id IN (2, 9)"),
        keys="SELECT film_id FROM film_category",
        here=("UPDATE film_category SET category_id = category_id % 16 + 1 WHERE film_id = {key}",),
        near=("UPDATE film SET length = length + 1 WHERE film_id = {key}",),
    ),
    places=Places(
        key="film_id",
        predicates=("rental_duration", "length", "film_id"),
        sibling="replacement_cost",
        texts=Column("film", "public.film", "description", "film_id"),
        codes=Column("address", "public.address", "postal_code", "address_id"),
        times=Column("rental", "public.rental", "return_date", "rental_id"),
        shift="interval '3 hours'",
        batch=Batch(
            "actor",
            "public.actor",
            ("first_name", "last_name"),
            "('FIRST{k}', 'LIST {n}')",
            (0, 1),
        ),
        merge=Merge(
            Column("customer", "public.customer", "last_name", "customer_id"),
            "rental",
            "public.rental",
            "customer_id",
            delete=False,
        ),
        spare=("film_category", "public.film_category"),
        droppable=Column("address", "public.address", "address2", "address_id"),
        entity=Column("actor", "public.actor", "last_name", "actor_id"),
        serial=Serial(
            "category_category_id_seq", "INSERT INTO category (name) VALUES ('Late {n}')"
        ),
    ),
    touched=frozenset(
        {
            ("public.film", "last_update"),
            ("public.address", "last_update"),
            ("public.rental", "last_update"),
            ("public.customer", "last_update"),
            ("public.actor", "last_update"),
            ("public.film_category", "last_update"),
        }
    ),
)
