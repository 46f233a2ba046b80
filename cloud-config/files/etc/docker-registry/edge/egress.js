// The egress carries requests to the upstreams as a client of theirs would: it follows their redirects, answers their
// challenges, and asks again where they refuse a HEAD. nginx moves the bytes; what happens next is decided here.
import fs from 'fs';

// The operator's, and what the parameters give.
const LOGINS = '/var/lib/registry/logins';
const PARAMETERS = '/run/registry/edge/logins';
const REDIRECTS = [301, 302, 303, 307, 308];
const TOKEN_HOPS = 5;
// nginx allows ten internal redirects, of which each step takes two.
const STEPS = 4;

function origin(url) {
    return /^https?:\/\/[^/?#]*/i.exec(url)[0].toLowerCase();
}

// RFC 3986, section 5.2.2.
function resolve(base, reference) {
    const parts = /^([^?]*)(\?.*)?$/.exec(reference.replace(/#.*/, '').replace(/[^\x21-\x7e]/g, encodeURIComponent));
    const query = parts[2] || '';
    const own = base.replace(/[?#].*/, '');
    let url = parts[1];
    if (!/^https?:\/\//i.test(url)) {
        if (url.startsWith('//')) url = own.slice(0, own.indexOf(':') + 1) + url;
        else if (url.startsWith('/')) url = origin(own) + url;
        else url = url ? own.slice(0, own.lastIndexOf('/') + 1) + url : own;
    }
    const path = [];
    url.slice(origin(url).length + 1).split('/').forEach(part => {
        if (part == '..') path.pop();
        else if (part != '.') path.push(part);
    });
    return `${origin(url)}/${path.join('/')}${query}`;
}

// The challenges of WWW-Authenticate (RFC 9110, section 11.6.1); nginx joins several fields by ", ".
function challenges(field) {
    const found = [];
    const item = /([^\s,="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g;
    let match;
    while ((match = item.exec(field)) !== null) {
        const value = match[2] === undefined ? match[3] : match[2].replace(/\\(.)/g, '$1');
        if (value === undefined) found.push({scheme: match[1].toLowerCase()});
        else if (found.length) found[found.length - 1][match[1].toLowerCase()] = value;
    }
    return found;
}

function repository(url) {
    const match = /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url);
    return match ? match[1] : '';
}

// Tokens and logins are kept for the origin that asked for them and for one repository.
function key(r) {
    const target = r.variables.target;
    return [r.variables.registry, origin(target), repository(target)].join(' ');
}

function authorization(r) {
    return ngx.shared.authorizations.get(key(r)) || '';
}

function contentOf(path) {
    try {
        return fs.readFileSync(path, 'utf8').replace(/\r?\n$/, '');
    } catch (e) {
        return '';
    }
}

// The login of the upstream, for the upstream's own host at any port, one below it, or one that upstream_login_hosts names,
// and never over less than the upstream's own scheme. Another host, to which an upstream may point, does not get it
// (CVE-2026-33540). The file is read each time: whoever renews a login replaces it.
function login(r, url) {
    // Scheme, authority, host; a URL of another form, such as one with a user's name in it, is nobody's.
    const form = /^(https?):\/\/((\[[\da-f:.]+\]|[^/?#:@[\]]+)(?::\d+)?)(?=[/?#]|$)/;
    const own = form.exec(r.variables.upstream_url.toLowerCase());
    const asked = form.exec(url.toLowerCase());
    if (!asked || own[1] == 'https' && asked[1] != 'https') return '';
    const named = r.variables.login_hosts.split(' ').includes(asked[2]);
    if (asked[3] != own[3] && !asked[3].endsWith('.' + own[3]) && !named) return '';
    const text = contentOf(`${LOGINS}/${r.variables.registry}`) || contentOf(`${PARAMETERS}/${r.variables.registry}`);
    return text && 'Basic ' + Buffer.from(text).toString('base64');
}

async function fetchToken(r, url) {
    for (let hops = 0; ; hops++) {
        const basic = login(r, url);
        const answer = await ngx.fetch(url, basic ? {headers: {Authorization: basic}} : {});
        const location = answer.headers.get('Location');
        if (!REDIRECTS.includes(answer.status) || !location || hops == TOKEN_HOPS) return answer;
        url = resolve(url, location);
    }
}

// docs: distribution.github.io, "Token Authentication Specification".
async function bearer(r, challenge) {
    const scopes = (challenge.scope || `repository:${repository(r.variables.target)}:pull`).split(' ');
    const query = scopes.map(scope => `scope=${encodeURIComponent(scope)}`);
    if (challenge.service) query.unshift(`service=${encodeURIComponent(challenge.service)}`);
    const realm = resolve(r.variables.target, challenge.realm);
    const answer = await fetchToken(r, realm + (realm.includes('?') ? '&' : '?') + query.join('&'));
    if (!answer.ok) throw {status: answer.status, retryAfter: answer.headers.get('Retry-After')};
    const body = await answer.json();
    const token = body.token || body.access_token;
    if (!token) throw {message: 'the answer has none'};
    return {value: 'Bearer ' + token, seconds: body.expires_in || 60};
}

function refuse(r, status, message, retryAfter) {
    const kind = /\/(manifests|blobs)\/[^/]*$/.exec(r.uri);
    const unknown = kind ? {manifests: 'MANIFEST_UNKNOWN', blobs: 'BLOB_UNKNOWN'}[kind[1]] : 'NAME_UNKNOWN';
    if (retryAfter) r.headersOut['Retry-After'] = retryAfter;
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify({errors: [{code: status == 404 ? unknown : 'DENIED', message: message}]}));
}

function send(r, method) {
    const steps = Number(r.variables.steps) + 1;
    if (steps > STEPS) return refuse(r, 508, 'the upstream redirects in a circle');
    r.variables.steps = String(steps);
    r.variables.send_method = method || r.variables.send_method;
    r.internalRedirect('@send');
}

// The upstream refuses the request, or whoever sends it.
async function authorize(r, status) {
    const sent = authorization(r);
    ngx.shared.authorizations.delete(key(r));
    const asked = challenges(r.variables.upstream_http_www_authenticate || '');
    const token = asked.find(challenge => challenge.scheme == 'bearer' && challenge.realm);
    const basic = asked.some(challenge => challenge.scheme == 'basic') && login(r, r.variables.target);
    if (r.variables.authorized || status != 401 || !token && !basic) {
        // An expired login is forbidden by some (ECR), without a challenge.
        if (sent && !r.variables.authorized && status == 403) return send(r);
        if (r.variables.send_method == 'HEAD' && !asked.length) return send(r, 'GET');
        return refuse(r, status, 'the upstream refuses this mirror');
    }
    r.variables.authorized = '1';
    try {
        const given = token ? await bearer(r, token) : {value: basic, seconds: 60};
        ngx.shared.authorizations.set(key(r), given.value, Math.max(1, given.seconds - 2) * 1000);
    } catch (e) {
        r.error(`upstream ${r.variables.registry}: no token from ${token.realm}: ${e.status || e.message}`);
        const refused = e.status == 429 ? 429 : e.status >= 400 && e.status < 500 ? 403 : 503;
        return refuse(r, refused, 'the token service refuses this mirror', e.retryAfter);
    }
    send(r);
}

// A response that does not go to whoever asked: a redirect, a challenge, a HEAD that the upstream does not answer, or a
// status that only some upstreams use.
function proceed(r) {
    const status = Number(/\d+$/.exec(r.variables.upstream_status)[0]);
    const location = r.variables.upstream_http_location;
    if (REDIRECTS.includes(status) && location) {
        r.variables.target = resolve(r.variables.target, location);
        r.variables.authorized = '';
        return send(r);
    }
    if (status == 401 || status == 403) return authorize(r, status);
    if (status < 400 || status > 504) return refuse(r, 501, 'the upstream does not answer as a registry');
    if (r.variables.send_method == 'HEAD') return send(r, 'GET');
    refuse(r, {402: 403, 410: 404, 451: 403}[status] || status, 'the upstream does not have this');
}

// A Link to the next page, which is where this one is, but for its query.
function link(r) {
    const ns = r.variables.arg_ns ? `&ns=${r.variables.arg_ns}` : '';
    const page = r.variables.request_uri.replace(/\?.*/, '');
    return (r.variables.upstream_http_link || '').replace(/<[^>?]*(\?[^>]*)>/g, `<${page}$1${ns}>`);
}

// The tags that a proxy has stored. The proxy itself would ask the upstream for them, which has just failed.
function pulledTags(r) {
    const name = repository(r.uri);
    try {
        const tags = fs.readdirSync(`${r.variables.store}/docker/registry/v2/repositories/${name}/_manifests/tags`);
        r.headersOut['Content-Type'] = 'application/json';
        r.headersOut['X-Stale'] = '1';
        r.return(200, JSON.stringify({name: name, tags: tags.sort()}));
    } catch (e) {
        const cause = {401: '@refused', 403: '@refused', 429: '@rate_limited'}[r.variables.upstream_status];
        r.internalRedirect(cause || '@unavailable');
    }
}

export default {authorization, proceed, link, pulledTags};
