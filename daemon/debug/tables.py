"""Tables that stay tables for assistive technology when a narrow window lays them out as cards. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from daemon.debug.markup import Child, Html, element


@dataclass(frozen=True, slots=True)
class Form:
    """What the tables of one kind look like. The first column names the row."""

    kind: str
    caption: str
    columns: Sequence[str]
    numbers: Collection[str] = field(default=())
    """Columns whose text stands at the right."""

    def table(self, rows: Iterable[Html], *, grouped: bool = False) -> Html:
        """All *rows*; *grouped* ones bring their row groups along."""
        headings = [
            element("th", name, scope="col", role="columnheader", class_=self._classes(name))
            for name in self.columns
        ]
        return element(
            "table",
            element("caption", self.caption, class_="unseen"),
            element("thead", element("tr", *headings, role="row"), role="rowgroup"),
            rows if grouped else element("tbody", *rows, role="rowgroup"),
            class_=self.kind,
            role="table",
        )

    def row(self, key: str | None, *cells: Child, state: str | None = None) -> Html:
        """One row; *key* tells it from the others, *state* is read out when it changes."""
        first, *others = zip(self.columns, cells, strict=True)
        return element(
            "tr",
            element("th", first[1], scope="row", role="rowheader", class_=self._classes(first[0])),
            *(
                element("td", content, role="cell", class_=self._classes(name), data_label=name)
                for name, content in others
            ),
            role="row",
            data_key=key,
            data_state=state,
        )

    def _classes(self, name: str) -> str:
        return f"c-{name.lower()}{' number' if name in self.numbers else ''}"
