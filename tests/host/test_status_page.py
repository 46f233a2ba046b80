"""The page for people at the mirror's root, as a browser shows it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from axe_selenium_python import Axe
from selenium.webdriver.common.by import By
from testinfra.host import Host

from registry_stack.client_config import CLIENTS, client_configuration
from tests.host.browser import NO_JAVASCRIPT, Browser, complaints, emulate
from tests.host.targets import Target
from tests.host.waiting import wait_until_working
from tests.support.deadlines import deadline, wait_until
from tests.support.oci import OciClient
from tests.support.upstream import Upstream

pytestmark = pytest.mark.usefixtures("quick_metrics")
ENVIRONMENT = "/etc/docker-registry/environment"
MAX_BYTES = 10_000


@pytest.fixture(scope="module")
def browser(target: Target) -> Iterator[Browser]:
    browser = Browser(target)
    try:
        yield browser
    finally:
        browser.remove()


@pytest.fixture(scope="module")
def url(target: Target, upstream: Upstream) -> str:
    """Where a client sees the page, once an image is in the cache and on the page."""
    upstream.push("library/shown", "on-the-page", [1000])
    target.mirror().pull("library/shown", "on-the-page")
    wait_to_be_shown(target.host, target.mirror(), "on-the-page")
    return f"https://{target.fqdn}/"


def wait_to_be_shown(host: Host, mirror: OciClient, text: str) -> None:
    """Wait until the page has it."""
    wait_until(lambda: None if text in get(mirror, "now.html").text else "not there", deadline(host, 30), text)


def get(mirror: OciClient, path: str = "") -> requests.Response:
    return mirror.expect(200, "GET", f"/{path}")


def test_works_without_javascript(browser: Browser, url: str, target: Target) -> None:
    with browser.window(NO_JAVASCRIPT) as window:
        window.get(url)
        text = window.find_element(By.TAG_NAME, "body").text
        assert window.title == f"Docker mirror {target.fqdn}"
        assert "All services and upstreams are up." in text
        assert "library/shown" in text
        assert not window.find_elements(By.TAG_NAME, "button")
        window.find_element(By.XPATH, "//summary[text()='podman']").click()
        assert f'location = "{target.fqdn}"' in window.find_element(By.TAG_NAME, "body").text
        assert complaints(window) == []


def test_shows_what_client_config_prints(url: str, mirror: OciClient, target: Target, browser: Browser) -> None:
    with browser.window() as window:
        window.get(url)
        names = [one.text for one in window.find_elements(By.TAG_NAME, "summary")]
        shown = [one.get_attribute("textContent") for one in window.find_elements(By.CSS_SELECTOR, "details code")]
    assert names == list(CLIENTS)
    there = replace(
        target.deployment,
        mirror_url=url.rstrip("/"),
        registry_url=f"https://{target.fqdn}:5000",
        registry_username="LOGIN",
    )
    for name, text in zip(names, shown, strict=True):
        assert client_configuration(name, there).endswith(str(text)), name


def test_copies(browser: Browser, url: str) -> None:
    with browser.window() as window:
        window.get(url)
        buttons = window.find_elements(By.TAG_NAME, "button")
        assert len(buttons) == len(CLIENTS) + 1
        buttons[0].click()
        wait_until(lambda: None if buttons[0].text == "Copied" else buttons[0].text, 5, "the button to say so")
        assert complaints(window) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_is_accessible(browser: Browser, url: str, scheme: str) -> None:
    with browser.window() as window:
        emulate(window, scheme)
        window.get(url)
        axe = Axe(window)
        axe.inject()
        # Its axe-core is older than div in dl, which HTML has allowed since 5.2.
        found = axe.run(options='{"rules": {"dlitem": {"enabled": false}}}')["violations"]
    assert [(violation["id"], violation["nodes"][0]["html"]) for violation in found] == []


def test_light_and_dark_differ(browser: Browser, url: str) -> None:
    colours = set()
    with browser.window() as window:
        for scheme in ("light", "dark"):
            emulate(window, scheme)
            window.get(url)
            colours.add(window.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))
    assert len(colours) == 2


def test_loads_nothing_from_elsewhere(browser: Browser, url: str) -> None:
    with browser.window() as window:
        window.get(url)
        loaded = window.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert len(loaded) >= 2
    assert [name for name in loaded if not name.startswith((url, "data:"))] == []


def test_is_small(mirror: OciClient, url: str) -> None:
    page = len(get(mirror).content) - len(get(mirror, "now.html").content)
    assert 1000 < page + len(get(mirror, "status.css").content) + len(get(mirror, "status.js").content) < MAX_BYTES


def test_headers_are_strict(mirror: OciClient) -> None:
    headers = get(mirror).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    for path in ("status.json", "status.css", "status.js", "ca.crt", "now.html"):
        assert get(mirror, path).headers["X-Content-Type-Options"] == "nosniff", path


def test_json_says_the_same(mirror: OciClient, url: str, target: Target) -> None:
    data = get(mirror, "status.json").json()
    assert {"upstream": "default", "name": "library/shown", "tags": ["on-the-page"]} in data["repositories"]
    assert data["requests"] >= data["hits"] >= 0
    assert data["bytes_fetched"] > 0
    assert data["upstreams"][0]["answers"]
    assert [service["active"] for service in data["services"]] == [True] * 5


def test_ca_is_the_hosts(mirror: OciClient, host: Host) -> None:
    assert get(mirror, "ca.crt").text.strip() == host.check_output("cat /home/root/registry_certs/ca.crt").strip()


def test_no_secret_is_shown(mirror: OciClient, target: Target) -> None:
    shown = "".join(get(mirror, path).text for path in ("", "status.json", "now.html", "clients.html"))
    assert [secret for secret in target.secrets if secret in shown] == []
    assert "PRIVATE KEY" not in get(mirror, "ca.crt").text


def test_names_are_escaped(mirror: OciClient, host: Host) -> None:
    """No repository or tag can be called so; the page does not rely on it."""
    store = "/var/lib/registry/proxy/docker/registry/v2/repositories/library/named"
    host.check_output("mkdir -p %s", f'{store}/_manifests/tags/<b>"&')
    try:
        wait_to_be_shown(host, mirror, "&lt;b&gt;&quot;&amp;")
        assert "<b>" not in get(mirror, "now.html").text
        assert {"upstream": "default", "name": "library/named", "tags": ['<b>"&']} in get(mirror, "status.json").json()[
            "repositories"
        ]
    finally:
        host.check_output("rm -r %s", store)


def test_read_only_and_v2_untouched(mirror: OciClient) -> None:
    assert mirror.request("POST", "/").status_code == 405
    assert mirror.request("GET", "/nothing").status_code == 404
    assert mirror.request("GET", "/v2/").headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_status_page_can_be_disabled(host: Host, target: Target) -> None:
    """With what the template writes for `status_page: false`."""
    environment = host.check_output(f"cat {ENVIRONMENT}") + "\n"
    assert "STATUS_PAGE='true'" in environment
    target.write(ENVIRONMENT, environment.replace("STATUS_PAGE='true'", "STATUS_PAGE='false'").encode())
    try:
        host.check_output("systemctl restart docker-registry-edge")
        wait_until_working(target)
        for path in ("", "status.json", "ca.crt", "status.css", "now.html"):
            assert target.mirror().request("GET", f"/{path}").status_code == 404, path
    finally:
        target.write(ENVIRONMENT, environment.encode())
        host.check_output("systemctl restart docker-registry-edge")
        wait_until_working(target)
    assert get(target.mirror()).status_code == 200
