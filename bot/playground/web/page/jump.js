/**
 * Links to messages, followed inside this page. A bot writes them as addresses of the real
 * service; opened there, they would lead a newcomer to a sign-in page that knows nothing of this
 * server. Here they become fragments of this page's own address, so that they also open in a tab
 * of their own.
 */

const ADDRESS =
  /^https:\/\/(?:(?:ptb|canary)\.)?discord(?:app)?\.com\/channels\/(?:\d+|@me)\/(\d+)(?:\/(\d+))?\/?$/;
const FRAGMENT = /^#\/(\d+)(?:\/(\d+))?$/;

/** @returns {string | null} the fragment for a message's or channel's address */
export function fragmentOf(address) {
  const found = ADDRESS.exec(address);
  return found && `#/${[found[1], found[2]].filter(Boolean).join("/")}`;
}

/**
 * What an anchor needs to lead to `address`: beside the page, telling the other side nothing, or
 * inside it.
 */
export function linkTarget(address) {
  const fragment = fragmentOf(address);
  return fragment === null
    ? { href: address, target: "_blank", rel: "noopener noreferrer" } : { href: fragment };
}

/**
 * Reads where the page's own address leads and clears it, so that the same link works again.
 * @returns {{channelId: string, messageId: string | undefined} | null}
 */
export function takeJump() {
  const found = FRAGMENT.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return { channelId: found[1], messageId: found[2] };
}
