// Files that somebody has uploaded, opened in Chromium with the headers in FILES: which of them run scripts.
import { assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";

const files = JSON.parse(process.env.FILES);

await main(() =>
  withBrowser(async (browser) => {
    const page = await browser.newPage();
    await page.route("**/*", (route) => {
      const { headers, body } = files[new URL(route.request().url()).pathname.slice(1)] ?? {};
      return body === undefined ? route.abort() : route.fulfill({ headers, body });
    });
    for (const [name, { runs }] of Object.entries(files)) {
      await page.goto(`http://files.test/${name}`);
      const text = await page.evaluate(() => document.documentElement.textContent);
      assert.ok(text.includes("seen"), `${name} is not shown: ${text}`);
      assert.equal(text.includes("written"), runs, `the script of ${name}: ${text}`);
    }
  }),
);
