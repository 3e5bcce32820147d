// What a client sees when the server restarts, and when it dies.
import { api, ask, assert, main, watch, webSocketClient } from "./support.mjs";

await main(async () => {
  const client = webSocketClient();
  const board = `reconnect-${crypto.randomUUID()}`;
  const count = watch(client, api.notes.count, { board });
  const counter = watch(client, api.counters.read, { name: board });
  await count.until((value) => value === 0);

  await client.mutation(api.notes.add, { board, rank: 1 });
  await ask("restart");
  await client.mutation(api.notes.add, { board, rank: 2 });
  await count.until((value) => value === 2);

  // Sent while the server is away: kept, and done once it is back.
  await ask("kill");
  const sent = [1, 2, 3].map(() => client.mutation(api.counters.increment, { name: board }));
  await ask("start");
  assert.deepEqual(await Promise.all(sent), [1, 2, 3]);
  await counter.until((value) => value === 3);

  // Many in flight when it dies: each is done once.
  const flying = [];
  for (let each = 0; each < 40; each++) {
    flying.push(client.mutation(api.counters.increment, { name: board }));
  }
  await flying[5];
  await ask("kill");
  await ask("start");
  const results = await Promise.all(flying);
  assert.deepEqual(results, Array.from({ length: 40 }, (_, each) => each + 4));
  await counter.until((value) => value === 43);
  await client.close();
});
