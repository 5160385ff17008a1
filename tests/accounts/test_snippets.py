"""The commands to paste: what arrives in the program is what was meant, whatever the names hold."""

import ast
import subprocess
from pathlib import Path

import pytest

from accounts.core.binding import Binding, binding_holds
from accounts.snippets import example_client_id, snippets

AWKWARD = [
    pytest.param("pump-17", id="plain"),
    pytest.param("it's", id="single quote"),
    pytest.param('say "hi"', id="double quotes"),
    pytest.param("$HOME `id` $(id) !!", id="expansions"),
    pytest.param("a b\tc", id="blanks"),
    pytest.param("-rf", id="like an option"),
    pytest.param("a\\b\\", id="backslashes"),
    pytest.param("line\nline", id="line break"),
    pytest.param("насос ポンプ", id="not ASCII"),
    pytest.param("*?[a]{b,c};&|<>#~", id="every special character"),
]


def run_in_shell(text: str, directory: Path) -> list[str]:
    """The arguments that the command would get."""
    script = 'show() { for part; do printf "%s\\0" "$part"; done; }\n' + "".join(
        f'{name}() {{ show "$@"; }}\n' for name in ("mosquitto_sub", "mosquitto_pub", "mqttx")
    )
    ran = subprocess.run(["bash", "-c", script + text], capture_output=True, check=True, cwd=directory)
    assert ran.stderr == b""
    return ran.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("name", AWKWARD)
def test_the_shell_passes_on_what_was_meant(name: str, tmp_path: Path) -> None:
    texts = {snippet.name: snippet.text for snippet in snippets(name, f"id {name}", f"secret {name}")}
    for program in ("mosquitto_sub", "mosquitto_pub"):
        arguments = run_in_shell(texts[program], tmp_path)
        given = {option: arguments[arguments.index(option) + 1] for option in ("-i", "-P", "-h", "-p", "-t")}
        assert given["-i"] == f"id {name}"
        assert given["-P"] == f"secret {name}"
        assert arguments[arguments.index("-i") + 2 :][:2] == ["-u", name]
    arguments = run_in_shell(texts["mqttx"], tmp_path)
    assert f"--client-id=id {name}" in arguments
    assert f"--username={name}" in arguments
    assert f"--password=secret {name}" in arguments


@pytest.mark.parametrize("name", AWKWARD)
def test_python_reads_what_was_meant(name: str) -> None:
    text = next(s.text for s in snippets(name, f"id {name}", f"secret {name}") if s.name == "paho")
    constants = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    assert {name, f"id {name}", f"secret {name}"} <= constants


def test_the_python_program_fits_the_installed_paho(monkeypatch: pytest.MonkeyPatch) -> None:
    from paho.mqtt import client as mqtt

    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(mqtt.Client, "connect", lambda self, *where: calls.append((self, *where)))
    monkeypatch.setattr(mqtt.Client, "loop_forever", lambda self: calls.append(("loop",)))
    exec(next(s.text for s in snippets("pump-17", "pump-17", "exh_x") if s.name == "paho"), {})
    (client, host, port), loop = calls
    assert isinstance(client, mqtt.Client)
    assert (client.username, client.password) == ("pump-17", "exh_x")
    assert (host, port, loop) == ("broker.example.com", 1883, ("loop",))


@pytest.mark.parametrize(
    ("binding", "bound", "expected"),
    [
        pytest.param(Binding.EQUALS_USERNAME, "", "pump-17", id="equals the username"),
        pytest.param(Binding.EXACT, "serial 4711", "serial 4711", id="exactly one"),
        pytest.param(Binding.PREFIX, "fleet1-", "fleet1-1", id="prefix"),
        pytest.param(Binding.ANY, "", "pump-17", id="any"),
    ],
)
def test_the_client_id_is_one_that_the_binding_admits(binding: Binding, bound: str, expected: str) -> None:
    assert example_client_id(binding, bound, "pump-17") == expected
    assert binding_holds(binding, bound, "pump-17", expected)
