# SPDX-License-Identifier: Apache-2.0
"""What `bench` does beyond qemu-img: chains of its own, reports, plots, comparisons."""
import csv
import io
import json
import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from pylib import run
from pylib.paths import EMULATED, PATIENCE, ROOT

METRICS = re.findall(r'^METRIC\(\w+, "([^"]+)"', (ROOT / "tools/bench_metrics.def").read_text(),
                     re.M)
OURS = re.findall(r'OPT_\w+, 0, "([\w-]+)", ("|NULL)',
                  (ROOT / "tools/bench_options.c").read_text().partition("ours[]")[2])
SMALL = ("--chain-size", "1M", "-c", "200", "-d", "8")


@pytest.fixture
def disk(scratch):
    (scratch / "disk").write_bytes(bytes(4 << 20))
    return "disk"


def report(tool, *args):
    return json.loads(tool("bench", "--output=json", *args).ok().out)


def metrics(told, index=0):
    return {key: value["median"] for key, value in told["results"][index]["metrics"].items()}


# --- one image --------------------------------------------------------------------------------


def test_the_figures_of_a_round_fit_together(qimg, disk):
    began = time.monotonic_ns()
    told = report(qimg, "-f", "raw", "-w", "-c", "200", "-d", "8", "--flush-interval", "50",
                  "--rounds=1", disk)
    took = time.monotonic_ns() - began
    found = metrics(told)
    assert (found["requests"], found["writes"], found["syncs"]) == (200, 200, 4)
    assert 0 < found["duration-ns"] < took
    rate = 200e9 / found["duration-ns"]
    assert abs(found["requests-per-second"] - rate) <= 1
    assert abs(found["bytes-per-second"] - rate * 4096) <= 1
    latency = [found[f"latency-{name}-ns"] for name in ("p50", "p90", "p99", "p99.9", "max")]
    assert latency == sorted(latency) and 0 < latency[0] and latency[-1] <= found["duration-ns"]
    assert abs(found["cpu-ns-per-request"] - found["cpu-ns"] / 200) <= 1
    assert 1 << 20 < found["peak-memory-bytes"] < 1 << 29
    assert ("system-calls" in found) != ("system-calls-not-counted" in told)
    if "system-calls" in found:  # a write each, and four flushes
        assert 204 <= found["system-calls"] < 2000
        assert abs(found["system-calls-per-1000-requests"] - found["system-calls"] * 5) <= 1
    assert "read-latency-p50-ns" not in found and "page-cache-left-bytes" not in found


def test_rounds_have_medians_and_spread(qimg, disk):
    told = report(qimg, "-f", "raw", "-c", "50", "--rounds=4", disk)
    assert told["rounds"] == 4
    for key, value in told["results"][0]["metrics"].items():
        rounds = sorted(value["rounds"])
        assert len(rounds) == 4 and (value["min"], value["max"]) == (rounds[0], rounds[-1]), key
        assert value["median"] == (rounds[1] + rounds[2]) // 2


def test_what_was_done_is_told(qimg, disk):
    told = report(qimg, "--engine=io_uring", "-f", "raw", "-t", "none", "--pattern-access=zipf",
                  "--seed=7", "--mix=30%", "-c", "300", "-s", "8k", "-d", "3", disk)
    config = told["config"]
    assert [config[key] for key in ("operation", "write-percent", "pattern-access", "seed",
                                    "request-bytes", "queue-depth", "requests", "cache",
                                    "engine")] == [
        "mixed", 30, "zipf", 7, 8192, 3, 300, "none", "io_uring"]
    assert told["environment"]["kernel"].split()[1] == os.uname().release
    assert told["environment"]["processors"] == os.cpu_count()
    where = subprocess.run(["stat", "-f", "-c", "%T", qimg.cwd], capture_output=True, text=True,
                           check=True).stdout
    assert told["environment"]["file-system"][:3] == where[:3]
    found = metrics(told)
    assert 60 <= found["writes"] <= 120 and found["read-latency-p50-ns"] > 0
    assert found["write-latency-p99-ns"] <= found["latency-max-ns"]
    text = qimg("bench", "-f", "raw", "--mix=30", "-c", "300", disk).ok().out
    assert "300 sequential reads and writes (30% are writes) of 4 KiB, 64 at a time, seed 0" in text
    assert "write p99" in text and "Medians of 3 rounds" in text


