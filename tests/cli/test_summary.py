# SPDX-License-Identifier: Apache-2.0
"""scripts/test must not count wrong: the number of failures is what lands or stops a change."""
from pylib.summary import count

LOG = """\
test 1
    Start 1: unit_base
1: [====] Synthesis: Tested: 12 | Passing: 11 | Failing: 1 | Crashing: 0 {end}
1/5 Test #1: unit_base ........................***Failed    0.10 sec
2: ..s [100%]
2: 40 passed, 2 skipped in 3.20s
2/5 Test #2: compat ...........................   Passed    3.30 sec
3: ok
3/5 Test #3: stress_read ......................   Passed    0.30 sec
4: [====] Synthesis: Tested: 3 | Passing: 3 | Failing: 0 | Crashing: 0
4: ==1==ERROR: LeakSanitizer: detected memory leaks
4/5 Test #4: unit_io ..........................***Failed  Error regular expression found
5/5 Test #5: stress_io ........................***Timeout 300.0 sec
"""


def test_cases_are_counted_and_no_failure_is_lost():
    assert count(LOG) == (11 + 40 + 1 + 3, 1 + 0 + 0 + 1 + 1)


def test_one_failed_among_passed_ones():
    log = "1: 1 failed, 9 passed in 0.5s\n1/1 Test #1: cli ....***Failed    0.10 sec\n"
    assert count(log) == (9, 1)


def test_nothing_ran():
    assert count("") == (0, 0)
