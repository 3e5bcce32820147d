// Types a search letter by letter, and sees a recipe come that somebody else writes down meanwhile.
//   node type.mjs http://127.0.0.1:3210
import { ConvexClient } from "convex/browser";
import { anyApi as api } from "convex/server";

const client = new ConvexClient(process.argv[2] ?? "http://127.0.0.1:3210");
const RECIPES = [
  { title: "Crème brûlée", cuisine: "French", steps: "Whisk eggs. Burn the sugar." },
  { title: "Crêpes", cuisine: "French", steps: "Whisk eggs, milk and flour. Fry." },
  { title: "麻婆豆腐", cuisine: "Chinese", steps: "Fry the tofu." },
];
for (const recipe of RECIPES) await client.mutation(api.recipes.add, recipe);

const shown = (recipes) => recipes.map((each) => each.title).join(", ") || "nothing";
for (const text of ["c", "cre", "crem", "豆腐"]) {
  console.log(`${text}: ${shown(await client.query(api.recipes.suggest, { text }))}`);
}

const text = "creme car";
const grown = new Promise((resolve) => {
  client.onUpdate(api.recipes.suggest, { text }, (recipes) => {
    if (recipes[0]?.title === "Crème caramel") resolve(recipes);
  });
});
await client.mutation(api.recipes.add, { title: "Crème caramel", cuisine: "French", steps: "Melt sugar." });
console.log(`${text}: ${shown(await grown)}`);
await client.close();
