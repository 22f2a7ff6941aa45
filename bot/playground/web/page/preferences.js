/**
 * Stores preferences in the browser. If storage is full, forbidden or missing, they last until
 * the page is closed.
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
    // Without storage the preference lasts until the page is closed.
  }
}

/** Permanent, shared by all tabs. */
export const remembered = {
  get: (key, fallback = null) => read(() => localStorage, key, fallback),
  set: (key, value) => write(() => localStorage, key, value),
};

/** For this tab only, so that two tabs can be two members. */
export const tabMemory = {
  get: (key, fallback = null) => read(() => sessionStorage, key, fallback),
  set: (key, value) => write(() => sessionStorage, key, value),
};
