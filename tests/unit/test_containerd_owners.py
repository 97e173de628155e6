"""The value of our label: it can always be read back, and tells when nobody is left."""

from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.containerd.owners import Owners, owners_in

refs = st.sampled_from(["nginx", "nginx:1", "registry.test:5000/app@sha256:00", "a/b"])
owners = st.builds(Owners, st.frozensets(refs), st.booleans())


@given(owners.filter(lambda some: bool(some.refs)))
def test_what_was_written_is_read_back(some: Owners) -> None:
    assert owners_in(str(some)) == some


@given(owners.filter(lambda some: not some.refs))
def test_nobody_leaves_no_label(some: Owners) -> None:
    assert str(some) == ""


@given(owners, refs)
def test_whoever_joins_is_in_and_whoever_leaves_is_out(some: Owners, ref: str) -> None:
    joined = some.joined_by(ref)

    left = joined.left_by(ref)

    assert ref in joined.refs
    assert ref not in left.refs
    assert left.refs == some.refs - {ref}
    assert left.shared == some.shared


def test_a_label_of_nobody_has_no_owners() -> None:
    assert owners_in("") == Owners()
