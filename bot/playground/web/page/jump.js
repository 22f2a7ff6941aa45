/**
 * Follows message links inside this page. Bots write them as URLs of discord.com, where this
 * server does not exist; here they become fragments of this page's URL, which also work in a new
 * tab.
 */

const ADDRESS =
  /^https:\/\/(?:(?:ptb|canary)\.)?discord(?:app)?\.com\/channels\/(?:\d+|@me)\/(\d+)(?:\/(\d+))?\/?$/;
const FRAGMENT = /^#\/(\d+)(?:\/(\d+))?$/;

/** @returns {string | null} the fragment for the URL of a message or channel */
export function fragmentOf(address) {
  const found = ADDRESS.exec(address);
  return found && `#/${[found[1], found[2]].filter(Boolean).join("/")}`;
}

/**
 * The attributes of a link to `address`: in a new tab without a referrer, or inside this page.
 */
export function linkTarget(address) {
  const fragment = fragmentOf(address);
  return fragment === null
    ? { href: address, target: "_blank", rel: "noopener noreferrer" } : { href: fragment };
}

/**
 * Reads and clears the fragment of the page's URL, so that the same link works again.
 * @returns {{channelId: string, messageId: string | undefined} | null}
 */
export function takeJump() {
  const found = FRAGMENT.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return { channelId: found[1], messageId: found[2] };
}
