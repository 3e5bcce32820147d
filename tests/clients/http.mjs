// npm `ConvexHttpClient` from Node.
import { adminKey, api, assert, httpClient, main } from "./support.mjs";
import { ConvexError } from "convex/values";

await main(async () => {
  const client = httpClient();
  const board = `http-${crypto.randomUUID()}`;

  const id = await client.mutation(api.notes.add, { board, rank: 1, text: "one" });
  assert.equal((await client.query(api.notes.get, { id })).text, "one");
  assert.equal(await client.action(api.actions.double, { value: 1.5 }), 3);
  assert.equal(await client.query(api.values.big, { value: -2n }), -1n);

  await assert.rejects(client.query(api.errors.app_error, {}), (error) => {
    assert.ok(error instanceof ConvexError);
    assert.deepEqual(error.data, { code: "FULL", seats: 3 });
    return true;
  });
  await assert.rejects(client.query(api.errors.value_error, {}), /Uncaught ValueError: not that/);
  await assert.rejects(client.query(api.notes.secret, {}), /Could not find public function/);

  // Consistent queries all read the moment of the first one.
  const before = await client.consistentQuery(api.notes.count, { board });
  await client.mutation(api.notes.add, { board, rank: 2 });
  assert.equal(before, 1);
  assert.equal(await client.consistentQuery(api.notes.count, { board }), 1);
  assert.equal(await client.query(api.notes.count, { board }), 2);

  // An admin reaches internal functions, and may act as a user.
  const admin = httpClient();
  admin.setAdminAuth(adminKey);
  assert.equal(await admin.query(api.notes.secret, {}), "hidden");
  assert.equal(await admin.query(api.users.profile.get, {}), null);
  admin.setAdminAuth(adminKey, { issuer: "https://issuer.example.com", subject: "ada", name: "Ada" });
  assert.deepEqual(await admin.query(api.users.profile.get, {}), {
    issuer: "https://issuer.example.com",
    subject: "ada",
    name: "Ada",
    tokenIdentifier: "https://issuer.example.com|ada",
  });
  admin.setAdminAuth("kitchen|wrong");
  await assert.rejects(admin.query(api.notes.secret, {}), /BadAdminKey/);

  const user = httpClient();
  user.setAuth("not-a-token");
  await assert.rejects(user.query(api.notes.count, { board }), /InvalidAuthHeader/);
});
