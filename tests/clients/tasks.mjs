// The page of a project that `camber init` made, in Chromium: two people, one list.
import { address, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";

await main(() =>
  withBrowser(async (browser) => {
    const problems = [];
    const open = async () => {
      const page = await (await browser.newContext()).newPage();
      page.on("pageerror", (error) => problems.push(String(error)));
      await page.goto(address);
      await page.getByRole("heading", { name: "Tasks" }).waitFor();
      return page;
    };
    const ada = await open();
    const grace = await open();
    await ada.getByText("Nothing to do.").waitFor();

    await ada.getByLabel("New task").fill("water the plants");
    await ada.keyboard.press("Enter");
    await grace.getByText("water the plants").waitFor();
    await grace.getByLabel("water the plants", { exact: true }).check();
    await ada.getByText("0 of 1 to do").waitFor();
    assert.ok(await ada.getByLabel("water the plants", { exact: true }).isChecked());

    await grace.getByRole("button", { name: "Add" }).click();
    await grace.getByRole("alert").getByText("A task needs a few words.").waitFor();

    if (process.env.SCREENSHOTS) await ada.screenshot({ path: `${process.env.SCREENSHOTS}/tasks.png` });
    await ada.getByRole("button", { name: "Remove water the plants" }).click();
    await grace.getByText("Nothing to do.").waitFor();
    assert.deepEqual(problems, []);
  }),
);
