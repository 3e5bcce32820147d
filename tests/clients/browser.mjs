// Starts Chromium; what browser scripts share.
import { chromium } from "playwright-core";

export async function withBrowser(script) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    await script(browser);
  } finally {
    await browser.close();
  }
}

/** Opens the chat as a person with a name, in a context (cookies, storage) of its own. */
export async function enter(browser, address, name, viewport = { width: 1440, height: 900 }) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(address);
  await page.getByLabel("What should the others call you?").fill(name);
  await page.keyboard.press("Enter");
  await page.getByLabel("Message", { exact: true }).waitFor();
  return { page, problems, context };
}

export const write = async (page, text) => {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
};

export const bodies = (page) => page.locator(".message .body").allTextContents();
