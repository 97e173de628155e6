from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.debug import page
from daemon.debug.markup import Html, element
from daemon.debug.views import NodeView, PullView
from tests.fakes.node import NOW, busy_view, empty_view, troubled_view


class Outline(HTMLParser):
    """The tags, attributes and text of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(html: str) -> Outline:
    read = Outline()
    read.feed(html)
    read.close()
    return read


@given(st.text(), st.text())
def test_text_and_attributes_come_out_as_they_went_in(text: str, value: str) -> None:
    # A browser reads these as line feeds and the like; the parser here would replace them.
    plain = "".join(char for char in text if char.isprintable())
    kept = "".join(char for char in value if char.isprintable())

    read = outline(element("p", plain, title=kept))

    assert read.tags == ["p"]
    assert read.text == plain
    assert read.attributes == [("title", kept)]


def test_only_markup_is_left_as_it_is() -> None:
    assert (
        element("p", "<b>", Html("<br>"), None, 3, ["&", Html("<i></i>")])
        == "<p>&lt;b&gt;<br>3&amp;<i></i></p>"
    )


def test_attributes_are_named_as_in_html() -> None:
    assert element("td", class_="a", aria_label='"x"', hidden=True, open=False, id=None) == (
        '<td class="a" aria-label="&quot;x&quot;" hidden></td>'
    )


@given(
    st.builds(
        PullView,
        image=st.text(),
        phase=st.just("Failed"),
        reason=st.text(),
        message=st.text(),
        remedy=st.text(),
        owners=st.tuples(st.text()),
    )
)
def test_no_data_adds_a_tag_to_the_page(pull: PullView) -> None:
    plain = PullView(
        image="a/b/c@d", phase="Failed", reason="a", message="a", remedy="a", owners=("a",), created_at=NOW
    )

    tags = set(outline(page.document(view_of(pull))).tags)

    assert tags <= set(outline(page.document(view_of(plain))).tags)


def view_of(pull: PullView) -> NodeView:
    return replace(empty_view(), pulls=(pull,))


def test_every_view_has_a_page() -> None:
    for view in (empty_view(), busy_view(), troubled_view()):
        tags = outline(page.document(view)).tags
        assert tags.count("h1") == 1
        assert tags.count("script") == 1
