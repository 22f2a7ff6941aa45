/**
 * Remembers small choices in the browser. Storage can be full, forbidden or missing; then the
 * page simply forgets.
 */

const PREFIX = "gridbrush.";

function read(storageOf, key, fallback) {
  try {
    const kept = storageOf().getItem(PREFIX + key);
    return kept === null ? fallback : JSON.parse(kept);
  } catch {
    return fallback;
  }
}

function write(storageOf, key, value) {
  try {
    if (value === null) storageOf().removeItem(PREFIX + key);
    else storageOf().setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Nothing to do: the choice holds until the page is closed.
  }
}

/** Kept for good, shared by all tabs. */
export const remembered = {
  get: (key, fallback = null) => read(() => localStorage, key, fallback),
  set: (key, value) => write(() => localStorage, key, value),
};

/** Kept for this tab only, so that two tabs can be two members. */
export const tabMemory = {
  get: (key, fallback = null) => read(() => sessionStorage, key, fallback),
  set: (key, value) => write(() => sessionStorage, key, value),
};
