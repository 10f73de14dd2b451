/** As much of a test framework as these tests need: it runs in the page itself. */

const tests = [];

/**
 * @param {string} name - a sentence about behaviour
 * @param {() => unknown} body - may be asynchronous
 */
export function test(name, body) {
  tests.push({ name, body });
}

/** Run the tests one after another; return what went wrong, by the names of the tests. */
export async function run() {
  const failures = {};
  for (const { name, body } of tests) {
    localStorage.clear();
    try {
      await body();
    } catch (error) {
      failures[name] = String(error?.stack ?? error);
    }
  }
  return { count: tests.length, failures };
}

/** Assert that two values have the same JSON. */
export function equal(actual, expected) {
  const [one, other] = [actual, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`got ${one}\nexpected ${other}`);
}

export function ok(value, what = 'a true value') {
  if (!value) throw new Error(`expected ${what}, got ${value}`);
}

/** Assert that a call, or what it promises, throws; return the error. */
export async function throws(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** Wait for a condition that has no event. */
export async function until(holds, what = String(holds)) {
  for (let tries = 0; tries < 500; tries++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`still not: ${what}`);
}
