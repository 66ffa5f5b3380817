"""PostgreSQL's names of encodings and the codecs that decode them strictly."""

import re
from functools import cache

# SQL_ASCII says nothing about the bytes: text of statements is then taken as UTF-8 or refused.
_CODECS = {
    "UTF8": "utf-8",
    "UNICODE": "utf-8",
    "SQLASCII": "utf-8",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
    "WIN866": "cp866",
    "ALT": "cp866",
    "WIN874": "cp874",
    "KOI8": "koi8-r",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "ISO88595": "iso8859-5",
    "ISO88596": "iso8859-6",
    "ISO88597": "iso8859-7",
    "ISO88598": "iso8859-8",
    "EUCJP": "euc_jp",
    "EUCJIS2004": "euc_jis_2004",
    "EUCKR": "euc_kr",
    "EUCCN": "gb2312",
    "SJIS": "cp932",
    "SHIFTJIS2004": "shift_jis_2004",
    "BIG5": "cp950",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "UHC": "cp949",
    "JOHAB": "johab",
}


@cache
def codec(encoding: str) -> str:
    """The codec of PostgreSQL's `encoding`, '' when there is none."""
    return _CODECS.get(re.sub(r"[^A-Z0-9]", "", encoding.upper()), "")


@cache
def rows_checkable(encoding: str) -> bool:
    """True where the codec refuses exactly what the server would refuse: UTF-8."""
    return re.sub(r"[^A-Z0-9]", "", encoding.upper()) in {"UTF8", "UNICODE"}
