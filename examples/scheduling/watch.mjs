// Sends a message, and shows the list until the message has destroyed itself.
//   node watch.mjs http://127.0.0.1:3210
import { ConvexClient } from "convex/browser";
import { anyApi as api } from "convex/server";

const client = new ConvexClient(process.argv[2] ?? "http://127.0.0.1:3210");
let sent = false;
let shown;

function show(messages) {
  shown = messages;
  console.log(messages.length ? messages.map((each) => `${each.author}: ${each.body}`).join("\n") : "no messages");
  if (sent && !messages.length) client.close();
}

client.onUpdate(api.messages.list, {}, show);
await client.mutation(api.messages.sendExpiringMessage, {
  author: "Ada",
  body: "this message will self-destruct",
});
// The list that is shown now is of a moment after that.
sent = true;
if (!shown?.length) client.close();
