"""What a personality does to requests for repositories whose names ask for it: QUIRK_ARGUMENT_…/ANY-NAME.

Runs in the personalities' container.
"""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

# WWW-Authenticate, a field each; {origin} is where the personality answers.
CHALLENGES = {
    "two": ["Negotiate", 'Bearer realm="{origin}/token",service="registry"'],
    "joined": ['Negotiate, Bearer realm="{origin}/token",service="registry"'],
    "tokens": ['Negotiate YWJjZA==, Bearer realm="{origin}/token", service="registry"'],
    "first": ['Bearer realm="{origin}/token",service="registry"', 'Basic realm="registry"'],
    "quoted": [
        'Basic realm="a, Bearer realm=\\"http://elsewhere.test\\"", Bearer realm="{origin}/token",service="a, \\"b\\""'
    ],
    "cased": ['BEARER Realm="{origin}/token", SERVICE="registry"'],
    "bare": ["Bearer realm={origin}/token,service=registry"],
    "spaced": ['Bearer realm = "{origin}/token" , service = "registry"'],
    "query": ['Bearer realm="{origin}/token?account=a&of=b",service="registry"'],
    "pathless": ['Bearer realm="{origin}",service="registry"'],
    "relative": ['Bearer realm="/token",service="registry"'],
    "realm": ['Bearer realm="{origin}/token"'],
    "scopes": ['Bearer realm="{origin}/token",scope="repository:a:pull repository:b:pull"'],
}
# The next page of tags; {path} is the repository's list.
LINKS = {
    "absolute": '<{origin}{path}?n=3&last={last}>; rel="next"',
    "host": '<{path}?n=3&last={last}>; rel="next"',
    "relative": '<list?n=3&last={last}>; rel="next"',
    "query": '<?n=3&last={last}>; rel="next"',
    "prefixed": "</elsewhere{path}?n=3&last={last}>; rel=next",
    "several": '<{path}?n=3>; rel="first", <{path}?n=3&last={last}>; rel="next"',
}


class Quirks:
    """A part of the server's handler."""

    # Which challenges a 401 has, if not the personality's own.
    asked: list[str] | None = None

    def quirk(self: Any, repo: str, kind: str) -> bool:
        """Whether the name of the repository has asked for an answer, which is then sent."""
        name, *arguments = repo.partition("/")[0].split("_")
        quirk = getattr(self, f"quirk_{name}", None)
        return bool(quirk and quirk(kind, *arguments))

    def quirk_redirect(self: Any, _kind: str, status: str, form: str) -> bool:
        """A redirect to the same object."""
        url = urlsplit(self.path)
        if "moved" in url.query:
            return False
        query = f"?{url.query}&moved" if url.query else "?moved"
        where = {
            "absolute": f"{self.here}{url.path}",
            "host": url.path,
            "scheme": f"{self.here.removeprefix('http:')}{url.path}",
            "relative": url.path.rpartition("/")[2],
            "query": "",
            "dots": f"/v2/x/../.{url.path.removeprefix('/v2')}",
            "cased": f"{self.here.upper()}{url.path}",
        }[form]
        self.answer(int(status), b"moved", Location=f"{where}{query}#fragment")
        return True

    def quirk_circle(self: Any, _kind: str, length: str) -> bool:
        """A redirect to itself, or to another that redirects back."""
        url = urlsplit(self.path)
        self.answer(307, Location=self.path if length == "1" or url.query else f"{url.path}?back")
        return True

    def quirk_nowhere(self: Any, _kind: str) -> bool:
        """A redirect without a Location."""
        self.answer(302)
        return True

    def quirk_elsewhere(self: Any, _kind: str) -> bool:
        """A redirect to a host that asks for a login."""
        if self.habits["personality"] == "elsewhere":
            return False
        self.answer(302, Location=f"{self.origin('elsewhere').replace('registries.test', 'elsewhere.test')}{self.path}")
        return True

    def quirk_challenge(self: Any, _kind: str, name: str) -> bool:
        """A token is wanted."""
        if self.has_token():
            return False
        self.asked = [challenge.format(origin=self.here) for challenge in CHALLENGES[name]]
        self.error(401, "UNAUTHORIZED")
        return True

    def quirk_service(self: Any, _kind: str, name: str) -> bool:
        """A token is wanted, from a service with a habit: see `service`."""
        if self.has_token():
            return False
        self.asked = [f'Bearer realm="{self.here}/token/{name}",service="registry"']
        self.error(401, "UNAUTHORIZED")
        return True

    def quirk_expired(self: Any, _kind: str) -> bool:
        """A token is wanted; one that has expired is forbidden without a challenge (ECR)."""
        if self.has_token():
            return False
        self.asked = [f'Bearer realm="{self.here}/token"']
        self.error(403 if self.headers.get("Authorization") else 401, "DENIED")
        return True

    def quirk_nohead(self: Any, _kind: str, status: str) -> bool:
        """No HEAD."""
        if self.command == "HEAD":
            self.asked = []
            self.answer(int(status))
        return bool(self.command == "HEAD")

    def quirk_limited(self: Any, kind: str, limited: str) -> bool:
        """Too many requests of a kind."""
        if kind == limited:
            self.error(429, "TOOMANYREQUESTS", Retry_After="60")
        return kind == limited

    def service(self: Any, name: str, token: str) -> None:
        """A token service that does not answer as the specification's example."""
        elsewhere = self.origin("elsewhere").replace("registries.test", "elsewhere.test")
        status, document, headers = {
            "access": (200, {"access_token": token}, {}),
            "large": (200, {"token": token, "padding": "x" * 30_000}, {"X_Large": "x" * 30_000}),
            "moved": (307, {}, {"Location": f"/token?{urlsplit(self.path).query}"}),
            "elsewhere": (302, {}, {"Location": f"{elsewhere}/token?{urlsplit(self.path).query}"}),
            "denied": (403, {}, {}),
            "unknown": (404, {}, {}),
            "limited": (429, {}, {"Retry_After": "60"}),
            "broken": (500, {}, {}),
            "empty": (200, {}, {}),
        }[name]
        self.asked = []
        self.answer(status, json.dumps(document).encode(), **headers)

    def link(self: Any, repo: str, last: str) -> str:
        """To the page after that tag."""
        name, _, form = repo.partition("/")[0].partition("_")
        form = form if name == "links" else self.habits.get("link", "host")
        path = f"{self.habits.get('prefix', '')}/v2/{repo}/tags/list"
        return LINKS[form].format(origin=self.here, path=path, last=last)

    def last(self: Any) -> str:
        """The tag before the page that is asked for."""
        return str(parse_qs(urlsplit(self.path).query).get("last", [""])[0])
