# SPDX-License-Identifier: Apache-2.0
"""--help, man pages and completions tell of the same options; commands.def of all commands."""
import re
import subprocess

import pytest

from pylib.paths import ROOT

COMMANDS = re.findall(r"^COMMAND\((\w+),", (ROOT / "tools/commands.def").read_text(), re.M)
VERBS = [f"{command}-{verb}" for command in ("chain", "fixture") for verb in re.findall(
    r"^[A-Z]+_VERB\((\w+),", (ROOT / f"tools/{command}_verbs.def").read_text(), re.M)]
PAGES = ["", *COMMANDS, *VERBS]  # "" is the program itself


def helped(qimg, command):
    """Each option of --help: its spellings and whether it takes an argument."""
    text = qimg(*command.split("-") if command else [], "--help").out
    rows = re.findall(r"^  (-\w)?(?:, )?(--[\w-]+)?(?:\[=\S+\])?( \S+)?$", text, re.M)
    return {(letter, name, bool(arg)) for letter, name, arg in rows if letter or name}


def documented(command):
    """The same from the items of the man page."""
    page = ROOT / "man" / f"qimg{'-' + command if command else ''}.1"
    found = set()
    for line in re.findall(r"^\.It (Fl .*)$", page.read_text(), re.M):
        flags, _, arg = line.partition(" Ar ")
        spellings = ["-" + flag for flag in re.findall(r"Fl (\S+)", flags)]
        letter = [s for s in spellings if not s.startswith("--")]
        name = [s for s in spellings if s.startswith("--")]
        found.add((letter[0] if letter else "", name[0] if name else "", bool(arg)))
    return found


@pytest.mark.parametrize("command", PAGES)
def test_man_page_and_help_list_the_same_options(qimg, command):
    assert documented(command) == helped(qimg, command)


def test_help_of_the_program_lists_every_command(qimg):
    assert re.findall(r"^  (\w+) - ", qimg("--help").out, re.M) == COMMANDS


@pytest.mark.parametrize("command", ["chain", "fixture"])
def test_help_of_a_command_of_verbs_lists_them(qimg, command):
    listed = re.findall(r"^  (\w+) - ", qimg(command, "--help").out, re.M)
    assert [f"{command}-{verb}" for verb in listed] == [v for v in VERBS if v.startswith(command)]


def test_every_command_has_its_man_page_and_no_page_is_left_over():
    pages = {page.name for page in (ROOT / "man").glob("*.1")}
    assert pages == {"qimg.1"} | {f"qimg-{command}.1" for command in COMMANDS + VERBS}


@pytest.mark.parametrize("command", PAGES)
def test_bash_completes_every_option(qimg, command):
    text = (ROOT / "completions/qimg.bash").read_text()
    common = re.findall(r"--?[\w-]+", " ".join(re.findall(r"local (?:gate|common)=\"(.*)\"", text)))
    body = re.search(rf'^    {command or chr(34) * 2}\) echo "(.*?)" ;;', text, re.M | re.S)[1]
    offered = set(re.findall(r"(?<![\w-])--?\w[\w-]*", body))
    offered |= set(common) & spellings(qimg, command)
    assert offered == spellings(qimg, command)


@pytest.mark.parametrize("command", PAGES)
def test_zsh_completes_every_option(qimg, command):
    text = (ROOT / "completions/_qimg").read_text()
    start = f"    {command})\n" if command else "_arguments -C"
    body = text[text.index(start):].split("image:_files" if command else "->command")[0]
    specs = re.findall(r"^ +(?:'[^']*'\{([^}]*)\}|'(?:\([^)]*\))?\*?(-[\w-]+))", body, re.M)
    offered = {s.rstrip("=") for pair in specs for part in pair for s in part.split(",") if s}
    assert offered == spellings(qimg, command)


@pytest.mark.parametrize("command", PAGES)
def test_fish_completes_every_option(qimg, command):
    path, offered = command.split("-") if command else [], set()
    for line in (ROOT / "completions/qimg.fish").read_text().splitlines():
        when = re.search(r" -n '(.*?)' ", line)
        levels = re.findall(r"__fish_seen_subcommand_from ([\w ]+)", when[1] if when else "")
        if when and len(levels) == len(path) and all(
                word in words.split() for word, words in zip(path, levels)):
            offered |= {"-" + letter for letter in re.findall(r" -s (\w)", line)}
            offered |= {"--" + name for name in re.findall(r" -l ([\w-]+)", line)}
    assert offered == spellings(qimg, command)


def test_quotes_of_the_fish_file_are_closed():
    """Else fish takes none of it."""
    for line in (ROOT / "completions/qimg.fish").read_text().splitlines():
        assert line.replace("\\'", "").count("'") % 2 == 0, line


def test_bash_offers_commands_and_values():
    for words, offered in ((["co"], "commit compare convert"),
                           (["--sandbox", ""], "auto require off"),
                           (["dd", "-O", ""], "qcow2 raw"), (["check", "-r", ""], "leaks all"),
                           (["chain", "ver"], "verify"), (["convert", "--spars"], "--sparse-size")):
        script = ('source "$0"; COMP_WORDS=(qimg "$@"); COMP_CWORD=$#; _qimg; '
                  'echo "${COMPREPLY[*]}"')
        done = subprocess.run(["bash", "-c", script, ROOT / "completions/qimg.bash", *words],
                              capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (offered + "\n", ""), words


@pytest.mark.parametrize("name", ("_qimg", "qimg.fish"))
def test_commands_are_summed_up_everywhere_alike(qimg, name):
    text = (ROOT / "completions" / name).read_text()
    for command, summary in re.findall(r"^  (\w+) - (.*)$", qimg("--help").out, re.M):
        summary = summary.replace("'", "\\'")
        assert f"'{command}:{summary}'" in text or f"-a {command} -d '{summary}'" in text, command


def spellings(qimg, command):
    return {s for letter, name, _ in helped(qimg, command) for s in (letter, name) if s}
