"""Images that come by the thousand are taken apart by patterns, and written down without a row
being put together: that tells the same as taking each by itself."""

from collections.abc import Iterator

import pytest

from recovery.replay import lines, pgoutput
from recovery.replay.images import Image, Images
from recovery.scratch.cluster import Cluster
from tests.replayed import Played, Stage, act, stage, strike

BACKUP = r"""
CREATE TABLE plain (id int PRIMARY KEY, a text, b numeric(8,2), c text);
INSERT INTO plain SELECT n, 'a' || n, n, CASE WHEN n % 3 = 0 THEN 'c' END
  FROM generate_series(-20, 1500) n;
CREATE TABLE "odd ""name, x" ("k,""1" text, k2 numeric(8,3), "v\" text,
  PRIMARY KEY ("k,""1", k2));
INSERT INTO "odd ""name, x" SELECT CASE n % 5 WHEN 0 THEN E'q"\\' || n WHEN 1 THEN E'new\nline' || n
  WHEN 2 THEN 'жук, ' || n WHEN 3 THEN '' || n ELSE repeat('long', 15 + n % 4) || n END,
  n % 7 * 0.5, E'\t"' || n FROM generate_series(1, 1500) n;
CREATE TABLE bag (a text, n int);
INSERT INTO bag SELECT 'b' || n % 50, n % 3 FROM generate_series(1, 900) n;
CREATE TABLE wide (id bigint PRIMARY KEY, big text, v int);
ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
INSERT INTO wide SELECT n, repeat('x', 2500), n FROM generate_series(1, 700) n;
CREATE TABLE priced (id int PRIMARY KEY, n int, total int GENERATED ALWAYS AS (n * 2) STORED);
INSERT INTO priced SELECT n, n FROM generate_series(1, 700) n;
"""
HISTORY = (
    act("plain", "UPDATE plain SET b = b + 0.5, c = 'd' WHERE id < 1000"),
    act("null", "UPDATE plain SET a = NULL, b = NULL, c = NULL WHERE id % 2 = 0"),
    act("back", "UPDATE plain SET c = E'\"quoted\"\\n' || id WHERE id % 2 = 0"),
    act("same", "UPDATE plain SET a = a"),
    act("keys", "UPDATE plain SET id = id + 5000 WHERE id % 10 = 0"),
    act("gone", "DELETE FROM plain WHERE id % 3 = 0"),
    act("come", "INSERT INTO plain SELECT n, 'n', n, NULL FROM generate_series(9000, 9900) n"),
    act("odd", 'UPDATE "odd ""name, x" SET "v\\" = "v\\" || $$"!$$'),
    act("odd2", 'UPDATE "odd ""name, x" SET k2 = k2 + 1 WHERE k2 < 2; '
        'DELETE FROM "odd ""name, x" WHERE k2 > 2'),
    act("bag", "UPDATE bag SET n = n + 1; DELETE FROM bag WHERE n = 2"),
    act("wide", "UPDATE wide SET v = v + 1; UPDATE wide SET big = 'short' WHERE v % 2 = 0"),
    act("priced", "UPDATE priced SET n = n + 1"),
    act("mixed", "UPDATE plain SET a = repeat('l', id % 130) WHERE id > 0; TRUNCATE bag"),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    found = stage(scratch, "replay_images", tmp_path_factory.mktemp("replay"), BACKUP)
    yield found
    strike(found)


def played(made: Stage, seen_min: int, *, singly: bool = False) -> tuple[Played, int]:
    """Also how many rows were taken by patterns."""
    made.ground.suspects.clear()
    took = 0
    plan = lines.Book._plan

    def noting(self, found, many):
        nonlocal took
        took += many if isinstance(found, Images) else 0
        return plan(self, found, many)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pgoutput, "_SEEN_MIN", seen_min)
        patch.setattr(lines.Book, "_plan", noting)
        if singly:
            patch.setattr(lines._Plan, "key", lambda self, row, many: None)
        return made.play(*HISTORY), took


def test_many_images_tell_what_each_tells(made: Stage) -> None:
    known, took = played(made, 1 << 60)
    assert took == 0
    assert known.failures == {}
    assert set(known.complete.values()) == {True}
    assert len(known.effects) > 20_000
    for seen_min in (0, 500):
        found, took = played(made, seen_min)
        assert took > 5_000
        assert found == known
    found, _ = played(made, 0, singly=True)
    assert found == known


def test_a_pattern_fits_nothing_else() -> None:
    def row(*texts: bytes | None) -> bytes:
        cells = (b"n" if one is None else b"t" + len(one).to_bytes(4, "big") + one for one in texts)
        return len(texts).to_bytes(2, "big") + b"".join(cells)

    relation = b"R\0\0\0\1public\0t\0f" + (2).to_bytes(2, "big")
    relation += b"".join(b"\0" + name + b"\0" + bytes(8) for name in (b"a", b"b"))
    update = b"U\0\0\0\1O"
    messages = [
        update + row(b"1", b"t\0\0\0\1x") + b"N" + row(b"1", b"t\0\0\0\1xN\0\2"),
        update + row(b"", None) + b"N" + row(None, b""),
        update + row(b"x" * 63, b"y" * 64) + b"N" + row(b"x" * 300, None),
        update + row(b"1", b"2") + b"N" + (2).to_bytes(2, "big") + b"t\0\0\0\0011u",
        b"U\0\0\0\1K" + row(b"1", None) + b"N" + row(b"2", b"3"),
        b"U\0\0\0\1N" + row(b"2", b"3"),
        b"I\0\0\0\1N" + row("ж".encode(), b"\n"),
        b"D\0\0\0\1O" + row(None, b"\0\0\0"),
        b"D\0\0\0\1K" + row(b"1", None),
    ]
    shown = []
    for seen_min in (0, 1 << 60):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pgoutput, "_SEEN_MIN", seen_min)
            changes = list(pgoutput.Decoder().decode([relation, *messages]))
        images = [
            one
            for change in changes
            for one in (change.each() if isinstance(change, Images) else [change])
        ]
        assert len(images) == len(messages)
        shown.append([
            (one.op, one.names, one.old, one.new, one.whole)
            for one in images if isinstance(one, Image)
        ])  # fmt: skip
    assert shown[0] == shown[1]
    assert shown[0][0][2:4] == ({"a": "1", "b": "t\0\0\0\1x"}, {"a": "1", "b": "t\0\0\0\1xN\0\2"})
    assert shown[0][1][2:4] == ({"a": "", "b": None}, {"a": None, "b": ""})
    assert shown[0][3][3:] == ({"a": "1", "b": "2"}, True)
    assert [one[4] for one in shown[0]] == [True, True, True, True, False, False, True, True, False]
