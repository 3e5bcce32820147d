// Admin keys and user tokens over the socket.
import { adminKey, api, assert, main, watch, webSocketClient } from "./support.mjs";

await main(async () => {
  const admin = webSocketClient();
  admin.client.setAdminAuth(adminKey);
  assert.equal(await admin.query(api.notes.secret, {}), "hidden");
  const who = watch(admin, api.users.profile.get, {});
  assert.equal(await who.until((value) => value !== undefined), null);
  admin.client.setAdminAuth(adminKey, { issuer: "https://i", subject: "s", role: "owner" });
  const identity = await who.until((value) => value !== null);
  assert.deepEqual(identity, { issuer: "https://i", subject: "s", tokenIdentifier: "https://i|s", role: "owner" });
  await admin.close();

  // No provider verifies tokens yet: the client is told, drops the token and goes on.
  const user = webSocketClient();
  const changes = [];
  user.setAuth(async () => "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiaWF0IjoxLCJleHAiOjk5OTk5OTk5OTl9.", (is) => changes.push(is));
  const profile = watch(user, api.users.profile.get, {});
  assert.equal(await profile.until((value) => value !== undefined), null);
  assert.ok(!changes.includes(true));
  await user.close();
});