def test_a_time_is_kept_and_warming_up_does_not_count(qimg, disk):
    began = time.monotonic()
    told = report(qimg, "-f", "raw", "--runtime=0.2", "--warm-up=0.3s", "--rounds=2", disk)
    assert time.monotonic() - began >= 1
    found = metrics(told)
    assert 0.2e9 <= found["duration-ns"] < 5e9 and found["requests"] > 100
    assert told["config"]["runtime-ns"] == 200000000


def written(path):
    data = path.read_bytes()
    return {off for off in range(0, len(data), 4096) if data[off] == 9}


@pytest.mark.parametrize("access", ("random", "zipf"))
def test_one_seed_makes_the_same_requests(qimg, scratch, access):
    """Seen in the file: what is written, by whichever engine, how many at a time."""
    found, hashes = [], []
    for options in (("--seed=5",), ("--seed=5", "--engine=io_uring", "-d", "1", "--rounds=1"),
                    ("--seed=6",)):
        (scratch / "disk").write_bytes(bytes(4 << 20))
        told = report(qimg, "-f", "raw", "--mix=100", "--pattern=9", "-c", "100",
                      f"--pattern-access={access}", *options, "disk")
        found.append(written(scratch / "disk"))
        hashes.append(told["results"][0]["request-hash"])
    assert found[0] == found[1] != found[2] and 30 < len(found[0]) <= 100
    assert hashes[0] == hashes[1] != hashes[2]


def test_cold_files_are_read_from_storage(qimg, disk):
    told = report(qimg, "-f", "raw", "--cold", "-c", "100", disk)
    kept = metrics(told)["page-cache-left-bytes"]
    text = qimg("bench", "-f", "raw", "--cold", "-c", "100", disk).ok().out
    assert (kept > 0) == ("Not cold: in spite of --cold the page cache kept up to" in text)
    if told["environment"]["file-system"] in ("ext4", "xfs"):
        assert kept == 0


@pytest.mark.skipif(not Path("/dev/shm").is_mount() or EMULATED,
                    reason="no tmpfs, or an emulator whose statx() does not tell of it")
def test_a_cache_that_cannot_be_dropped_is_told_of(qimg):
    text = qimg("bench", "--chain-depth=2", "--scratch=/dev/shm", "--cold", *SMALL).ok().out
    assert "on tmpfs" in text and "Not cold: in spite of --cold" in text


def test_without_io_uring(qimg, disk):
    confined = qimg.under("--no-io-uring")
    assert report(confined, "-f", "raw", "-t", "none", "-c", "9", disk)["config"]["engine"] == (
        "threads")
    confined("bench", "--engine=io_uring", "-f", "raw", "-c", "9", "--rounds=2", disk).failed(
        "io_uring", "--engine=threads")
    told = report(qimg.environ(QIMG_ENGINE="threads"), "-f", "raw", "-t", "none", "-c", "9", disk)
    assert told["config"]["engine"] == "threads"


# --- chains ------------------------------------------------------------------------------------


def scratch_dirs(scratch):
    return list(scratch.glob("qimg-bench-*"))


def test_chains_of_each_depth_are_measured_and_taken_away(qimg, scratch):
    told = report(qimg.environ(TMPDIR=scratch), "--chain-depth=9,1,3", "--pattern-access=random",
                  *SMALL)
    assert [result["depth"] for result in told["results"]] == [1, 3, 9]
    assert len({result["request-hash"] for result in told["results"]}) == 1
    for index, depth in enumerate((1, 3, 9)):
        assert metrics(told, index)["tables-loaded"] == depth
        assert metrics(told, index)["map-hits"] >= 190
    assert not scratch_dirs(scratch)


def until(condition):
    end = time.monotonic() + 30 * PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_chains_have_one_content_and_ctrl_c_takes_them_away(qimg, qemu_img, scratch):
    process = qimg.start("bench", "--chain-depth=1,5", "--chain-size=2M", "--runtime=60",
                         f"--scratch={scratch}")
    until(lambda: [*scratch.glob("qimg-bench-*/depth-5/manifest.json")])
    (made,) = scratch_dirs(scratch)
    tops = [made / "depth-1/image-0.qcow2", made / "depth-5/image-4.qcow2"]
    qemu_img("compare", *tops).ok()
    assert len([*made.glob("depth-5/*.qcow2")]) == 5
    used = json.loads(qemu_img("map", "--output=json", tops[1]).ok().out)
    assert {row["depth"] for row in used} == {0, 1, 2, 3, 4}
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT and not scratch_dirs(scratch)
    assert err == "qimg: interrupted; the chains were taken away\n"


