"""The edge's configuration as nginx itself reads it, in the image that the host runs."""

import re

from registry_stack.userdata.build import GROUP_ONLY, TREE
from tests.integration.host import EDGE, Host

FOLDER = "/etc/docker-registry/edge"


def test_nginx_reads_every_file_without_a_warning(mirror: Host) -> None:
    output = mirror.exec_in(EDGE, "nginx", "-T", "-c", f"{FOLDER}/nginx.conf")
    assert "test is successful" in output, output[:2000]
    assert not re.findall(r"^.*\[(?:warn|error|alert)\] .*", output, re.MULTILINE)

    read = set(re.findall(r"^# configuration file (\S+\.conf):$", output, re.MULTILINE))
    source = {f"{FOLDER}/{path.name}" for path in (TREE / f"files{FOLDER}").glob("*.conf")} - GROUP_ONLY
    rendered = set(mirror.exec("sh", "-c", "ls /run/registry/edge/*.conf").out.split())
    assert len(source) > 1
    assert len(rendered) > 1
    assert read == source | rendered
