// The example of vector searches, in Chromium: what is like a question, while it is typed and others ask.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";

async function open(browser, viewport) {
  const page = await (await browser.newContext({ viewport })).newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(address);
  await page.getByRole("region", { name: "Asked before" }).waitFor();
  return { page, problems };
}

/** Waits until the questions that are shown are these, nearest first. */
async function shown(page, wanted) {
  await page.waitForFunction((expected) => {
    const region = document.querySelector('section[aria-label="Asked before"]');
    const found = [...(region?.querySelectorAll("h3") ?? [])].map((each) => each.textContent);
    return JSON.stringify(found) === JSON.stringify(expected);
  }, wanted);
}

const type = (page, text) => page.getByLabel("Question", { exact: true }).fill(text);

async function put(page, text, topic) {
  await type(page, text);
  await page.getByLabel("Topic", { exact: true }).selectOption(topic);
  await page.getByRole("button", { name: "Ask", exact: true }).click();
}

await main(() =>
  withBrowser(async (browser) => {
    const { page, problems } = await open(browser, { width: 1024, height: 900 });
    const other = await open(browser, { width: 390, height: 844 });

    await shown(page, []);
    await page.getByText("Nothing like it.").waitFor();
    for (const [text, topic] of [
      ["How do I pay an invoice?", "billing"],
      ["How do I reset my password?", "account"],
    ]) {
      await put(other.page, text, topic);
      await shown(other.page, [text]);
    }

    // Typed letter by letter, and with a letter missing.
    await page.getByLabel("Question", { exact: true }).pressSequentially("pasword", { delay: 10 });
    await shown(page, ["How do I reset my password?"]);
    await page.getByLabel("billing", { exact: true }).check();
    await shown(page, []);
    await page.getByLabel("account", { exact: true }).check();
    await shown(page, ["How do I reset my password?"]);

    // Whoever looks sees what others ask and remove, in its place, at once.
    await type(page, "paying an invoice");
    await shown(page, ["How do I pay an invoice?"]);
    await put(other.page, "Paying an invoice", "billing");
    await shown(page, ["Paying an invoice", "How do I pay an invoice?"]);
    await put(other.page, "Invoice?", "delivery");
    await shown(other.page, ["Invoice?", "Paying an invoice", "How do I pay an invoice?"]);
    await shown(page, ["Paying an invoice", "How do I pay an invoice?"]);
    await other.page.getByRole("button", { name: "Remove Paying an invoice", exact: true }).click();
    await shown(page, ["How do I pay an invoice?"]);

    // A restart of the server is none for who looks: what was stored is found.
    await ask("restart");
    await put(other.page, "Invoice paid twice", "account");
    await page.waitForFunction(() => document.querySelectorAll("h3").length === 2);

    // The same question is one, and what is none is told.
    await put(other.page, "how do i reset my PASSWORD?", "account");
    await shown(other.page, ["How do I reset my password?"]);
    await put(other.page, "?!", "account");
    await other.page.getByText("A question needs some words.").waitFor();

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
      await page.screenshot({ path: `${folder}/questions.png` });
      await other.page.screenshot({ path: `${folder}/questions-phone.png`, fullPage: true });
    }
    assert.deepEqual([...problems, ...other.problems], []);
  }),
);
