"""Settings: each documented with its true default, loud when wrong, and safe when left alone."""

import ast
import re
import stat

import pytest

from tests.programs import ROOT, run_python

SETTINGS = ROOT / "exhookadmin" / "settings.py"
DOCUMENT = ROOT / "docs" / "settings.md"
KEY = "a-key-as-long-and-as-mixed-as-Django-wants-it-0123456789"


def variables() -> dict[str, ast.expr | None]:
    """Every environment variable that the settings read → the expression of its default."""
    found = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "env"
        ):
            name = ast.literal_eval(node.args[0])
            found[name] = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
    return found


def documented() -> dict[str, str]:
    """Every variable with a row in the document → the default it states."""
    rows = re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \| (.*?) \| .+ \|$", DOCUMENT.read_text(), re.MULTILINE)
    names = [name for name, _ in rows]
    assert len(names) == len(set(names)), "a variable has two rows"
    return dict(rows)


def test_what_is_read_is_found():
    assert {
        "SECRET_KEY",
        "DATABASE_URL",
        "DEBUG",
        "EXHOOK_HOOKS",
        "EXHOOK_BCRYPT_ROUNDS",
    } <= variables().keys()


def test_every_variable_is_documented_and_nothing_else_is():
    assert documented().keys() == variables().keys()


def test_every_setting_of_the_endpoint_can_be_set():
    """An EXHOOK_… in the settings that no variable sets would be a constant in the wrong place."""
    assigned = set(re.findall(r"^(EXHOOK_[A-Z0-9_]+)\b", SETTINGS.read_text(), re.MULTILINE))
    assert assigned == {name for name in variables() if name.startswith("EXHOOK_")}


def test_every_setting_of_the_endpoint_that_the_program_reads_exists():
    read = set()
    for app in ("accounts", "acl", "audit", "exhookadmin"):
        for path in (ROOT / app).rglob("*.py"):
            read |= set(re.findall(r"settings\.(EXHOOK_[A-Z0-9_]+)", path.read_text()))
    assert read
    assert read <= variables().keys()


def plain_defaults() -> dict[str, object]:
    """The defaults that are written down, not worked out; those are described in words."""
    found = {}
    for name, default in variables().items():
        try:
            found[name] = ast.literal_eval(default) if default is not None else ""
        except ValueError:
            continue
    del found["SECRET_KEY"]  # empty stands for one that is made
    return found


def spelt(default: object) -> str:
    """A default as the document writes it."""
    if default in ("", []):
        return "empty"
    if isinstance(default, list):
        default = ",".join(default)
    if isinstance(default, bool):
        default = str(default).lower()
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


@pytest.mark.parametrize("name", sorted(plain_defaults()))
def test_the_documented_default_is_the_true_one(name):
    assert documented()[name] == spelt(plain_defaults()[name])


def test_the_example_file_names_known_variables_and_sets_none():
    names = re.findall(r"^# ([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert names
    assert set(names) <= variables().keys()
    assert not re.findall(r"^[^#\n]", (ROOT / ".env.example").read_text(), re.MULTILINE)


def show(*names: str) -> tuple[str, str]:
    values = ", ".join(f"settings.{name}" for name in names)
    return "-c", f"from django.conf import settings; print({values}, sep='|')"


@pytest.mark.parametrize(
    ("name", "value", "wrong", "known"),
    [
        ("EXHOOK_HOOKS", "client.connect,client.conect", "client.conect", "client.connected"),
        ("EXHOOK_HOOKS", "client.check_acl", "client.check_acl", "client.authorize"),
        ("EXHOOK_HOOKS", "*", "*", "client.authorize"),
        ("EXHOOK_IDENTITY_ORDER", "username,clientid", "clientid", "client_id"),
        ("EXHOOK_IDENTITY_ORDER", "USERNAME", "USERNAME", "username"),
        ("EXHOOK_TRANSPORT", "rust", "rust", "native"),
    ],
)
def test_an_unknown_name_stops_the_program_and_tells_the_known_ones(tmp_path, name, value, wrong, known):
    done = run_python(*show(name), VAR_DIR=str(tmp_path), **{name: value})
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith(f"django.core.exceptions.ImproperlyConfigured: {name}: “{wrong}” is not known.")
    assert known in message


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("EXHOOK_HOOKS", "client.authorize,session.created", "['client.authorize', 'session.created']"),
        ("EXHOOK_SAMPLE_AUTHENTICATE", "0.01", "0.01"),
        ("EXHOOK_SAMPLE_AUTHORIZE", "1", "1.0"),
        ("EXHOOK_IDENTITY_ORDER", "certificate_cn,username", "['certificate_cn', 'username']"),
        ("EXHOOK_BCRYPT_ROUNDS", "12", "12"),
        ("ALLOWED_HOSTS", "a.example,b.example", "['a.example', 'b.example']"),
    ],
)
def test_a_variable_reaches_its_setting(tmp_path, name, value, read):
    done = run_python(*show(name), VAR_DIR=str(tmp_path), **{name: value})
    assert (done.stdout.strip(), done.returncode) == (read, 0), done.stderr


def test_message_hooks_go_with_the_topics_to_watch(tmp_path):
    hooks, topics = "client.authorize,message.publish,message.dropped", "$SYS/#, site/+/alarm/#"
    done = run_python(
        *show("EXHOOK_HOOKS", "EXHOOK_MESSAGE_TOPICS"),
        VAR_DIR=str(tmp_path),
        EXHOOK_HOOKS=hooks,
        EXHOOK_MESSAGE_TOPICS=topics,
    )
    assert done.stdout.strip() == f"{hooks.split(',')}|['$SYS/#', 'site/+/alarm/#']", done.stderr


