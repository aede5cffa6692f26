"""Many byte strings are looked for together, and none is overlooked, wherever it lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.log.masking import Masker
from taskrunner.log.needles import LONG, MANY, Needles

BYTES = st.text("ab", min_size=1, max_size=2 * LONG).map(str.encode)


def needles(*found: bytes) -> Needles:
    made = Needles()
    made.add(found)
    return made


def long_ones(number: int) -> list[bytes]:
    """Of the shortest length for which a gram is enough."""
    return [f"{at:02}abcdefghijklm".encode() for at in range(number)]


@given(st.lists(BYTES, min_size=MANY, max_size=3 * MANY), st.lists(BYTES, max_size=8).map(b"".join))
def test_it_finds_what_single_searches_find(many: list[bytes], text: bytes) -> None:
    assert needles(*many).any_in(text) is any(needle in text for needle in many)


@pytest.mark.parametrize("before", range(17))
@pytest.mark.parametrize("after", range(9))
def test_each_is_found_at_every_place(before: int, after: int) -> None:
    many = long_ones(2 * MANY)
    assert {len(needle) for needle in many} == {LONG}
    made = needles(*many)
    for needle in many:
        assert made.any_in(b"." * before + needle + b"." * after)
    assert not made.any_in(b"." * before + many[0][:-1] + b"." * after)


def test_a_gram_alone_is_no_hit() -> None:
    many = long_ones(MANY)
    assert not needles(*many).any_in(many[3][:8] + many[4][:8])


def test_all_of_many_secrets_are_hidden_where_they_stand() -> None:
    masker, secrets = Masker(), [f"a-long-secret-{number:03}-of-many" for number in range(MANY)]
    for secret in secrets:
        masker.add(secret)
    for secret in secrets:
        assert masker.whole(f"x {secret} y {secret.encode().hex()}\n".encode()) == b"x *** y ***\n"
