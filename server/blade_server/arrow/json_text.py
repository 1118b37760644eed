"""JSON strings of a whole text column at once, in Arrow: no Python object for each, and no interpreter lock held."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import contents, fill_null, join_text, known_as, values

_TO_ESCAPE = r'["\\\x00-\x1f]'


def json_strings(texts: pa.StringArray) -> pa.StringArray:
    """Each text as a JSON string; null stays null."""
    quoted = in_quotes(texts)
    if is_plain(texts):
        return quoted
    to_escape = fill_null(pc.match_substring_regex(texts, _TO_ESCAPE), False)
    escaped = [orjson.dumps(text).decode() for text in values(texts.filter(to_escape))]
    return known_as(pa.StringArray, pc.replace_with_mask(quoted, to_escape, pa.array(escaped, pa.string())))


def in_quotes(texts: pa.StringArray) -> pa.StringArray:
    """Each text, which has nothing to escape, between quotes."""
    return join_text('"', texts, '"')


def is_printable(texts: pa.StringArray) -> bool:
    """Whether no text can have a control character: those beyond ASCII, U+0080 to U+009F, begin with the byte C2."""
    begins, data = contents(texts)
    letters = data[begins[0] : begins[-1]]
    return not bool(((letters < ord(" ")) | (letters == 0x7F) | (letters == 0xC2)).any())


def is_plain(texts: pa.StringArray) -> bool:
    """Whether no text has a character that JSON escapes.

    One look over all bytes takes a tenth of the time of a regular expression. Only ASCII is escaped, and no byte of a
    longer UTF-8 character is one of ASCII.
    """
    begins, data = contents(texts)
    letters = data[begins[0] : begins[-1]]
    return not bool(((letters < ord(" ")) | (letters == ord('"')) | (letters == ord("\\"))).any())
