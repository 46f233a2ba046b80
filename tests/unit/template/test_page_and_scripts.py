"""The HTML, style sheets and JavaScript among the host's files are what a browser and njs can parse."""

from collections.abc import Callable, Iterator

import html5lib
import pytest
import tinycss2
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from registry_stack.userdata.build import TREE

FILES = TREE / "files"


def html_errors(text: str) -> list[str]:
    """The parse errors of an HTML document, as the standard defines them."""
    parser = html5lib.HTMLParser()
    parser.parse(text)
    return [f"line {line}: {code} {details}" for (line, _column), code, details in parser.errors]


def css_errors(text: str) -> list[str]:
    """The syntax errors of a style sheet, those of its declarations included."""
    return [f"line {node.source_line}: {node.message}" for node in _css_nodes(text) if node.type == "error"]


def _css_nodes(text: str) -> Iterator[tinycss2.ast.Node]:
    pending = tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True)
    while pending:
        node = pending.pop()
        yield node
        if node.type == "qualified-rule":
            pending += tinycss2.parse_blocks_contents(node.content)
        elif node.type == "at-rule" and node.content:
            pending += tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)


def javascript_errors(text: str) -> list[str]:
    """Where a script is not JavaScript."""
    tree = Parser(Language(tree_sitter_javascript.language())).parse(text.encode())
    return [f"line {node.start_point.row + 1}: {node.type}" for node in _nodes(tree.root_node) if _is_error(node)]


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _is_error(node: Node) -> bool:
    return node.is_error or node.is_missing


@pytest.mark.parametrize(
    ("suffix", "errors"),
    [(".html", html_errors), (".css", css_errors), (".js", javascript_errors)],
)
def test_status_page_is_well_formed(suffix: str, errors: Callable[[str], list[str]]) -> None:
    found = list(FILES.rglob(f"*{suffix}"))
    assert found
    assert {path.name: errors(path.read_text()) for path in found} == {path.name: [] for path in found}


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("<!doctype html><title>a</title><p>b", []),
        ("<!doctype html>\n<title>a</title><p>b</div>", ["line 2: end-tag-too-early {'name': 'div'}"]),
    ],
)
def test_html_errors(text: str, errors: list[str]) -> None:
    assert html_errors(text) == errors


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a { b: c; } @media (d) { e { f: g; } }", []),
        ("a { b: c; }\nd { e f; }\n", ["line 2"]),
        ("@media (d) {\n e { f g; } }", ["line 2"]),
        ("a { b: c }\n}\nd", ["line 3"]),
    ],
)
def test_css_errors(text: str, lines: list[str]) -> None:
    assert [error.partition(":")[0] for error in css_errors(text)] == lines


@pytest.mark.parametrize(
    ("text", "errors"),
    [("const a = b?.c ?? 1;", []), ("let a;\nlet = (;", ["line 2: ERROR"]), ("f(a", ["line 1: ERROR"])],
)
def test_javascript_errors(text: str, errors: list[str]) -> None:
    assert javascript_errors(text) == errors
