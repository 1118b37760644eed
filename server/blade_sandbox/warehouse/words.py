"""Reads a command word by word."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot.tokenizer_core import Token, TokenType

from blade_sandbox.warehouse.errors import SqlError, syntax_error


class Words:
    """A position in the tokens of one statement."""

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

    def name(self, *, parts: int = 3) -> tuple[str, ...]:
        """A dotted name of up to so many parts. Raises SqlError if there is none or it is longer."""
        found = [self._part()]
        while (token := self.peek()) is not None and token.token_type == TokenType.DOT:
            self.next()
            found.append(self._part())
        if len(found) > parts:
            raise syntax_error(found[-1])
        return tuple(found)

    def try_name(self) -> tuple[str, ...] | None:
        """A dotted name if one is next; None, and nothing consumed, if not."""
        at = self._at
        try:
            return self.name()
        except SqlError:
            self._at = at
            return None

    def number(self) -> str:
        """Digits. Raises SqlError if none are next."""
        token = self.next()
        if not token.text.isdigit():
            raise syntax_error(token.text)
        return token.text

    def _part(self) -> str:
        token = self.next()
        if token.token_type == TokenType.IDENTIFIER:
            return token.text
        if token.token_type == TokenType.STRING or not token.text.replace("_", "a").isalnum():
            raise syntax_error(token.text)
        return token.text

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
