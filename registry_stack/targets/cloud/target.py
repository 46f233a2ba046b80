"""The cloud target: preflight, create or update the stack, and remember how to reach it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from registry_stack.authority import authority_parameters, forget_authority, has_authority
from registry_stack.deployment import Deployment, Member, State
from registry_stack.errors import RegistryStackError, StackFailedError
from registry_stack.product import GROUP_TEMPLATE, TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.cloud.certificate import certificate_warning
from registry_stack.targets.cloud.connection import connect, heat
from registry_stack.targets.cloud.options import CloudOptions
from registry_stack.targets.cloud.preflight import preflight, raise_on_failure
from registry_stack.targets.cloud.purge import purge_images
from registry_stack.targets.cloud.server_console import add_console
from registry_stack.targets.cloud.stack import MARGIN_S, Request, Stack
from registry_stack.targets.cloud.update_plan import (
    SERVER,
    changed_parameters,
    consequence,
    is_in_place,
    replacement_reasons,
    server_tag,
)
from registry_stack.template.environment import Environment, SourcedValue, read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.upstreams import parse_upstreams

# The resource that a server with its settings in user-data signals to; replacing it replaces the server.
_HANDLE = "ready_handle"


@dataclass(frozen=True)
class _Job:
    """One deploy: where, what, and how long it may take in seconds."""

    connection: Connection
    stack: Stack
    request: Request
    values: Mapping[str, Any]
    deadline: float
    options: CloudOptions
    report: ProgressCallback

    @property
    def host_values(self) -> Mapping[str, Any]:
        """The same as each host has them."""
        return _host_values(self.values)


def deploy(options: CloudOptions, report: ProgressCallback = no_progress) -> Deployment:
    """Create the stack of that name or update it, and return how to reach it.

    Raises RegistryStackError: bad parameters, every preflight failure, the failed resource's reason. A failed stack
    that this call created is deleted, unless `keep_on_failure`.
    """
    has_ca = has_authority(State(options.name)) or _own_authority(_environment(options))
    values, given = _values(options)
    connection = connect(options.cloud, options.clouds_file)
    _refuse_other_project(connection, options.name)
    stack = Stack(heat(connection), options.name)
    _refuse_other_kind(stack.get(), options, has_ca)
    host_values = _host_values(values)
    tag = server_tag(load_template(TEMPLATE), host_values, options.name)
    request = Request.read(options.name, _template(options), options.environments, given, [tag])
    # An update reaches one host after the other.
    deadline = float(values["ready_timeout_seconds"]) * options.hosts + MARGIN_S
    job = _Job(connection, stack, request, values, deadline, options, report)
    found = _settled(stack, job.deadline, report)
    report("running preflight checks")
    raise_on_failure(preflight(connection, host_values, new=found is None))
    if found is None:
        _create(job)
        new_server = True
    else:
        new_server = _update(job, found)
    return _remember(job, new_server)


def doctor(options: CloudOptions) -> list[str]:
    """Every preflight failure; raises RegistryStackError when the cloud cannot be reached."""
    values = _host_values(_values(options)[0])
    connection = connect(options.cloud, options.clouds_file)
    new = Stack(heat(connection), options.name).get() is None
    return preflight(connection, values, new=new)


def destroy(options: CloudOptions, purge: bool = False, report: ProgressCallback = no_progress) -> bool:
    """Delete the stack, with `purge` the pushed images first. Returns whether the stack existed."""
    connection = connect(options.cloud, options.clouds_file)
    _refuse_other_project(connection, options.name)
    stack = Stack(heat(connection), options.name)
    found = stack.get()
    if found is not None:
        if purge:
            # First, because the stack knows where they are: a purge that fails can be repeated.
            purge_images(connection, found.parameters, report)
        stack.delete(report)
    elif purge:
        report("not purged: only the stack knew where its images are (openstack container delete --recursive NAME)")
    State(options.name).remove()
    return found is not None


def _refuse_other_project(connection: Connection, name: str) -> None:
    """Raise RegistryStackError when the deployment of that name is in another project than this connection."""
    found = State(name).load()
    if found is not None and found.project and found.project != connection.current_project_id:
        where = f'cloud "{found.cloud}"' if found.cloud else "another cloud"
        raise RegistryStackError(
            f'"{name}" is deployed in another project ({where}, project {found.project}): '
            "name that cloud with --os-cloud, or use another --name"
        )


def _template(options: CloudOptions) -> Path:
    return TEMPLATE if options.hosts == 1 else GROUP_TEMPLATE


def _refuse_other_kind(found: Any | None, options: CloudOptions, has_ca: bool) -> None:
    """Raise RegistryStackError when one host is to become a group, or the reverse, or a group's CA is not here."""
    if found is None:
        return
    is_group = "count" in found.parameters
    if is_group != (options.hosts > 1):
        there, other = ("a group", "one server") if is_group else ("one server", "a group")
        raise RegistryStackError(f"stack {options.name} is {there}, which cannot become {other}: use another --name")
    if is_group and not has_ca:
        state = State(options.name)
        forget_authority(state)
        raise RegistryStackError(
            f"the CA of the group {options.name} is not in {state.folder}: deploy from where it was made, or give "
            "ca_certificate and ca_certificate_key"
        )


def _environment(options: CloudOptions) -> Environment:
    return read_environment(list(options.environments), list(options.parameters))


def _own_authority(environment: Environment) -> bool:
    """Whether the user has a CA for the group."""
    return "ca_certificate" in environment.parameters.keys() | environment.defaults.keys()


