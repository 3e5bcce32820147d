// The example that signs people in, by Convex's own React hooks, in Chromium.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";
import {
  list,
  notes,
  open,
  protectedPage,
  renewed,
  signInPage,
  signOut,
  stored,
  write,
} from "./people.mjs";

const EMAIL = "ada@example.com";
const button = (page, name) => page.getByRole("button", { name });

const fill = async (page, fields) => {
  for (const [label, text] of Object.entries(fields)) {
    await page.getByLabel(label, { exact: true }).fill(text);
  }
};

/** Something that is waited for, until it is given. */
const signal = () => {
  let give;
  const given = new Promise((resolve) => (give = resolve));
  return { given, give };
};

const byPassword = async (page, password) => {
  await fill(page, { "E-mail": EMAIL, Password: password });
  await page.keyboard.press("Enter");
};

await main(() =>
  withBrowser(async (browser) => {
    const ada = await open(browser);
    const { page } = ada;
    await signUp(page);
    await stayThroughReloads(page);
    await signOutInAllTabs(ada);
    await changeThePassword(page);
    await forgetThePassword(page);
    await comeByCodeAndByLink(ada);
    const guest = await open(browser);
    await haveNoName(ada, guest);
    await giveRoles(page, guest.page);
    await invite(page, guest.page);
    await signOutElsewhere(page, guest.page);
    assert.deepEqual([...ada.problems, ...guest.problems], []);
  }),
);

/** Signing up wants proof of the address. */
async function signUp(page) {
  await button(page, "I am new here").click();
  await fill(page, { "E-mail": EMAIL, "New password": "short" });
  await button(page, "Create account").click();
  await page.getByText("a password has 8 to").waitFor();
  await fill(page, { "New password": "correct horse" });
  await button(page, "Create account").click();
  await page.getByText(`We have sent a code to ${EMAIL}.`).waitFor();
  const code = await ask("code");
  await fill(page, { Code: code === "00000000" ? "11111111" : "00000000" });
  await button(page, "Confirm address").click();
  await page.getByRole("alert").filter({ hasText: "code" }).waitFor();
  await fill(page, { Code: code });
  await button(page, "Confirm address").click();
  await protectedPage(page, EMAIL);
  await button(page, "I see").click();
  await write(page, "the first note");
  await page.getByText(/since .* \(here\)/).waitFor();
  assert.deepEqual(await list(page, "Ways in"), ["a password"]);
}

async function stayThroughReloads(page) {
  // By the next refresh token: the one before is used up.
  const before = await stored(page);
  await page.reload();
  await protectedPage(page, EMAIL);
  await page.getByText("the first note").waitFor();
  await renewed(page, before);
  // They were shown around once.
  assert.equal(await button(page, "I see").count(), 0);

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
}

/**
 * Another tab is signed out with the first. That one is just renewing its tokens: the server has given it new
 * ones, which arrive when the session is over and both tabs have forgotten theirs. Convex's front end keeps
 * them, in both, until it asks for the next and is told that there are none.
 */
async function signOutInAllTabs({ page, context }) {
  const kept = await stored(page);
  const tab = await context.newPage();
  const given = signal();
  const isOver = signal();
  await tab.route("**/api/action", async (route) => {
    const response = await route.fetch();
    given.give();
    await isOver.given;
    await route.fulfill({ response });
  });
  await tab.goto(address);
  await protectedPage(tab, EMAIL);
  await given.given;
  await signOut(page);
  await signInPage(tab);
  await tab.evaluate(() => {
    const set = Storage.prototype.setItem;
    Storage.prototype.setItem = function (...entry) {
      window.hasTokensOfAnEndedSession = true;
      set.apply(this, entry);
    };
  });
  isOver.give();
  await tab.waitForFunction(() => window.hasTokensOfAnEndedSession && localStorage.length === 0);
  await signInPage(tab);
  await signInPage(page);
  assert.deepEqual(await stored(page), {});
  await tab.close();

  // Who has a copy of the tokens stays out too.
  await page.evaluate((tokens) => {
    const namespace = location.origin.replaceAll(/[^a-zA-Z0-9]/g, "");
    for (const [name, value] of Object.entries(tokens)) {
      localStorage.setItem(`${name}_${namespace}`, value);
    }
  }, kept);
  await page.reload();
  await signInPage(page);
  assert.deepEqual(await stored(page), {});
}

async function changeThePassword(page) {
  await byPassword(page, "wrong horse");
  await page.getByText("The address or the password is wrong").waitFor();
  await byPassword(page, "correct horse");
  await protectedPage(page, EMAIL);
  assert.deepEqual(await notes(page), ["after a restart", "the first note"]);

  await fill(page, { "Current password": "wrong horse", "New password": "battery staple" });
  await button(page, "Change password").click();
  await page.getByText("The address or the password is wrong").waitFor();
  await fill(page, { "Current password": "correct horse" });
  await button(page, "Change password").click();
  await page.getByText("It is changed").waitFor();
  // The page goes on as it is.
  await write(page, "with another password");
  await signOut(page);
  await byPassword(page, "correct horse");
  await page.getByText("The address or the password is wrong").waitFor();
}

