// Finds out when an upstream sends other bytes than a digest stands for, so that they are not kept.
import fs from 'fs';

function repository(r) {
    return r.variables.registry + r.uri.replace(/\/manifests\/.*/, '');
}

// A proxy would take any manifest (2.8, 3.0, 3.1.1): it only gets the right one.
async function manifest(r) {
    const answer = await r.subrequest('/_upstream' + r.uri);
    const headers = answer.headersOut, body = answer.responseBuffer;
    // Of a tag, the digest that the upstream gives it.
    const digest = /sha(256|512):([\da-f]+)/.exec(r.uri + headers['Docker-Content-Digest']);
    if (answer.status == 200 && digest) {
        // The upstream has broken off.
        if (body.length < headers['Content-Length']) return r.return(502);
        const hash = await crypto.subtle.digest('SHA-' + digest[1], body);
        if (Buffer.from(hash).toString('hex') != digest[2]) {
            ngx.shared.wrong.set(repository(r), digest[0]);
            r.variables.is_wrong = 1;
            r.error(`upstream ${r.variables.registry}: wrong bytes for ${r.uri}, not ${digest[0]}`);
            return r.return(502);
        }
    }
    for (const name in headers) r.headersOut[name] = headers[name];
    r.return(answer.status, body);
}

// What the upstream has just sent wrong bytes for, in the repository.
function wrongDigest(r) {
    return ngx.shared.wrong.get(repository(r)) || '';
}

// A proxy verifies a blob when it stores it. What it refuses, nobody else gets from docker-registry-fetch; nor what no proxy
// verifies, while the disk is full. For each blob in question, `storing` has the time from which on it is wrong, unless it is
// stored.
function blob(r) {
    return r.variables.registry + ' ' + r.variables.blob_digest;
}

// Before the proxy is asked for it, and after.
function store(r) {
    const v = r.variables, proxy = v.upstream_status.split(' : ')[1];
    // 2.8 answers somewhat earlier than it stores.
    const patience = proxy || v.disk_full ? 400 : 6e5;
    if (proxy && (proxy != 200 || fs.existsSync(v.blob_path))) ngx.shared.storing.delete(blob(r));
    else if (proxy || v.received == 200) ngx.shared.storing.set(blob(r), Date.now() + patience);
    return '';
}

function undecided(r) {
    return !r.variables.waited && ngx.shared.storing.get(blob(r)) ? 1 : '';
}

// A client that comes meanwhile waits for a moment.
async function decide(r) {
    const storing = ngx.shared.storing;
    for (let patience = 45; patience && undecided(r); patience--) {
        if (fs.existsSync(r.variables.blob_path)) break;
        if (storing.get(blob(r)) < Date.now()) {
            await r.subrequest('/_purge' + r.uri);
            storing.delete(blob(r));
        } else await new Promise((resume) => setTimeout(resume, 20));
    }
    r.variables.waited = 1;
    r.internalRedirect(r.uri);
}

export default {manifest, wrongDigest, store, undecided, decide};
