// What the client scripts share: the address, checks, and waiting for a condition of a query.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";

export { assert };
export const api = anyApi;
export const address = process.env.CAMBER_URL;
export const adminKey = process.env.CAMBER_ADMIN_KEY;
export const webSocketClient = (options) => new ConvexClient(address, options);
export const httpClient = (options) => new ConvexHttpClient(address, { logger: false, ...options });

/** Subscribes, and collects every value. `until` resolves when a value fulfils a condition. */
export function watch(client, reference, args) {
  const values = [];
  const errors = [];
  const waiting = new Set();
  const check = () => {
    for (const each of waiting) {
      if (each.condition(values.at(-1))) {
        waiting.delete(each);
        each.resolve(values.at(-1));
      }
    }
  };
  const stop = client.onUpdate(
    reference,
    args,
    (value) => {
      values.push(value);
      check();
    },
    (error) => {
      errors.push(error);
      for (const each of waiting) each.failed?.(error);
    },
  );
  return {
    values,
    errors,
    stop,
    until: (condition) =>
      values.length > 0 && condition(values.at(-1))
        ? Promise.resolve(values.at(-1))
        : new Promise((resolve) => waiting.add({ condition, resolve })),
    failure: () =>
      errors.length > 0
        ? Promise.resolve(errors[0])
        : new Promise((failed) => waiting.add({ condition: () => false, failed })),
  };
}

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();

/** Asks the test to do something to the server, waits until it is done, and returns what it answers. */
export async function ask(what) {
  console.log(what);
  return (await lines.next()).value;
}

/** Runs a script to its end and tells the test. */
export async function main(script) {
  try {
    await script();
    console.log("passed");
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
