"""A real Chromium beside the host, which trusts its CA and is driven over WebDriver."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from selenium.webdriver import ChromeOptions, Remote

from registry_stack.docker.archive import pack
from registry_stack.docker.machine import Machine
from registry_stack.images.project import ensure_project_image
from tests.host.targets import Target
from tests.support.deadlines import wait_until

_PORT = 9515
_TRUST = (
    "mkdir -p ~/.pki/nssdb && certutil -N --empty-password -d sql:$HOME/.pki/nssdb "
    "&& certutil -A -n mirror -t C,, -i /tmp/ca.crt -d sql:$HOME/.pki/nssdb"
)
NO_JAVASCRIPT = {"profile.managed_default_content_settings.javascript": 2}


class Browser:
    """A container with chromedriver, where the host is known by its name."""

    def __init__(self, target: Target) -> None:
        self.container: Container = target.engine.containers.create(
            ensure_project_image(target.engine, "browser"),
            network=target.place.network,
            dns=list(target.place.dns) or None,
            extra_hosts=dict(target.place.hosts),
            labels=target.labels,
            ports={f"{_PORT}/tcp": ("127.0.0.1", 0)},
            shm_size="512m",
        )
        self.container.put_archive("/", pack({"/tmp/ca.crt": (Path(target.deployment.ca_file), 0o644)}))
        self.container.start()
        code, said = self.container.exec_run(["sh", "-c", _TRUST])
        assert code == 0, said
        self.url = f"http://localhost:{Machine(target.engine, self.container).port(_PORT)}"

    @contextmanager
    def window(self, settings: dict[str, Any] | None = None) -> Iterator[Remote]:
        """One window, 1280 by 900, with a log of what the page complains about."""
        options = ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
            options.add_argument(argument)
        options.add_experimental_option("prefs", settings or {})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        found: list[Remote] = []

        def probe() -> str | None:
            found.append(Remote(self.url, options=options))
            return None

        wait_until(probe, 60, "a browser window")
        try:
            yield found[0]
        finally:
            found[0].quit()

    def remove(self) -> None:
        """Stop and remove it."""
        self.container.remove(force=True, v=True)


def emulate(window: Remote, scheme: str) -> None:
    """Make the page believe that the user likes it `light` or `dark`."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    window.execute("executeCdpCommand", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})


def complaints(window: Remote) -> list[str]:
    """What the browser says is wrong with the page, such as a breach of its Content-Security-Policy."""
    return [str(entry["message"]) for entry in window.execute("getLog", {"type": "browser"})["value"]]
