// What a program written for a Redis cluster does, unchanged but for the port.
const { createCluster } = require('redis');

async function main() {
  const cluster = createCluster({ rootNodes: [{ url: `redis://localhost:${process.env.PORT}` }] });
  cluster.on('error', (error) => { console.error('Redis Cluster Error', error); process.exitCode = 1; });
  await cluster.connect();
  await cluster.set('key', 'value');
  console.log(await cluster.get('key'));
  await cluster.disconnect();
}

main().catch((error) => { console.error(error); process.exit(1); });
