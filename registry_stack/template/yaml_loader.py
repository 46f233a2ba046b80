"""Loads YAML as Heat does, with errors that name file, line and column."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from registry_stack.errors import RegistryStackError


class _StrictLoader(yaml.SafeLoader):
    """Safe, keeps dates as text, and refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f'duplicate key "{key}"', key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


# Heat keeps an unquoted date as text (heat/common/template_format.py): 2018-08-31 is a version, not a day.
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: str(node.value))


def read_text(path: Path, what: str) -> str:
    """The UTF-8 text of a file, with its newlines as they are.

    Raises RegistryStackError, with `what` naming the kind of file, when it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise RegistryStackError(f"{what} {path} not found") from None
    except UnicodeDecodeError as error:
        raise RegistryStackError(f"{path}: not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None
    except OSError as error:
        raise RegistryStackError(f"{what} {path} cannot be read: {error.strerror}") from None


def parse_yaml(text: str, name: str) -> Any:
    """The parsed text; raises RegistryStackError `name:line:column: not valid YAML: reason`."""
    try:
        # A subclass of SafeLoader creates plain data only.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise RegistryStackError(f"{name}:{at}: not valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise RegistryStackError(f"{name}:{line}:{column}: not valid YAML: {error.reason}") from None


def load_yaml(path: Path, what: str) -> Any:
    """A file, read and parsed; raises RegistryStackError as `read_text` and `parse_yaml` do."""
    return parse_yaml(read_text(path, what), str(path))
