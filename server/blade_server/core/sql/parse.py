"""Text -> syntax tree in the warehouse's dialect, and back, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import ClassVar

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError, UnsupportedError
from sqlglot.tokenizer_core import Token, TokenType

from blade_server.errors import Invalid, Reason

MAX_SQL_BYTES = 256 * 1024
MAX_FILTER_BYTES = 64 * 1024

MAX_NESTING = 30
"""Most brackets and CASEs inside each other. The parser takes some 20 stack frames for each, of Python's 1000."""

_DATABRICKS = Dialect.get_or_raise("databricks")
_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_AMBIGUOUS = {TokenType.RAW_STRING, TokenType.HEREDOC_STRING, TokenType.HINT, TokenType.UNICODE_STRING}
"""Tokens whose end the warehouse may see elsewhere than the parser does."""

_CHANGED = "cannot be written for the warehouse without another meaning; is there a name with odd characters in it?"


def invalid(field: str, description: str) -> Invalid:
    """The error for all that is wrong with SQL in a field."""
    return Invalid.field(field, description, reason=Reason.INVALID_SQL)


@dataclass(frozen=True)
class Parsed:
    """A query or condition as a tree and as its tokens; `text` is what their positions refer to."""

    tree: exp.Expr
    tokens: Sequence[Token]
    text: str


def parse_query(text: str, *, field: str) -> Parsed:
    """Exactly one query: a SELECT, with WITH, UNION and brackets as you like.

    Raises:
        Invalid: too long, nested too deeply, a syntax error, no query, or more than one statement.
    """
    text, tokens = _tokens(text, field, MAX_SQL_BYTES)
    if tokens and tokens[0].token_type == TokenType.VAR:  # no query begins with a mere name
        raise invalid(field, _no_beginning(tokens[0].text))
    with _reported(field):
        statements = [tree for tree in _DATABRICKS.parser().parse(tokens, text) if tree is not None]
    if not statements:
        raise invalid(field, "is empty; it must be one SELECT")
    if len(statements) > 1:
        raise invalid(field, f"holds {len(statements)} statements; it must be exactly one SELECT")
    tree = statements[0]
    if not isinstance(tree, exp.Query):
        raise invalid(field, f"is {_kind(tree)}, not a SELECT; only reading is allowed")
    return Parsed(tree, [token for token in tokens if token.token_type != TokenType.SEMICOLON], text)


def _no_beginning(word: str) -> str:
    like = get_close_matches(word.upper(), ("SELECT", "WITH"), n=1)
    words = f"did you mean {like[0]}?" if like else "not with SELECT; only reading is allowed"
    return f"begins with {word[:40]!r}, {words}"


def reparse(statement: str, *, field: str = "sql") -> Parsed:
    """A statement written by BLADE; it may be longer and deeper than what users may write.

    Raises:
        Invalid: it is not one query after all.
    """
    with _reported(field):
        tokens = _DATABRICKS.tokenize(statement)
        trees = _DATABRICKS.parser().parse(tokens, statement)
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise invalid(field, _CHANGED)
    return Parsed(trees[0], tokens, statement)


def reparse_condition(text: str, *, field: str) -> Parsed:
    """A condition in brackets written by BLADE.

    Raises:
        Invalid: it is not one condition in brackets and nothing else after all.
    """
    with _reported(field):
        tokens = _DATABRICKS.tokenize(text)
        found = [tree for tree in _DATABRICKS.parser().parse_into(exp.Condition, tokens, text) if tree is not None]
    if len(found) != 1 or not isinstance(found[0], exp.Paren) or any(token.comments for token in tokens):
        raise invalid(field, _CHANGED)
    return Parsed(found[0], tokens, text)


def parse_condition(text: str, *, field: str) -> Parsed:
    """One expression, for example `priority = :p AND due_date < '2024-06-01'`.

    Raises:
        Invalid: as for `parse_query`.
    """
    text, tokens = _tokens(text, field, MAX_FILTER_BYTES)
    with _reported(field):
        found = [tree for tree in _DATABRICKS.parser().parse_into(exp.Condition, tokens, text) if tree is not None]
    if len(found) != 1:
        raise invalid(field, "must be one boolean expression, for example `priority = 'HIGH'`")
    return Parsed(found[0], tokens, text)


class _Generator(type(_DATABRICKS.generator())):  # type: ignore[misc]
    """Writes what was read.

    The stock one is made for SQL that comes from another dialect: it moves WITH clauses to the top, where they can
    clash, and approximates percentiles.
    """

    EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()


_Generator.TRANSFORMS = {
    kind: write for kind, write in _Generator.TRANSFORMS.items() if kind not in (exp.Select, exp.Table, exp.WithinGroup)
}


