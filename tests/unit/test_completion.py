"""Tab completes options, their choices and paths, in the shells that are here."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pacsifier.cli.completion import SHELLS

COMMANDS = {
    "pacsifier": ["-m", "pacsifier.cli.retrieve"],
    "pacsifier-anonymize": ["-m", "pacsifier.cli.anonymize"],
    "pacsifier-get-pseudonyms": ["-m", "pacsifier.cli.get_pseudonyms"],
    "docker_pacsifier": ["-m", "pacsifier.cli.docker", "docker_pacsifier"],
}
# What is typed, and a word that Tab offers for it.
TYPED = [
    ("pacsifier", "--retri", "--retrieve_method"),
    ("pacsifier", "--retrieve_method au", "auto"),
    ("pacsifier", "--config my_c", "my_config.json"),
    ("pacsifier", "--out_directory my_f", "my_folder"),
    ("pacsifier-anonymize", "--fuzz", "--fuzz_acq_dates"),
    ("pacsifier-get-pseudonyms", "--mode cus", "custom"),
    ("docker_pacsifier", "--imag", "--image"),
]


def _script(command: str, shell: str, folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, *COMMANDS[command], "--print_completion", shell],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    path = folder / f"_{command}"
    path.write_text(done.stdout, encoding="utf-8")
    return path


def _bash(script: Path, command: str, typed: str) -> str:
    words = shlex.split(f"{command} {typed}")
    function = f"""
source {shlex.quote(str(script))}
COMP_WORDS=({shlex.join(words)})
COMP_CWORD={len(words) - 1}
$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {command} {words[-1]} {words[-2]}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return _output(["bash", "--norc", "-c", function], script.parent)


def _zsh(script: Path, command: str, typed: str) -> str:
    """By a terminal of zsh's own (zpty): completion works nowhere else."""
    function = f"""
zmodload zsh/zpty
zpty -b inner zsh -f -i
zpty -w inner 'PS1=; fpath=({script.parent} $fpath); autoload -U compinit; compinit -u -D'
zpty -w inner 'probe() {{ zle complete-word; print -r -- "GO""T:$BUFFER:EN""D"; }}; zle -N probe; bindkey "^X" probe'
zpty -w inner 'print READY''NOW'
zpty -r inner out '*READYNOW*'
zpty -w -n inner {shlex.quote(f"{command} {typed}")}$'\\x18'
zpty -r inner out '*GOT:*:END*'
print -r -- ${{out##*GOT:}}
zpty -d inner
"""
    return _output(["zsh", "-f", "-c", function], script.parent)


def _fish(script: Path, command: str, typed: str) -> str:
    line = f"source {shlex.quote(str(script))}; complete -C {shlex.quote(f'{command} {typed}')}"
    return _output(["fish", "--no-config", "-c", line], script.parent)


def _output(argv: list[str], folder: Path) -> str:
    # What a shell keeps between its starts stays in the folder of the test.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TERM": "xterm", "COLUMNS": "200"}
    done = subprocess.run(
        argv,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.stdout


ASKED = {"bash": _bash, "zsh": _zsh, "fish": _fish}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("command", "typed", "offered"), TYPED)
def test_a_real_shell_completes_what_was_begun(shell, command, typed, offered, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    (tmp_path / "my_config.json").touch()
    (tmp_path / "my_folder").mkdir()
    assert offered in ASKED[shell](_script(command, shell, tmp_path), command, typed)


def test_a_shell_that_is_not_known_is_a_usage_error():
    done = subprocess.run(
        [sys.executable, *COMMANDS["pacsifier"], "--print_completion", "csh"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "allowed: bash, zsh, fish" in done.stderr


def test_without_shtab_everything_else_works_and_it_is_named(tmp_path):
    program = (
        "import sys; sys.modules['shtab'] = None\n"
        "from pacsifier.cli.retrieve import main\nsys.exit(main(sys.argv[1:]))"
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, check=False
        )

    assert run("--version").returncode == 0
    done = run("--print_completion", "bash")
    assert done.returncode == 2
    assert "pip install shtab" in done.stderr
