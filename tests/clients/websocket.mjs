// npm `ConvexClient` from Node.
import { api, assert, main, watch, webSocketClient } from "./support.mjs";
import { ConvexError } from "convex/values";

await main(async () => {
  const client = webSocketClient();
  const other = webSocketClient();
  const board = `ws-${crypto.randomUUID()}`;

  // A change by one client reaches the other.
  const notes = watch(other, api.notes.list, { board });
  assert.deepEqual(await notes.until((value) => value !== undefined), []);
  const id = await client.mutation(api.notes.add, { board, rank: 2, text: "two" });
  const [note] = await notes.until((value) => value.length === 1);
  assert.equal(note._id, id);
  assert.equal(note.text, "two");
  assert.equal(typeof note._creationTime, "number");

  // Writes elsewhere, and writes that change nothing, are not heard of.
  await client.mutation(api.notes.add, { board: `${board}-other`, rank: 1 });
  await client.mutation(api.notes.edit, { id, text: "two" });
  await client.mutation(api.notes.edit, { id, text: "zwei" });
  await notes.until((value) => value[0].text === "zwei");
  assert.equal(notes.values.length, 3, JSON.stringify(notes.values));

  // A promise of a mutation resolves when the client's own queries show it.
  const own = watch(client, api.notes.count, { board });
  await own.until((value) => value === 1);
  for (let rank = 3; rank < 8; rank++) {
    await client.mutation(api.notes.add, { board, rank });
    assert.equal(own.values.at(-1), rank - 1);
  }

  // Errors.
  await assert.rejects(client.mutation(api.notes.add_then_fail, { board }), (error) => {
    assert.ok(error instanceof ConvexError);
    assert.deepEqual(error.data, { code: "CHANGED_MIND" });
    return true;
  });
  assert.equal(own.values.at(-1), 6);
  await assert.rejects(client.query(api.nowhere.nothing, {}), /Could not find public function for 'nowhere:nothing'/);
  await assert.rejects(client.query(api.notes.secret, {}), /Could not find public function for 'notes:secret'/);
  await assert.rejects(client.query(api.notes.add, { board, rank: 1 }), /executed as a query, but it is defined as a mutation/);
  await assert.rejects(client.mutation(api.notes.add, { board }), /ArgumentValidationError.*missing the required field `rank`/s);
  await assert.rejects(client.query(api.errors.value_error, {}), /Uncaught ValueError: not that/);
  await assert.rejects(client.query(api.errors.value_error, {}), /at backend\/errors.py:\d+ in value_error/);
  await assert.rejects(client.query(api.errors.plain_error, {}), /Uncaught Error: plain/);
  await assert.rejects(client.query(api.errors.ends_the_process, {}), /Uncaught SystemExit: 3/);
  await assert.rejects(client.query(api.errors.wrong_result, {}), /ReturnsValidationError/);
  await assert.rejects(client.query(api.errors.not_a_value, {}), /inner\[1\][\s\S]*is not a supported Convex type|is not a supported Convex type[\s\S]*inner\[1\]/);
  const nullError = watch(client, api.errors.app_error_null, {});
  const failure = await nullError.failure();
  assert.ok(failure instanceof ConvexError);
  assert.equal(failure.data, null);

  // Actions.
  assert.equal(await client.action(api.actions.double, { value: 21 }), 42);
  assert.deepEqual(await client.action(api.actions.increment_twice, { name: board }), [1, 2]);
  assert.deepEqual(await client.action(api.actions.catches, {}), { code: "FULL", seats: 3 });
  await assert.rejects(client.action(api.actions.fails, {}), /Uncaught RuntimeError: boom/);

  // Values of every kind.
  const value = {
    big: 2n ** 62n,
    bytes: new Uint8Array([0, 1, 255]).buffer,
    zero: -0,
    nan: NaN,
    infinite: -Infinity,
    third: 1 / 3,
    list: [null, true, "ü𝄞", { "": 1 }],
  };
  const echoed = await client.query(api.values.echo, { value });
  assert.deepEqual(echoed, value);
  assert.ok(Object.is(echoed.zero, -0));
  assert.equal(await client.query(api.values.big, { value: 41n }), 42n);

  // Nested calls: what fails is undone, what came before it stays.
  assert.deepEqual(await client.mutation(api.notes.add_nested, { board: `${board}-nested` }), ["CHANGED_MIND", "1"]);

  // The default export has two names.
  assert.equal(await client.query(api.users.profile.default, {}), "the default export");

  await client.close();
  await other.close();
});
