"""A stack: created, updated, watched and deleted through python-heatclient, with a deadline on every wait."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heatclient.common import template_utils
from heatclient.exc import HTTPException, HTTPNotFound
from keystoneauth1.exceptions import ConnectFailure

from registry_stack.errors import RegistryStackError
from registry_stack.progress import ProgressCallback
from registry_stack.targets.cloud.fingerprint import fingerprint

POLL_S = 2.0
DELETE_DEADLINE_S = 600
# What Heat itself needs around the server's own deadline.
MARGIN_S = 600


@dataclass(frozen=True)
class Request:
    """What a create and an update of one stack send: the template with its files, and the values the user gave."""

    template: Mapping[str, Any]
    files: Mapping[str, str]
    environment: Mapping[str, Any]
    # Of all three as they were read: the stack is known again by it.
    tag: str
    # Kept with the stack besides that.
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
        """From the files on disk. `parameters` are all that the user gave, resolved: Heat would let an environment
        file win over them."""
        files, body = template_utils.process_template_path(str(template))
        more_files, environment = template_utils.process_multiple_environments_and_files(
            [str(path) for path in environments]
        )
        environment = {**environment, "parameters": dict(parameters)}
        environment.pop("parameter_defaults", None)
        files = {**files, **more_files}
        return cls(body, files, environment, fingerprint("inputs", [body, files, environment], stack), more_tags)

    def fields(self) -> dict[str, Any]:
        """As Heat's API names them."""
        return {
            "template": self.template,
            "files": dict(self.files),
            "environment": dict(self.environment),
            "tags": ",".join([self.tag, *self.more_tags]),
        }

    def with_parameter(self, name: str, value: Any) -> "Request":
        """The same but for one parameter; the stack is still known by what was asked for."""
        parameters = {**self.environment["parameters"], name: value}
        return replace(self, environment={**self.environment, "parameters": parameters})


class Stack:
    """One stack by name, there or not."""

    def __init__(self, heat: Any, name: str) -> None:
        self.heat, self.name = heat, name

    def get(self) -> Any | None:
        """Heat's own record, if the stack is there."""
        try:
            found = self.heat.stacks.get(self.name)
        except HTTPNotFound:
            return None
        return None if found.stack_status == "DELETE_COMPLETE" else found

    def create(self, request: Request, deadline_s: float) -> None:
        """Have it created; it stays as it is when that fails, for its reason to be read."""
        self._call(
            lambda: self.heat.stacks.create(
                stack_name=self.name,
                disable_rollback=True,
                timeout_mins=_minutes(deadline_s),
                **request.fields(),
            )
        )

    def matches(self, request: Request) -> bool:
        """Whether the stack's last create or update sent just this, and went well."""
        found = self.get()
        if found is None or found.stack_status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return False
        return request.tag in (found.tags or [])

    def update(
        self, request: Request, deadline_s: float, report: ProgressCallback, replaced: str | None = None
    ) -> None:
        """Apply a request and wait. The resource `replaced` is made anew, and with it all that depends on it."""
        marker = self._last_event()
        if replaced:
            self._call(lambda: self.heat.resources.mark_unhealthy(self.name, replaced, True, "to be replaced"))
        try:
            self._call(
                lambda: self.heat.stacks.update(self.name, timeout_mins=_minutes(deadline_s), **request.fields())
            )
        except BaseException:
            # Also interrupted: or the next update replaces it, and what depends on it, without a word. An update that
            # Heat has begun all the same is not disturbed, as Heat refuses this then.
            if replaced:
                with contextlib.suppress(HTTPException, ConnectFailure):
                    self.heat.resources.mark_unhealthy(self.name, replaced, False, "it stays")
            raise
        self.wait(deadline_s, report, marker)

    def delete(self, report: ProgressCallback) -> None:
        """Delete it and wait until it is gone."""
        marker = self._last_event()
        self._call(lambda: self.heat.stacks.delete(self.name))
        self.wait(DELETE_DEADLINE_S, report, marker)

    def wait(self, deadline_s: float, report: ProgressCallback, marker: str | None = None) -> None:
        """Report events until the stack is no longer in progress. Raises RegistryStackError when that ends in failure.

        A cloud that does not answer for a moment is asked again.
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
                report(f"asking again: {error}")
            except HTTPException as error:
                if error.code < 500:
                    raise RegistryStackError(f"Heat does not tell of stack {self.name}: {_words(error)}") from error
                report(f"asking again: {_words(error)}")
            if time.monotonic() - started > deadline_s:
                raise RegistryStackError(f"stack {self.name} is still {status} after {deadline_s:g} s")
            time.sleep(POLL_S)

    def _refuse_failure(self, stack: Any) -> None:
        if stack.stack_status.endswith("_FAILED"):
            raise RegistryStackError(f"{stack.stack_status}: {self.failure() or stack.stack_status_reason}")

    def failure(self) -> str:
        """Why: the reasons of the failed resources, the first one's first."""
        failed = [
            item for item in self.heat.resources.list(self.name, nested_depth=2) if "FAILED" in item.resource_status
        ]
        failed.sort(key=lambda item: str(item.updated_time))
        return "; ".join(f"{item.resource_name}: {item.resource_status_reason}" for item in failed)

    def files(self) -> dict[str, str]:
        """What its template's get_file named, by URL."""
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
        """Whether the next update replaces it, as somebody has said so."""
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
        """Heat's refusals are the user's to read."""
        try:
            return action()
        except HTTPException as error:
            raise RegistryStackError(f"Heat refuses stack {self.name}: {_words(error)}") from error


def _minutes(seconds: float) -> int:
    return max(1, -(-int(seconds) // 60))


def _words(error: HTTPException) -> str:
    """Heat wraps what it has to say in its exception's class and a new line."""
    return " ".join(str(error).removeprefix("ERROR:").split())
