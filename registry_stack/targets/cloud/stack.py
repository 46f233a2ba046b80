"""A stack, created, updated, watched and deleted through python-heatclient with a deadline on every wait."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heatclient.common import template_utils
from heatclient.exc import HTTPException, HTTPNotFound
from keystoneauth1.exceptions import ConnectFailure

from registry_stack.errors import RegistryStackError, StackFailedError
from registry_stack.progress import ProgressCallback
from registry_stack.targets.cloud.fingerprint import fingerprint

POLL_S = 2.0
DELETE_DEADLINE_S = 600
# What Heat needs in addition to the server's own deadline.
MARGIN_S = 600
# What Heat says before a host's own reason.
_HEATS_OWN = re.compile(r"^Error: resources\S+: Deployment to server failed: error : ")


@dataclass(frozen=True)
class Request:
    """What creates or updates a stack: the template with its files, and the values that the user gave."""

    template: Mapping[str, Any]
    files: Mapping[str, str]
    environment: Mapping[str, Any]
    # A fingerprint of all three as they were read, kept with the stack.
    tag: str
    more_tags: Sequence[str] = ()

    @classmethod
    def read(
        cls,
        stack: str,
        template: Path,
        environments: Sequence[Path],
        parameters: Mapping[str, Any],
        more_tags: Sequence[str] = (),
    ) -> "Request":
        """Read from files. `parameters` are all that the user gave, resolved: in Heat, an environment file would win
        over them."""
        files, body = _named_by_content(*template_utils.process_template_path(str(template)))
        more_files, environment = template_utils.process_multiple_environments_and_files(
            [str(path) for path in environments]
        )
        environment = {**environment, "parameters": dict(parameters)}
        environment.pop("parameter_defaults", None)
        files = {**files, **more_files}
        return cls(body, files, environment, fingerprint("inputs", [body, files, environment], stack), more_tags)

    def fields(self) -> dict[str, Any]:
        """The fields of a request to Heat's API."""
        return {
            "template": self.template,
            "files": dict(self.files),
            "environment": dict(self.environment),
            "tags": ",".join([self.tag, *self.more_tags]),
        }

    def with_parameter(self, name: str, value: Any) -> "Request":
        """The same request with another value of one parameter; the tag stays that of the original."""
        parameters = {**self.environment["parameters"], name: value}
        return replace(self, environment={**self.environment, "parameters": parameters})


