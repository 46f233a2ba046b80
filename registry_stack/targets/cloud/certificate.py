"""Whether a new deployment serves the certificate that its stack announced."""

import ssl

from registry_stack.deployment import Deployment
from registry_stack.endpoint import get_status, is_untrusted_issuer
from registry_stack.errors import RegistryStackError


def certificate_warning(deployment: Deployment, new_server: bool) -> str:
    """Connect to both ports, and return a warning, or nothing.

    Raises RegistryStackError when a new server presents a certificate that the stack's CA does not verify. On an older
    server, whose operator may have installed their own, that is a warning; so is a port that a firewall closes.
    """
    for url in (deployment.mirror_url, deployment.registry_url):
        try:
            get_status(deployment, url)
        except ssl.SSLCertVerificationError as error:
            if new_server or not is_untrusted_issuer(error):
                raise RegistryStackError(
                    f"{url} serves a certificate that the stack's CA does not verify: {error}"
                ) from error
            return f"{url} serves a certificate that the stack's CA did not issue: if it is yours, clients need its CA"
        except OSError as error:
            return f"{url} cannot be reached from here ({error}): see mirror_client_cidr, registry_client_cidr"
    return ""
