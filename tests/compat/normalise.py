# SPDX-License-Identifier: Apache-2.0
"""Undoes the differences between our surface (QEMU 10.2's) and the installed oracle's (7.2's).

The only place where a difference between the two is forgiven. ours() takes a result of qimg,
theirs() one of Debian's qemu-img; both return (exit code, stdout, stderr) in a common form. Each
rule says what changed in QEMU and when; a rule is a function from text to text, named in one of
the tables at the end. What a rule removes, tests/compat/test_golden.py and tests/cli check on
their own.
"""
import json
import re


# --- stdout ---------------------------------------------------------------------------------

def drop_child_nodes(text):
    """8.0: `info` ends with a block for each child node, after the format specific lines."""
    return re.sub(r"^Child node '.*':\n(?:    .*\n)*", "", text, flags=re.M)


def drop_map_compressed(text):
    """8.2: `map --output=json` tells for each entry whether it is compressed."""
    return re.sub(r', "compressed": (?:true|false)', "", text)


def drop_json_children(text):
    """8.0: nodes have `children`; 10.2: `limits`. Everything else keeps place and order."""
    def strip(value):
        if isinstance(value, list):
            return [strip(v) for v in value]
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k not in ("children", "limits")}
        return value

    if not text.startswith(("{\n", "[\n")):
        return text
    return json.dumps(strip(json.loads(text)), indent=4, ensure_ascii=False) + "\n"


def reprint_json(text):
    """QEMU prints empty containers over two lines; the common form is json.dumps's."""
    if not text.startswith(("{\n", "[\n")):
        return text
    return json.dumps(json.loads(text), indent=4, ensure_ascii=False) + "\n"


def drop_detached_header(text):
    """9.0: a LUKS header tells whether it is in a file of its own."""
    return re.sub(r'^ *"?detached[ -]header"?: false,?\n', "", text, flags=re.M)


SNAPSHOT_HEAD = re.compile(r"^ID +TAG +VM[ _]SIZE +DATE +VM[ _]CLOCK +ICOUNT$", re.M)
SNAPSHOT_ROW = re.compile(r"^(\S+) +(\S.*?) +([\d.]+ (?:[KMGTPE]i)?B) "
                          r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) +(\d+):(\d\d:\d\d\.\d{3}) *(\S*)$",
                          re.M)


def snapshot_columns(text):
    """9.0: other column widths, VM_SIZE and VM_CLOCK with an underscore, four digits of hours."""
    text = SNAPSHOT_HEAD.sub("ID TAG VM_SIZE DATE VM_CLOCK ICOUNT", text)
    return SNAPSHOT_ROW.sub(lambda row: " ".join(
        [row[1], row[2], row[3], row[4], f"{int(row[5])}:{row[6]}", row[7]]), text)


# --- stderr ---------------------------------------------------------------------------------

def drop_usage_hint(text):
    """10.1: the hint names the subcommand."""
    return re.sub(r"^Try '.*--help' for more information\n", "", text, flags=re.M)


def blank_size_error(text):
    """10.1: an unusable number is quoted, or its range is told; before, two lines of suffixes."""
    text = re.sub(r"Invalid (.+) specified\. You may use k, M, G, T, P or E suffixes for\n"
                  r".*?kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes\.\n",
                  r"Invalid \1 specified\n", text)
    return re.sub(r"Invalid (.+) specified(?:: '.*'|\. Must be between \d+ and \d+\.)\n",
                  r"Invalid \1 specified\n", text)


def coroutines(text):
    """10.1: `convert -m` out of range."""
    return text.replace("Invalid number of coroutines. Allowed number of coroutines is between 1 "
                        "and 16", "Invalid number of coroutines specified")


def blank_output_error(text):
    """10.1: the refused --output value is named."""
    text = text.replace("--output must be used with human or json as argument.",
                        "--output expects 'human' or 'json'")
    return re.sub(r"(--output expects 'human' or 'json'), not '.*'", r"\1", text)


def blank_unexpected_argument(text):
    """10.1: what is too much is named, what is missing has a sentence of its own."""
    text = re.sub(r"Expecting (?:one )?image file name(?: and size)?\n"
                  r"|Must specify image file name\n|Not enough arguments\n",
                  "Expecting image file name\n", text)
    return re.sub(r"Unexpected argument: (.*)\n", r"Unexpected argument: \1\n", text)


def last_newline(text):
    """A hint at the end of stderr had no newline before 8.0."""
    return text if not text or text.endswith("\n") else text + "\n"


def getopt_words(text):
    """10.1: getopt's own words for an option that is unknown or lacks its argument."""
    text = re.sub(r"qemu-img: unrecognized option '(-?)(.*)'\n", r"qemu-img: bad option \2\n",
                  text)
    text = re.sub(r"qemu-img: missing argument for option '(.*)'\n",
                  r"qemu-img: no argument \1\n", text)
    text = re.sub(r"(?:\S*/)?qemu-img \w+: "
                  r"(?:unrecognized option '-(.*)'|invalid option -- '(.*)')\n",
                  lambda m: f"qemu-img: bad option {m[1] or m[2]}\n", text)
    return re.sub(r"(?:\S*/)?qemu-img \w+: option requires an argument -- '(.*)'\n",
                  r"qemu-img: no argument -\1\n", text)


def json_parser_words(text):
    """Where JSON breaks is said in the words of the parser: QEMU's own, and jansson's."""
    return re.sub(r"(JSON parse error), .*", r"\1", text)


def step_size(text):
    """10.1: bench names the step size in words."""
    return text.replace("Invalid step_size specified", "Invalid step size specified")


def number_of_errno(text):
    """9.0: snapshot gives the words of an errno without its number."""
    text = re.sub(r"(Could not create snapshot '.*'): -\d+ \((.*)\)\n", r"\1: \2\n", text)
    return text.replace("Block driver does not support snapshots",
                        "Block driver does not support internal snapshots")


NEW_OUT = (drop_child_nodes, drop_detached_header, drop_json_children, drop_map_compressed,
           snapshot_columns)
OLD_OUT = (reprint_json, snapshot_columns)
BOTH_ERR = (drop_usage_hint, blank_size_error, coroutines, blank_output_error,
            blank_unexpected_argument, getopt_words, json_parser_words, last_newline,
            number_of_errno, step_size)


def _apply(rules, text):
    for rule in rules:
        text = rule(text)
    return text


def ours(result):
    return result.code, _apply(NEW_OUT, result.out), _apply(BOTH_ERR, result.err)


def theirs(result):
    return result.code, _apply(OLD_OUT, result.out), _apply(BOTH_ERR, result.err)


# --- what varies from run to run, in both -----------------------------------------------------

def mask(text):
    """As the golden files are masked: disk sizes, dates, times."""
    text = re.sub(r'"actual-size": \d+', '"actual-size": <DISK>', text)
    text = re.sub(r"disk size: .*", "disk size: <DISK>", text)
    text = re.sub(r'"date-(n?sec)": \d+', r'"date-\1": <DATE>', text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<DATE>", text)
    return re.sub(r"in [\d.]+ seconds", "in <TIME> seconds", text)
