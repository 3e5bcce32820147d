// Tokens of another provider in Convex's React client: renewed, ended, refused, given up.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";

/** Opens the page; `tokens` are the kinds of those that it is given one by one, the last for ever. */
async function open(browser, tokens) {
  const page = await (await browser.newContext()).newPage();
  const problems = [];
  const sockets = [];
  const forced = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("websocket", (socket) => sockets.push(socket));
  await page.exposeFunction("issueToken", async (force) => {
    forced.push(force);
    const kind = tokens.length > 1 ? tokens.shift() : tokens[0];
    return kind === null ? null : ask(kind);
  });
  await page.goto(address);
  await page.getByText("Please sign in").waitFor();
  const seen = () => page.evaluate(() => window.seen);
  const signIn = () => page.getByRole("button", { name: "Sign in" }).click();
  const said = (label, text) => page.getByLabel(label).filter({ hasText: text }).waitFor();
  return { page, problems, sockets, forced, tokens, seen, signIn, said };
}

await main(() =>
  withBrowser(async (browser) => {
    // A token that is about to end is renewed before it does: nothing is to be seen of it.
    const calm = await open(browser, ["long", "short", "renewed"]);
    await calm.signIn();
    await calm.said("Member", "ada, renewed");
    assert.deepEqual(await calm.seen(), ["out", "in"]);
    assert.deepEqual(calm.forced, [false, true, true]);
    assert.equal(calm.sockets.length, 1);

    // Signing out is known to the server, and so is somebody who signs in then.
    await calm.page.getByRole("button", { name: "Sign out" }).click();
    await calm.page.getByText("Please sign in").waitFor();
    await calm.said("Anybody", "nobody");
    calm.tokens.splice(0, 1, "grace");
    await calm.signIn();
    await calm.said("Member", "grace, long");
    assert.deepEqual(await calm.seen(), ["out", "in", "out", "in"]);
    assert.equal(calm.sockets.length, 1);

    // One that ends while it is in use, since the client thought that it had more time: the connection ends
    // and the client is back with another, still signed in.
    const late = await open(browser, ["long", "ending", "renewed"]);
    await late.signIn();
    await late.said("Member", "ada, ending");
    await late.said("Member", "ada, renewed");
    assert.deepEqual(await late.seen(), ["out", "in"]);
    assert.ok(late.sockets.length > 1);
    await late.page.getByRole("button", { name: "Write" }).click();
    await late.said("Written", "by ada");

    // When there is no other, the user is signed out, and reads as nobody.
    const lost = await open(browser, ["long", "ending", null]);
    await lost.signIn();
    await lost.said("Member", "ada, ending");
    await lost.page.getByText("Please sign in").waitFor();
    await lost.said("Anybody", "nobody");
    assert.deepEqual(await lost.seen(), ["out", "in", "out"]);

    // Those that nobody trusts are tried again and then given up. The page goes on as nobody's.
    const forged = await open(browser, ["forged"]);
    await forged.signIn();
    await forged.page.waitForFunction(() => window.seen.includes("out"));
    await forged.said("Anybody", "nobody");
    assert.ok(!(await forged.seen()).includes("in"));

    for (const { problems } of [calm, late, lost, forged]) assert.deepEqual(problems, []);
  }),
);
