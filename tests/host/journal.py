"""What a unit has written to the journal since a moment."""

import json

from testinfra.host import Host

from tests.support.deadlines import deadline, wait_until


class Journal:
    """The journal from now on."""

    def __init__(self, host: Host) -> None:
        self._host = host
        shown = host.check_output("journalctl -n 0 --show-cursor --no-pager -q")
        self._cursor = shown.split("cursor: ")[1].strip()

    def lines(self, unit: str, containing: str = "", starting: str = "") -> list[str]:
        """The messages of a unit's processes with a text in them and at their start, without systemd's own about it."""
        # Sorted out here: journalctl with a cursor and a match leaves out the first entry (systemd 252).
        out = self._host.check_output("journalctl --no-pager -q -o json --after-cursor=%s", self._cursor)
        entries = [json.loads(line) for line in out.splitlines()]
        messages = [str(one["MESSAGE"]) for one in entries if one.get("_SYSTEMD_UNIT") == f"{unit}.service"]
        return [message for message in messages if containing in message and message.startswith(starting)]

    def until(self, unit: str, containing: str, starting: str = "") -> list[str]:
        """The same, as soon as there is one: the edge holds its lines back for a moment."""
        found: list[str] = []

        def probe() -> str | None:
            found[:] = self.lines(unit, containing, starting)
            return None if found else "nothing"

        wait_until(probe, deadline(self._host, 20), f'"{containing}" in the journal of {unit}')
        return found


def journal(host: Host) -> Journal:
    """The journal from now on."""
    return Journal(host)
