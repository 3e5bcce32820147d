// Signing in by others' providers, in Chromium: to the provider and back.
import { address, ask, assert, main } from "./support.mjs";
import { withBrowser } from "./browser.mjs";
import { notes, open, protectedPage, signInPage, stored, write } from "./people.mjs";

const through = async (page, name) => {
  await page.getByRole("button", { name: `Continue with ${name}` }).click();
};

await main(() =>
  withBrowser(async (browser) => {
    // OpenID Connect: discovery, PKCE, nonce, an ID token.
    const grace = await open(browser);
    const visited = [];
    grace.page.on("request", (request) => request.isNavigationRequest() && visited.push(request.url()));
    await through(grace.page, "your company");
    await protectedPage(grace.page, "grace@example.com");
    assert.equal(grace.page.url(), `${address}/`);
    const paths = visited.map((url) => new URL(url).pathname);
    assert.deepEqual(paths, ["/api/auth/signin/work", "/authorize", "/api/auth/callback/work", "/"]);
    // What the flow was known by is gone from the browser.
    assert.deepEqual(await grace.context.cookies(), []);
    assert.equal((await stored(grace.page)).__convexAuthOAuthVerifier, undefined);
    await write(grace.page, "from the company");
    await grace.page.reload();
    await grace.page.getByText("from the company").waitFor();
    await grace.page.getByRole("button", { name: "Sign out" }).click();
    await signInPage(grace.page);

    // GitHub, plain OAuth 2, says the same verified address: the same person.
    await ask("be GitHub");
    await through(grace.page, "GitHub");
    await protectedPage(grace.page, "grace@example.com");
    assert.deepEqual(await notes(grace.page), ["from the company"]);
    await grace.page.getByRole("button", { name: "Sign out" }).click();
    await signInPage(grace.page);

    // Who says no at the provider comes back signed out, and may try again.
    await ask("be a company");
    await ask("refuse");
    await through(grace.page, "your company");
    await signInPage(grace.page);
    assert.equal(grace.page.url(), `${address}/`);
    await ask("consent");

    // A code in a link that somebody else has made signs nobody in: the browser did not begin that flow.
    const eve = await open(browser);
    const begun = eve.page.waitForEvent("request", (each) => each.url().includes("/api/auth/signin/"));
    await eve.page.route("**/api/auth/signin/*", (route) => route.abort());
    await through(eve.page, "your company");
    let link = (await begun).url();
    while (new URL(link).origin !== address) {
      const response = await eve.context.request.get(link, { maxRedirects: 0 });
      link = response.headers().location;
    }
    assert.match(link, /code=\d/);
    await grace.page.goto(link);
    await signInPage(grace.page);
    assert.deepEqual(await stored(grace.page), {});

    assert.deepEqual(grace.problems, []);
  }),
);