def test_a_signal_while_chains_are_built_takes_them_away(qimg, scratch):
    """At once: to write the whole disk takes minutes."""
    process = qimg.start("bench", "--chain-depth=1,2", "--chain-size=16G", f"--scratch={scratch}")
    until(lambda: [*scratch.glob("qimg-bench-*/depth-1/*")])
    process.send_signal(signal.SIGTERM)
    try:
        _, err = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == -signal.SIGTERM and not scratch_dirs(scratch), err


def test_a_failure_takes_the_chains_away(qimg, scratch):
    two = ("bench", "--chain-depth=2", f"--scratch={scratch}", "--chain-size=1M")
    qimg(*two, "-d", "5000").failed("a queue needs a depth of 1 to 4096")
    qimg(*two, "-s", "2M").failed("a request of 2097152 bytes does not fit on the disk (1048576)")
    assert not scratch_dirs(scratch)
    qimg("bench", "--chain-depth=2", "--scratch=nosuch").failed(
        "Could not make a directory for the chains below 'nosuch': No such file or directory")


def test_each_round_of_writes_begins_with_the_same_images(qimg, scratch):
    """What a round allocates is not there for the next: all of them copy the same."""
    told = report(qimg, "--chain-depth=1,2", f"--scratch={scratch}", "--mix=100", "-c", "64", "-d",
                  "1", "--pattern-access=random", "--chain-size=4M", "--engine=threads")
    for result in told["results"]:
        counts = result["metrics"]["bytes-written"]
        assert counts["min"] == counts["max"], counts["rounds"]
    written_by = [metrics(told, index)["bytes-written"] for index in (0, 1)]
    assert written_by[0] == 64 * 4096 < written_by[1], "the overlay is given whole clusters"
    assert not scratch_dirs(scratch)


# --- other outputs -----------------------------------------------------------------------------


def test_csv_has_what_json_has(qimg, disk, scratch):
    os.rename(scratch / disk, scratch / 'a "b",c\x1b')
    out = qimg("bench", "--output=csv", "-f", "raw", "-c", "50", 'a "b",c\x1b').ok().out
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["image"] == 'a "b",c\\x1b' and row["depth"] == "1"
    assert (row["engine"], row["cache"], row["rounds"]) == ("threads", "writeback", "3")
    for metric in METRICS:
        least, median, most = (row[f"{metric}{end}"] for end in ("-min", "", "-max"))
        assert least == median == most == "" or int(least) <= int(median) <= int(most)
    assert row["requests"] == "50" and row["read-latency-p50-ns"] == ""