class Stack:
    """One stack by name, whether it exists or not."""

    def __init__(self, heat: Any, name: str) -> None:
        self.heat, self.name = heat, name

    def get(self) -> Any | None:
        """Heat's own record, if the stack exists."""
        try:
            found = self.heat.stacks.get(self.name)
        except HTTPNotFound:
            return None
        return None if found.stack_status == "DELETE_COMPLETE" else found

    def create(self, request: Request, deadline_s: float) -> None:
        """Start to create it. A failed stack is not rolled back, so that the reason can be read."""
        self._call(
            lambda: self.heat.stacks.create(
                stack_name=self.name,
                disable_rollback=True,
                timeout_mins=_minutes(deadline_s),
                **request.fields(),
            )
        )

    def matches(self, request: Request) -> bool:
        """Whether the last create or update sent this very request, and succeeded."""
        found = self.get()
        if found is None or found.stack_status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return False
        return request.tag in (found.tags or [])

    def update(
        self, request: Request, deadline_s: float, report: ProgressCallback, replaced: str | None = None
    ) -> None:
        """Update and wait. The resource `replaced` is replaced, and all that depends on it."""
        marker = self._last_event()
        if replaced:
            self._call(lambda: self.heat.resources.mark_unhealthy(self.name, replaced, True, "to be replaced"))
        try:
            self._call(
                lambda: self.heat.stacks.update(self.name, timeout_mins=_minutes(deadline_s), **request.fields())
            )
        except BaseException:
            # Otherwise the next update would replace it unannounced, also after Ctrl-C. An update that Heat has begun
            # in spite of the error is safe: Heat refuses to change the mark while it runs.
            if replaced:
                with contextlib.suppress(HTTPException, ConnectFailure):
                    self.heat.resources.mark_unhealthy(self.name, replaced, False, "not replaced")
            raise
        self.wait(deadline_s, report, marker)

    def delete(self, report: ProgressCallback) -> None:
        """Delete it and wait until it no longer exists."""
        marker = self._last_event()
        self._call(lambda: self.heat.stacks.delete(self.name))
        self.wait(DELETE_DEADLINE_S, report, marker)

    def wait(self, deadline_s: float, report: ProgressCallback, marker: str | None = None) -> None:
        """Report events until the stack is no longer in progress; raises StackFailedError when Heat has given up.

        A request that fails on the way or in the cloud is retried.
        """
        started, status = time.monotonic(), "unknown"
        while True:
            try:
                stack = self.get()
                if stack is None:
                    return
                marker, status = self._report_events(marker, report), stack.stack_status
                if not status.endswith("_IN_PROGRESS"):
                    self._report_events(marker, report)
                    self._refuse_failure(stack)
                    return
            except ConnectFailure as error:
                report(f"retrying: {error}")
            except HTTPException as error:
                if error.code < 500:
                    raise RegistryStackError(f"Heat refuses to show stack {self.name}: {_words(error)}") from error
                report(f"retrying: {_words(error)}")
            if time.monotonic() - started > deadline_s:
                raise RegistryStackError(f"stack {self.name} is still {status} after {deadline_s:g} s")
            time.sleep(POLL_S)

    def _refuse_failure(self, stack: Any) -> None:
        if stack.stack_status.endswith("_FAILED"):
            raise StackFailedError(f"{stack.stack_status}: {self.failure() or stack.stack_status_reason}")

    def failure(self) -> str:
        """The reasons of the failed resources, the first to fail first; not those around it, which repeat it."""
        failed = [
            item for item in self.heat.resources.list(self.name, nested_depth=3) if "FAILED" in item.resource_status
        ]
        failed.sort(key=lambda item: str(item.updated_time))
        names: dict[str, str] = {}
        for item in failed:
            names.setdefault(_HEATS_OWN.sub("", item.resource_status_reason), item.resource_name)
        return "; ".join(f"{name}: {reason}" for reason, name in names.items())

    def files(self) -> dict[str, str]:
        """The files that its template's get_file named, by URL."""
        return dict(self.heat.stacks.files(self.name))

    def outputs(self) -> dict[str, Any]:
        """The outputs by name."""
        stack = self.get()
        return {} if stack is None else {item["output_key"]: item.get("output_value") for item in stack.outputs}

    def resource_id(self, name: str) -> str | None:
        """The id, in its own service, of one of the stack's resources."""
        try:
            return self.heat.resources.get(self.name, name).physical_resource_id or None
        except HTTPNotFound:
            return None

    def is_marked_unhealthy(self, resource: str) -> bool:
        """Whether it was marked for the next update to replace it."""
        try:
            return str(self.heat.resources.get(self.name, resource).resource_status) == "CHECK_FAILED"
        except HTTPNotFound:
            return False

    def _report_events(self, marker: str | None, report: ProgressCallback) -> str | None:
        arguments = {"marker": marker} if marker else {}
        try:
            events = list(self.heat.events.list(self.name, sort_dir="asc", **arguments))
        except HTTPNotFound:
            return marker
        for event in events:
            reason = event.resource_status_reason or ""
            plain = reason in ("state changed", "") or reason.startswith("Stack ")
            report(f"{event.resource_name} {event.resource_status}" + ("" if plain else f": {reason}"))
        return str(events[-1].id) if events else marker

    def _last_event(self) -> str | None:
        try:
            events = list(self.heat.events.list(self.name, sort_dir="desc", limit=1))
        except HTTPNotFound:
            return None
        return str(events[0].id) if events else None

    def _call(self, action: Any) -> Any:
        """Turn a refusal by Heat into an error that the user reads."""
        try:
            return action()
        except HTTPException as error:
            raise RegistryStackError(f"Heat refuses stack {self.name}: {_words(error)}") from error


def _named_by_content(files: Mapping[str, Any], body: dict[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The same with other names for the files of a nested template, and for itself.

    In a rolling update, members whose turn has not come still refer to what they were made from. Heat keeps both, but
    under the same name the new one wins.
    """
    text = json.dumps(body)
    nested = {url for url in files if f'"type": "{url}"' in text}
    if not nested:
        return files, body
    made, names = dict[str, str](), dict[str, str]()
    # The nested ones last: they name the others.
    for url in sorted(files, key=lambda url: (url in nested, url)):
        content = files[url].decode() if isinstance(files[url], bytes) else files[url]
        for old, new in names.items():
            content = content.replace(f'"{old}"', f'"{new}"')
        folder, _slash, name = url.rpartition("/")
        names[url] = f"{folder}/{hashlib.sha256(content.encode()).hexdigest()[:16]}/{name}"
        made[names[url]] = content
        text = text.replace(f'"{url}"', f'"{names[url]}"')
    return made, dict(json.loads(text))


def _minutes(seconds: float) -> int:
    return max(1, -(-int(seconds) // 60))


def _words(error: HTTPException) -> str:
    """Heat's message without the prefix and the line breaks that it comes with."""
    return " ".join(str(error).removeprefix("ERROR:").split())
