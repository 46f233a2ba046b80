// The egress carries requests to the upstreams as a client of theirs would: it follows their redirects, answers their
// challenges, and asks again where they refuse a HEAD. nginx moves the bytes; what happens next is decided here.
import fs from 'fs';

// The operator's, and what the parameters give.
const LOGINS = '/var/lib/registry/logins';
const PARAMETERS = '/run/registry/edge/logins';
const REDIRECTS = [301, 302, 303, 307, 308];
const TOKEN_HOPS = 5;

function origin(url) {
    return /^https?:\/\/[^/?#]*/i.exec(url)[0].toLowerCase();
}

// RFC 3986, section 5.2.2, without the dot segments that no registry sends.
function resolve(base, reference) {
    if (/^https?:\/\//i.test(reference)) return reference;
    if (reference.startsWith('//')) return base.slice(0, base.indexOf(':') + 1) + reference;
    if (reference.startsWith('/')) return origin(base) + reference;
    const path = base.replace(/[?#].*/, '');
    return (reference.startsWith('?') ? path : path.slice(0, path.lastIndexOf('/') + 1)) + reference;
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
    const scope = challenge.scope || `repository:${repository(r.variables.target)}:pull`;
    const query = (challenge.service ? `service=${encodeURIComponent(challenge.service)}&` : '') + `scope=${encodeURIComponent(scope)}`;
    const realm = resolve(r.variables.target, challenge.realm);
    const answer = await fetchToken(r, realm + (realm.includes('?') ? '&' : '?') + query);
    if (!answer.ok) throw {status: answer.status, retryAfter: answer.headers.get('Retry-After')};
    const body = await answer.json();
    return {value: 'Bearer ' + (body.token || body.access_token), seconds: body.expires_in || 60};
}

function refuse(r, status, message, retryAfter) {
    const kind = /\/(manifests|blobs)\/[^/]*$/.exec(r.uri);
    const unknown = kind ? {manifests: 'MANIFEST_UNKNOWN', blobs: 'BLOB_UNKNOWN'}[kind[1]] : 'NAME_UNKNOWN';
    if (retryAfter) r.headersOut['Retry-After'] = retryAfter;
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify({errors: [{code: status == 404 ? unknown : 'DENIED', message: message}]}));
}

async function authorize(r) {
    const asked = challenges(r.variables.upstream_http_www_authenticate || '');
    const token = asked.find(challenge => challenge.scheme == 'bearer' && challenge.realm);
    const basic = asked.some(challenge => challenge.scheme == 'basic') && login(r, r.variables.target);
    if (r.variables.authorized || !token && !basic) {
        ngx.shared.authorizations.delete(key(r));
        return refuse(r, 401, 'the upstream refuses this mirror');
    }
    r.variables.authorized = '1';
    try {
        const given = token ? await bearer(r, token) : {value: basic, seconds: 60};
        ngx.shared.authorizations.set(key(r), given.value, Math.max(1, given.seconds - 2) * 1000);
    } catch (e) {
        r.error(`upstream ${r.variables.registry}: no token from ${token.realm}: ${e.status || e.message}`);
        return refuse(r, e.status >= 400 && e.status < 500 ? e.status : 503, 'the token service refuses this mirror', e.retryAfter);
    }
    r.internalRedirect('@send');
}

// A response that does not go to whoever asked: a redirect, a challenge, or a HEAD that the upstream does not answer.
function proceed(r) {
    const status = Number(/\d+$/.exec(r.variables.upstream_status)[0]);
    const location = r.variables.upstream_http_location;
    if (REDIRECTS.includes(status) && location) {
        r.variables.target = resolve(r.variables.target, location);
        r.variables.authorized = '';
        return r.internalRedirect('@send');
    }
    if (status == 401) return authorize(r);
    if (r.variables.send_method == 'HEAD') {
        r.variables.send_method = 'GET';
        return r.internalRedirect('@send');
    }
    refuse(r, status, 'the upstream does not have this');
}

// A Link to the next page, relative, so that it leads to whoever sent the request to the egress.
function link(r) {
    return (r.variables.upstream_http_link || '').replace(/<[^>]*?(\/v2\/[^>]*)>/g, '<$1>');
}

// The same for a client of the mirror, which may have said by a path or by ns= which upstream it means.
function clientLink(r) {
    const prefix = r.variables.strip_prefix ? `/v2/${r.variables.path_start}/` : '/v2/';
    const ns = r.variables.arg_ns ? `&ns=${r.variables.arg_ns}` : '';
    return link(r).replace(/<\/v2\/([^>]*)>/g, (_, rest) => `<${prefix}${rest}${ns}>`);
}

// The tags that a proxy has stored, asked for neither through it nor in order: it would ask the upstream, which has just failed.
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

export default {authorization, proceed, link, clientLink, pulledTags};
