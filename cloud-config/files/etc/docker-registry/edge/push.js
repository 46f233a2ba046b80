// Lets requests wait instead of refusing them. Docker tries again when it gets 503, but only for 50 s, and skopeo, podman and
// buildah not at all.
import fs from 'fs';

const PUSHING = '/run/registry/gc/pushing';
const RESTARTING = '/run/registry/restarting';
const PATIENCE_MS = 50000;

// Whether `held` has become false in time.
async function passed(held) {
    const until = Date.now() + PATIENCE_MS;
    while (held()) {
        if (Date.now() > until) return false;
        await new Promise((resume) => setTimeout(resume, 500));
    }
    return true;
}

// The start of an upload, while registry-gc refuses it, here or at another member of the group.
async function wait(r) {
    const mayEnd = `${PUSHING}/${r.variables.begins_upload}/_`;
    const may = await passed(() => fs.existsSync(PUSHING) && !fs.existsSync(mayEnd) || r.variables.leased);
    r.internalRedirect(may ? r.variables.request_uri : '@registry_unavailable');
}

// Any request, while registry-apply starts the registry anew. If that takes too long, it gets what there is.
async function restarted(r) {
    await passed(() => fs.existsSync(RESTARTING));
    r.return(204);
}

export default {restarted, wait};