def test_a_variable_may_be_put_into_a_file(tmp_path):
    """As container platforms hand out secrets."""
    (tmp_path / "key").write_text(KEY)
    done = run_python(*show("SECRET_KEY"), VAR_DIR=str(tmp_path), SECRET_KEY_FILE=str(tmp_path / "key"))
    assert done.stdout.strip() == KEY
    assert not (tmp_path / "secret-key").exists()


def test_a_clone_runs_without_any_variable_but_safely(tmp_path):
    names = ("DEBUG", "HTTPS_ONLY", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    done = run_python(*show(*names), VAR_DIR=str(tmp_path))
    assert done.stdout.strip() == "False|True|True|True|True"


def test_production_settings_pass_djangos_deployment_check(tmp_path):
    done = run_python(
        "manage.py", "check", "--deploy", "--fail-level", "WARNING", VAR_DIR=str(tmp_path), SECRET_KEY=KEY
    )
    assert "System check identified no issues" in done.stdout + done.stderr
    assert done.returncode == 0


def test_settings_for_a_first_look_do_not_pass_it(tmp_path):
    done = run_python(
        "manage.py",
        "check",
        "--deploy",
        VAR_DIR=str(tmp_path),
        SECRET_KEY=KEY,
        HTTPS_ONLY="false",
        DEBUG="true",
    )
    for finding in ("security.W004", "security.W008", "security.W012", "security.W016", "security.W018"):
        assert finding in done.stderr


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_key_that_is_made_is_for_the_owner_only_and_stays(tmp_path, umask):
    first = run_python(*show("SECRET_KEY"), umask=umask, VAR_DIR=str(tmp_path / "new" / "var"))
    path = tmp_path / "new" / "var" / "secret-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.stdout.strip() == path.read_text().strip()
    assert len(set(first.stdout.strip())) > 10
    assert len(first.stdout.strip()) >= 50
    second = run_python(*show("SECRET_KEY"), VAR_DIR=str(tmp_path / "new" / "var"))
    assert second.stdout == first.stdout


def test_two_installations_never_share_a_made_key(tmp_path):
    keys = {run_python(*show("SECRET_KEY"), VAR_DIR=str(tmp_path / name)).stdout for name in ("one", "two")}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTPS_ONLY", "maybe", "“maybe” is neither true nor false"),
        ("EXHOOK_CHAIN_UNKNOWN", "ja", "“ja” is neither true nor false"),
        ("EXHOOK_BCRYPT_ROUNDS", "many", "“many” is no number"),
        ("EXHOOK_BCRYPT_ROUNDS", "99", "at most 20"),
        ("EXHOOK_CACHED_DEVICES", "0", "at least 1"),
        ("EXHOOK_THROTTLE_SECONDS", "nan", "out of range"),
        ("EXHOOK_THROTTLE_SECONDS", "-1", "out of range"),
        ("EXHOOK_IDENTITY_ORDER", " , ", "is empty"),
        ("EXHOOK_TRANSPORT", "grpcio,native", "choose one of"),
        ("EXHOOK_HOOKS", "client.authorize,message.publish", "would cost every message a round trip"),
        ("EXHOOK_MESSAGE_TOPICS", "site/#", "add message.publish to EXHOOK_HOOKS"),
        ("EXHOOK_MESSAGE_TOPICS", "a/b,site/#/alarm", "# is only allowed as the last level; write site/#"),
        ("EXHOOK_MESSAGE_TOPICS", "$share/g/site/#", "write the filter inside"),
        ("EXHOOK_SAMPLE_AUTHENTICATE", "1.1", "at most 1.0"),
        ("EXHOOK_SAMPLE_AUTHORIZE", "-0.1", "at least 0.0"),
        ("EXHOOK_SAMPLE_AUTHORIZE", "nan", "out of range"),
        ("EXHOOK_SAMPLE_AUTHORIZE", "5%", "is no number"),
        ("DATABASE_URL", "nonsense", "postgres://user:password@host"),
        ("DATABASE_URL", "mysql://user:password@host/name", "postgres://user:password@host"),
        ("TIME_ZONE", "Mars/Base", "“Mars/Base” is no time zone"),
        ("TIME_ZONE", "../etc", "is no time zone"),
    ],
)
def test_a_mistake_stops_the_program_and_names_its_variable(tmp_path, name, value, says):
    done = run_python(*show("DEBUG"), VAR_DIR=str(tmp_path), **{name: value})
    message = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert message.startswith(f"django.core.exceptions.ImproperlyConfigured: {name}")
    assert says in message


def test_a_database_url_that_cannot_be_read_does_not_show_its_password(tmp_path):
    done = run_python(*show("DEBUG"), VAR_DIR=str(tmp_path), DATABASE_URL="what://user:hunter2@host:x/name")
    assert done.returncode != 0
    assert "hunter2" not in done.stderr.splitlines()[-1]


def test_a_file_may_end_with_a_new_line_and_a_list_may_have_blanks(tmp_path):
    (tmp_path / "order").write_text("client_id, username\n")
    name = "EXHOOK_IDENTITY_ORDER"
    done = run_python(*show(name), VAR_DIR=str(tmp_path), EXHOOK_IDENTITY_ORDER_FILE=str(tmp_path / "order"))
    assert done.stdout.strip() == "['client_id', 'username']"
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/a.sqlite3\n")
    done = run_python(
        "-c",
        "from django.conf import settings; print(settings.DATABASES['default']['NAME'])",
        VAR_DIR=str(tmp_path),
        DATABASE_URL_FILE=str(tmp_path / "url"),
    )
    assert done.stdout.strip() == f"{tmp_path}/a.sqlite3"
