"""Deletes the pushed images of a stack, which Heat leaves in Swift."""

from collections.abc import Mapping

from openstack.connection import Connection

from registry_stack.progress import ProgressCallback


def purge_images(connection: Connection, parameters: Mapping[str, str], report: ProgressCallback) -> None:
    """Delete the container with the pushed images, or report why it cannot be reached from here."""
    project, own = parameters.get("os_project_name"), connection.current_project
    if parameters.get("storage_driver") != "swift":
        report("not purged: storage_driver says that the images are not in Swift")
        return
    if project and project not in (own.name, own.id):
        report(f'not purged: the images are in the Swift account of the project "{project}"')
        return
    container = parameters["swift_container"]
    store, count = connection.object_store, 0
    for item in store.objects(container):
        store.delete_object(item, container=container, ignore_missing=True)
        count += 1
    store.delete_container(container, ignore_missing=True)
    report(f"deleted {count} objects in the Swift container {container}")
