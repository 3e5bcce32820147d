// What scripts share that sign people in at the example `auth`.
import { address } from "./support.mjs";

/** Opens the page in a context (cookies, storage) of its own. */
export async function open(browser) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const problems = [];
  const told = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => told.push(message.text()));
  await page.goto(address);
  await signInPage(page);
  return { page, context, problems, told };
}

export const signInPage = (page) => page.getByLabel("E-mail").waitFor();

/** Waits for the page that nobody sees who is not signed in, and for who that is. */
export const protectedPage = (page, name) =>
  page.getByRole("strong").filter({ hasText: name }).waitFor();

/** Leaves the protected page. */
export async function signOut(page) {
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await signInPage(page);
}

/** The texts of a list, by its name. */
export const list = (page, name) =>
  page.getByRole("list", { name }).getByRole("listitem").allTextContents();

export async function write(page, text) {
  await page.getByLabel("New note").fill(text);
  await page.getByRole("button", { name: "Keep" }).click();
  await page.getByRole("list", { name: "Notes" }).getByText(text).waitFor();
}

export const notes = async (page) => {
  await page.locator("ul[aria-label=Notes][aria-busy=false]").waitFor({ state: "attached" });
  return page.getByRole("list", { name: "Notes" }).getByRole("listitem").allTextContents();
};

/** The tokens that Convex's front end keeps, by its names for them, without the namespace. */
export const stored = (page) =>
  page.evaluate(() =>
    Object.fromEntries(
      Object.entries(localStorage).map(([key, value]) => [key.slice(0, key.lastIndexOf("_")), value]),
    ),
  );

/** Waits until a page has renewed its tokens, as each does when it is loaded. */
export const renewed = (page, before) =>
  page.waitForFunction(
    (old) => !Object.values(localStorage).includes(old),
    before.__convexAuthRefreshToken,
  );
