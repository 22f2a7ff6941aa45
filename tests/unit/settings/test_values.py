"""The kinds of value: what each accepts, what it makes of it, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot.domain.errors import ConfigError
from bot.domain.hosts import is_loopback
from bot.domain.retention import RetentionLimits
from bot.settings import Settings
from bot.settings.models import QuotaSection
from bot.settings.types import split_address


def load(**variables: str) -> Settings:
    environ = {f"GRIDBRUSH_{name}": text for name, text in variables.items()}
    return Settings.load(None, environ, Path("/nonexistent"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "localhost.example.org", "0.0.0.0"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:0", ("::1", 0)),
        ("Example.ORG:443", ("example.org", 443)),
        ("", None),
    ],
)
def test_listen_takes_an_address_or_nothing(text: str, address: tuple[str, int] | None) -> None:
    assert load(METRICS__LISTEN=text).metrics.address == address


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "host", "host:", "host:65536", "host:-1", "::1:80", "[x]:1", "a b:1"]
)
def test_listen_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a host with a port"):
        load(METRICS__LISTEN=text)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_an_address_is_split_or_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65535


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://discord.com/api", "uses http, which anybody"),
        ("https://", "is not a URL of the right kind"),
        ("discord.com/api", "is not a URL of the right kind"),
        ("ftp://discord.com", "is not a URL of the right kind"),
        ("https://a b/", "is not a URL of the right kind"),
        ("https://[::1", "is not a URL"),
        ("https://host:99999/", "is not a URL"),
        ("https://me:pw@host/", "holds a name or a password"),
    ],
)
def test_a_url_is_https_or_on_this_machine(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(DISCORD__API_BASE=url)


def test_the_gateway_is_a_web_socket() -> None:
    assert load(DISCORD__GATEWAY_URL="ws://localhost:1/").discord.gateway_url == "ws://localhost:1/"
    with pytest.raises(ConfigError, match="right kind"):
        load(DISCORD__GATEWAY_URL="https://gateway.discord.gg/")
    with pytest.raises(ConfigError, match="uses ws, which"):
        load(DISCORD__GATEWAY_URL="ws://gateway.discord.gg/")


def test_trusted_hosts_are_bare_names() -> None:
    hosts = ["transfer.deepsquare.run", "Files.Example.org", "127.0.0.1:8080", "[::1]:80", "[::1]"]
    settings = load(BACKEND__DEEPSQUARE__TRUSTED_HOSTS=json.dumps(hosts))
    assert settings.backend.deepsquare.trusted_hosts == tuple(host.lower() for host in hosts)


@pytest.mark.parametrize("host", ["https://x.org", "x.org/", "*.x.org", "x..org", "", "::1", "a:"])
def test_a_trusted_host_is_nothing_more(host: str) -> None:
    with pytest.raises(ConfigError, match="entry 2 is not a host"):
        load(BACKEND__DEEPSQUARE__TRUSTED_HOSTS=json.dumps(["transfer.deepsquare.run", host]))


def test_the_host_of_the_files_must_be_trusted() -> None:
    with pytest.raises(ConfigError) as caught:
        load(BACKEND__DEEPSQUARE__TRANSFER_URL="http://127.0.0.1:8080/")
    assert caught.value.location == "GRIDBRUSH_BACKEND__DEEPSQUARE__TRANSFER_URL"
    assert caught.value.hint == 'Add "127.0.0.1:8080" to trusted_hosts.'
    load(
        BACKEND__DEEPSQUARE__TRANSFER_URL="http://127.0.0.1:8080/",
        BACKEND__DEEPSQUARE__TRUSTED_HOSTS='["127.0.0.1:8080"]',
    )


def test_provider_filters_are_taken_apart_for_the_backend() -> None:
    options = load(
        BACKEND__KIND="deepsquare",
        BACKEND__DEEPSQUARE__USES='["OS = linux", "arch=amd64"]',
        BACKEND__DEEPSQUARE__AFFINITY='["compute.gflops>=10000", "gpu in rtx", "zone = ch"]',
    ).backend_options()
    assert options["uses"] == (("os", "linux"), ("arch", "amd64"))
    assert options["affinity"] == (
        ("compute.gflops", ">=", "10000"),
        ("gpu", "in", "rtx"),
        ("zone", "==", "ch"),
    )


def test_provider_filters_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(ConfigError, match="is not a provider label"):
        load(BACKEND__DEEPSQUARE__USES='["linux"]')
    with pytest.raises(ConfigError, match="is not a provider filter"):
        load(BACKEND__DEEPSQUARE__AFFINITY='["gpuinrtx"]')


def test_credits_are_exact() -> None:
    section = load(BACKEND__DEEPSQUARE__LOCK_CREDITS="100.1").backend.deepsquare
    assert section.lock_credits == Decimal("100.1")
    with pytest.raises(ConfigError, match="is 2000, but max_credits_per_job is 1000"):
        load(BACKEND__DEEPSQUARE__LOCK_CREDITS="2000")


def test_a_contract_s_address_has_forty_digits() -> None:
    with pytest.raises(ConfigError, match="is not a contract's address"):
        load(BACKEND__DEEPSQUARE__META_SCHEDULER="0x12")


@pytest.mark.parametrize("name", ["DISCORD__TOKEN", "BACKEND__DEEPSQUARE__PRIVATE_KEY"])
def test_blanks_around_a_secret_are_taken_off(name: str) -> None:
    assert load(**{name: " " + "ab" * 32 + "\n"}).secrets() == ("ab" * 32,)


def test_a_token_is_only_the_token() -> None:
    with pytest.raises(ConfigError, match="begins with the word Bot"):
        load(DISCORD__TOKEN="Bot abc")
    with pytest.raises(ConfigError, match="characters that no bot token has"):
        load(DISCORD__TOKEN='"abc"')


def test_a_text_stays_on_its_line() -> None:
    with pytest.raises(ConfigError, match="holds a line break"):
        load(BACKEND__SLURM__PARTITION="gpu\n#SBATCH -n 100")


def test_a_window_may_be_given_as_what_it_is() -> None:
    assert QuotaSection(window=timedelta(hours=1)).window == timedelta(hours=1)
    assert load(QUOTA__WINDOW="1h30m").quota.window == timedelta(minutes=90)


def test_the_log_level_may_be_in_capitals() -> None:
    assert load(LOG__LEVEL="WARNING").log.level == "warning"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"IMAGINE__ROWS": "9"}, "ROWS: is 9, but max_rows is 8"),
        ({"IMAGINE__SAMPLES": "5"}, "SAMPLES: is 5, but max_samples is 4"),
        ({"IMAGINE__MAX_STEPS": "10"}, r"\[imagine\] steps: is 50, but max_steps is 10"),
        ({"IMAGINE__WIDTH": "2048"}, "times height is 1572864 pixels, but max_pixels is 1048576"),
        ({"IMAGINE__MODEL": "sdxl"}, "is not one of models, which are sd-2-1, wd-1-4"),
        ({"IMAGINE__MODELS": "[]"}, "is no model's name"),
        ({"IMAGINE__MODELS": '["../x"]'}, "is no model's name"),
        ({"IMAGINE__STYLES": '{"two words": "x"}'}, "a style whose name cannot be typed"),
        ({"IMAGINE__STYLES": '{"noir": " "}'}, 'words for the style "noir"'),
        ({"IMAGINE__STYLES": json.dumps({"noir": "x" * 401})}, 'words for the style "noir"'),
    ],
)
def test_a_request_of_defaults_is_one_that_is_allowed(
    variables: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load(**variables)


@pytest.mark.parametrize(
    ("listen", "url", "address", "base"),
    [
        ("", "", None, ""),
        ("127.0.0.1:0", "", ("127.0.0.1", 0), ""),
        ("[::1]:8790", "http://[::1]:8790/", ("::1", 8790), "http://[::1]:8790"),
        ("0.0.0.0:8790", "https://example.org/art/", ("0.0.0.0", 8790), "https://example.org/art"),
        ("", "https://example.org", None, "https://example.org"),
    ],
)
def test_the_picture_server_has_an_address_and_a_base(
    listen: str, url: str, address: tuple[str, int] | None, base: str
) -> None:
    pictures = load(PICTURES__LISTEN=listen, PICTURES__PUBLIC_URL=url).pictures
    assert (pictures.address, pictures.public_url) == (address, base)
    assert pictures.prefix == ("/art" if base.endswith("/art") else "")


@pytest.mark.parametrize(
    ("listen", "url", "problem"),
    [
        ("0.0.0.0:8790", "", "is needed for a server that others reach"),
        ("127.0.0.1:8790", "http://example.org", "anybody on the way can read"),
        ("127.0.0.1:8790", "https://example.org/?a=b", "more than an address"),
        ("127.0.0.1:8790", "https://example.org/#a", "more than an address"),
        ("127.0.0.1:8790", "https://example.org/" + "a" * 300, "too long"),
        ("127.0.0.1:8790", "https://me:pass@example.org", "holds a name or a password"),
        ("127.0.0.1:8790", "ftp://example.org", "not a URL of the right kind"),
        ("127.0.0.1", "", "is not a host with a port"),
    ],
)
def test_the_picture_server_is_reached_safely_or_not_at_all(
    listen: str, url: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(PICTURES__LISTEN=listen, PICTURES__PUBLIC_URL=url)


@pytest.mark.parametrize(
    ("keep", "size", "limits"),
    [
        ("", "0", RetentionLimits()),
        ("90d", "0", RetentionLimits(age=timedelta(days=90))),
        ("", "50", RetentionLimits(size=50_000_000_000)),
        ("1h", "0.5", RetentionLimits(timedelta(hours=1), 500_000_000)),
        ("0", "1e-12", RetentionLimits(size=0)),
    ],
)
def test_pictures_are_kept_for_a_time_and_up_to_a_size(
    keep: str, size: str, limits: RetentionLimits
) -> None:
    assert load(DATA__KEEP=keep, DATA__KEEP_GB=size).data.retention() == limits


@pytest.mark.parametrize(("key", "text"), [("KEEP", "soon"), ("KEEP_GB", "-1"), ("KEEP_GB", "nan")])
def test_a_limit_that_is_none_is_refused(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load(**{f"DATA__{key}": text})