async function forgetThePassword(page) {
  await button(page, "I forgot my password").click();
  await fill(page, { "E-mail": EMAIL });
  await button(page, "Send me a code").click();
  await page.getByText(`We have sent a code to ${EMAIL}.`).waitFor();
  await fill(page, { Code: await ask("code"), "New password": "staple gun battery" });
  await button(page, "Set password").click();
  await protectedPage(page, EMAIL);
  await signOut(page);
}

/** Both prove the address that the password's account has proven: they are the same person. */
async function comeByCodeAndByLink({ page, told }) {
  await button(page, "Sign in by a code").click();
  await fill(page, { "E-mail": EMAIL });
  await button(page, "Send me a code").click();
  await page.getByText(`We have sent a code to ${EMAIL}.`).waitFor();
  await fill(page, { Code: await ask("code") });
  await button(page, "Sign in").first().click();
  await protectedPage(page, EMAIL);
  await page.getByText("the first note").waitFor();
  await signOut(page);

  await button(page, "Sign in by a link").click();
  await fill(page, { "E-mail": EMAIL });
  await button(page, "Send me a link").click();
  await page.getByText(`We have sent a link to ${EMAIL}.`).waitFor();
  const link = await ask("link");
  // Who asks for it is not told it, though functions' logs are shown to them here.
  assert.ok(!told.some((line) => line.includes(new URL(link).searchParams.get("code"))));
  await page.goto(link);
  await protectedPage(page, EMAIL);
  assert.equal(new URL(page.url()).search, "");
  await page.getByText("links by e-mail").waitFor();
  assert.deepEqual(await list(page, "Ways in"), ["links by e-mail", "codes by e-mail", "a password"]);
}

/** Somebody without a name is somebody else. */
async function haveNoName(ada, guest) {
  await button(guest.page, "Look around without a name").click();
  await protectedPage(guest.page, "nobody in particular");
  await write(guest.page, "a guest's note");
  assert.deepEqual(await notes(guest.page), ["a guest's note"]);
  await guest.page.reload();
  await guest.page.getByText("a guest's note").waitFor();
  assert.ok(!(await notes(ada.page)).includes("a guest's note"));
}

/** A role shows as soon as it is given, and is gone as soon as it is taken. */
async function giveRoles(page, guest) {
  const members = (each) => each.getByRole("list", { name: "Members" });
  assert.equal(await members(page).count(), 0);
  await ask("promote");
  await members(page).getByText(EMAIL).waitFor();
  assert.deepEqual(await page.locator(".role").allTextContents(), ["admin"]);

  const box = (name) => members(page).getByRole("listitem").filter({ hasText: name }).getByRole("checkbox");
  await box(EMAIL).click();
  await page.getByText("Your own roles are for another administrator to change.").waitFor();
  await box("nobody in particular").click();
  await members(guest).getByText(EMAIL).waitFor();
  assert.deepEqual(await guest.locator(".role").allTextContents(), ["support"]);
  // The support sees members, and changes nothing.
  assert.equal(await guest.getByRole("checkbox").count(), 0);
  await box("nobody in particular").click();
  await members(guest).waitFor({ state: "detached" });
  assert.deepEqual(await guest.locator(".role").allTextContents(), []);
}

/** An application's own way in: whoever has an invitation comes in by it, once. */
async function invite(page, guest) {
  await fill(page, { "Name of whom to invite": "Mary" });
  await button(page, "Invite").click();
  const code = await page.locator("code").textContent();
  await signOut(guest);
  await button(guest, "I have an invitation").click();
  await fill(guest, { Invitation: `${code}x` });
  await button(guest, "Come in").click();
  await guest.getByText("There is no such invitation").waitFor();
  await fill(guest, { Invitation: code });
  await button(guest, "Come in").click();
  await protectedPage(guest, "Mary");
  assert.deepEqual(await guest.locator(".role").allTextContents(), ["support"]);
  await signOut(guest);
  await button(guest, "I have an invitation").click();
  await fill(guest, { Invitation: code });
  await button(guest, "Come in").click();
  await guest.getByText("somebody has come in by it already").waitFor();
}

/** A session that is ended elsewhere ends where it is, with what the browser keeps of it. */
async function signOutElsewhere(page, guest) {
  await button(guest, "I have an account").click();
  await byPassword(guest, "staple gun battery");
  await protectedPage(guest, EMAIL);
  await page.getByRole("list", { name: "Sessions" }).getByRole("listitem").nth(1).waitFor();
  await button(page, "Sign out everywhere else").click();
  await signInPage(guest);
  assert.deepEqual(await stored(guest), {});
  await write(page, "here still");
  assert.equal((await list(page, "Sessions")).length, 1);
}
