"""The end of a server's console, for the error of a stack that failed."""

from openstack.connection import Connection
from openstack.exceptions import SDKException

from registry_stack.targets.cloud.stack import Stack

LINES = 30


def add_console(error: BaseException, connection: Connection, stack: Stack) -> None:
    """Add it to an error as a note, where the stack has a server."""
    server = stack.resource_id("server")
    text = _console(connection, server) if server else ""
    if text:
        error.add_note(f"the end of the server's console:\n{text}")


def _console(connection: Connection, server: str) -> str:
    try:
        output = connection.compute.get_server_console_output(server, length=LINES)
    except SDKException as error:
        return f"(the cloud does not show it: {error})"
    return "\n".join(f"  {line}" for line in str(output.get("output", "")).splitlines()[-LINES:])
