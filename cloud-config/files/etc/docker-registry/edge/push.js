// Lets the start of an upload wait while registry-gc refuses it. Docker tries again when it gets 503, but only for 50 s, and
// skopeo, podman and buildah not at all.
import fs from 'fs';

const PUSHING = '/run/registry/gc/pushing';
const PATIENCE_MS = 50000;

async function wait(r) {
    const mayEnd = `${PUSHING}/${r.variables.begins_upload}/_`;
    const until = Date.now() + PATIENCE_MS;
    while (fs.existsSync(PUSHING) && !fs.existsSync(mayEnd)) {
        if (Date.now() > until) return r.internalRedirect('@registry_unavailable');
        await new Promise((resume) => setTimeout(resume, 500));
    }
    r.internalRedirect(r.variables.request_uri);
}

export default {wait};
