"""No form of a secret is ever in the output of a masker, wherever the stream is cut."""

from __future__ import annotations

import base64
import itertools
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.log.masking import MIN_SECRET, Masker, forms_of

LETTERS = "aab+/ \n\u00e9"  # few, so that secrets overlap, begin alike, contain each other and have many lines
SECRETS = st.lists(st.text(LETTERS, min_size=MIN_SECRET, max_size=12), min_size=1, max_size=4)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], bytes, list[int]]:
    """Secrets, a text with many of their forms and halves of forms, and the offsets at which the text is cut."""
    secrets = draw(SECRETS)
    forms = sorted({form for secret in secrets if secret.strip() for form in forms_of(secret.encode().strip())})
    halves = [form[: len(form) // 2] for form in forms] + [form[len(form) // 2 :] for form in forms]
    piece = st.one_of(st.text(LETTERS, max_size=6).map(str.encode), st.sampled_from([*forms, *halves, b"x"]))
    text = b"".join(draw(st.lists(piece, max_size=10)))
    return secrets, text, sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))


def masker(*secrets: str) -> Masker:
    made = Masker()
    for secret in secrets:
        made.add(secret)
    return made


def mask(secrets: list[str], *chunks: bytes) -> bytes:
    made = masker(*secrets)
    return b"".join([*map(made.feed, chunks), made.flush()])


@settings(deadline=None)
@given(streams())
def test_a_cut_stream_is_masked_like_the_whole_and_contains_no_form(stream: tuple[list[str], bytes, list[int]]) -> None:
    secrets, text, cuts = stream
    chunks = [text[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(text)])]
    out = mask(secrets, *chunks)
    assert out == masker(*secrets).whole(text)
    hidden = [value for secret in secrets if len(value := secret.encode().strip()) >= MIN_SECRET]
    assert not [form for value in hidden for form in forms_of(value) if form in out]


@settings(deadline=None)
@given(streams())
def test_text_without_a_secret_is_never_altered(stream: tuple[list[str], bytes, list[int]]) -> None:
    _, text, cuts = stream
    assert mask(["QQ-not-in-there"], text[: sum(cuts) % 7], text[sum(cuts) % 7 :]) == text


@settings(deadline=None)
@given(st.text(min_size=MIN_SECRET), st.binary(max_size=7), st.binary(max_size=7))
def test_every_encoding_of_a_secret_is_hidden_at_any_offset(secret: str, before: bytes, after: bytes) -> None:
    value = secret.encode().strip()
    if len(value) < MIN_SECRET or b"*" in value:
        return
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + value + after)
        hidden = mask([secret], encoded)
        assert b"***" in hidden
        gone = len(encoded) - len(hidden.replace(b"***", b""))
        assert gone >= len(value) * 8 // 6 - 1  # all but a character that it shares with its neighbour
    assert mask([secret], quote(value, safe="").encode()) == b"***"
    assert mask([secret], quote_plus(value).encode()) == b"***"


@pytest.mark.parametrize("secret", ["hunter2-and-more", "pass word/with+all&of=it", "töken-ünïcode"])
def test_the_usual_encodings_are_hidden(secret: str) -> None:
    encoded = [secret.encode(), base64.b64encode(secret.encode()), quote(secret).encode(), quote_plus(secret).encode()]
    assert mask([secret], b" ".join(encoded)) == b"*** *** *** ***"


def test_overlapping_secrets_are_hidden_together() -> None:
    assert mask(["abcdef", "defghi"], b"<abcdefghi>") == b"<***>"


def test_the_longest_of_several_is_hidden() -> None:
    assert mask(["token", "token-extended"], b"token-ext", b"ended token-ext") == b"*** ***-ext"


def test_only_a_possible_beginning_of_a_secret_is_held_back() -> None:
    made = masker("hunter2")
    assert made.feed(b"my hunt") == b"my "
    assert made.feed(b"ing dog hunter") == b"hunting dog "
    assert made.feed(b"2") == b"***"
    assert made.feed(b"nothing\n") == b"nothing\n"


def test_a_secret_added_in_the_middle_is_hidden_in_the_bytes_held_back() -> None:
    made = masker("hunter2-long")
    assert made.feed(b"x hunter2-") == b"x "
    made.add("hunter2")
    assert made.feed(b"\n") + made.flush() == b"***-\n"


def test_a_secret_of_many_lines_is_hidden_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    assert mask([key], key.encode()) == b"***\n"
    out = mask([key], key.replace("\n", "\r\n  }, ").encode())
    assert b"MIIE" not in out
    assert b"kqhk" not in out
    assert out.count(b"}") == 6  # too short to be hidden alone


def test_short_values_are_refused_and_empty_ones_ignored() -> None:
    made = Masker()
    assert not made.add("abc")
    assert not made.add(" abc\n")
    assert made.add("")
    assert made.add(" \n")
    assert made.feed(b"abc") == b"abc"


def test_a_value_that_is_not_text_is_hidden_as_bytes() -> None:
    assert mask([b"\xff\xfe\xfd\xfc".decode("utf-8", "surrogateescape")], b"a\xff\xfe\xfd\xfcb") == b"a***b"
    assert mask(["\ud800 lone"], b"a") == b"a"


def test_a_long_secret_that_repeats_itself_is_hidden() -> None:
    secret = "a" * 4096
    assert mask([secret], *[b"a" * 100] * 50) == b"***"
    assert mask([secret], b"a" * 4095) == b"a" * 4095
