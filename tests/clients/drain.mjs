// A client of a server that is told to end while much is under way, and of the one that follows.
import { api, ask, assert, main, watch, webSocketClient } from "./support.mjs";

await main(async () => {
  const client = webSocketClient();
  const name = `drain-${crypto.randomUUID()}`;
  const counter = watch(client, api.counters.read, { name });
  await counter.until((value) => value === 0);

  // An action cannot be sent again: it must be answered before the socket is closed.
  const action = client.action(api.actions.slow, { seconds: 1 });
  const flying = [];
  for (let each = 0; each < 40; each++) {
    flying.push(client.mutation(api.counters.increment, { name }));
  }
  await flying[0];
  await ask("terminate");
  await action;
  const late = client.mutation(api.counters.increment, { name });
  await ask("start");
  assert.deepEqual(await Promise.all(flying), Array.from({ length: 40 }, (_, each) => each + 1));
  assert.equal(await late, 41);
  await counter.until((value) => value === 41);
  await client.close();
});
