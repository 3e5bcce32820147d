// Looks for questions while it is typed, and sees one come that somebody else asks meanwhile.
//   node ask.mjs http://127.0.0.1:3210
import { ConvexClient } from "convex/browser";
import { anyApi as api } from "convex/server";

const client = new ConvexClient(process.argv[2] ?? "http://127.0.0.1:3210");
const ASKED = [
  { text: "How do I pay an invoice?", topic: "billing" },
  { text: "When are invoices sent?", topic: "billing" },
  { text: "How do I reset my password?", topic: "account" },
];
for (const question of ASKED) await client.mutation(api.questions.ask, question);

const shown = (questions) => questions.map((each) => each.text).join(" ") || "nothing";
for (const text of ["paying invoices", "pasword", "zebra"]) {
  console.log(`${text}: ${shown(await client.query(api.questions.like, { text }))}`);
}

const text = "refund";
const grown = new Promise((resolve) => {
  client.onUpdate(api.questions.like, { text }, (questions) => {
    if (questions.length > 0) resolve(questions);
  });
});
const question = await client.mutation(api.questions.ask, { text: "Is there a refund?", topic: "billing" });
console.log(`${text}: ${shown(await grown)}`);
console.log(`related: ${(await client.action(api.questions.related, { question })).join(" ") || "nothing"}`);
await client.close();
