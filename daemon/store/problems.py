"""What is wrong with a file, told so that a person can mend it. The process around shows it as it likes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a document, or a whole file, is not used as it stands. Never holds a Secret's value."""

    file: str
    """As the user knows it: the name inside the manifest directory, or a path of the state directory."""
    line: int
    """From 1; of the offending field where known, else of its document."""
    message: str
    object: str = ""
    """Kind, namespace and name, as far as known."""
    field: str = ""
    value: str = ""
    allowed: str = ""

    def __str__(self) -> str:
        parts = (f"{self.file}:{self.line}:", self.object, self.field, self.value, self.message)
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return " ".join(filter(None, parts)) + allowed
