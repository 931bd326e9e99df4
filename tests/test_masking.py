"""What an error says in a log line: its words, and none of the secrets that it or its frames hold."""

from __future__ import annotations

from time import perf_counter

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from prefect_lifespan.masking import LONGEST, masked, summary_of, text_of, traceback_of

SECRET = "hunter2-the-secret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no route to postgresql://app:{SECRET}@db:5432/x", "no route to postgresql://app:***@db:5432/x"),
        (f"redis://:{SECRET}@cache", "redis://:***@cache"),
        (f"password={SECRET} host=db", "password=*** host=db"),
        (f"db_password = '{SECRET} with blanks', port=1", "db_password = ***, port=1"),
        (f'{{"token": "{SECRET}", "user": "app"}}', '{"token": ***, "user": "app"}'),
        (f"https://api/x?api_key={SECRET}&page=2", "https://api/x?api_key=***&page=2"),
        (f"AWS_SECRET_ACCESS_KEY: {SECRET}", "AWS_SECRET_ACCESS_KEY: ***"),
        (f"refused: Authorization: Bearer {SECRET}", "refused: Authorization: Bearer ***"),
        (f"403 for https://a.blob/x?sv=2&sig={SECRET}&se=1", "403 for https://a.blob/x?sv=2&sig=***&se=1"),
        (f"https://b.s3/x?X-Amz-Signature={SECRET}&X-Amz-Date=1", "https://b.s3/x?X-Amz-Signature=***&X-Amz-Date=1"),
        (f"AccountName=a;AccountKey={SECRET};", "AccountName=a;AccountKey=***;"),
        (f"SharedAccessSignature={SECRET}", "SharedAccessSignature=***"),
        (f"Set-Cookie: session={SECRET}; Path=/", "Set-Cookie: ***; Path=/"),
        (
            f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY----- is unknown",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY----- is unknown",
        ),
        ("the signature: (a, b) differs; design=new", "the signature: (a, b) differs; design=new"),
        ("could not translate host name 'db' to address", "could not translate host name 'db' to address"),
        ("http://localhost:8000/a: timed out", "http://localhost:8000/a: timed out"),
        (f"postgresql://app:{SECRET}/with@signs@db/x", "postgresql://app:***@db/x"),
    ],
)
def test_a_secret_in_a_text_is_masked_and_its_surroundings_are_not(text: str, shown: str) -> None:
    assert masked(text) == shown


class Database(BaseModel):
    password: SecretStr


class Settings(BaseModel):
    database: Database


def of_settings(settings: object) -> None:
    raise ConnectionError(f"refused with {SECRET}")


def of_a_local_name(_: object) -> None:
    api_token = SECRET
    raise ConnectionError(f"refused with {api_token}")


@pytest.mark.parametrize(
    ("opening", "argument"),
    [
        (of_settings, SecretStr(SECRET)),
        (of_settings, SecretBytes(SECRET.encode())),
        (of_settings, Settings(database=Database(password=SecretStr(SECRET)))),
        (of_settings, {"databases": [Database(password=SecretStr(SECRET))]}),
        (of_settings, {"db_password": SECRET}),
        (of_a_local_name, None),
    ],
)
def test_a_secret_that_an_initialiser_was_given_is_masked_wherever_its_error_names_it(opening, argument) -> None:
    with pytest.raises(ConnectionError) as caught:
        opening(argument)
    assert summary_of(caught.value) == "ConnectionError: refused with ***"


def test_an_error_is_one_line_of_bounded_length() -> None:
    assert text_of(ValueError("first\n  second")) == "first second"
    assert len(text_of(ValueError("x" * 10_000))) == LONGEST + 1
    assert summary_of(ValueError()) == "ValueError"


def test_an_error_whose_text_cannot_be_made_is_told_by_its_type() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert summary_of(Unspeakable()).endswith("Unspeakable")


def test_values_are_looked_into_without_calling_anything_of_theirs() -> None:
    class Touchy:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

        @property
        def password(self) -> str:
            raise AssertionError

    touchy = Touchy()
    with pytest.raises(ConnectionError) as caught:
        of_settings(touchy)
    assert SECRET in summary_of(caught.value)


@pytest.mark.parametrize("part", ["a-", "x", "://a:", "password "])
def test_masking_a_text_of_a_megabyte_takes_no_time_worth_the_name(part: str) -> None:
    error = ConnectionError(f"refused with password={SECRET} " + part * (1_000_000 // len(part)))
    began = perf_counter()

    text, traceback = text_of(error), traceback_of(error)

    assert perf_counter() - began < 10  # it was minutes
    assert text.startswith("refused with password=***")
    assert "refused with password=***" in traceback
    assert SECRET not in text + traceback


def test_what_the_api_could_not_take_is_written_as_an_escape() -> None:
    """A file's name may hold bytes that are no text; PostgreSQL takes no NUL."""
    with pytest.raises(OSError, match="no file") as raised:
        raise OSError("no file caf\udce9\0.csv \N{GRINNING FACE}")
    assert text_of(raised.value) == "no file caf\\udce9\\x00.csv \N{GRINNING FACE}"
    assert "\\udce9\\x00" in traceback_of(raised.value)
    traceback_of(raised.value).encode()
