"""The cloud target: preflight, create or update, and what came out of it."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import SDKException

from registry_stack.deployment import DEFAULT_NAME, Deployment, State, parse_upstreams
from registry_stack.endpoint import get_status, is_untrusted_issuer
from registry_stack.errors import RegistryStackError
from registry_stack.product import TEMPLATE
from registry_stack.progress import ProgressCallback, no_progress
from registry_stack.targets.cloud.connection import connect, heat
from registry_stack.targets.cloud.preflight import preflight, raise_on_failure
from registry_stack.targets.cloud.stack import MARGIN_S, Request, Stack
from registry_stack.targets.cloud.update_plan import changed_parameters, replacement_reasons, server_tag
from registry_stack.template.environment import read_environment
from registry_stack.template.parameters import resolve_parameters
from registry_stack.template.template import load_template

CONSOLE_LINES = 30
# The resource that a server signals to, and that it is replaced with.
_HANDLE = "ready_handle"
Ask = Callable[[str], bool]


@dataclass(frozen=True)
class CloudOptions:
    """Which cloud, which stack, with what. `target` is what the deployment is remembered as."""

    cloud: str | None = None
    clouds_file: Path | None = None
    name: str = DEFAULT_NAME
    target: str = "cloud"
    environments: Sequence[Path] = ()
    parameters: Sequence[str] = ()
    keep_on_failure: bool = False
    # Is told what is about to happen, and answers whether to go on.
    ask: Ask = field(default=lambda _consequence: True)


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
    """Create the stack, or bring the one of that name up to date, and return how to reach it.

    Raises RegistryStackError: bad parameters, every preflight failure, the failed resource's reason. Deletes a failed
    stack that this call created, unless it is to be kept.
    """
    values, given = _values(options)
    connection = connect(options.cloud, options.clouds_file)
    _refuse_other_project(connection, options.name)
    stack = Stack(heat(connection), options.name)
    tag = server_tag(load_template(TEMPLATE), values, options.name)
    request = Request.read(options.name, TEMPLATE, options.environments, given, [tag])
    job = _Job(connection, stack, request, values, float(values["ready_timeout_seconds"]) + MARGIN_S, options, report)
    found = _settled(stack, job.deadline, report)
    report("asking the cloud whether it has what the parameters name")
    raise_on_failure(preflight(connection, values, new=found is None))
    if found is None:
        _create(job)
        new_server = True
    else:
        new_server = _update(job, found)
    return _remember(job, new_server)


def doctor(options: CloudOptions) -> list[str]:
    """Every objection of the cloud to the stack; raises RegistryStackError when it cannot even be asked."""
    values, _given = _values(options)
    connection = connect(options.cloud, options.clouds_file)
    new = Stack(heat(connection), options.name).get() is None
    return preflight(connection, values, new=new)


def destroy(options: CloudOptions, purge: bool = False, report: ProgressCallback = no_progress) -> bool:
    """Delete the stack; with `purge` first the pushed images. Returns whether there was one."""
    connection = connect(options.cloud, options.clouds_file)
    _refuse_other_project(connection, options.name)
    stack = Stack(heat(connection), options.name)
    found = stack.get()
    if found is not None:
        if purge:
            # While the stack is there to say where they are: what fails can be tried again.
            _purge(connection, found.parameters, report)
        stack.delete(report)
    elif purge:
        report("not purged: only the stack knew where its images are (openstack container delete --recursive NAME)")
    State(options.name).remove()
    return found is not None


def _refuse_other_project(connection: Connection, name: str) -> None:
    """Raise RegistryStackError when what is deployed under that name is not in the project that was connected to."""
    found = State(name).load()
    if found is not None and found.project and found.project != connection.current_project_id:
        where = f'cloud "{found.cloud}"' if found.cloud else "another cloud"
        raise RegistryStackError(
            f'"{name}" is deployed in another project ({where}, project {found.project}): '
            "name that cloud with --os-cloud, or use another --name"
        )


def _values(options: CloudOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The value of every parameter, and of those that the user gave."""
    environment = read_environment(list(options.environments), list(options.parameters))
    values = resolve_parameters(load_template(TEMPLATE), environment)
    names = environment.parameters.keys() | environment.defaults.keys()
    return values, {name: values[name] for name in sorted(names) if name in values}


def _settled(stack: Stack, deadline: float, report: ProgressCallback) -> Any | None:
    """The stack there is, once nothing is in progress; what an interrupted or failed create left is deleted."""
    found = stack.get()
    if found is not None and found.stack_status.endswith("_IN_PROGRESS"):
        report(f"stack {stack.name} is {found.stack_status}: waiting for that first")
        try:
            stack.wait(deadline, report)
        except RegistryStackError as error:
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
    # From here on there is a stack of ours, to be waited for or deleted.
    try:
        stack.wait(job.deadline, job.report)
    except KeyboardInterrupt as error:
        error.add_note(f"stack {stack.name} is still being made: deploy again to go on with it, destroy to remove it")
        raise
    except RegistryStackError as error:
        _add_console(error, job)
        if job.options.keep_on_failure:
            error.add_note(f"it was kept: openstack stack failures list --long {stack.name}")
        elif stack.get() is not None:
            job.report("deleting what failed")
            stack.delete(no_progress)
        raise


