"""heat/registry-group.yaml has the parameters of heat/registry.yaml, and passes them on: this copies them there.

python -m registry_stack.template.group
"""

import re
from collections.abc import Iterator

from registry_stack.product import GROUP_TEMPLATE, TEMPLATE

# What the group itself gives each member.
OF_A_MEMBER = (
    *("group_members", "group_member", "group_secret", "group_vip"),
    *("shared_hostname", "group_ports", "group_pools"),
)
_REGION = re.compile(r"^( *)# copied: (\w+)\n(.*?)^ *# end\n", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"^  (\w+):", re.MULTILINE)


def with_copies(group: str, single: str) -> str:
    """The text of the group's template with what it has from that of a single host."""
    rest = _REGION.sub("", group)
    own = set(_KEY.findall(_section(rest, "parameters")))
    given = set(re.findall(r"^          (\w+): ", rest, re.MULTILINE))
    entries = [(name, text) for name, text in _parameters(single) if name not in OF_A_MEMBER]
    copies = {
        "groups": _groups(single),
        "parameters": "".join(text for name, text in entries if name not in own),
        "values": "".join(f"          {name}: {{get_param: {name}}}\n" for name, _text in entries if name not in given),
    }
    return _REGION.sub(lambda at: f"{at[1]}# copied: {at[2]}\n{copies[at[2]]}{at[1]}# end\n", group)


def _section(text: str, name: str) -> str:
    """The lines of a top-level key of the template."""
    found = re.search(rf"^{name}:\n((?: .*\n|\n)*)", text, re.MULTILINE)
    return found[1] if found else ""


def _groups(single: str) -> str:
    """The groups but that of a member's own parameters."""
    groups = re.split(r"^(?=  - )", _section(single, "parameter_groups"), flags=re.MULTILINE)
    return "".join(group for group in groups if f"- {OF_A_MEMBER[0]}\n" not in group).rstrip("\n") + "\n"


def _parameters(single: str) -> Iterator[tuple[str, str]]:
    """Each parameter's name and lines; the comments between them are not copied."""
    section = re.sub(r"^  #.*\n|^\n", "", _section(single, "parameters"), flags=re.MULTILINE)
    for entry in re.split(r"^(?=  \w)", section, flags=re.MULTILINE):
        if found := _KEY.match(entry):
            yield found[1], entry


if __name__ == "__main__":
    GROUP_TEMPLATE.write_text(with_copies(GROUP_TEMPLATE.read_text(), TEMPLATE.read_text()))
