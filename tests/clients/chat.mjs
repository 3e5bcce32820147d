// The chat in Chromium: two people, one server that is restarted in between.
import { address, ask, assert, main } from "./support.mjs";
import { bodies, enter, withBrowser, write } from "./browser.mjs";

await main(() =>
  withBrowser(async (browser) => {
    const ada = await enter(browser, address, "Ada");
    const grace = await enter(browser, address, "Grace");

    // A message sent in one window appears in the other, without a reload.
    await write(ada.page, "hello from Ada");
    await grace.page.getByText("hello from Ada").waitFor();
    await write(grace.page, "hello from Grace");
    await ada.page.getByText("hello from Grace").waitFor();

    // Likes too, and they add up.
    const message = (page) => page.locator(".message", { hasText: "hello from Ada" });
    await message(ada.page).getByRole("button").click();
    await message(grace.page).getByRole("button").click();
    await message(ada.page).getByText("♥ 2").waitFor();
    await message(grace.page).getByText("♥ 2").waitFor();

    // A channel that one opens is there for the other.
    await ada.page.getByLabel("Name of a new channel").fill("random");
    await ada.page.keyboard.press("Enter");
    await grace.page.getByRole("button", { name: "# random" }).click();
    await grace.page.getByText("Nobody has written here yet").waitFor();
    await write(ada.page, "only here");
    await grace.page.getByText("only here").waitFor();
    for (const { page } of [ada, grace]) {
      await page.getByRole("button", { name: "# general" }).click();
      await page.getByText("hello from Grace").waitFor();
    }

    // Sending is optimistic: while the server is silent the message is there, and marked.
    await ask("pause");
    await write(ada.page, "before the server knows");
    await ada.page.locator(".message.pending", { hasText: "before the server knows" }).waitFor();
    await ask("resume");
    await grace.page.getByText("before the server knows").waitFor();
    await ada.page.locator(".message:not(.pending)", { hasText: "before the server knows" }).waitFor();
    assert.equal(await ada.page.getByText("before the server knows").count(), 1);

    // A restart loses nothing, and both pages go on.
    await ask("kill");
    await ada.page.getByText("Offline.").waitFor();
    await write(ada.page, "written while it was away");
    await ask("start");
    await grace.page.getByText("written while it was away").waitFor();
    await ada.page.locator(".message:not(.pending)", { hasText: "written while it was away" }).waitFor();
    assert.equal(await ada.page.getByText("Offline.").count(), 0);
    assert.deepEqual(await bodies(ada.page), await bodies(grace.page));

    // Older messages come page by page.
    for (let each = 0; each < 30; each++) await write(ada.page, `number ${each}`);
    await grace.page.getByText("number 29", { exact: true }).waitFor();
    await ada.page.locator(".message:not(.pending)", { hasText: "number 29" }).waitFor();
    const late = await enter(browser, address, "Late");
    await late.page.getByText("number 29", { exact: true }).waitFor();
    assert.equal((await bodies(late.page)).length, 25);
    await late.page.getByRole("button", { name: "Load older messages" }).click();
    await late.page.getByText("hello from Ada").waitFor();
    const all = await bodies(late.page);
    assert.equal(all.length, 36, all.join("\n"));
    assert.equal(new Set(all).size, all.length);
    await write(ada.page, "after the pages");
    await late.page.getByText("after the pages").waitFor();
    assert.equal((await bodies(late.page)).length, 37);

    for (const { problems } of [ada, grace, late]) assert.deepEqual(problems, []);
  }),
);
