// The chat at a phone's width and at a desk's: nothing overflows, nothing jumps.
import { address, assert, main } from "./support.mjs";
import { enter, withBrowser, write } from "./browser.mjs";

await main(() =>
  withBrowser(async (browser) => {
    for (const viewport of [
      { width: 360, height: 640 },
      { width: 1440, height: 900 },
    ]) {
      const { page, problems } = await enter(browser, address, "Ada", viewport);
      await page.getByText("Every window shows it at once").waitFor();
      const composer = page.getByLabel("Message", { exact: true });
      const before = await composer.boundingBox();

      await write(page, `wide ${"w".repeat(300)} at ${viewport.width}`);
      await page.locator(".message:not(.pending)", { hasText: `at ${viewport.width}` }).waitFor();
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      assert.equal(overflow, 0, `the page is wider than ${viewport.width}`);
      assert.deepEqual(await composer.boundingBox(), before, "the composer moved");

      // An error of the server's is told in words, and what was written is still there.
      await page.getByLabel("Name of a new channel").fill("general");
      await page.keyboard.press("Enter");
      await page.getByText("There is a channel #general already.").waitFor();

      // Every control can be reached and seen.
      for (const control of await page.getByRole("button").all()) {
        const box = await control.boundingBox();
        assert.ok(box !== null && box.width > 0, "a control has no box");
      }
      if (process.env.SCREENSHOTS) {
        await page.screenshot({ path: `${process.env.SCREENSHOTS}/chat-${viewport.width}.png` });
      }
      assert.deepEqual(problems, []);
    }
  }),
);
