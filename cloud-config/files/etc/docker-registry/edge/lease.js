// The lease by which a member of a group lets another collect garbage: until it ends, it refuses writes.
import fs from 'fs';

// By when, by this host's uptime, the lease ends, and who has it. What was promised before a boot nobody knows then, so
// prepare-storage writes one that nobody has.
const FILE = '/run/registry/writes/lease', SECONDS = 40;
const LAST_WRITE = '/run/registry/writes/last';

function uptime() {
    return Number(fs.readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
}

function given() {
    const words = fs.readFileSync(FILE, 'utf8').trim().split(' ');
    // Whoever cannot tell must not write: not "before the end", as what is no number is neither.
    return {held: !(uptime() >= Number(words[0])), holder: words[1]};
}

// Whether a request must not write.
function refuses(r) {
    if (r.method == 'GET' || r.method == 'HEAD') return '';
    try {
        return given().held ? '1' : '';
    } catch (e) {
        r.error(`${FILE}: ${e.message}: writes are refused`);
        return '1';
    }
}

// A member asks for the lease, or renews it (PUT), or gives it back (DELETE). The answer says for how many seconds nobody has
// written here.
function lease(r) {
    if (r.method != 'GET') {
        const holder = r.args.holder, last = given();
        if (last.held && last.holder != holder) return r.return(409, `held by ${last.holder}\n`);
        fs.writeFileSync(`${FILE}.new`, `${uptime() + (r.method == 'PUT' ? SECONDS : 0)} ${holder}\n`);
        fs.renameSync(`${FILE}.new`, FILE);
    }
    const written = fs.existsSync(LAST_WRITE) ? fs.statSync(LAST_WRITE).mtimeMs : 0;
    r.return(200, `${Math.floor((Date.now() - written) / 1000)}\n`);
}

export default {refuses, lease};
