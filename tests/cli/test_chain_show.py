# SPDX-License-Identifier: Apache-2.0
"""`chain show`: the tree, JSON, Graphviz, and what libvirt itself says of the <disk>."""
import json
import subprocess
from xml.etree import ElementTree

import pytest

from pylib import images, run

DOMAIN = """<domain type='test'>
  <name>chain</name>
  <memory>8192</memory>
  <os>
    <type>hvm</type>
  </os>
  <devices>
{}  </devices>
</domain>
"""


@pytest.fixture
def img(qemu_img):
    return lambda *args: qemu_img(args[0], "-q", *args[1:]).ok()


@pytest.fixture
def chain(img, scratch):
    """top.qcow2 -> sub/mid.qcow2 -> base.raw"""
    (scratch / "sub").mkdir()
    img("create", "-f", "raw", "base.raw", "1M")
    img("create", "-f", "qcow2", "-b", "../base.raw", "-F", "raw", "sub/mid.qcow2")
    img("create", "-f", "qcow2", "-b", "sub/mid.qcow2", "-F", "qcow2", "top.qcow2")
    return scratch


def indented(disk):
    return "".join("    " + line + "\n" for line in disk.splitlines())


def libvirt(scratch, disk):
    """What libvirt makes of @disk: its schema judges it, its parser reads it, it prints it."""
    xml = scratch / "domain.xml"
    xml.write_text(DOMAIN.format(indented(disk)))
    done = subprocess.run(["virsh", "-q", "-c", "test:///default",
                           f"define --validate {xml}; dumpxml chain --inactive"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    end = "    </disk>\n"
    again = printed[printed.index("    <disk"):printed.index(end) + len(end)]
    return "".join(line[4:] + "\n" for line in again.splitlines()
                   if "<address " not in line)


def same_to_libvirt(scratch, disk):
    assert libvirt(scratch, disk) == disk


def test_the_tree_names_what_is_recorded_and_where_it_leads(qimg, chain):
    result = qimg("chain", "show", "top.qcow2").ok()
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["[0]", "[1]", "[2]"]
    assert "└─ ../base.raw" in lines[2] and "leads to sub/../base.raw" in lines[2]
    assert "raw" in lines[2] and "1 MiB" in lines[2] and "on disk" in lines[2]
    assert lines[3].strip() == "end of chain"
    assert qimg("chain", "top.qcow2").out == result.out, "show is what is done without a verb"


def test_what_is_wrong_stands_at_its_level_and_below_the_tree(qimg, chain):
    (chain / "base.raw").unlink()
    result = qimg("chain", "show", "top.qcow2")
    assert result.code == 2
    assert "[missing: No such file or directory]" in result.out.splitlines()[2]
    assert "error[missing]: backing file '../base.raw' of image 'sub/mid.qcow2'" in result.out


def test_json_has_all_levels_and_findings(qimg, chain):
    images.forget_format(chain / "top.qcow2")
    result = qimg("chain", "show", "--output=json", "top.qcow2")
    shown = json.loads(result.out)
    assert result.code == 2 and shown["end"] == "broken"
    top, mid = shown["images"]
    assert (top["state"], top["format"], top["virtual-size"]) == ("read", "qcow2", 1 << 20)
    assert (mid["state"], mid["content"], mid["recorded-name"]) == ("unread", "qcow2",
                                                                    "sub/mid.qcow2")
    assert "format" not in mid and mid["path"] == str(chain / "sub/mid.qcow2")
    assert [f["id"] for f in shown["findings"]] == ["format-missing"]


def test_a_missing_image_is_a_failure(qimg):
    qimg("chain", "show", "nothing").failed("Could not open 'nothing': No such file or directory")


def test_graphviz_gets_every_image_and_arrow(qimg, chain, img):
    img("create", "-f", "qcow2", "-o", "data_file=a\"b\\.raw", "data.qcow2", "1M")
    dot = qimg("chain", "show", "--output=dot", "top.qcow2").ok().out
    assert dot.startswith("digraph") and dot.count(" [label=\"/") == 3 and dot.count("->") == 2
    dot = qimg("chain", "show", "--output=dot", "data.qcow2").ok().out
    assert 'a\\"b\\\\.raw' in dot and 'label="data file"' in dot


# --- libvirt ----------------------------------------------------------------------------------

def disk_of(qimg, *args):
    return qimg("chain", "show", "--output=libvirt", *args).ok().out


def test_libvirt_takes_a_chain_as_it_is_printed(qimg, chain):
    disk = disk_of(qimg, "top.qcow2")
    same_to_libvirt(chain, disk)
    subprocess.run(["virt-xml-validate", chain / "domain.xml", "domain"], check=True)
    stores = ElementTree.fromstring(disk).findall(".//backingStore")
    assert [store.get("type") for store in stores] == ["file", "file", None]
    assert len(stores[2]) == 0, "the end is known"
    assert stores[1].find("source").get("file") == f"{chain}/sub/../base.raw"


def test_target_and_bus(qimg, chain):
    disk = disk_of(qimg, "--target", "sda", "--bus", "scsi", "top.qcow2")
    assert "<target dev='sda' bus='scsi'/>" in disk
    libvirt(chain, disk)


def test_a_whole_domain_is_valid_as_it_is_printed(qimg, chain):
    domain = disk_of(qimg, "--wrap=domain", "top.qcow2")
    assert indented(disk_of(qimg, "--wrap=disk", "--output=xml", "top.qcow2")) in domain
    (chain / "whole.xml").write_text(domain)
    subprocess.run(["virt-xml-validate", chain / "whole.xml", "domain"], check=True)
    qimg("chain", "show", "--wrap=what", "top.qcow2").failed("--wrap expects 'disk' or 'domain'")


def test_images_are_numbered_as_libvirt_does(qimg, chain, img):
    img("create", "-f", "qcow2", "-o", f"data_file={chain}/d.raw", "low.qcow2", "1M")
    img("create", "-f", "qcow2", "-b", "low.qcow2", "-F", "qcow2", "mid.qcow2")
    img("create", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "data.qcow2")
    root = ElementTree.fromstring(disk_of(qimg, "--index", "data.qcow2"))
    assert root.find("source").get("index") == "1"
    assert [s.get("index") for s in root.iter("backingStore")] == ["2", "3", None]
    assert root.find(".//dataStore/source").get("index") == "4"
    disk = disk_of(qimg, "--index", "top.qcow2")
    libvirt(chain, disk)
    assert "index" not in disk_of(qimg, "top.qcow2")


def test_names_are_escaped(qimg, img, scratch):
    name = "it's <a> & \"b\" é.raw"
    img("create", "-f", "raw", name, "1M")
    img("create", "-f", "qcow2", "-b", name, "-F", "raw", "top.qcow2")
    same_to_libvirt(scratch, disk_of(qimg, "top.qcow2"))


def test_names_that_xml_cannot_hold_are_refused(qimg, img):
    img("create", "-f", "raw", "a\x01.raw", "1M")
    img("create", "-f", "qcow2", "-b", "a\x01.raw", "-F", "raw", "top.qcow2")
    result = qimg("chain", "show", "--output=libvirt", "top.qcow2")
    assert (result.code, result.out) == (2, "") and "XML cannot hold" in result.err


def test_one_image_ends_at_once(qimg, img, scratch):
    img("create", "-f", "raw", "a.raw", "1M")
    disk = disk_of(qimg, "a.raw")
    assert "<driver name='qemu' type='raw'/>" in disk and "  <backingStore/>\n" in disk
    same_to_libvirt(scratch, disk)


def test_a_part_of_a_raw_file_is_a_slice(qimg, img, scratch):
    img("create", "-f", "raw", "a.raw", "1M")
    inner = f'{{"driver":"file","filename":"{scratch}/a.raw"}}'
    img("create", "-u", "-f", "qcow2", "-F", "raw", "-b",
        f'json:{{"driver":"raw","offset":65536,"size":131072,"file":{inner}}}', "top.qcow2", "128k")
    disk = disk_of(qimg, "top.qcow2")
    assert "<slice type='storage' offset='65536' size='131072'/>" in disk
    same_to_libvirt(scratch, disk)


def test_a_data_file_is_a_data_store(qimg, img, scratch):
    """libvirt 9 does not know it; the shape is that of 10.10."""
    img("create", "-f", "qcow2", "-o", f"data_file={scratch}/data.raw", "top.qcow2", "1M")
    result = qimg("chain", "show", "--output=libvirt", "top.qcow2").ok()
    store = ElementTree.fromstring(result.out).find("source/dataStore")
    assert store.get("type") == "file" and store.find("format").get("type") == "raw"
    assert store.find("source").get("file") == f"{scratch}/data.raw"
    assert "needs libvirt 10.10" in result.err


NETWORK = {
    "nbd://host/export": "protocol='nbd' name='export'><host name='host' port='10809'/>",
    "nbd://[::1]:10810/": "protocol='nbd'><host name='::1' port='10810'/>",
    "nbd+unix:///x?socket=/run/a&b": "protocol='nbd' name='x'><host transport='unix' "
                                     "socket='/run/a'/>",
    "nbd:host:1234:exportname=x": "protocol='nbd' name='x'><host name='host' port='1234'/>",
    "nbd:unix:/run/s": "protocol='nbd'><host transport='unix' socket='/run/s'/>",
    "https://host/a/b.raw?x=1&y=2": "protocol='https' name='a/b.raw' query='x=1&amp;y=2'>"
                                    "<host name='host' port='443'/>",
    "ftp://host:2121/a": "protocol='ftp' name='a'><host name='host' port='2121'/>",
    "iscsi://host:3261/iqn.2001-04.com.example:x/1":
        "protocol='iscsi' name='iqn.2001-04.com.example:x/1'><host name='host' port='3261'/>",
    "gluster://host/vol/dir/a": "protocol='gluster' name='vol/dir/a'>"
                                "<host name='host' port='24007'/>",
    "gluster+rdma://host/vol/a": "protocol='gluster' name='vol/a'>"
                                 "<host name='host' port='24007' transport='rdma'/>",
    "nfs://host/export/a": "protocol='nfs' name='export/a'><host name='host'/><identity/>",
    "rbd:pool/image@snap:conf=/etc/b:id=joe:mon_host=one\\:6789\\;two:conf=/etc/c":
        "protocol='rbd' name='pool/image'><host name='one' port='6789'/><host name='two'/>"
        "<snapshot name='snap'/><config file='/etc/c'/>",
    'json:{"driver":"nbd","server":{"type":"inet","host":"h","port":"1"},"export":"x"}':
        "protocol='nbd' name='x'><host name='h' port='1'/>",
    'json:{"file":{"driver":"nbd","host":"h","port":1}}':
        "protocol='nbd'><host name='h' port='1'/>",
    'json:{"driver":"raw","offset":512,"size":1024,"file":{"driver":"nbd","path":"/run/s"}}':
        "protocol='nbd'><host transport='unix' socket='/run/s'/>"
        "<slices><slice type='storage' offset='512' size='1024'/></slices>",
    'json:{"file.driver":"https","file.url":"https://h/a","file.sslverify":false,'
    '"file.readahead":65536,"file.timeout":9}':
        "protocol='https' name='a'><host name='h' port='443'/><ssl verify='no'/>"
        "<readahead size='65536'/><timeout seconds='9'/>",
    'json:{"driver":"gluster","volume":"v","path":"a/b","server":[{"type":"tcp","host":"h",'
    '"port":"24007"},{"type":"unix","socket":"/run/g"}]}':
        "protocol='gluster' name='v/a/b'><host name='h' port='24007'/>"
        "<host transport='unix' socket='/run/g'/>",
    'json:{"driver":"iscsi","portal":"h:3260","target":"iqn.x:y","transport":"tcp"}':
        "protocol='iscsi' name='iqn.x:y/0'><host name='h' port='3260'/>",
    'json:{"driver":"rbd","pool":"p","image":"i","server":[{"host":"a","port":"1"}]}':
        "protocol='rbd' name='p/i'><host name='a' port='1'/>",
    'json:{"driver":"nfs","path":"/e/a","user":2,"group":9,"server":{"type":"inet","host":"h"}}':
        "protocol='nfs' name='e/a'><host name='h'/><identity user='+2' group='+9'/>",
}


@pytest.mark.parametrize("name", NETWORK)
def test_places_on_the_network(qimg, img, scratch, name):
    img("create", "-u", "-f", "qcow2", "-b", name, "-F", "raw", "top.qcow2", "1M")
    result = qimg("chain", "show", "--output=libvirt", "top.qcow2")
    assert result.code == 4, "nothing was visited"
    assert "<backingStore/>" not in result.out, "what lies below is not known"
    inner = result.out[result.out.index("<source protocol"):result.out.index("</source>")]
    assert "".join(line.strip() for line in inner.splitlines()) == "<source " + NETWORK[name]
    again = libvirt(scratch, result.out)
    assert again == result.out.replace("      <identity/>\n", ""), "libvirt drops an empty one"


READ_ANYWAY = ("gluster://host/vol/a?x", "nbd:host")
WORDLESS = ("nbd+unix:///x", "sheepdog:x", 'json:{"driver":"nbd"}', "ssh://joe:pw@host/a",
            'json:{"driver":"qcow2","file":{"driver":"nbd","host":"h"}}', "nbd://h<o/x",
            "nbd://h:x/y", "nbd://[1:x]/y", "rbd:p/i@s<", "nbd+unix:///x?socket=relative",
            "rbd:p/i:conf=relative", 'json:{"driver":"http","url":"http+ssh://h/a"}')


@pytest.mark.parametrize("name", READ_ANYWAY + WORDLESS)
def test_names_without_words_in_libvirt_are_refused_or_read(qimg, img, name):
    img("create", "-u", "-f", "qcow2", "-b", name, "-F", "raw", "top.qcow2", "1M")
    result = qimg("chain", "show", "--output=libvirt", "top.qcow2")
    if name in READ_ANYWAY:
        assert result.code == 4 and "<host name='host'" in result.out
    else:
        assert (result.code, result.out) == (2, "")


def test_the_operator_may_complete_what_was_not_visited(qimg, img, scratch):
    img("create", "-u", "-f", "qcow2", "-b", "nbd://host/x", "-F", "raw", "top.qcow2", "1M")
    disk = disk_of(qimg, "--assume", "1=raw:end", "top.qcow2")
    assert "<backingStore/>" in disk
    same_to_libvirt(scratch, disk)


def test_the_operator_may_say_the_format(qimg, chain):
    images.forget_format(chain / "top.qcow2")
    refused = qimg("chain", "show", "--output=libvirt", "top.qcow2")
    assert (refused.code, refused.out) == (2, "")
    disk = disk_of(qimg, "--assume", "1=qcow2", "top.qcow2")
    same_to_libvirt(chain, disk)
    for wrong in ("qcow2", "0=raw", "1=", "1=raw:start", "x=raw"):
        qimg("chain", "show", "--assume", wrong, "top.qcow2").failed()


def test_a_partial_chain_stops_above_what_is_broken(qimg, chain):
    (chain / "base.raw").unlink()
    result = qimg("chain", "show", "--output=libvirt", "top.qcow2")
    assert (result.code, result.out) == (2, "")
    result = qimg("chain", "show", "--output=libvirt", "--partial", "top.qcow2")
    assert result.code == 2
    assert "mid.qcow2" in result.out and "base.raw" not in result.out
    assert "<backingStore/>" not in result.out
    same_to_libvirt(chain, result.out)


def test_a_format_that_qimg_does_not_read_is_passed_on(qimg, img, scratch):
    img("create", "-f", "vmdk", "base.vmdk", "1M")
    img("create", "-u", "-f", "qcow2", "-b", "base.vmdk", "-F", "vmdk", "top.qcow2", "1M")
    result = qimg("chain", "show", "--output=libvirt", "top.qcow2")
    assert result.code == 4 and "<backingStore/>" not in result.out
    same_to_libvirt(scratch, result.out)


def test_a_chain_that_libvirt_refuses_for_its_depth_is_refused(scratch):
    """201 images of 300 bytes: the headers alone, as no tool of QEMU's would make them so fast."""
    import struct
    for level in range(201):
        below = f"{level - 1}".encode() if level else b""
        extension = struct.pack(">II", 0xe2792aca, 5) + b"qcow2\0\0\0" if level else b""
        head = b"QFI\xfb" + struct.pack(">IQIIQIIQQIIQQQQII", 3, 112 + len(extension) + 8,
                                        len(below), 16, 1 << 20, 0, 1, 196608, 65536, 1, 0, 0,
                                        0, 0, 0, 4, 112)
        body = (head.ljust(112, b"\0") + extension + bytes(8) + below).ljust(65536, b"\0")
        if not level:
            body = body[:8] + bytes(12) + body[20:]
        (scratch / f"{level}").write_bytes(body + bytes(196608))
    qimg = run.ours(scratch)
    assert len(ElementTree.fromstring(disk_of(qimg, "199")).findall(".//backingStore")) == 200
    result = qimg("chain", "show", "--output=libvirt", "200")
    assert (result.code, result.out) == (2, "") and "refuses more than 200" in result.err
