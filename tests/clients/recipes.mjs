// The example of searches, in Chromium: by Convex's own React hooks, `usePaginatedQuery` among them.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";

/** The page opens a list with as many recipes, and goes on by as many. */
const PAGE = 5;

async function open(browser, viewport) {
  const page = await (await browser.newContext({ viewport })).newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(address);
  await page.getByRole("region", { name: "Written down last" }).waitFor();
  return { page, problems };
}

/** Waits until a list of recipes is what it should be. */
async function shown(page, name, wanted) {
  await page.waitForFunction(
    ([label, expected]) => {
      const region = document.querySelector(`section[aria-label="${label}"]`);
      const found = [...(region?.querySelectorAll("h3") ?? [])].map((each) => each.textContent);
      return JSON.stringify(found) === JSON.stringify(expected);
    },
    [name, wanted],
  );
}

const search = (page, text) => page.getByLabel("Search recipes").fill(text);

async function writeDown(page, title, cuisine, steps) {
  await page.getByLabel("Title", { exact: true }).fill(title);
  await page.getByLabel("Its cuisine", { exact: true }).fill(cuisine);
  await page.getByLabel("What is done", { exact: true }).fill(steps);
  await page.getByRole("button", { name: "Write down" }).click();
}

const remove = (page, title) =>
  page.getByRole("button", { name: `Remove ${title}`, exact: true }).first().click();

await main(() =>
  withBrowser(async (browser) => {
    const { page, problems } = await open(browser, { width: 1024, height: 900 });
    const other = await open(browser, { width: 390, height: 844 });

    // Typed letter by letter, in several scripts.
    await page.getByLabel("Search recipes").pressSequentially("creme", { delay: 10 });
    await shown(page, "In titles", ["Crème brûlée"]);
    for (const [text, title] of [
      ["KASESPATZLE", "Käsespätzle"],
      ["sakş", "Şakşuka"],
      ["φασολαδα", "Φασολάδα"],
      ["豆腐", "麻婆豆腐"],
      ["두부", "담백한 두부조림"],
      ["กุ้ง", "ต้มยำกุ้ง"],
    ]) {
      await search(page, text);
      await shown(page, "In titles", [title]);
    }
    await search(page, "🍲 … ?!");
    await shown(page, "In titles", []);
    await page.getByText("Nothing is found.").first().waitFor();

    // Whoever searches sees what others write down and remove, at once.
    await search(page, "soup");
    await shown(page, "In titles", ["Soupe à l'oignon"]);
    await writeDown(other.page, "Miso soup", "Japanese", "Warm the broth.");
    await shown(page, "In titles", ["Miso soup", "Soupe à l'oignon"]);
    await remove(other.page, "Miso soup");
    await shown(page, "In titles", ["Soupe à l'oignon"]);

    // Page by page, while recipes come and go: without a gap, and none twice.
    await page.getByLabel("Cuisine", { exact: true }).selectOption("");
    const titles = [];
    for (let n = 12; n >= 1; n--) {
      // Each has fewer words than those written before: it comes before them.
      const title = `Sugar ${n}`;
      await writeDown(other.page, title, "Sweet", `caramel ${"slowly ".repeat(n)}`);
      await other.page.getByRole("heading", { name: title, exact: true }).waitFor();
      titles.unshift(title);
    }
    const steps = "In what is done";
    await search(page, "caramel");
    await shown(page, steps, titles.slice(0, PAGE));
    const more = page.getByRole("button", { name: "More" });
    await more.click();
    await shown(page, steps, titles.slice(0, 2 * PAGE));
    await writeDown(other.page, "Sugar alone", "Sweet", "caramel");
    titles.unshift("Sugar alone");
    await shown(page, steps, titles.slice(0, 2 * PAGE + 1));
    await more.click();
    await shown(page, steps, titles);
    await more.waitFor({ state: "detached" });
    await search(other.page, "caramel");
    await remove(other.page, "Sugar 1");
    titles.splice(titles.indexOf("Sugar 1"), 1);
    await shown(page, steps, titles);
    await page.getByLabel("Cuisine", { exact: true }).selectOption("French");
    await shown(page, steps, []);
    await page.getByLabel("Cuisine", { exact: true }).selectOption("Sweet");
    await shown(page, steps, titles.slice(0, PAGE));

    // A restart of the server is none for who searches.
    await ask("restart");
    await writeDown(other.page, "Sugar after all", "Sweet", "caramel");
    await shown(page, steps, ["Sugar after all", ...titles.slice(0, PAGE)]);

    // What cannot be written down is told, and stays in the form.
    await writeDown(page, " ", "None", "…");
    await page.getByText("A recipe needs a title.").waitFor();
    await writeDown(page, "Long", "None", "a".repeat(5001));
    await page.getByText("5001 characters are too many").waitFor();
    assert.equal(await page.getByLabel("Title", { exact: true }).inputValue(), "Long");

    // It fits a phone and a desk.
    for (const each of [page, other.page]) {
      const [width, inner] = await each.evaluate(() => [
        document.documentElement.scrollWidth,
        innerWidth,
      ]);
      assert.ok(width <= inner, `${width} of ${inner}`);
    }
    const folder = process.env.SCREENSHOTS;
    if (folder) {
      await page.screenshot({ path: `${folder}/recipes.png` });
      await other.page.screenshot({ path: `${folder}/recipes-phone.png`, fullPage: true });
    }
    assert.deepEqual([...problems, ...other.problems], []);
  }),
);
