// Posts a message as a page of another origin does, and watches it come by the official client.
//   node post.mjs http://127.0.0.1:3210 http://127.0.0.1:3211 http://localhost:5173
import { ConvexClient } from "convex/browser";
import { anyApi as api } from "convex/server";

const [url = "http://127.0.0.1:3210", site = "http://127.0.0.1:3211", origin = "http://localhost:5173"] =
  process.argv.slice(2);

// A browser asks this by itself.
const asked = await fetch(`${site}/postMessage`, {
  method: "OPTIONS",
  headers: {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type",
  },
});
console.log("may post:", asked.headers.get("access-control-allow-origin"));

const client = new ConvexClient(url);
const seen = new Promise((resolve) => {
  client.onUpdate(api.messages.getByAuthor, { author: "Grace" }, (messages) => {
    if (messages.length) resolve(messages);
  });
});
const posted = await fetch(`${site}/postMessage`, {
  method: "POST",
  headers: { origin, "content-type": "application/json" },
  body: JSON.stringify({ author: "Grace", body: "hello" }),
});
console.log("posted:", posted.status, posted.headers.get("access-control-allow-origin"));
console.log("seen:", (await seen).map((each) => each.body).join(", "));
const found = await fetch(`${site}/getMessagesByAuthor?author=Grace`);
console.log("found:", (await found.json()).map((each) => each.body).join(", "));
client.close();
