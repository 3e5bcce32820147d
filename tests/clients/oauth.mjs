// Signing in by others' providers, in Chromium: to the provider and back.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";
import { list, notes, open, protectedPage, signInPage, signOut, stored, write } from "./people.mjs";

const through = (page, name) => page.getByRole("button", { name: `Continue with ${name}` }).click();

await main(() =>
  withBrowser(async (browser) => {
    const grace = await open(browser);
    await comeByOpenIdConnect(grace);
    await comeByTheSameAddressElsewhere(grace);
    await addAnAccount(grace);
    await sayNo(grace);
    await followWhatEveHasBegun(grace, await open(browser));
    assert.deepEqual(grace.problems, []);
  }),
);

/** Notes which pages a browser is led to. */
function following(page) {
  const visited = [];
  page.on("request", (request) => {
    if (request.isNavigationRequest()) {
      visited.push(`${request.method()} ${new URL(request.url()).pathname}`);
    }
  });
  return visited;
}

/** What a flow was known by is gone from the browser. */
async function leftNothing({ page, context }) {
  assert.equal(page.url(), `${address}/`);
  assert.deepEqual(await context.cookies(), []);
  assert.equal((await stored(page)).__convexAuthOAuthVerifier, undefined);
}

/** Discovery, PKCE, nonce, an ID token. */
async function comeByOpenIdConnect(grace) {
  const { page } = grace;
  const visited = following(page);
  await through(page, "your company");
  await protectedPage(page, "grace@example.com");
  assert.deepEqual(visited, [
    "GET /api/auth/signin/work",
    "GET /authorize",
    "GET /api/auth/callback/work",
    "GET /",
  ]);
  await leftNothing(grace);
  await write(page, "from the company");
  await page.reload();
  await page.getByText("from the company").waitFor();
  await signOut(page);
}

/** GitHub, and one that has the browser post its answer from another site, say the same address. */
async function comeByTheSameAddressElsewhere(grace) {
  const { page } = grace;
  await through(page, "GitHub");
  await protectedPage(page, "grace@example.com");
  assert.deepEqual(await notes(page), ["from the company"]);
  await signOut(page);

  const visited = following(page);
  await through(page, "Google");
  await protectedPage(page, "grace@example.com");
  assert.ok(visited.includes("POST /api/auth/callback/google"));
  await leftNothing(grace);
  assert.deepEqual(await notes(page), ["from the company"]);
}

/** Plain OAuth 2, where she has another address: it is hers because she was signed in. */
async function addAnAccount(grace) {
  const { page, context } = grace;
  const tab = await context.newPage();
  await tab.goto(address);
  await protectedPage(tab, "grace@example.com");
  await ask("be Grace at GitLab");
  await page.getByRole("button", { name: "Connect GitLab" }).click();
  const ways = page.getByRole("list", { name: "Ways in" });
  await ways.getByText("GitLab").waitFor();
  assert.deepEqual(await list(page, "Ways in"), ["GitHub", "GitLab", "Google", "your company"]);
  await leftNothing(grace);
  // The other tab is in the same session, and goes on.
  await write(tab, "from the other tab");
  await tab.close();
  await signOut(page);
  await through(page, "GitLab");
  await protectedPage(page, "grace@example.com");
  assert.deepEqual(await notes(page), ["from the other tab", "from the company"]);
  await signOut(page);
}

/** Who says no at the provider comes back signed out, and may try again. */
async function sayNo({ page }) {
  await ask("be Grace");
  await ask("refuse");
  await through(page, "your company");
  await signInPage(page);
  await page.waitForURL(`${address}/`);
  await ask("consent");
}

/**
 * Eve sends links that she has made: to the end of a flow of hers, and to the beginning of one in which she adds an account to
 * her own. Neither signs anybody in as Eve, nor gives her the account of who follows it.
 */
async function followWhatEveHasBegun({ page }, eve) {
  await eve.page.route("**/api/auth/signin/*", (route) => route.abort());
  const begin = async (name) => {
    const begun = eve.page.waitForEvent("request", (each) => each.url().includes("/api/auth/signin/"));
    await eve.page.getByRole("button", { name }).click();
    return (await begun).url();
  };

  let link = await begin("Continue with your company");
  while (new URL(link).origin !== address) {
    const response = await eve.context.request.get(link, { maxRedirects: 0 });
    link = response.headers().location;
  }
  assert.match(link, /code=\d/);
  await page.goto(link);
  await signInPage(page);
  assert.deepEqual(await stored(page), {});

  await eve.page.goto(address);
  await eve.page.getByRole("button", { name: "Look around without a name" }).click();
  await protectedPage(eve.page, "nobody in particular");
  const beginning = await begin("Connect GitHub");
  await ask("be Mallory");
  await page.goto(beginning);
  await signInPage(page);
  await through(page, "GitHub");
  await protectedPage(page, "Mallory");
  assert.deepEqual(await notes(page), []);
  assert.deepEqual(await list(page, "Ways in"), ["GitHub"]);
  await eve.page.goto(address);
  await protectedPage(eve.page, "nobody in particular");
  assert.deepEqual(await list(eve.page, "Ways in"), ["nothing but this session"]);
}
