# SPDX-License-Identifier: Apache-2.0
"""Each rule of the normaliser forgives its difference, and nothing beside it."""
import pytest

from compat import normalise as n

ROW_72 = "1         s1                    0 B 2026-11-23 01:19:49 00:00:00.000          0"
ROW_102 = "1       s1                    0 B 2026-11-23 01:19:49  0000:00:00.000          0"

SAME = [  # rule, text of 7.2, text of 10.2
    (n.drop_child_nodes, "image: a\n    extended l2: false\n",
     "image: a\n    extended l2: false\nChild node '/file':\n    filename: a\n    Child of it:\n"),
    (n.drop_map_compressed, '[{ "start": 0, "data": true, "offset": 9}]',
     '[{ "start": 0, "data": true, "compressed": false, "offset": 9}]'),
    (n.drop_json_children, '{\n    "b": 1,\n    "a": 2\n}\n',
     '{\n    "children": [\n        {"b": 0}\n    ],\n    "b": 1,\n    "a": 2\n}\n'),
    (n.snapshot_columns,
     "ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT\n" + ROW_72,
     "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n"
     + ROW_102),
    (n.drop_usage_hint, "e\nTry 'qemu-img --help' for more information\n",
     "e\nTry 'qemu-img create --help' for more information\n"),
    (n.blank_size_error,
     "qemu-img: Invalid image size specified. You may use k, M, G, T, P or E suffixes for\n"
     "qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.\n",
     "qemu-img: Invalid image size specified: '1Q'\n"),
    (n.blank_output_error, "qemu-img: --output must be used with human or json as argument.\n",
     "qemu-img: --output expects 'human' or 'json', not 'xml'\n"),
    (n.getopt_words, "qemu-img: missing argument for option '-f'\n",
     "qemu-img create: option requires an argument -- 'f'\n"),
    (n.blank_size_error,
     "qemu-img: Invalid rate limit specified. You may use k, M, G, T, P or E suffixes for\n"
     "qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.\n",
     "qemu-img: Invalid rate limit specified: 'x'\n"),
    (n.coroutines, "qemu-img: Invalid number of coroutines. Allowed number of coroutines is "
     "between 1 and 16\n", "qemu-img: Invalid number of coroutines specified\n"),
    (n.json_parser_words, "e: JSON parse error, premature EOI\n", "e: JSON parse error, ']'\n"),
    (n.drop_detached_header, "    ivgen alg: plain64\n",
     "    ivgen alg: plain64\n    detached header: false\n"),
    (n.drop_detached_header, '{\n', '{\n    "detached-header": false,\n'),
    (n.number_of_errno, "qemu-img: Could not create snapshot 's': -22 (Invalid argument)\n",
     "qemu-img: Could not create snapshot 's': Invalid argument\n"),
    (n.step_size, "qemu-img: Invalid step_size specified\n",
     "qemu-img: Invalid step size specified\n"),
    (n.last_newline, "Detected format of qcow2.", "Detected format of qcow2.\n"),
]

DIFFERENT = [  # rule, two texts that must stay different
    (n.drop_child_nodes, "image: a\n", "image: b\nChild node '/file':\n    filename: b\n"),
    (n.drop_map_compressed, '[{ "start": 0, "data": true}]', '[{ "start": 0, "data": false}]'),
    (n.drop_json_children, '{\n    "b": 1,\n    "a": 2\n}\n', '{\n    "a": 2,\n    "b": 1\n}\n'),
    (n.snapshot_columns, ROW_72, ROW_102.replace("s1", "s2")),
    (n.snapshot_columns, ROW_72, ROW_102.replace("0000:", "0001:")),
    (n.blank_size_error, "qemu-img: Invalid rate limit specified: 'x'\n",
     "qemu-img: Invalid image size specified: 'x'\n"),
    (n.drop_detached_header, "", "    detached header: true\n"),
    (n.drop_usage_hint, "e\n", "f\nTry 'qemu-img create --help' for more information\n"),
    (n.getopt_words, "qemu-img: missing argument for option '-f'\n",
     "qemu-img create: option requires an argument -- 'o'\n"),
    (n.number_of_errno, "qemu-img: Could not create snapshot 's': -22 (Invalid argument)\n",
     "qemu-img: Could not create snapshot 's': Operation not supported\n"),
    (n.step_size, "qemu-img: Invalid step_size specified\n",
     "qemu-img: Invalid buffer size specified\n"),
]


@pytest.mark.parametrize("rule,old,new", SAME, ids=lambda v: getattr(v, "__name__", ""))
def test_rule_forgives_its_difference(rule, old, new):
    assert rule(old) == rule(new)


@pytest.mark.parametrize("rule,a,b", DIFFERENT, ids=lambda v: getattr(v, "__name__", ""))
def test_rule_forgives_nothing_else(rule, a, b):
    assert rule(a) != rule(b)


def test_every_rule_has_a_case_here():
    rules = {*n.NEW_OUT, *n.OLD_OUT, *n.BOTH_ERR} - {n.reprint_json, n.blank_unexpected_argument}
    assert rules == {rule for rule, _, _ in SAME}
