// Saving a function changes what is on the screen; a save that cannot load changes nothing.
import { address, ask, assert, main } from "./support.mjs";
import { bodies, enter, withBrowser, write } from "./browser.mjs";

await main(() =>
  withBrowser(async (browser) => {
    const { page, problems } = await enter(browser, address, "Ada");
    await page.getByText("Every window shows it at once").waitFor();
    const before = await bodies(page);

    await ask("shout");
    await page.getByText("EVERY WINDOW SHOWS IT AT ONCE").waitFor();
    await ask("break");
    await write(page, "still here");
    await page.locator(".message:not(.pending)", { hasText: "STILL HERE" }).waitFor();
    await ask("mend");
    // Exactly: capitals would do otherwise.
    await page.getByText(before.at(0), { exact: true }).waitFor();
    assert.deepEqual((await bodies(page)).slice(1), before);

    // What the README proposes: the order of the page itself changes, so its cursors do not hold.
    const newest = await bodies(page);
    await ask("turn");
    await page.waitForFunction(
      (first) => document.querySelector(".message .body")?.textContent === first,
      newest.at(-1),
    );
    assert.deepEqual(await bodies(page), newest.reverse());
    assert.deepEqual(problems, []);
  }),
);
