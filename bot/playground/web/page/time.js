/**
 * Formats times in the user's locale and time zone, and updates relative ones ("3 minutes ago")
 * while the page is open.
 */

import { el } from "./dom.js";

const STYLES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "always" });

/** Seconds from now, signed, as "in 12 seconds" or "3 minutes ago". */
export function relativeText(unixSeconds, now = Date.now() / 1000) {
  const difference = unixSeconds - now;
  const [unit, size] =
    UNITS.find(([, seconds]) => Math.abs(difference) >= seconds) ?? UNITS[UNITS.length - 1];
  return relative.format(Math.round(difference / size), unit);
}

/** The text of `<t:unixSeconds:style>`. */
export function timestampText(unixSeconds, style = "f") {
  if (style === "R") return relativeText(unixSeconds);
  return new Intl.DateTimeFormat(undefined, STYLES[style] ?? STYLES.f).format(unixSeconds * 1000);
}

/** A `<time>` for `<t:unixSeconds:style>`; the relative style is updated. */
export function timestampElement(unixSeconds, style) {
  const date = new Date(unixSeconds * 1000);
  if (Number.isNaN(date.getTime())) return document.createTextNode(`<t:${unixSeconds}>`);
  return el("time", {
    class: "timestamp",
    datetime: date.toISOString(),
    title: timestampText(unixSeconds, "F"),
    dataset: style === "R" ? { relative: unixSeconds } : {},
    text: timestampText(unixSeconds, style),
  });
}

/** "14:05" today, "Yesterday 14:05", otherwise the date as well. */
export function messageTime(date, now = new Date()) {
  const time = new Intl.DateTimeFormat(undefined, STYLES.t).format(date);
  const day = new Date(date).setHours(0, 0, 0, 0);
  const today = new Date(now).setHours(0, 0, 0, 0);
  if (day === today) return time;
  if (Math.round((today - day) / 86_400_000) === 1) return `Yesterday ${time}`;
  return `${new Intl.DateTimeFormat(undefined, STYLES.d).format(date)} ${time}`;
}

/** "Monday, 4 May", the separator between two days. */
export function dayName(date) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "full" }).format(date);
}

/** Starts the timer that updates every relative time on the page. */
export function keepTimesTrue() {
  setInterval(() => {
    for (const node of document.querySelectorAll("time[data-relative]")) {
      const text = relativeText(Number(node.dataset.relative));
      if (node.textContent !== text) node.textContent = text;
    }
  }, 1000);
}
