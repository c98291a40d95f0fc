// A certified OpenID provider (npm's oidc-provider) with a small API behind it,
// as the far side of the end-to-end tests. It listens on loopback, prints one
// line of JSON when it is ready, and lives until its standard input closes, so
// that it cannot outlive the test that started it.
//
// Environment: REDIRECT_URIS (with spaces between them) and CLIENT_SECRET are
// required; CLIENT_ID, CLIENT_AUTH (an RFC 7591 method name), ACCESS_TOKEN_SECONDS
// and PORT have defaults.
//
//   GET  /users      the protected API: two pages, 401 once the token has expired
//   GET  /_journal   every token request, and every secret ever issued
//   POST /_control   {token_delay_before, token_delay_after, api_delay (ms),
//                     echo, deny}: see `control`
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import Provider from 'oidc-provider';

const env = process.env;
const clientId = env.CLIENT_ID || 'bifrost-e2e';
const lifetime = Number(env.ACCESS_TOKEN_SECONDS || 2);

// What the tests may turn while the provider runs.
const control = {
  token_delay_before: 0, // ms a token request waits before the provider sees it;
  //                        one whose sender has gone by then is dropped unseen
  token_delay_after: 0, //  ms its reply is held back after the provider answered
  api_delay: 0, //          ms GET /users takes
  echo: false, //           the API and token errors repeat the secrets they were sent
  deny: false, //           every token request is answered invalid_grant
};

const journal = { token_requests: [], api: {}, issued: [], revocations: 0, reused: 0 };
const presented = new Map();
const hash = (text) => createHash('sha256').update(text).digest('hex');

const server = createServer();
server.listen(Number(env.PORT || 0), '127.0.0.1');
await once(server, 'listening');
const origin = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(origin, {
  clients: [{
    client_id: clientId,
    client_secret: env.CLIENT_SECRET,
    token_endpoint_auth_method: env.CLIENT_AUTH || 'client_secret_post',
    redirect_uris: env.REDIRECT_URIS.split(' '),
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
  }],
  pkce: { required: () => true },
  rotateRefreshToken: true, // its default spares young tokens of confidential clients
  ttl: { AccessToken: lifetime, RefreshToken: 24 * 3600, Grant: 24 * 3600, Session: 24 * 3600, Interaction: 600 },
  features: {
    devInteractions: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: ['end-to-end tests only'] },
});

// Sees every token request before and after the provider does. The entry is
// made on arrival, so a request whose sender died is in the journal too.
provider.use(async (ctx, next) => {
  if (ctx.path === '/token/revocation') {
    await next();
    if (ctx.status === 200) journal.revocations += 1;
    return undefined;
  }
  if (ctx.path !== '/token' || ctx.method !== 'POST') return next();

  const entry = { at: Date.now(), done: null, grant_type: null, refresh_token: null, times: 0, status: null };
  journal.token_requests.push(entry);
  if (control.token_delay_before) await sleep(control.token_delay_before);
  if (ctx.req.socket.destroyed) {
    entry.done = Date.now();
    return undefined;
  }
  await next();

  const params = ctx.oidc?.body ?? {};
  entry.grant_type = params.grant_type;
  if (params.code_verifier) journal.issued.push({ kind: 'code_verifier', value: params.code_verifier });
  if (params.code) journal.issued.push({ kind: 'code', value: params.code });
  if (params.refresh_token) {
    entry.refresh_token = hash(params.refresh_token);
    entry.times = (presented.get(entry.refresh_token) ?? 0) + 1;
    presented.set(entry.refresh_token, entry.times);
    if (entry.times > 1) journal.reused += 1;
  }
  if (control.deny) {
    ctx.status = 400;
    ctx.body = { error: 'invalid_grant', error_description: control.echo ? `no longer valid: ${params.refresh_token}` : 'denied by the test' };
  }
  entry.status = ctx.status;
  for (const kind of ['access_token', 'refresh_token', 'id_token']) {
    if (ctx.body?.[kind]) journal.issued.push({ kind, value: ctx.body[kind] });
  }
  if (control.token_delay_after) await sleep(control.token_delay_after);
  entry.done = Date.now();
});

const json = (res, status, body, headers = {}) => {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
};

// GET /users in the shape of Microsoft Graph: a page of `value`, and the address
// of the next one.
async function users(req, res, url) {
  if (control.api_delay) await sleep(control.api_delay);
  const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1];
  const grant = token && await provider.AccessToken.find(token);
  const status = grant && !grant.isExpired ? 200 : 401;
  journal.api[status] = (journal.api[status] ?? 0) + 1;
  if (status === 401) {
    return json(res, 401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
  }
  const said = control.echo ? ` (sent ${token})` : '';
  if (url.searchParams.get('page') === '2') {
    return json(res, 200, { value: [{ id: '3', displayName: `Carol${said}`, mail: 'carol@example.com' }] });
  }
  return json(res, 200, {
    value: [
      { id: '1', displayName: `Alice${said}`, mail: 'alice@example.com' },
      { id: '2', displayName: `Bob${said}`, mail: 'bob@example.com' },
    ],
    '@odata.nextLink': `${origin}/users?page=2`,
  });
}

const handle = provider.callback();
server.on('request', async (req, res) => {
  const url = new URL(req.url, origin);
  try {
    switch (url.pathname) {
      case '/users':
        return await users(req, res, url);
      case '/_journal':
        return json(res, 200, journal);
      case '/_control': {
        let body = '';
        for await (const chunk of req) body += chunk;
        return json(res, 200, Object.assign(control, JSON.parse(body)));
      }
      default:
        return await handle(req, res);
    }
  } catch (err) {
    return json(res, 500, { error: 'server_error', error_description: String(err) });
  }
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
process.stdout.write(`${JSON.stringify({
  issuer: origin,
  authorization_url: `${origin}/auth`,
  token_url: `${origin}/token`,
  revocation_url: `${origin}/token/revocation`,
  api_url: `${origin}/users`,
  client_id: clientId,
})}\n`);
