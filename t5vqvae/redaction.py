"""The one redaction: what is printed, tracked or stored passes through it and loses the passwords in its URLs.

User and password of a URL are left out; values of token-like query parameters, of such variables and of HTTP
credentials become `***`. Malformed URLs lose theirs, too: a parser would raise and print the password in its message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECRET_NAME = (
    r"[\w.\-%]*(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|key(?:_?id)?|signature|credentials?|auth|odbc_connect)"
)
_PLACE = r"(?=[\w\[%])"
"""What follows a password's `@`: the start of a host."""

# Up to the last @ of the authority: `http://user:p@ss@host`. A name alone may be a token, but not where it names a
# container (`abfs://container@account`) or who logs in by a key.
_USER = re.compile(
    r"(?<!\babfs)(?<!\babfss)(?<!\bwasbs)(?<!\bsftp)(?<!\bssh)://[^\s/?#]*@|(?<=://)[^\s/?#:]*:[^\s/?#]*@"
)
# A database's address has no @ behind its host, so digits before a slash are no port.
_DIGITS = re.compile(
    rf"(?P<scheme>\b(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle)(?:\+\w+)?://)[^\s:/?#\[@]*:\d[^\s@]*@{_PLACE}"
)
# A password with / ? # or white space in it: what follows the first colon is no port.
_ODD_PASSWORD = re.compile(
    rf"(?<=://)[^\s:/?#\[@]*:(?!\d+(?:[/?#\s,;:.)\]'\"]|$))(?:\S*@|[^\n@]{{0,100}}@{_PLACE})", re.MULTILINE
)
# Without `://`: `user:password@host`, `http:/user:password@host`. Paths (`/tmp/a:b@c`, `sqlite:///a:b@c`) stay.
_BARE = re.compile(
    rf"(?:^|(?<=[\s'\"=(,;]))(?P<scheme>(?:(?!sqlite|file)[A-Za-z][\w+.\-]*:[/\\]{{1,3}}|[/\\]{{2,3}})?)"
    rf"[^\s:/\\@'\"=(,;]*:[^\s/@]+@{_PLACE}",
    re.MULTILINE,
)
# A URL that became a path: `/work/http:/user:password@host`.
_PATH = re.compile(rf"(?<=[A-Za-z0-9]:/)[^\s/@:]*:[^\s/@]*@{_PLACE}")
_QUERY = re.compile(
    rf"(?P<name>[?&;](?:{_SECRET_NAME}|sig|code)=)[^&\s#]*?(?=['\"`)>\],.;:]*(?:[&\s#]|$))",
    re.IGNORECASE | re.MULTILINE,
)
_VARIABLE = re.compile(
    r"(?<![?&;\w])(?P<name>(?:\w*(?:PASSWORD|PASSWD|SECRET|SECRET_KEY|ACCESS_KEY|API_KEY|_TOKEN"
    r"|password|api_key|access_key|secret_key|client_secret|access_token|auth_token)|passwd|pwd))"
    r"(?P<equals>=)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s&'\"]+)"
)
_CREDENTIALS = re.compile(r"(?P<name>\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/=._~\-]{6,}")


def redacted(text: str) -> str:
    """Returns a text whose URLs have no user, password or token; a text without them as it is.

    It is idempotent: what it returns stays the same when it is given again.
    """
    if "@" in text:
        text = _USER.sub(lambda found: "://" if found[0].startswith("://") else "", text)
        text = _DIGITS.sub(r"\g<scheme>", text)
        for pattern in (_ODD_PASSWORD, _PATH):
            text = pattern.sub("", text)
        text = _BARE.sub(r"\g<scheme>", text)
    if "=" in text:
        text = _QUERY.sub(r"\g<name>***", text)
        text = _VARIABLE.sub(r"\g<name>=***", text)
    return _CREDENTIALS.sub(r"\g<name>***", text)


def redacted_values(values: Any) -> Any:
    """Returns plain nested values in which every text is redacted; names stay."""
    if isinstance(values, str):
        return redacted(values)
    if isinstance(values, Mapping):
        return {name: redacted_values(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(redacted_values(value) for value in values)
    return values
