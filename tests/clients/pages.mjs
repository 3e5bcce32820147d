// Reactive pages: gapless while notes come, go and move.
import { api, assert, main, watch, webSocketClient } from "./support.mjs";

await main(async () => {
  const client = webSocketClient();
  const board = `pages-${crypto.randomUUID()}`;
  const ids = [];
  for (let rank = 0; rank < 10; rank++) {
    ids.push(await client.mutation(api.notes.add, { board, rank }));
  }
  const page = (cursor, numItems, more = {}) =>
    watch(client, api.notes.page, { board, paginationOpts: { cursor, numItems, id: 1, ...more } });

  const first = page(null, 4);
  const one = await first.until((value) => value !== undefined);
  assert.deepEqual(one.page.map((note) => note.rank), [0, 1, 2, 3]);
  assert.equal(one.isDone, false);
  const second = page(one.continueCursor, 4);
  const two = await second.until((value) => value !== undefined);
  const third = page(two.continueCursor, 4);
  const three = await third.until((value) => value !== undefined);
  assert.equal(three.isDone, true);
  assert.equal(typeof three.continueCursor, "string");

  const all = () =>
    [first, second, third].flatMap((each) => each.values.at(-1).page.map((note) => note.rank));
  assert.deepEqual(all(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);

  // Everywhere: before, within, at and after every boundary.
  for (const rank of [-1, 0.5, 3, 3.5, 4, 7, 7.5, 8, 12]) {
    await client.mutation(api.notes.add, { board, rank });
    assert.equal(new Set(all()).size, new Set(all()).size);
    assert.deepEqual(all(), [...all()].sort((a, b) => a - b), `after adding ${rank}`);
  }
  assert.equal(all().length, 19);
  assert.equal(first.values.at(-1).continueCursor, one.continueCursor);
  for (const id of ids.slice(2, 6)) await client.mutation(api.notes.remove, { id });
  assert.equal(all().length, 15);

  // A note that moves from one page to another is in exactly one of them at any time.
  await client.mutation(api.notes.move, { id: ids[0], rank: 100 });
  assert.equal(all().length, 15);
  assert.equal(all().at(-1), 100);

  // The two halves of a page are the page.
  const whole = first.values.at(-1);
  assert.equal(typeof whole.splitCursor, "string");
  const left = page(null, 4, { endCursor: whole.splitCursor });
  const right = page(whole.splitCursor, 4, { endCursor: whole.continueCursor });
  const halves = [await left.until(Boolean), await right.until(Boolean)];
  assert.deepEqual(
    halves.flatMap((half) => half.page.map((note) => note._id)),
    whole.page.map((note) => note._id),
  );

  // A cursor of another query is refused in a way that makes clients begin again.
  const foreign = watch(client, api.notes.page, {
    board: `${board}-other`,
    paginationOpts: { cursor: one.continueCursor, numItems: 4 },
  });
  const error = await foreign.failure();
  assert.deepEqual(error.data, { isConvexSystemError: true, paginationError: "InvalidCursor" });
  const forged = watch(client, api.notes.page, { board, paginationOpts: { cursor: "x", numItems: 4 } });
  assert.equal((await forged.failure()).data.paginationError, "InvalidCursor");
  await client.close();
});
