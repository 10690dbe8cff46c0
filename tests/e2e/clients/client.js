// The commands of one connection, over RESP2 and RESP3. Ends with 1 at the first reply that is not as expected.
const assert = require('node:assert');
const { createClient } = require('redis');

async function check(options) {
  const client = createClient({ url: `redis://localhost:${process.env.PORT}`, ...options });
  client.on('error', (error) => { throw error; });
  await client.connect();
  await client.del(['js:hash', 'js:set', 'js:count', 'js:text']);
  assert.strictEqual(await client.ping(), 'PONG');
  assert.strictEqual(await client.set('js:text', 'grüße'), 'OK');
  assert.strictEqual(await client.get('js:text'), 'grüße');
  assert.strictEqual(await client.get('js:absent'), null);
  assert.strictEqual(await client.hSet('js:hash', { a: '1', b: '2' }), 2);
  assert.deepStrictEqual({ ...(await client.hGetAll('js:hash')) }, { a: '1', b: '2' });
  assert.strictEqual(await client.sAdd('js:set', ['x', 'y', 'x']), 2);
  assert.deepStrictEqual([...(await client.sMembers('js:set'))].sort(), ['x', 'y']);
  assert.strictEqual(await client.incr('js:count'), 1);
  assert.strictEqual(await client.incrBy('js:count', 41), 42);
  assert.strictEqual(await client.expire('js:count', 100), 1);
  assert.ok((await client.ttl('js:count')) > 90);
  const many = await Promise.all(Array.from({ length: 500 }, () => client.incr('js:many')));  // one pipeline
  assert.strictEqual(new Set(many).size, 500);
  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: 'js:*' })) [keys].flat().forEach((key) => found.add(key));
  assert.ok(found.has('js:hash') && found.has('js:set'));
  await assert.rejects(client.sAdd('js:text', 'x'), /WRONGTYPE/);
  await client.disconnect();
}

async function main() {
  await check({});
  await check({ RESP: 3 });
  console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });
