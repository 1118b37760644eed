// A real OpenID Connect provider (npm `oidc-provider`) for tests: anybody signs in under any name, and is asked for his consent.
// PORT CALLBACK; `cli` is the public client of commands, `page` that of the page. A name that begins with "chief-" is of the group `chiefs`.
// Says "ready" on its standard output, and ends with its standard input.
import Provider from 'oidc-provider';

const [port, callback] = process.argv.slice(2);
const account = (_, id) => ({
  accountId: id,
  claims: () => ({ sub: id, groups: id.startsWith('chief-') ? ['chiefs'] : ['crew'] }),
});
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    { client_id: 'page', client_secret: 's3cret-of-the-page', redirect_uris: [callback], grant_types: ['authorization_code'] },
    {
      client_id: 'cli', token_endpoint_auth_method: 'none', redirect_uris: [], response_types: [],
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    },
  ],
  claims: { openid: ['sub', 'groups'] },
  conformIdTokenClaims: false,
  cookies: { keys: ['of tests alone'] },
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: account,
  issueRefreshToken: () => true,
  ttl: { IdToken: 45, DeviceCode: 60 },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();
