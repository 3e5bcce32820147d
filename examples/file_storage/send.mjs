// Sends an image in both ways, and watches the messages come by the official client.
//   node send.mjs image.png http://127.0.0.1:3210 http://127.0.0.1:3211
import { readFile } from "node:fs/promises";
import { ConvexClient } from "convex/browser";
import { anyApi as api } from "convex/server";

const [path, url = "http://127.0.0.1:3210", site = "http://127.0.0.1:3211"] = process.argv.slice(2);
const image = await readFile(path);
const headers = { "Content-Type": "image/png" };

const client = new ConvexClient(url);
let arrived;
client.onUpdate(api.messages.list, {}, (messages) => {
  if (messages.length) console.log("messages:", messages.map((each) => each.author).join(", "));
  if (messages.length === 2) arrived?.(messages);
});
const both = new Promise((resolve) => (arrived = resolve));

// By an upload URL.
const uploadUrl = await client.mutation(api.messages.generateUploadUrl, {});
const uploaded = await fetch(uploadUrl, { method: "POST", headers, body: image });
const { storageId } = await uploaded.json();
await client.mutation(api.messages.sendImage, { storageId, author: "Ada" });

// By an HTTP action.
await fetch(`${site}/sendImage?author=Grace`, { method: "POST", headers, body: image });

for (const message of await both) {
  const shown = await fetch(message.url);
  const same = Buffer.from(await shown.arrayBuffer()).equals(image);
  console.log(`${message.author}:`, shown.headers.get("content-type"), same ? "the same" : "another");
}
const answer = await fetch(`${site}/getImage?storageId=${storageId}`);
console.log("by the handler:", answer.headers.get("content-type"), answer.headers.get("content-length"));
await client.close();