def _values(options: CloudOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of all parameters, and of those that the user gave, or that the command gives a group."""
    environment = _environment(options)
    given: dict[str, Any] = {}
    if options.hosts > 1:
        given["count"] = options.hosts
        if not _own_authority(environment):
            given |= authority_parameters(State(options.name))
    environment = replace(
        environment,
        parameters=environment.parameters | {name: SourcedValue(value, "the command") for name, value in given.items()},
    )
    values = resolve_parameters(load_template(_template(options)), environment)
    names = environment.parameters.keys() | environment.defaults.keys()
    return values, {name: values[name] for name in sorted(names) if name in values}


def _host_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one host of a group as far as all have them, besides the group's own."""
    return {**resolve_parameters(load_template(TEMPLATE), Environment({}, {}), values), **values}


def _settled(stack: Stack, deadline: float, report: ProgressCallback) -> Any | None:
    """The existing stack, once nothing is in progress; what a failed create or delete left is deleted."""
    found = stack.get()
    if found is not None and found.stack_status.endswith("_IN_PROGRESS"):
        report(f"stack {stack.name} is {found.stack_status}: waiting for that to end")
        try:
            stack.wait(deadline, report)
        except StackFailedError as error:
            report(str(error))
        found = stack.get()
    if found is not None and found.stack_status in ("CREATE_FAILED", "DELETE_FAILED"):
        report(f"stack {stack.name} is {found.stack_status}: deleting what is left of it")
        stack.delete(report)
        found = None
    return found


def _create(job: _Job) -> None:
    stack = job.stack
    job.report(f"creating stack {stack.name}")
    stack.create(job.request, job.deadline)
    # From here on the stack is ours to delete.
    try:
        stack.wait(job.deadline, job.report)
    except KeyboardInterrupt as error:
        error.add_note(f"stack {stack.name} is still being created: deploy again to wait for it, destroy to remove it")
        raise
    except RegistryStackError as error:
        add_console(error, job.connection, job.stack)
        if job.options.keep_on_failure:
            error.add_note(f"the stack was kept: openstack stack failures list --long {stack.name}")
        elif stack.get() is not None:
            job.report("deleting the failed stack")
            stack.delete(no_progress)
        raise


def _update(job: _Job, found: Any) -> bool:
    """Report the changes, ask before a side effect, and update. Returns whether the server was replaced."""
    stack, request, template = job.stack, job.request, load_template(TEMPLATE)
    in_place = is_in_place(template, job.host_values)
    changes = changed_parameters(load_template(_template(job.options)), found.parameters, job.values)
    # `openstack stack update --existing` leaves the tags; a server that stays does not get another timeout.
    if stack.matches(request) and not changes.keys() - (set() if in_place else {"ready_timeout_seconds"}):
        job.report(f"stack {stack.name} is up to date")
        return False
    for name, change in changes.items():
        job.report(f"{name}: {change}")
    reasons = replacement_reasons(template, found, stack.files(), job.host_values)
    # Of a server whose settings are in user-data, that is in there.
    if stack.is_marked_unhealthy(marked := SERVER if in_place else _HANDLE):
        reasons.append(f"the resource {marked} is marked unhealthy")
    if in_place and not reasons:
        job.report("applied in place: the server stays")
    side_effect = consequence(reasons, changes, job.options.hosts)
    if side_effect and not job.options.ask(side_effect):
        raise RegistryStackError(f"stack {stack.name} was not changed")
    if not reasons and not in_place:
        # Another timeout would replace the wait condition, which no server would signal.
        request = request.with_parameter("ready_timeout_seconds", found.parameters["ready_timeout_seconds"])
    try:
        # With the old handle, the signal of the old server would count as the new server's. A deployment
        # waits for each server anew.
        stack.update(request, job.deadline, job.report, replaced=_HANDLE if reasons and not in_place else None)
    except RegistryStackError as error:
        add_console(error, job.connection, job.stack)
        raise
    return bool(reasons)


def _remember(job: _Job, new_server: bool) -> Deployment:
    """Save the stack's outputs as a deployment, and check the certificate that the host presents."""
    options, outputs = job.options, job.stack.outputs()
    state = State(options.name)
    members = _members(options.name, outputs) if options.hosts > 1 else ()
    deployment = Deployment(
        target=options.target,
        name=options.name,
        mirror_url=outputs["mirror_url"],
        registry_url=outputs["registry_url"],
        ca_file=str(state.write("ca.crt", outputs["ca_certificate"])),
        registry_username=outputs["registry_username"],
        password_file=str(state.write("password", outputs["registry_password"] + "\n")),
        address=(outputs["load_balancer_ip"] or members[0].address) if members else outputs["floating_ip"],
        upstreams=parse_upstreams(outputs["upstreams"]),
        cloud=options.cloud or "",
        project=str(job.connection.current_project_id),
        members=members,
        load_balancer=bool(members and outputs["load_balancer_ip"]),
    )
    state.save(deployment)
    warning = certificate_warning(deployment, new_server)
    if warning:
        deployment = replace(deployment, warning=warning)
        state.save(deployment)
    return deployment


def _members(name: str, outputs: Mapping[str, Any]) -> tuple[Member, ...]:
    """The hosts of a group, in the order of their numbers."""
    each = zip(outputs["mirror_urls"], outputs["registry_urls"], outputs["floating_ips"], strict=True)
    return tuple(Member(f"{name}-{number}", *reached) for number, reached in enumerate(each))
