"""No credential is ever written: not by a run that works, not by one that is refused, not by one that crashes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core import credentials
from sightline.core.credentials import DATABASE_PASSWORD, DATABASE_URL, credential_in, database_url, mask, parse_url
from sightline.core.errors import UserError
from sightline.datasets.data_settings import flat_params
from sightline.sources import remote
from sightline.sources.databases.writeback import load_images
from sightline.sources.folder import FolderOption
from sightline.sources.sql import SqlOption
from tests import forked
from tests.servers.processes import PASSWORD
from tests.stages.ingest.pictures import pictures

ROOT = Path(__file__).parents[3]
UNSEEN = ("sig", "key", "authkey", "auth", "code", "sas", "jwt", "hmac", "sslkey", "anything")


class TestUrls:
    def test_parts(self) -> None:
        url = parse_url("mysql+pymysql://us%65r:p%40ss@db.example/images?charset=utf8")
        assert (url.scheme, url.family, url.hosts, url.path) == ("mysql+pymysql", "mysql", "db.example", "/images")
        assert (url.user, url.password, url.query) == ("us%65r", "p%40ss", "charset=utf8")
        assert url.location == "mysql+pymysql://db.example/images"
        assert url.address == "db.example:3306"
        assert "p%40ss" not in repr(url)
        assert url.text() == "mysql+pymysql://us%65r:p%40ss@db.example/images?charset=utf8"

    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("postgres://h/d", "h:5432"),
            ("mongodb://u:p@a:1,b,[::1]:3/d", "a:1,b:27017,[::1]:3"),
            ("mongodb+srv://u@cluster.example/d", "cluster.example"),
            ("sqlite:///data/my@images.db", ""),
        ],
    )
    def test_addresses(self, url: str, address: str) -> None:
        assert parse_url(url).address == address

    @pytest.mark.parametrize(
        "url",
        [
            "c4nary",
            "mysql:c4nary@host",
            "mysql://u:c4nary/x@h/d",
            "mysql://u:c4nary#x@h/d",
            "mysql://u:c4nary?x@h/d",
            "mysql://u:1/c4nary@h/d",
            "mysql://u:1#c4nary@h/d",
            "mysql://u:1?c4nary@h/d",
            "mysql://host:c4nary/d",
            "mysql://h o s t/c4nary",
        ],
    )
    def test_what_cannot_be_read_is_not_quoted(self, url: str) -> None:
        with pytest.raises(UserError) as error:
            parse_url(url)
        assert "c4nary" not in str(error.value)
        assert credential_in(url)

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("mysql://u:p@h/d", True),
            ("mysql://u@h/d", False),
            ("mysql://u:@h/d", False),
            ("mongodb://h/d?tlsCertificateKeyFilePassword=x", True),
            ("https://h/a.zip?X-Amz-Signature=x", True),
            ("https://h/folder@2/a.zip", False),
            ("s3://bucket/key", False),
            ("sqlite:///a@b:c.db", False),
            ("https://c4nary@host/a.zip", True),
            ("s3://c4nary@bucket/a", True),
            ("sftp://user@host/a", False),
            ("abfs://container@account.dfs.core.windows.net/a", False),
            *((f"https://h/a.zip?sv=1&{name}=c4nary", True) for name in UNSEEN),
            *((f"postgresql://u@h/d?{name}=c4nary", True) for name in UNSEEN),
            ("https://h/a.zip?c4nary", True),
            ("https://h/a.zip?c4nary==", True),
            ("https://h/a.zip#c4nary", True),
            ("https://h/a.zip?%73ig=c4nary", True),
            ("https://h/a.zip?versionId=3;sig=c4nary", True),
            ("https://h/a.zip?versionId=3&region=eu", False),
            ("s3://bucket/what?.png", False),
            ("mysql+pymysql://u@h/d?charset=utf8mb4&ssl_ca=/ca.pem", False),
            ("postgresql://u@h/d?sslmode=verify-full&application_name=x", False),
            ("mongodb://u@a,b/d?replicaSet=r&authSource=admin&tls=true", False),
            ("sqlite:///x.db?mode=ro", False),
        ],
    )
    def test_credentials(self, url: str, expected: bool) -> None:
        assert (credential_in(url) is not None) is expected

    def test_a_part_is_named_and_not_shown(self) -> None:
        assert credential_in("https://h/a?sv=c4nary") == "`sv`"
        assert credential_in("https://h/a?c4nary1") == credential_in("https://h/a#c4nary1") == "the part after the ?"
        assert credential_in("https://c4nary@h/a") == "the part before the @"
        assert credential_in("mysql://u:c4nary@h/a") == "its password"

    def test_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (DATABASE_URL, DATABASE_PASSWORD):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(UserError, match=f"ingest.url .* or {DATABASE_URL}"):
            database_url(None)
        monkeypatch.setenv(DATABASE_URL, "mysql://other:x@other/d")
        assert database_url(None).hosts == "other"
        assert database_url("mysql://u@h/d").text() == "mysql://u@h/d"
        monkeypatch.setenv(DATABASE_PASSWORD, "a b/@")
        assert database_url("mysql://u@h/d").text() == "mysql://u:a%20b%2F%40@h/d"
        assert database_url("mysql://h/d").text() == "mysql://h/d"
        assert database_url(None).password == "x"


class TestMasking:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("at mysql://u:p@h/d and s3://k:s@b", "at mysql://***@h/d and s3://***@b"),
            ("mysql://u:p/q@r@h/d", "mysql://***@h/d"),
            ('{"password": "x y", "lr": 1}', '{"password": "*** y", "lr": 1}'),
            ("?api_key=abc&x=1", "?api_key=***&x=***"),
            ("see 'https://h/a?sig=c4nary' (gone).", "see 'https://h/a?sig=***' (gone)."),
            ("https://h/a?charset=utf8&c4nary==", "https://h/a?charset=utf8&***"),
            ("https://h/a?x=a@b/c", "https://***"),
            ("mysql://u:a?b@h/d", "mysql://***"),
            ("a pattern: s3://b/img?.png, what? x=1", "a pattern: s3://b/img?.png, what? x=1"),
            ('{"Authorization": "Bearer c4nary"}', '{"Authorization": "***"}'),
            ("sig=c4nary hmac: c4nary", "sig=*** hmac: ***"),
            ("stage: exit code: 7, key=value", "stage: exit code: 7, key=value"),
            ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***"),
            ("nothing to hide: 3 classes", "nothing to hide: 3 classes"),
        ],
    )
    def test_mask(self, text: str, expected: str) -> None:
        assert mask(text) == expected

    def test_known_secrets_in_every_form(self) -> None:
        url = parse_url("mysql://u:p%40%20x@h/d?ssl_key=/k%2Fy")
        text = f"p@ x | p%40%20x | {quote_plus('p@ x')} | /k/y"
        assert mask(text, url.secrets()) == "*** | *** | *** | ***"

    def test_a_short_secret_is_no_part_of_a_word(self) -> None:
        text = "f refused: ref f, f@h and (f)"
        assert mask(text, parse_url("mysql://f@h/d").secrets()) == "*** refused: ref ***, ***@h and (***)"


SECRETS = st.text("abcXYZ0189-_.~!$'()*+,:@/%", min_size=6, max_size=30).map(lambda tail: f"c4nary{tail}")
PLAIN = st.text("abcXYZ0189-_.~", min_size=6, max_size=30).map(lambda tail: f"c4nary{tail}")
SCHEMES = st.sampled_from(["https", "http", "s3", "gs", "mysql", "postgresql+psycopg", "mongodb+srv", "az", "x"])
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC-_.", min_size=1, max_size=20).filter(
    lambda name: name.lower() not in credentials._HARMLESS
)


@st.composite
def urls(draw: st.DrawFn) -> tuple[str, str]:
    """Returns a secret and a URL that holds it in one of its parts, among others."""
    scheme = draw(SCHEMES)
    secret = quote(draw(SECRETS), safe="") if draw(st.booleans()) else draw(PLAIN)
    user, query = draw(st.sampled_from(["", "", "user@"])), draw(st.sampled_from([[], ["charset=utf8"], ["x=1", "y"]]))
    place = draw(st.sampled_from(["password", "query", "query", *(["user", "token", "fragment"] * (scheme[0] == "h"))]))
    if place == "password":
        user = f"{draw(st.sampled_from(['', 'user']))}:{secret}@"
    elif place == "user":
        user = f"{secret}@"
    elif place == "query":
        query = [*query, f"{draw(NAMES)}={secret}"]
    elif place == "token":
        query = [*query, secret + draw(st.sampled_from(["", "=", "=="]))]
    query = draw(st.permutations(query))
    end = ("?" + draw(st.sampled_from("&;")).join(query) if query else "") + (f"#{secret}" * (place == "fragment"))
    return secret, f"{scheme}://{user}host/folder/a.zip{end}"


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    urls(), st.sampled_from(["{}", "cannot read '{}' (gone)", '{{"url": "{}", "x": 1}}', "ingest.url={},lr=1", "({})"])
)
def test_a_secret_anywhere_in_a_url_is_refused_and_never_shown(drawn: tuple[str, str], sentence: str) -> None:
    secret, url = drawn
    assert credential_in(url)
    assert secret not in str(credential_in(url))
    assert secret not in mask(sentence.format(url))
    assert secret not in remote.location(url)
    for option in (
        lambda: FolderOption("folder", path=None, url=url, layout="auto", class_depth=1),
        lambda: SqlOption("sql", url, None, "t", None, "i", "i", "l", None, None, None, None),
    ):
        with pytest.raises(ValueError, match=r"url: must not contain") as refused:
            option()
        assert secret not in str(refused.value)
    assert secret not in repr(flat_params(OmegaConf.create({"ingest": {"url": url, "list": [url]}})))


def forms(secret: str) -> set[bytes]:
    """Returns what a secret looks like when it is written plainly, percent-encoded, escaped or in base64."""
    texts = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    }
    found = {text.encode() for text in texts}
    for text in list(found):
        for shift in range(3):  # base64 depends on where in a group of three bytes the secret begins
            encoded = base64.b64encode(bytes(shift) + text).rstrip(b"=")
            found.add(encoded[4 if shift else 0 : len(encoded) // 4 * 4])
    return {form for form in found if len(form) >= 6}


class Project:
    """A project's folder in which the real scripts run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "conf", root / "conf")
        (root / "params.yaml").write_text("ingest: {source: digits}\n")
        self.runs = 0

    def run(self, program: list[str], settings: list[str], env: dict[str, str], code: int) -> str:
        """Runs a program; what it prints is written below the folder as well."""
        self.runs += 1
        output = self.root / f"run-{self.runs}.txt"
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **env}
        if forked.can_run(["python", *program], env):
            done, printed = forked.run(["python", *program, *settings], self.root, environment, 120)
            output.write_text(printed)
            assert done == code, printed
            return printed
        with output.open("wb") as stream:
            done = subprocess.run(
                [sys.executable, *program, *settings],
                cwd=self.root,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=120,
            )
        text = output.read_text(errors="replace")
        assert done.returncode == code, text
        return text

    def leaks(self, canaries: list[str]) -> list[tuple[str, str]]:
        wanted = {(canary, form) for canary in canaries for form in forms(canary)}
        contents = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        assert len(contents) > self.runs
        return [
            (canary, str(path.relative_to(self.root)))
            for path, content in contents.items()
            for canary, form in wanted
            if form in content or form in str(path).encode()
        ]


