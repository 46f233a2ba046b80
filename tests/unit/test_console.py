"""How a command ends when it fails."""

import sys

import pytest
import typer
from docker.errors import APIError, DockerException
from heatclient.exc import CommandError
from keystoneauth1.exceptions import ConnectFailure
from openstack.exceptions import SDKException

from registry_stack.console import report_errors
from registry_stack.errors import RegistryStackError, StackFailedError


def failing(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["registry-stack"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RegistryStackError("say why"), "error: say why"),
        (StackFailedError("CREATE_FAILED"), "error: CREATE_FAILED"),
        (DockerException("broken"), "error: Docker error: broken"),
        (APIError("broken"), "error: Docker error: broken"),
        (CommandError("not yours"), "error: Heat error: not yours"),
        (ConnectFailure("refused"), "error: OpenStack error: refused"),
        (SDKException("broken"), "error: OpenStack error: broken"),
        (OSError("disk full"), "error: disk full"),
    ],
)
def test_expected_error_is_one_line_with_its_notes(
    capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    error.add_note("and a note")
    with pytest.raises(SystemExit) as left:
        report_errors(failing(error))
    assert left.value.code == 1
    assert capsys.readouterr().err.splitlines() == [line, "and a note"]


def test_unexpected_error_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        report_errors(failing(ZeroDivisionError()))


def test_ctrl_c_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        report_errors(failing(KeyboardInterrupt()))
    assert left.value.code == 130
    assert "error: interrupted" in capsys.readouterr().err