def test_the_plot_shows_every_depth(qimg, scratch):
    (scratch / "plot.svg").write_text("older")
    qimg("bench", "--chain-depth=1,2,4", f"--scratch={scratch}", "--plot=plot.svg", *SMALL).ok()
    root = xml.fromstring((scratch / "plot.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    words = [text.text for text in root.iter(f"{space}text")]
    for word in ("1", "2", "4", "p50", "p99", "p99.9", "MB/s", "Images in the chain",
                 "Throughput (requests/s)", "Latency of a request",
                 "200 sequential reads of 4 KiB, 8 at a time"):
        assert word in words, word
    assert any(os.uname().release in word for word in words)
    dots = {}
    for dot in root.iter(f"{space}circle"):
        dots.setdefault(dot.get("class"), []).append((float(dot.get("cx")), float(dot.get("cy"))))
    legend = {kind: places for kind, places in dots.items()}
    assert len(legend["a-dot"]) == 3 and all(len(legend[f"{c}-dot"]) == 4 for c in "bcd")
    xs = [x for x, _ in dots["a-dot"]]
    assert xs == sorted(xs) and abs((xs[1] - xs[0]) - (xs[2] - xs[1])) < 0.2, "logarithmic"


def test_a_plot_is_not_begun_before_there_is_one(qimg, scratch):
    (scratch / "old.svg").write_text("older")
    (scratch / "empty.svg").touch()
    for name in ("old.svg", "empty.svg", "new.svg"):
        qimg("bench", "--chain-depth=1,2", f"--scratch={scratch}", f"--plot={name}", "-d", "5000",
             "--chain-size=1M").failed()
    assert (scratch / "old.svg").read_text() == "older" and not (scratch / "new.svg").exists()
    assert (scratch / "empty.svg").read_text() == ""
    qimg("bench", "--chain-depth=1,2", "--plot=no/new.svg").failed("Could not open 'no/new.svg'")


def test_a_plot_goes_into_whatever_can_be_written(qimg, scratch):
    once = ("bench", "--chain-depth=1,2", f"--scratch={scratch}", "--rounds=1", *SMALL)
    said = qimg(*once, "--output=json", "--plot=/dev/stdout").ok().out
    assert said.startswith("<svg") and "</svg>" in said
    qimg(*once, "--plot=/dev/full").failed("Could not write '/dev/full': No space left on device")


# --- against an older report -------------------------------------------------------------------


@pytest.fixture
def old(qimg, scratch, disk):
    """(write, compare): an older report with figures multiplied, and a run against it."""
    told = report(qimg, "-f", "raw", "-c", "100", disk)

    def write(factors=None, change=None):
        copy = json.loads(json.dumps(told))
        for key, factor in (factors or {}).items():
            metric = copy["results"][0]["metrics"][key]
            for part in ("median", "min", "max"):
                metric[part] = int(metric[part] * factor)
        if change:
            change(copy)
        (scratch / "old.json").write_text(json.dumps(copy))

    def compare(*options):
        return qimg("bench", "-f", "raw", "-c", "100", "--against=old.json", *options, disk)

    return write, compare


# Measured anew each time on a busy machine: what is to be seen is beyond any noise.
WORSE = (({"requests-per-second": 1e6}, "requests-per-second is 0.00 of what it was"),
         ({"latency-p50-ns": 1e-3}, "latency-p50-ns is"), ({"latency-p99-ns": 1e-4}, "latency-p99"))
FINE = {"requests-per-second": 1e-6, "latency-p50-ns": 1e5, "latency-p99-ns": 1e5}


@pytest.mark.parametrize("factors,words", WORSE)
def test_a_regression_is_told_and_fails(old, factors, words):
    write, compare = old
    write({**FINE, **factors})
    result = compare("--regression=10%")
    assert result.code == 2 and "worse by more than 10%: depth 1: " + words in result.out
    assert result.out.count("worse by more than") == 1
    assert compare().code == 0, "without a limit all is told, and nothing judged"
    told = json.loads(compare("--regression=10", "--output=json").out)["against"]
    assert told["regressions"] == 1 and told["limit-percent"] == 10
    (key,) = factors
    assert told["compared"][0][key]["regression"] is True


def test_what_is_better_or_within_the_limit_passes(old):
    write, compare = old
    write(FINE)
    result = compare("--regression=0")
    assert result.code == 0 and "worse" not in result.out and "+-" in result.out
    write({**FINE, "latency-max-ns": 1e-3, "cpu-ns-per-request": 1e-2})
    assert compare("--regression=0").code == 0, "these are shown, and hold no line"


def set_at(*path, value):
    def change(told):
        for key in path[:-1]:
            told = told[key]
        told[path[-1]] = value
    return change


@pytest.mark.parametrize("change,why", (
    (set_at("config", "request-bytes", value=8192), "request-bytes is 4096, was 8192"),
    (set_at("config", "engine", value="io_uring"), 'engine is "threads", was "io_uring"'),
    (set_at("config", "new-thing", value=1), "new-thing is not there, was 1"),
    (set_at("results", 0, "depth", value=2), "depth 2 (disk): not compared: it was not measured"),
    (set_at("results", 0, "disk-bytes", value=1), "the disk has another size"),
    (set_at("results", 0, "request-hash", value="1"), "other requests were made"),
    (set_at("results", value=[]), "it is not in the older report"),
))
def test_only_what_is_the_same_is_compared(old, change, why):
    write, compare = old
    write({}, change)
    result = compare("--regression=10000")
    result.failed("Nothing of 'old.json' could be compared")
    assert why in result.out and "depth           IOPS" not in result.out


def test_depths_that_both_have_are_compared_and_others_named(qimg, scratch):
    def measured(depths, *more):
        return qimg("bench", f"--chain-depth={depths}", f"--scratch={scratch}", *SMALL, *more)
    (scratch / "old.json").write_text(measured("1,2", "--output=json").ok().out)
    told = json.loads(measured("2,3", "--against=old.json", "--output=json").ok().out)["against"]
    assert [row["depth"] for row in told["compared"]] == [2]
    assert {row["depth"]: row["why"] for row in told["not-compared"]} == {
        1: "it was not measured now", 3: "it is not in the older report"}
    assert {"ratio", "noise-percent", "regression"} == set(
        told["compared"][0]["requests-per-second"])


def test_another_machine_is_told_of(old):
    write, compare = old
    write({}, set_at("environment", "kernel", value="Linux 2.0"))
    assert re.search(r"^kernel: is Linux .*, was Linux 2\.0$", compare().ok().out, re.M)


@pytest.mark.parametrize("text,words", (
    ("", "line 1"), ("{", "line 1"), ("[]", "not a report"), ('{"qimg-bench": 2}', "not a report"),
    ('{"qimg-bench": 1, "config": 3, "results": []}', "not a report")))
def test_what_is_no_report_is_refused_at_once(qimg, scratch, disk, text, words):
    (scratch / "old.json").write_text(text)
    long = ("bench", "-f", "raw", "--runtime=600", disk)
    qimg(*long, "--against=old.json").failed("old.json", words)
    qimg(*long, "--against=nosuch").failed("nosuch")


# --- refusals ------------------------------------------------------------------------------------

CLASHES = (
    ("--count and --runtime", "-c", "5", "--runtime=1"),
    ("--write asks for writes alone", "-w", "--mix=5"),
    ("needs a step", "--pattern-access=stride"),
    ("--step-size goes with", "--pattern-access=random", "-S", "8k"),
    ("--offset has no meaning", "--pattern-access=zipf", "-o", "8k"),
    ("--cold empties the page cache", "--cold", "--warm-up=1"),
    ("--chain-size and --scratch", "--chain-size=1M"),
    ("--chain-size and --scratch", "--scratch=."),
    ("--plot draws figures against depth", "--plot=a.svg"),
    ("--regression is a limit", "--regression=10"),
    ("CSV has no place", "--against=x", "--output=csv"),
    ("--chain-depth makes its own images: 'disk' is not measured", "--chain-depth=2"),
    ("--chain-depth has depth 2 twice", "--chain-depth=2,1,2"),
    ("Invalid chain depth", "--chain-depth="), ("Invalid chain depth", "--chain-depth=4097"),
    ("a multiple of 64k", "--chain-depth=2", "--chain-size=100000"),
    ("--mix is not a share", "--mix=101"), ("--mix is not a share", "--mix=nan"),
    ("--mix is not a whole number", "--mix=0.5"), ("--mix is not a share", "--mix=5x"),
    ("Not a number of seconds", "--runtime=0"), ("Not a number of seconds", "--warm-up=1m"),
    ("Invalid number of rounds", "--rounds=0"), ("Invalid seed", "--seed=-x"),
    ("--pattern-access expects 'seq', 'stride', 'random' or 'zipf', not 'x'", "--pattern-access=x"),
    ("--output expects 'human', 'json' or 'csv', not 'x'", "--output=x"),
    ("--flush-interval is only available in write tests", "--mix=0", "--flush-interval=99"),
    ("force-share=on can only be used with read-only images", "--mix=1", "-U"),
)


def test_what_contradicts_itself_is_refused(qimg, disk):
    for words, *options in CLASHES:
        result = qimg("bench", *options, disk).failed(words)
        assert result.out == ""
    for option in ("-f=raw", "-U", "--image-opts"):
        qimg("bench", "--chain-depth=2", option).failed("--chain-depth makes its own images: ")
    qimg("bench", "--rounds=2").failed("Expecting one image file name")


def test_called_qemu_img_none_of_it_is_known(as_qemu_img, qimg, disk):
    told = as_qemu_img("bench", "--help").out
    assert len(OURS) == 14 and "Beyond qemu-img" not in told
    for name, _ in OURS:
        assert f"--{name}" in qimg("bench", "--help").out and f"--{name}" not in told
        as_qemu_img("bench", f"--{name}", disk).failed(f"unrecognized option '--{name}'")
