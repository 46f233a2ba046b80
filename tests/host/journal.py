"""What a unit has written to the journal since a moment."""

from testinfra.host import Host

from harness.waiting import wait_until


class Journal:
    """The journal from now on."""

    def __init__(self, host: Host) -> None:
        self._host = host
        shown = host.check_output("journalctl -n 0 --show-cursor --no-pager -q")
        self._cursor = shown.split("cursor: ")[1].strip()

    def lines(self, unit: str, containing: str = "") -> list[str]:
        """The messages of a unit's processes, without systemd's own about it."""
        command = "journalctl --no-pager -q -o cat --after-cursor=%s _SYSTEMD_UNIT=%s"
        out = self._host.check_output(command, self._cursor, f"{unit}.service")
        return [line for line in out.splitlines() if containing in line]

    def until(self, unit: str, containing: str, deadline_s: float = 20) -> list[str]:
        """The messages with a text in them, as soon as there is one."""
        found: list[str] = []

        def probe() -> str | None:
            found[:] = self.lines(unit, containing)
            return None if found else "nothing"

        wait_until(probe, deadline_s, f'"{containing}" in the journal of {unit}')
        return found


def journal(host: Host) -> Journal:
    """The journal from now on."""
    return Journal(host)
