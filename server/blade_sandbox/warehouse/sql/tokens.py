"""The tokens of one statement: as a whole, and read one by one where sqlglot has no grammar for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlglot
import sqlglot.errors
from sqlglot.tokenizer_core import Token, TokenType

from blade_sandbox.warehouse.errors import SqlError, syntax_error


def tokenize(text: str) -> StatementTokens:
    """The tokens of one statement, without a semicolon at its end.

    Raises:
        SqlError: an unclosed quote, nothing at all, or more than one statement.
    """
    try:
        tokens = list(sqlglot.tokenize(text, read="databricks"))
    except sqlglot.errors.TokenError as exc:
        raise syntax_error("", str(exc).splitlines()[0]) from exc
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise SqlError("PARSE_EMPTY_STATEMENT", "42617", "Syntax error, unexpected empty statement.")
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise syntax_error(";", "A request holds exactly one statement.")
    return StatementTokens(text=text, tokens=tokens)


@dataclass(frozen=True, kw_only=True)
class StatementTokens:
    """One statement, with at least one token."""

    text: str
    tokens: Sequence[Token]

    @property
    def keyword(self) -> str:
        """The first word in upper case; empty if it is in quotes, and so no keyword."""
        first = self.tokens[0]
        return "" if first.token_type in (TokenType.STRING, TokenType.IDENTIFIER) else first.text.upper()

    @property
    def words(self) -> list[str]:
        """All tokens in upper case. sqlglot makes one token of everything after SHOW."""
        return [token.text.upper() for token in self.tokens]

    def after_keyword(self) -> TokenReader:
        """Reads what follows the first word; it is taken apart again, for the reason ``words`` names."""
        rest = self.text[self.tokens[0].end + 1 : self.tokens[-1].end + 1]
        return TokenReader(rest, list(sqlglot.tokenize(rest, read="databricks")))


class TokenReader:
    """Reads a command word by word: a position in its tokens."""

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0

    def next(self) -> Token:
        """The next token, consumed. Raises SqlError at the end."""
        if self._at >= len(self._tokens):
            raise syntax_error("")
        self._at += 1
        return self._tokens[self._at - 1]

    def peek(self) -> Token | None:
        """The next token, not consumed; None at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def accept(self, *words: str) -> bool:
        """Consume these words if they are next, all or none."""
        ahead = self._tokens[self._at : self._at + len(words)]
        text = [token.text.upper() for token in ahead]
        # sqlglot makes one token of some pairs of words.
        joined = " ".join(text[:1]).split()
        if joined == list(words) and len(words) > 1:
            self._at += 1
            return True
        if text != list(words) or any(token.token_type == TokenType.STRING for token in ahead):
            return False
        self._at += len(words)
        return True

    def accept_any(self, *words: str) -> bool:
        """Consume one of these words if it is next."""
        return any(self.accept(word) for word in words)

    def expect(self, word: str) -> None:
        """Consume this word. Raises SqlError if it is not next."""
        if not self.accept(word):
            raise syntax_error(self.next().text)

    def name(self, *, parts: int = 3) -> tuple[str, ...]:
        """A dotted name of up to so many parts. Raises SqlError if there is none or it is longer."""
        found = [self._part()]
        while (token := self.peek()) is not None and token.token_type == TokenType.DOT:
            self.next()
            found.append(self._part())
        if len(found) > parts:
            raise syntax_error(found[-1])
        return tuple(found)

    def try_name(self, *, parts: int = 3) -> tuple[str, ...] | None:
        """A dotted name of up to so many parts if one is next; None, and nothing consumed, if not."""
        at = self._at
        try:
            return self.name(parts=parts)
        except SqlError:
            self._at = at
            return None

    def number(self) -> int:
        """A whole number. Raises SqlError if none is next."""
        token = self.next()
        if not token.text.isdigit():
            raise syntax_error(token.text)
        return int(token.text)

    def string(self) -> str:
        """A string in quotes. Raises SqlError if none is next."""
        token = self.next()
        if token.token_type != TokenType.STRING:
            raise syntax_error(token.text)
        return token.text

    def rest(self) -> str:
        """All remaining text as written."""
        token = self.peek()
        self._at = len(self._tokens)
        return "" if token is None else self._text[token.start : self._tokens[-1].end + 1].strip()

    def end(self) -> None:
        """Raises SqlError unless everything has been read."""
        token = self.peek()
        if token is not None:
            raise syntax_error(token.text)

    def _part(self) -> str:
        token = self.next()
        if token.token_type == TokenType.IDENTIFIER:
            return token.text
        if token.token_type == TokenType.STRING or not token.text.replace("_", "a").isalnum():
            raise syntax_error(token.text)
        return token.text