def _update(job: _Job, found: Any) -> bool:
    """Say what changes, ask when the server is replaced, and apply. Returns whether there is a new server."""
    stack, request, template = job.stack, job.request, load_template(TEMPLATE)
    if stack.matches(request):
        job.report(f"stack {stack.name} is there, with these parameters")
        return False
    changes = changed_parameters(template, found.parameters, job.values)
    for name, change in changes.items():
        job.report(f"{name}: {change}")
    reasons = replacement_reasons(template, found, stack.files(), job.values)
    if stack.is_marked_unhealthy(_HANDLE):
        reasons.append(f"the resource {_HANDLE} is marked unhealthy")
    consequence = _consequence(reasons, changes)
    if consequence and not job.options.ask(consequence):
        raise RegistryStackError(f"stack {stack.name} was left as it is")
    if not reasons:
        # It would only make a wait condition anew that nobody signals any more.
        request = request.with_parameter("ready_timeout_seconds", found.parameters["ready_timeout_seconds"])
    try:
        # A new server needs a handle of its own, or its predecessor's signal would count as its own.
        stack.update(request, job.deadline, job.report, replaced=_HANDLE if reasons else None)
    except RegistryStackError as error:
        _add_console(error, job)
        raise
    return bool(reasons)


def _consequence(reasons: Sequence[str], changes: Mapping[str, str]) -> str:
    """What an update does besides what was asked for; empty when nothing."""
    if reasons:
        return (
            f"The server is replaced, for: {', '.join(reasons)}. The cache on its disk is lost; a cache volume and the "
            "images in Swift stay."
        )
    if "cache_volume_size" in changes:
        return (
            "Cinder takes the volume from the running server to let it grow: nothing works until the server has been "
            "rebooted afterwards (openstack server reboot)."
        )
    return ""


def _add_console(error: RegistryStackError, job: _Job) -> None:
    console = _console(job.connection, job.stack)
    if console:
        error.add_note(f"the end of the server's console:\n{console}")


def _console(connection: Connection, stack: Stack) -> str:
    """What the server said last, where the cloud shows it."""
    server = stack.resource_id("server")
    if server is None:
        return ""
    try:
        output = connection.compute.get_server_console_output(server, length=CONSOLE_LINES)
    except SDKException as error:
        return f"(the cloud does not show it: {error})"
    return "\n".join(f"  {line}" for line in str(output.get("output", "")).splitlines()[-CONSOLE_LINES:])


def _remember(job: _Job, new_server: bool) -> Deployment:
    """Write down what the stack's outputs say, once the host has shown a certificate of that CA."""
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
    warning = _certificate_warning(deployment, new_server)
    if warning:
        deployment = replace(deployment, warning=warning)
        state.save(deployment)
    return deployment


def _certificate_warning(deployment: Deployment, new_server: bool) -> str:
    """Both ports must show a certificate of the stack's CA; a firewall between here and there is only a warning.

    So is another certificate on a server that has been there before: its operator may have put their own there.
    """
    for url in (deployment.mirror_url, deployment.registry_url):
        try:
            get_status(deployment, url)
        except ssl.SSLCertVerificationError as error:
            if new_server or not is_untrusted_issuer(error):
                raise RegistryStackError(
                    f"{url} serves a certificate that is not of the stack's CA: {error}"
                ) from error
            return f"{url} serves a certificate of another CA than the stack's: clients need that CA, if it is yours"
        except OSError as error:
            return f"{url} cannot be reached from here ({error}): see mirror_client_cidr, registry_client_cidr"
    return ""


def _purge(connection: Connection, parameters: Mapping[str, str], report: ProgressCallback) -> None:
    """The pushed images, and with them the container; those that cannot be reached from here are said."""
    project, own = parameters.get("os_project_name"), connection.current_project
    if parameters.get("storage_driver") != "swift":
        report("not purged: the images are not in Swift, by storage_driver")
        return
    if project and project not in (own.name, own.id):
        report(f'not purged: the images are in the Swift of the project "{project}"')
        return
    container = parameters["swift_container"]
    store, count = connection.object_store, 0
    for item in store.objects(container):
        store.delete_object(item, container=container, ignore_missing=True)
        count += 1
    store.delete_container(container, ignore_missing=True)
    report(f"deleted {count} objects in the Swift container {container}")