CRASH = """
import runpy, sys
import sightline.sources.databases.sql_source as source
real, count = source._record, 0
def broken(row):
    global count
    count += 1
    if count > 5:
        raise RuntimeError("a bug of ours")
    return real(row)
source._record = broken
sys.argv[0] = "ingest"
runpy.run_module("pipeline.ingest", run_name="__main__")
"""


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for number, text in enumerate(["x c4nary one y", quote("c4nary one"), json.dumps({"a": "c4nary one"})]):
        (tmp_path / f"plain-{number}").write_text(text)
    for shift in range(3):
        (tmp_path / f"base64-{shift}").write_bytes(base64.b64encode(b"#" * shift + b"user:c4nary one@host"))
    assert len({path for _, path in project.leaks(["c4nary one"])}) == 6


@pytest.mark.slow
def test_twenty_canaries(mariadb_url: str, wire_url: str, tmp_path: Path) -> None:
    canaries = [PASSWORD, *(f"c4nary{number:02}+zebra/{number * 7919}" for number in range(1, 20))]
    coded = [quote(canary, safe="") for canary in canaries]
    load_images(pictures(), mariadb_url, "canary")
    server, wire = parse_url(mariadb_url).hosts, parse_url(wire_url).hosts
    project = Project(tmp_path)
    ingest, watch = ["-m", "pipeline.ingest"], ["-m", "pipeline.watch"]
    table = ["ingest/source=sql", "ingest.source.table=canary"]
    shell = {
        "AWS_SECRET_ACCESS_KEY": canaries[1],
        "AWS_SESSION_TOKEN": canaries[2],
        "MLFLOW_TRACKING_PASSWORD": canaries[3],
    }

    # Runs that work, with the whole URL or the password alone in the environment.
    whole = {**shell, DATABASE_URL: mariadb_url}
    project.run(watch, table, whole, 0)
    project.run(ingest, table, whole, 0)
    assert list((tmp_path / "data/raw").glob("shard-*.parquet"))
    alone = {**shell, DATABASE_PASSWORD: PASSWORD}
    project.run(watch, [*table, f"ingest.url=mysql://pipe@{server}/images"], alone, 0)

    # Runs that crash, by a bug of ours and by the database.
    for full_error in ("0", "1"):
        output = project.run(["-c", CRASH], table, {**whole, "HYDRA_FULL_ERROR": full_error}, 1)
        assert "a bug of ours" in output
    absent = ["ingest/source=sql", "ingest.source.table=none"]
    assert "none" in project.run(watch, absent, whole, 2)

    # Servers that are down, or refuse: what is there stays as it is.
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    down = {
        f"mysql://pipe:{coded[4]}@127.0.0.1:9/images?ssl_ca={coded[5]}": "sql",
        f"postgresql://pipe:{coded[6]}@127.0.0.1:9/images?sslpassword={coded[7]}": "sql",
        f"mongodb://pipe:{coded[8]}@127.0.0.1:9/images?authSource={coded[9]}&serverSelectionTimeoutMS=300": "mongodb",
        f"mysql://pipe:{coded[10]}@{server}/images": "sql",
        f"mongodb://pipe:{coded[11]}@{wire}/images": "mongodb",
        f"mongodb://{wire}/images?tlsCertificateKeyFilePassword={coded[12]}&serverSelectionTimeoutMS=300": "mongodb",
        f"mysql://pipe:{canaries[13]}@127.0.0.1:9/images": "sql",  # not encoded: its slash makes it unreadable
    }
    for url, kind in down.items():
        stage = ingest if kind == "mongodb" else watch
        output = project.run(stage, [f"ingest/source={kind}"], {**shell, DATABASE_URL: url}, 2)
        *steps, _ = output.strip().splitlines()
        assert set(steps) <= {"ingest: opening the source"}, output  # what it was at, and the line
        assert DATABASE_URL in output or DATABASE_PASSWORD in output or "127.0.0.1" in output

    # Passwords in the configuration: refused, before anything is written, and not shown.
    literal = [
        ["ingest/source=sql", f"ingest.url='mysql://u:{coded[14]}@h/d'"],
        ["ingest/source=mongodb", f"ingest.source.url='mongodb://u:{canaries[15]}@h/d'"],
        ["ingest/source=sql", f"ingest.url='postgresql://u@h/d?password={coded[16]}'"],
        ["ingest/source=folder", f"ingest.url='https://u:{coded[17]}@h/d'"],
        ["ingest/source=sql", "ingest.url=${oc.env:SECRET_URL}"],
        ["ingest/source=sql", f"ingest.urll='mysql://u:{coded[19]}@h/d'"],
    ]
    for given_settings in literal:
        output = project.run(ingest, given_settings, {**shell, "SECRET_URL": f"mysql://u:{coded[18]}@h/d"}, 2)
        assert len(output.strip().splitlines()) == 1, output

    assert before == {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert project.leaks(canaries) == []


def test_signed_urls_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    canaries = [f"c4nary{number}zebra" for number in range(4)]
    project = Project(tmp_path)
    for program, given_settings in [
        ("pipeline.watch", ["ingest/source=archive", f"ingest.url='https://h/a.zip?sv=1&sig={canaries[0]}'"]),
        ("pipeline.watch", ["ingest/source=folder", f"ingest.url=https://{canaries[1]}@h/a/"]),
        ("pipeline.ingest", ["ingest/source=sql", f"ingest.url='postgresql://u@h/d?sslkey={canaries[2]}'"]),
        ("pipeline.ingest", ["ingest/source=folder", f"ingest.url=https://h/a/?code={canaries[3]}"]),  # not quoted
    ]:
        output = project.run(["-m", program], given_settings, {}, 2)
        assert len(output.strip().splitlines()) == 1, output
        assert "ingest" in output
    assert project.leaks(canaries) == []
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("url", ["mysql://u:c4nary1@h/d", "postgresql://u@h/d?sslkey=c4nary1"])
def test_a_credential_on_the_command_line_is_refused(tmp_path: Path, url: str) -> None:
    done = CliRunner().invoke(app, ["load", str(tmp_path), "--table", "t", "--url", url])
    assert done.exit_code == 2
    assert done.output.startswith("sightline: --url: must not contain credentials")
    assert DATABASE_URL in done.output
    assert "c4nary1" not in done.output


def test_the_documented_names() -> None:
    text = (ROOT / "docs/databases.md").read_text()
    for name in (credentials.DATABASE_URL, credentials.DATABASE_PASSWORD):
        assert name in text
