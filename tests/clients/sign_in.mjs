// The example that signs people in, by Convex's own React hooks, in Chromium.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";
import { notes, open, protectedPage, renewed, signInPage, stored, write } from "./people.mjs";

const EMAIL = "ada@example.com";

await main(() =>
  withBrowser(async (browser) => {
    const { page, context, problems, told } = await open(browser);
    const credentials = async (password) => {
      await page.getByLabel("E-mail").fill(EMAIL);
      await page.getByLabel("Password").fill(password);
    };
    const button = (name) => page.getByRole("button", { name });

    // Signing up wants proof of the address.
    await button("I am new here").click();
    await credentials("short");
    await button("Create account").click();
    await page.getByText("a password has 8 to").waitFor();
    await credentials("correct horse");
    await button("Create account").click();
    await page.getByText(`We have sent a code to ${EMAIL}.`).waitFor();
    const code = await ask("code");
    await page.getByLabel("Code").fill(code === "00000000" ? "11111111" : "00000000");
    await button("Confirm address").click();
    await page.getByRole("alert").filter({ hasText: "code" }).waitFor();
    await page.getByLabel("Code").fill(code);
    await button("Confirm address").click();
    await protectedPage(page, EMAIL);
    await write(page, "the first note");

    // A reload stays signed in, by the next refresh token: the one before is used up.
    const before = await stored(page);
    await page.reload();
    await protectedPage(page, EMAIL);
    await page.getByText("the first note").waitFor();
    await renewed(page, before);
    const after = await stored(page);
    assert.notEqual(after.__convexAuthJWT, undefined);

    // So does one with an access token that is good no more, and one after a restart of the server.
    await page.evaluate(() => {
      const key = Object.keys(localStorage).find((each) => each.startsWith("__convexAuthJWT"));
      const [head, , signature] = localStorage.getItem(key).split(".");
      const past = btoa(JSON.stringify({ iat: 1, exp: 2, sub: "x" })).replaceAll("=", "");
      localStorage.setItem(key, `${head}.${past}.${signature}`);
    });
    await page.reload();
    await protectedPage(page, EMAIL);
    await ask("restart");
    await write(page, "after a restart");

    // Another tab is signed in as well, and out with the first.
    // That one renews its tokens first: Convex's front end would keep them beyond a signing out meanwhile.
    const shared = await stored(page);
    const tab = await context.newPage();
    await tab.goto(address);
    await protectedPage(tab, EMAIL);
    await tab.getByText("after a restart").waitFor();
    await renewed(tab, shared);
    await button("Sign out").click();
    await signInPage(page);
    await signInPage(tab);
    await tab.close();
    assert.deepEqual(await stored(page), {});

    // Who is signed out stays so, and so does who has a copy of the tokens.
    await page.evaluate((tokens) => {
      const namespace = location.origin.replaceAll(/[^a-zA-Z0-9]/g, "");
      for (const [name, value] of Object.entries(tokens)) {
        localStorage.setItem(`${name}_${namespace}`, value);
      }
    }, after);
    await page.reload();
    await signInPage(page);
    assert.deepEqual(await stored(page), {});

    // A wrong password is told, and the right one lets in.
    await credentials("wrong horse");
    await button("Sign in").first().click();
    await page.getByText("The address or the password is wrong").waitFor();
    await credentials("correct horse");
    await page.keyboard.press("Enter");
    await protectedPage(page, EMAIL);
    assert.deepEqual(await notes(page), ["after a restart", "the first note"]);

    // An administrator sees the others; a role is there as soon as it is given.
    assert.equal(await page.getByRole("list", { name: "Members" }).count(), 0);
    await ask("promote");
    await page.getByRole("list", { name: "Members" }).getByText(EMAIL).waitFor();
    await button("Sign out").click();
    await signInPage(page);

    // A password that was forgotten.
    await button("I forgot my password").click();
    await page.getByLabel("E-mail").fill(EMAIL);
    await button("Send me a code").click();
    await page.getByText(`We have sent a code to ${EMAIL}.`).waitFor();
    await page.getByLabel("Code").fill(await ask("code"));
    await page.getByLabel("New password").fill("battery staple");
    await button("Set password").click();
    await protectedPage(page, EMAIL);
    await button("Sign out").click();

    // A link, which signs in as the same person.
    await button("Sign in by a link").click();
    await page.getByLabel("E-mail").fill(EMAIL);
    await button("Send me a link").click();
    await page.getByText(`We have sent a link to ${EMAIL}.`).waitFor();
    const link = await ask("link");
    // Who asks for it is not told it, though functions' logs are shown to them here.
    assert.ok(!told.some((line) => line.includes(new URL(link).searchParams.get("code"))));
    await page.goto(link);
    await protectedPage(page, EMAIL);
    assert.equal(new URL(page.url()).search, "");
    await page.getByText("the first note").waitFor();

    // Somebody without a name is somebody else.
    const guest = await open(browser);
    await guest.page.getByRole("button", { name: "Look around without a name" }).click();
    await protectedPage(guest.page, "nobody in particular");
    await write(guest.page, "a guest's note");
    assert.deepEqual(await notes(guest.page), ["a guest's note"]);
    await guest.page.reload();
    await guest.page.getByText("a guest's note").waitFor();
    assert.ok(!(await notes(page)).includes("a guest's note"));

    assert.deepEqual([...problems, ...guest.problems], []);
  }),
);
