"""No form of a secret is ever in the output of a masker, wherever the stream is cut."""

from __future__ import annotations

import base64
import html
import itertools
import json
import shlex
import subprocess
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.log.forms import MIN_CUT, forms_of
from taskrunner.log.masking import MIN_SECRET, Masker

LETTERS = "aab+/ \n\u00e9"  # few, so that secrets overlap, begin alike, contain each other and have many lines
SECRETS = st.lists(st.text(LETTERS, min_size=MIN_SECRET, max_size=12), min_size=1, max_size=4)


def all_forms(secrets: list[str]) -> list[bytes]:
    """Of the secrets that are long enough to be hidden."""
    values = [value for secret in secrets if len(value := secret.encode().strip()) >= MIN_SECRET]
    return sorted({form for value in values for form in forms_of(value).exact | forms_of(value).wrapped})


def broken(form: bytes, width: int, line_break: bytes) -> bytes:
    """A form in lines."""
    return line_break.join(form[at : at + width] for at in range(0, len(form), width))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], bytes, list[int]]:
    """Secrets, a text with many of their forms and halves of forms, and the offsets at which the text is cut."""
    secrets = draw(SECRETS)
    forms = all_forms(secrets)
    forms += [broken(form, draw(st.integers(4, 9)), draw(st.sampled_from([b"\n", b"\r\n"]))) for form in forms]
    halves = [form[: len(form) // 2] for form in forms] + [form[len(form) // 2 :] for form in forms]
    breaks = [b"\r", b"\n", b"\r\n"]
    piece = st.one_of(st.text(LETTERS, max_size=6).map(str.encode), st.sampled_from([*forms, *halves, b"x", *breaks]))
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
    assert not [form for form in all_forms(secrets) if form in out]


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


SECRET = "pa's w$rd/+\"x<&> \u00e9 and more of it"

SPELLINGS = {
    "JSON": lambda text: json.dumps(text)[1:-1].encode(),
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode(),
    "HTML": lambda text: html.escape(text).encode(),
    "HTML, numbered": lambda text: html.escape(text).replace("&#x27;", "&#39;").encode(),
    "HTML, without quotes": lambda text: html.escape(text, quote=False).encode(),
    "a shell's quotes": lambda text: shlex.quote(text).encode()[1:-1],
    "bash %q": lambda text: (
        subprocess.run(
            ["bash", "-c", 'printf %q "$1"', "-", text], check=True, capture_output=True, env={"LC_ALL": "C.UTF-8"}
        ).stdout
    ),
    "a shell's trace": lambda text: subprocess.run(
        ["bash", "-xc", ': "$1"', "-", text], check=True, capture_output=True
    ).stderr.strip()[5:-1],
    "hexadecimal": lambda text: text.encode().hex().encode(),
    "hexadecimal, upper case": lambda text: text.encode().hex().upper().encode(),
    "hexadecimal in lines": lambda text: broken(text.encode().hex().encode(), 60, b"\n"),
    "escaped bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()).encode(),
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()).encode(),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: text.encode("utf-16-be"),
    "MIME": lambda text: base64.encodebytes(f"user:{text * 2}".encode()),
    "PEM": lambda text: broken(base64.b64encode(f"u:{text * 2}".encode()), 64, b"\r\n"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_every_spelling_is_hidden_wherever_it_is_cut(spelling: str, size: int) -> None:
    text = b"before " + SPELLINGS[spelling](SECRET) + b" after\n"
    out = mask([SECRET], *(text[at : at + size] for at in range(0, len(text), size)))
    assert out.startswith(b"before ")
    assert out.endswith(b" after\n")
    assert b"***" in out
    if spelling not in {"MIME", "PEM"}:  # these have other text in their first and last characters
        assert out.replace(b"\0", b"") == b"before *** after\n"
    else:
        assert len(out) < len(b"before *** after\n") + 12


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_line_break_in_the_first_characters_leaves_no_more_than_these(cut: int) -> None:
    form = base64.b64encode(b"a-token-of-some-length")
    assert len(form) - cut >= MIN_CUT
    assert mask(["a-token-of-some-length"], form[:cut] + b"\n" + form[cut:]) == form[:cut] + b"\n***"


def test_lines_are_not_held_back_for_what_they_might_begin() -> None:
    """A log that is followed shows each line when it comes, unless four bytes at its end begin a form."""
    secret = masker("a-token-of-some-length")
    for line in (b"a\n", b"the end is a\n", b"YS\n", b"61\n", b"progress 10%\r"):
        assert secret.feed(line) == line
