"""Scripts are cut into statements exactly as psql would, wherever the reads happen to end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.sources.scanner import CommentPiece, CopyPiece, MetaPiece, Scanner, SqlPiece
from recovery.sources.stream import Broken

FILE = Path("dump.sql")


def reading(text: bytes, size: int) -> Callable[[int], bytes]:
    """Reads that end every `size` bytes, so that every token is torn somewhere."""
    pieces = iter([text[at : at + size] for at in range(0, len(text), size)])
    return lambda _: next(pieces, b"")


def cut(text: bytes, size: int = 1 << 20) -> list[tuple[str, int, bytes]]:
    """(sort, line, text) of every piece; rows stand behind their COPY."""
    scanner = Scanner(FILE, reading(text, size))
    found: list[tuple[str, int, bytes]] = []
    for piece in scanner.pieces():
        match piece:
            case SqlPiece():
                found.append(("sql" if piece.ended else "open", piece.line, piece.sql))
            case CommentPiece():
                found.append(("comment", piece.line, piece.text))
            case MetaPiece():
                found.append(("meta", piece.line, piece.text))
            case CopyPiece():
                found.append(("copy", piece.line, piece.sql))
                assert text[piece.offset - 1 : piece.offset] == b"\n"
                found.append(("rows", scanner.line, b"".join(scanner.rows())))
    return found


STATEMENTS = [
    b"SELECT 1",
    b"SELECT 'a;b'",
    b"SELECT 'it''s; \\'",
    rb"SELECT E'a\';b\\'",
    b"SELECT e'\\\\;', 'plain\\'",
    b'SELECT "odd;""name"',
    b"SELECT $$a;b$$",
    b"SELECT $tag$ $$ ; $other$ ; $tag$",
    b"SELECT a$b$c FROM t",
    "SELECT 'имя;' AS \"и;мя\", $ж$;$ж$".encode(),
    b"SELECT /* a ; /* nested ; ' */ \" */ 2",
    b"SELECT 3 -- it's ; here\n + 4",
    b"CREATE RULE r AS ON INSERT TO v DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))",
    b"CREATE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT 1; SELECT CASE WHEN true THEN 1 END;"
    b"\nEND",
    b"CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES ('END;'); END",
    b"INSERT INTO t VALUES (1, 'a;b', '', 'x''y', E'\\'', NULL)",
    b"INSERT INTO public.t VALUES (-1, 'a--b', '/* ; */')",
    b"SELECT U&'\\0441;' UESCAPE '!'",
    b"SELECT B'1', X'1F', N'x;'",
    b"SELECT 1 - -1, 2 / 3, '\\'",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_every_awkward_statement_comes_out_whole(size: int) -> None:
    text = b";\n\n".join(STATEMENTS) + b";\n"
    assert [piece for _, _, piece in cut(text, size)] == STATEMENTS


def quoted_text(mark: str) -> st.SearchStrategy[str]:
    return st.text(alphabet="a;'\"$\\-/*(ж\n ", max_size=12).map(
        lambda text: mark + text.replace(mark, mark * 2) + mark
    )


escape_text = st.lists(
    st.sampled_from(["a", ";", "\\'", "\\\\", "''", '"', "$$", "--", "\n", "ж"]), max_size=8
).map(lambda parts: "E'" + "".join(parts) + "'")
dollar_text = st.tuples(
    st.sampled_from(["", "a", "_x1", "тег"]), st.text(alphabet="a;'\"\\-/*(ж\n ", max_size=12)
).map(lambda both: f"${both[0]}${both[1]}${both[0]}$")
comment = st.text(alphabet="a;'\"$\\(ж ", max_size=8).map(lambda text: f"/* {text} /* ; */ */")
line_comment = st.text(alphabet="a;'\"$\\(ж ", max_size=8).map(lambda text: f"--{text}\n")
word = st.sampled_from(["a", "t1", "=", ",", "(1)", "(b; c)", "7", "x$y", "-", "/", "ж", "END"])
part = st.one_of(
    quoted_text("'"), quoted_text('"'), escape_text, dollar_text, comment, line_comment, word
)
statement = st.lists(part, max_size=6).map(lambda parts: " ".join(["SELECT", *parts, "z"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(statement, max_size=6), st.integers(1, 40))
def test_random_statements_are_reassembled(statements: list[str], size: int) -> None:
    text = "".join(f"{sql};\n" for sql in statements).encode()
    line, expected = 1, []
    for sql in statements:
        expected.append(("sql", line, sql.encode()))
        line += sql.count("\n") + 1
    assert cut(text, size) == expected


SCRIPT = rb"""-- a comment; it's one
\restrict abc
SET standard_conforming_strings = off;
SELECT 'a\';b';
SET standard_conforming_strings = on;
COPY public.t (a, b) FROM stdin;
1	it's; not SQL
2	\\.
\.x	3
\.

COPY u FROM STDIN WITH (FORMAT csv);
\.
copy v (a) from stdin;
last
\.
\connect other
SELECT 2
"""


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
def test_comments_commands_and_rows_are_told_apart(size: int) -> None:
    assert cut(SCRIPT, size) == [
        ("comment", 1, b"a comment; it's one"),
        ("meta", 2, b"\\restrict abc"),
        ("sql", 3, b"SET standard_conforming_strings = off"),
        ("sql", 4, rb"SELECT 'a\';b'"),
        ("sql", 5, b"SET standard_conforming_strings = on"),
        ("copy", 6, b"COPY public.t (a, b) FROM stdin"),
        ("rows", 7, b"1\tit's; not SQL\n2\t\\\\.\n\\.x\t3\n"),
        ("copy", 12, b"COPY u FROM STDIN WITH (FORMAT csv)"),
        ("rows", 13, b""),
        ("copy", 14, b"copy v (a) from stdin"),
        ("rows", 15, b"last\n"),
        ("meta", 17, b"\\connect other"),
        ("open", 18, b"SELECT 2"),
    ]


def test_rows_with_cr_lf_and_an_end_mark_without_a_line_end() -> None:
    text = b"COPY t (a) FROM stdin;\r\n1\r\n\\.\r\nCOPY t (a) FROM stdin;\n2\n\\."
    assert [piece for _, _, piece in cut(text)] == [
        b"COPY t (a) FROM stdin",
        b"1\r\n",
        b"COPY t (a) FROM stdin",
        b"2\n",
    ]


def pieces_of(text: bytes) -> Iterator[object]:
    yield from Scanner(FILE, reading(text, 3)).pieces()


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (b"SELECT 1;\nSELECT 'a", "a text in quotes that begins in this statement never ends", 2),
        (b"SELECT E'a\\", "a text in quotes that begins in this statement never ends", 1),
        (b'SELECT "a', "a name in quotes that begins in this statement never ends", 1),
        (b"SELECT $x$ $$", "a dollar-quoted text that begins in this statement never ends", 1),
        (b"\n\n/* /* */", "a comment /* that begins here never ends", 3),
        (
            b"COPY t (a) FROM stdin;\n1\n2",
            "the file is cut off inside the rows of a COPY: it ends at byte 26 before the end "
            "mark \\.",
            3,
        ),
    ],
)
def test_what_never_ends_is_said_with_its_line(text: bytes, message: str, line: int) -> None:
    with pytest.raises(Broken) as raised:
        list(pieces_of(text))
    assert (raised.value.message, raised.value.problem.line) == (message, line)