def render(tree: exp.Expr, *, field: str = "sql") -> str:
    """The tree in the warehouse's dialect, every name in backticks, without comments.

    Raises:
        Invalid: it holds a construct that the dialect does not have, or is nested too deeply.
    """
    with _reported(field):
        writer = _Generator(dialect=_DATABRICKS, identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
        return str(writer.generate(tree))


def shown(node: exp.Expr, *, field: str) -> str:
    """A part of the tree as text, for messages."""
    with _reported(field):
        return str(node.sql("databricks"))


@dataclass(frozen=True)
class Edit:
    """A span of the text, both ends included, and what stands there instead."""

    start: int
    end: int
    text: str


def rewrite(parsed: Parsed, edits: Sequence[Edit | None], *, field: str = "sql") -> str:
    """The query with its edits, otherwise as it was written, token by token; the tree must hold the edits already.

    A tree written anew is not quite what the user wrote (functions are renamed, formats normalised), so that is only
    the way out when an edit cannot be placed. Comments and odd blanks go: the warehouse may see another end of a
    comment than the parser does.
    """
    if None not in edits and not any(token.token_type in _AMBIGUOUS for token in parsed.tokens):
        text = _joined(parsed, [edit for edit in edits if edit is not None])
        try:
            if reparse(text).tree == parsed.tree:
                return text
        except Invalid:
            pass
    return render(parsed.tree, field=field)


def _joined(parsed: Parsed, edits: Sequence[Edit]) -> str:
    replaced = {edit.start: edit for edit in edits}
    pieces: list[str] = []
    end = -1
    for token in parsed.tokens:
        if token.start <= end:
            continue
        if pieces and token.start > end + 1:
            pieces.append(" ")
        edit = replaced.get(token.start)
        end = edit.end if edit else token.end
        pieces.append(edit.text if edit else parsed.text[token.start : token.end + 1])
    return "".join(pieces)


def position(node: exp.Expr) -> str:
    """Where a name stands: ` at line 1, column 15`; nothing if it is not known."""
    for part in (node, *node.find_all(exp.Identifier)):
        meta = part.meta
        if "line" in meta and "start" in meta:
            return f" at line {meta['line']}, column {meta['col'] - (meta['end'] - meta['start'])}"
    return ""


def span(table: exp.Table) -> tuple[int, int] | None:
    """Where the name of a table stands in the text, both ends included."""
    first, last = table.parts[0].meta, table.parts[-1].meta
    return (first["start"], last["end"]) if "start" in first and "end" in last else None


def quoted(name: str) -> str:
    """A name in backticks."""
    return "`" + name.replace("`", "``") + "`"


def _tokens(text: str, field: str, max_bytes: int) -> tuple[str, list[Token]]:
    """The tokens of a text that is neither too long nor too deep, with `'it''s'` as one string.

    The parser takes it for two adjacent strings, as Spark before 4.0 did, which makes it `its`; the warehouses of today
    take it for `it's`, as all of SQL does (Spark's spark.sql.legacy.consecutiveStringLiterals.enabled).
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise invalid(field, f"is {size:,} bytes long; at most {max_bytes:,} are allowed")
    with _reported(field):
        tokens = _DATABRICKS.tokenize(text)
        characters = list(text)
        for left, right in pairwise(tokens):
            both = left.token_type == right.token_type == TokenType.STRING
            quote = text[right.start]
            if both and left.end + 1 == right.start and quote in "'\"" and text[left.end] == quote:
                characters[left.end] = "\\"
        joined = "".join(characters)
        tokens = tokens if joined == text else _DATABRICKS.tokenize(joined)
    _check_nesting(tokens, field)
    return joined, tokens


def _check_nesting(tokens: list[Token], field: str) -> None:
    depth = 0
    for token in tokens:
        if token.token_type in _OPENING:
            depth += 1
            if depth > MAX_NESTING:
                raise invalid(
                    field, f"is nested more than {MAX_NESTING} levels deep at line {token.line}, column {token.col}"
                )
        elif token.token_type in _CLOSING:
            depth -= 1


@contextmanager
def _reported(field: str) -> Iterator[None]:
    try:
        yield
    except ParseError as exc:
        raise invalid(field, _describe(exc)) from None
    except TokenError:
        raise invalid(field, "has a string, name or comment that does not end") from None
    except UnsupportedError as exc:
        raise invalid(field, f"cannot be written for the warehouse: {str(exc).splitlines()[0]}") from None
    except RecursionError:
        raise invalid(field, "is nested too deeply") from None
    except (AttributeError, LookupError, TypeError, ValueError):
        # The parser takes the arguments of the functions it knows for granted: MAP(a) is an IndexError.
        raise invalid(field, "cannot be read: a function in it has the wrong arguments") from None


def _describe(error: ParseError) -> str:
    details = error.errors[0] if error.errors else {}
    near = str(details.get("highlight") or "")
    column = int(details.get("col") or 0) - max(len(near) - 1, 0)
    what = str(details.get("description") or "cannot be parsed").split(" for <class")[0].rstrip(".")
    shown = near if len(near) <= 60 else near[:60] + "..."
    hint = " (a name with hyphens stands in `backticks`)" if near == "-" else ""
    return f"syntax error near {shown!r} at line {details.get('line')}, column {column}: {what}{hint}"


def _kind(tree: exp.Expr) -> str:
    if isinstance(tree, exp.Command):
        return f"the command {str(tree.this).upper()}"
    if isinstance(tree, exp.Condition | exp.Alias):
        return "an expression"
    name = tree.key.upper()
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
