"""The cloud target: preflight, create or update the stack, and remember how to reach it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from openstack.connection import Connection

from registry_stack.deployment import Deployment, State
from registry_stack.errors import RegistryStackError, StackFailedError
from registry_stack.product import TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.cloud.certificate import certificate_warning
from registry_stack.targets.cloud.connection import connect, heat
from registry_stack.targets.cloud.options import CloudOptions
from registry_stack.targets.cloud.preflight import preflight, raise_on_failure
from registry_stack.targets.cloud.purge import purge_images
from registry_stack.targets.cloud.server_console import add_console
from registry_stack.targets.cloud.stack import MARGIN_S, Request, Stack
from registry_stack.targets.cloud.update_plan import changed_parameters, consequence, replacement_reasons, server_tag
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template
from registry_stack.userdata.upstreams import parse_upstreams

# The resource that a server signals to; replacing it replaces the server.
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


def deploy(options: CloudOptions, report: ProgressCallback = no_progress) -> Deployment:
    """Create the stack of that name or update it, and return how to reach it.

    Raises RegistryStackError: bad parameters, every preflight failure, the failed resource's reason. A failed stack
    that this call created is deleted, unless `keep_on_failure`.
    """
    values, given = _values(options)
    connection = connect(options.cloud, options.clouds_file)
    _refuse_other_project(connection, options.name)
    stack = Stack(heat(connection), options.name)
    tag = server_tag(load_template(TEMPLATE), values, options.name)
    request = Request.read(options.name, TEMPLATE, options.environments, given, [tag])
    job = _Job(connection, stack, request, values, float(values["ready_timeout_seconds"]) + MARGIN_S, options, report)
    found = _settled(stack, job.deadline, report)
    report("running preflight checks")
    raise_on_failure(preflight(connection, values, new=found is None))
    if found is None:
        _create(job)
        new_server = True
    else:
        new_server = _update(job, found)
    return _remember(job, new_server)


def doctor(options: CloudOptions) -> list[str]:
    """Every preflight failure; raises RegistryStackError when the cloud cannot be reached."""
    values, _given = _values(options)
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


def _values(options: CloudOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of all parameters, and of those that the user gave."""
    environment = read_environment(list(options.environments), list(options.parameters))
    values = resolve_parameters(load_template(TEMPLATE), environment)
    names = environment.parameters.keys() | environment.defaults.keys()
    return values, {name: values[name] for name in sorted(names) if name in values}


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
    if stack.matches(request):
        job.report(f"stack {stack.name} is up to date")
        return False
    changes = changed_parameters(template, found.parameters, job.values)
    for name, change in changes.items():
        job.report(f"{name}: {change}")
    reasons = replacement_reasons(template, found, stack.files(), job.values)
    if stack.is_marked_unhealthy(_HANDLE):
        reasons.append(f"the resource {_HANDLE} is marked unhealthy")
    side_effect = consequence(reasons, changes)
    if side_effect and not job.options.ask(side_effect):
        raise RegistryStackError(f"stack {stack.name} was not changed")
    if not reasons:
        # Another timeout would replace the wait condition, which no server would signal.
        request = request.with_parameter("ready_timeout_seconds", found.parameters["ready_timeout_seconds"])
    try:
        # With the old handle, the signal of the old server would count as the new server's.
        stack.update(request, job.deadline, job.report, replaced=_HANDLE if reasons else None)
    except RegistryStackError as error:
        add_console(error, job.connection, job.stack)
        raise
    return bool(reasons)


def _remember(job: _Job, new_server: bool) -> Deployment:
    """Save the stack's outputs as a deployment, and check the certificate that the host presents."""
    options, outputs = job.options, job.stack.outputs()
    state = State(options.name)
    deployment = Deployment(
        target=options.target,
        name=options.name,
        mirror_url=outputs["mirror_url"],
        registry_url=outputs["registry_url"],
        ca_file=str(state.write("ca.crt", outputs["ca_certificate"])),
        registry_username=outputs["registry_username"],
        password_file=str(state.write("password", outputs["registry_password"] + "\n")),
        address=outputs["floating_ip"],
        upstreams=parse_upstreams(outputs["upstreams"]),
        cloud=options.cloud or "",
        project=str(job.connection.current_project_id),
    )
    state.save(deployment)
    warning = certificate_warning(deployment, new_server)
    if warning:
        deployment = replace(deployment, warning=warning)
        state.save(deployment)
    return deployment
