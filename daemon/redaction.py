"""Takes credentials out of texts by their form: logs, errors and pages all go through here.

What is known by its name (a key of a mapping, a field) is the caller's to leave out; ``is_secret`` tells.
"""

import re
from typing import Final

REDACTED: Final = "***"

_NAMES: Final = (
    # Ends of names, such as X-Amz-Signature: looking for their beginnings would cost time squared.
    r"token|passw(?:or)?d|passphrase|secret|signature|credential|assertion|access_?key(?:_?id)?"
    r"|(?:private|api)_?key|dockerconfigjson|dockercfg|\bcookie|\bsig|\bauth"
)
_KEYS: Final = re.compile(
    r"(?i)pass(w(or)?d|phrase|$)|secret|token|(^|[-_.])auth$|authorization|credential|signature|cookie"
    r"|docker[-_]?(config|cfg)|(api|access|private)[-_]?key"
)
_SIGNS: Final = re.compile(rf"(?i)://|basic|bearer|{_NAMES}")
"""Each of the forms below has one of these in it: most texts have none, and are through after one look."""
_FORMS: Final = (
    # https://user:password@host/ -> the user is part of a credential too
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/\"'<>]+@"), rf"\1{REDACTED}@"),
    # Authorization headers, whatever their value looks like.
    (re.compile(r"(?i)(authorization\W{1,6}(?:basic|bearer)\s+)[^\s\"',\]}]+"), rf"\1{REDACTED}"),
    # Their values elsewhere: told from prose ("basic auth credentials") by what words do not have.
    (
        re.compile(
            r"((?i:\b(?:basic|bearer))[\s:]+)(?!realm\b)(?=[a-z]*[A-Z0-9+/=._~-])[A-Za-z0-9+/=._~-]{6,}"
        ),
        rf"\1{REDACTED}",
    ),
    # name="va lue", as in the repr of an object.
    (re.compile(rf"(?i)({_NAMES})=(b?)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"), rf"\1={REDACTED}"),
    # Queries and forms of token servers, and the signed URLs that blobs are redirected to: name=value.
    (re.compile(rf"(?i)({_NAMES})=[^\s&\"'<>,;)\]}}]+"), rf"\1={REDACTED}"),
    # JSON: "name": "value"; the same when it is quoted once more; and the repr of a dict.
    (re.compile(rf"(?i)({_NAMES})(\"\s*:\s*)\"(?:[^\"\\]|\\.)*\""), rf'\1\2"{REDACTED}"'),
    (
        re.compile(rf"(?i)({_NAMES})(\\\"\s*:\s*\\\")(?:[^\"\\]|\\\\(?:\\[\"\\]|.))*"),
        rf"\1\2{REDACTED}",
    ),
    (
        re.compile(rf"(?i)({_NAMES})('\s*:\s*)b?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"),
        rf"\1\2'{REDACTED}'",
    ),
    # A line of YAML, as parsers quote it in their complaints.
    (re.compile(rf"(?im)^([ \t]*(?:- )?[\w.-]*(?:{_NAMES})[ \t]*:[ \t]+)\S.*$"), rf"\1{REDACTED}"),
)


def redacted(text: str) -> str:
    """*text* without credentials: userinfo in URLs, Authorization values, tokens, passwords, signatures."""
    if _SIGNS.search(text) is None:
        return text
    for pattern, replacement in _FORMS:
        text = pattern.sub(replacement, text)
    return text


def is_secret(name: str) -> bool:
    """Tell whether a value of that name is a credential, or holds one."""
    return _KEYS.search(name) is not None
