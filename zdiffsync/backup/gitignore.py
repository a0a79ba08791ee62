"""One gitignore line as a rule over bytes, with git's own meaning.

Used by backup.excludes. Written here because pathspec takes more than git does (`x[!0-9]` across a
slash, directories that `!*/` takes back in), and what is excluded by mistake is not backed up.
Rule: the same answer as `git check-ignore`, byte by byte; a malformed pattern matches nothing.

Source: dir.c and wildmatch.c of git.
"""

import re
from dataclasses import dataclass
from typing import Self

_UNTRIMMED = re.compile(rb"(?:\\.|[^ \\]| (?! *$))*", re.DOTALL)
_CLASSES = {
    b"alnum": rb"[0-9A-Za-z]", b"alpha": rb"[A-Za-z]", b"blank": rb"[ \t]", b"cntrl": rb"[\0-\x1f\x7f]",
    b"digit": rb"[0-9]", b"graph": rb"[!-~]", b"lower": rb"[a-z]", b"print": rb"[ -~]",
    b"punct": rb"[!-/:-@\[-`{-~]", b"space": rb"[ \t-\r]", b"upper": rb"[A-Z]", b"xdigit": rb"[0-9A-Fa-f]",
}  # fmt: skip


class _MalformedError(Exception):
    """A pattern that git never finds to match."""


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """What one line says. `anchored` rules look at the whole path, others at its last name."""

    pattern: re.Pattern[bytes]
    include: bool
    directories_only: bool
    anchored: bool

    @classmethod
    def parse(cls, line: bytes) -> Self | None:
        """Return the rule of a line (no newline), None for a comment, a blank or a malformed one."""
        if line.startswith(b"#"):
            return None
        text = _trim(line.removesuffix(b"\r"))
        include = text.startswith(b"!")
        text = text[include:]
        directories_only = text.endswith(b"/")
        text = text[:-1] if directories_only else text
        if not text:
            return None
        try:
            pattern = re.compile(_Translator(text.removeprefix(b"/")).regex(), re.DOTALL)
        except _MalformedError:
            return None
        return cls(pattern, include, directories_only, b"/" in text)

    def matches(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether the rule is about this path, whatever it then says."""
        if self.directories_only and not directory:
            return False
        return self.pattern.fullmatch(path if self.anchored else path.rpartition(b"/")[2]) is not None


def _trim(line: bytes) -> bytes:
    match = _UNTRIMMED.match(line)
    assert match is not None, "it matches the empty string"
    # What is left may also be a backslash with nothing to escape: git then trims nothing.
    return line if line[match.end() :].strip(b" ") else match[0]


class _Translator:
    """Reads a wildmatch pattern from left to right."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def regex(self) -> bytes:
        """Return the same as a regular expression. Raises _MalformedError."""
        parts = []
        while self._at < len(self._text):
            start = self._at
            char = self._next()
            if char == b"*":
                parts.append(self._stars(start))
            elif char == b"?":
                parts.append(b"[^/]")
            elif char == b"[":
                parts.append(self._set())
            else:
                parts.append(re.escape(self._next() if char == b"\\" else char))
        return b"".join(parts)

    def _next(self) -> bytes:
        char = self._text[self._at : self._at + 1]
        if not char:
            raise _MalformedError
        self._at += 1
        return char

    def _stars(self, start: int) -> bytes:
        while self._text[self._at : self._at + 1] == b"*":
            self._at += 1
        after = self._text[self._at : self._at + 1]
        whole_name = (start == 0 or self._text[start - 1 : start] == b"/") and after in {b"", b"/"}
        if self._at - start == 1 or not whole_name:
            return b"[^/]*"
        if not after:
            return b".*"
        self._at += 1
        return b"(?:.*/)?"

    def _set(self) -> bytes:
        members: list[bytes] = []
        char = self._next()
        negated = char in {b"!", b"^"}
        char = self._next() if negated else char
        before = b""  # the member a range can start from
        while True:
            if char == b"[" and (name := self._class_name()) is not None:
                members.append(_CLASSES[name])
                before = b""
            elif char == b"-" and before and self._text[self._at : self._at + 1] not in {b"", b"]"}:
                end = self._member(self._next())
                members += [b"[" + re.escape(before) + b"-" + re.escape(end) + b"]"] if before <= end else []
                before = b""
            else:
                before = self._member(char)
                members.append(re.escape(before))
            if (char := self._next()) == b"]":
                break
        inside = b"|".join(members)
        return b"(?!" + inside + b")[^/]" if negated else b"(?!/)(?:" + inside + b")"

    def _member(self, char: bytes) -> bytes:
        return self._next() if char == b"\\" else char

    def _class_name(self) -> bytes | None:
        if self._text[self._at : self._at + 1] != b":":
            return None
        end = self._text.find(b"]", self._at + 1)
        if end < 0:
            raise _MalformedError
        if end == self._at + 1 or self._text[end - 1 : end] != b":":
            return None
        name = self._text[self._at + 1 : end - 1]
        if name not in _CLASSES:
            raise _MalformedError
        self._at = end + 1
        return name
