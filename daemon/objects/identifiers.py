"""The syntax of names, label keys and label values, as Kubernetes has it."""

import re
from typing import Final

SUBDOMAIN: Final = (
    "at most 253 characters: a-z, 0-9, '-' and '.', each part starting and ending with a letter or digit"
)
LABEL: Final = "at most 63 characters: a-z, 0-9 and '-', starting and ending with a letter or digit"
LABEL_KEY: Final = (
    "a name of at most 63 letters, digits, '-', '_' or '.', with an optional DNS prefix and '/'"
)
LABEL_VALUE: Final = (
    "empty, or at most 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit"
)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def is_subdomain(text: str) -> bool:
    """Tell whether *text* can name an object (RFC 1123 subdomain)."""
    return len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Tell whether *text* can name a namespace (RFC 1123 label)."""
    return len(text) <= 63 and _LABEL.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """Tell whether *text* can be the key of a label or an annotation."""
    prefix, slash, name = text.rpartition("/")
    return len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None and (not slash or is_subdomain(prefix))


def is_label_value(text: str) -> bool:
    """Tell whether *text* can be the value of a label."""
    return text == "" or (len(text) <= 63 and _QUALIFIED.fullmatch(text) is not None)
