"""A music shop whose names are in mixed case and whose keys are given, not drawn."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Suite, Target

CHINOOK = Suite(
    name="chinook",
    file="chinook.sql",
    samples=(
        ("track", 'SELECT "TrackId" FROM "Track"'),
        ("customer", 'SELECT "CustomerId" FROM "Customer"'),
        ("invoice", 'SELECT "InvoiceId" FROM "Invoice"'),
        ("album", 'SELECT "AlbumId" FROM "Album"'),
        ("artist", 'SELECT "ArtistId" FROM "Artist"'),
    ),
    work=(
        """UPDATE "Customer" SET "Phone" = '+{n} 55' WHERE "CustomerId" = {customer}""",
        """UPDATE "Customer" SET "Company" = 'Firm {n}' WHERE "CustomerId" = {customer}""",
        """UPDATE "Customer" SET "SupportRepId" = 3 WHERE "Country" = 'Brazil'
AND "CustomerId" > {i}""",
        """UPDATE "Track" SET "Composer" = 'Composer {n}' WHERE "TrackId" = {track}""",
        """UPDATE "Track" SET "Name" = "Name" || ' (live {n})' WHERE "AlbumId" = {album}""",
        """UPDATE "Track" SET "Milliseconds" = "Milliseconds" + {i} WHERE "TrackId" = {track}""",
        """UPDATE "Track" SET "Bytes" = "Bytes" * 1.05 WHERE "GenreId" = 2
AND "TrackId" % 10 = {i}""",
        """UPDATE "Album" SET "Title" = "Title" || ' {n}' WHERE "AlbumId" = {album}""",
        """UPDATE "Artist" SET "Name" = 'Artist {n}' WHERE "ArtistId" = {artist}""",
        """UPDATE "Invoice" SET "BillingCity" = 'City {n}' WHERE "InvoiceId" = {invoice}""",
        """UPDATE "Invoice" SET "BillingState" = 'S{n}' WHERE "CustomerId" = {customer}""",
        """INSERT INTO "Artist" ("ArtistId", "Name") VALUES ({n} + 1000, 'Новый артист {n}')""",
        """INSERT INTO "Playlist" ("PlaylistId", "Name") VALUES ({n} + 1000, 'List {n}');
INSERT INTO "PlaylistTrack" ("PlaylistId", "TrackId") VALUES ({n} + 1000, {track})""",
        """UPDATE "Album" SET "ArtistId" = {artist} WHERE "AlbumId" IN
(SELECT "AlbumId" FROM "Track" WHERE "TrackId" = {track})""",
        """UPDATE "Customer" SET "Email" = lower("Email") || '.{n}'
WHERE "CustomerId" = {customer}""",
    ),
    downstream=(
        """INSERT INTO "Invoice" ("InvoiceId", "CustomerId", "InvoiceDate", "Total")
VALUES ({n} + 5000, {customer}, timestamp '2026-01-10 00:00', 0);
INSERT INTO "InvoiceLine" ("InvoiceLineId", "InvoiceId", "TrackId", "UnitPrice", "Quantity")
SELECT {n} * 10 + 50000 + row_number() OVER (ORDER BY "TrackId"), {n} + 5000, "TrackId",
"UnitPrice", {i} FROM "Track" WHERE "TrackId" IN ({track}, {track2}) ORDER BY "TrackId";
UPDATE "Invoice" SET "Total" = (SELECT sum("UnitPrice" * "Quantity") FROM "InvoiceLine" l
WHERE l."InvoiceId" = "Invoice"."InvoiceId") WHERE "InvoiceId" = {n} + 5000""",
    ),
    values=Target(
        table='"Track"',
        name="public.Track",
        column='"UnitPrice"',
        wheres=('"GenreId" = 3', '"MediaTypeId" = 2', '"AlbumId" < 60', '"Milliseconds" > 900000'),
        keys='SELECT "TrackId" FROM "Track"',
        here=(
            'UPDATE "Track" SET "UnitPrice" = {money} WHERE "TrackId" = {key}',
            'UPDATE "Track" SET "UnitPrice" = "UnitPrice" + 0.5 WHERE "TrackId" = {key}',
        ),
        near=(
            'UPDATE "Track" SET "Bytes" = "Bytes" + {n} WHERE "TrackId" = {key}',
            """UPDATE "Track" SET "Composer" = 'By {n}' WHERE "TrackId" = {key}""",
        ),
        constants=("1.29", "0.79", "2.49"),
    ),
    rows=Target(
        table='"InvoiceLine"',
        name="public.InvoiceLine",
        column="",
        wheres=('"InvoiceId" = 40', '"InvoiceLineId" > 2100', '"TrackId" < 200'),
        keys='SELECT "InvoiceLineId" FROM "InvoiceLine"',
        here=('UPDATE "InvoiceLine" SET "Quantity" = {i} WHERE "InvoiceLineId" = {key}',),
        near=(
            """UPDATE "Invoice" SET "BillingCity" = 'N{n}' WHERE "InvoiceId" = {key} % 400 + 1""",
        ),
    ),
    places=Places(
        key='"TrackId"',
        predicates=('"GenreId"', '"MediaTypeId"', '"AlbumId"', '"TrackId"'),
        sibling='"Milliseconds"',
        texts=Column('"Track"', "public.Track", '"Name"', '"TrackId"'),
        codes=Column('"Customer"', "public.Customer", '"PostalCode"', '"CustomerId"'),
        times=Column('"Invoice"', "public.Invoice", '"InvoiceDate"', '"InvoiceId"'),
        shift="interval '3 hours'",
        batch=Batch(
            '"Customer"',
            "public.Customer",
            ('"CustomerId"', '"FirstName"', '"LastName"', '"Email"'),
            "({n} * 10000 + {k} + 100{run}, 'Gast{k}', 'Liste{n}', 'l{n}.{k}@example.org')",
            (1, 2),
        ),
        merge=Merge(
            Column('"Artist"', "public.Artist", '"Name"', '"ArtistId"'),
            '"Album"',
            "public.Album",
            '"ArtistId"',
        ),
        spare=('"PlaylistTrack"', "public.PlaylistTrack"),
        droppable=Column('"Track"', "public.Track", '"Composer"', '"TrackId"'),
        entity=Column('"Artist"', "public.Artist", '"Name"', '"ArtistId"'),
    ),
)
