/** Lists members, roles and channels as choices. */

import { avatar } from "./avatar.js";
import { icon } from "./icons.js";

/** @returns {import("./popover.js").Entry[]} */
export function memberEntries(store) {
  return [...store.members.values()].map((member) => ({
    value: member.id, name: member.name, icon: avatar(member, "tiny"),
    badge: member.moderator ? icon("shield") : null,
    description: member.bot ? "App" : member.moderator ? "Moderator" : null,
  }));
}

/** @returns {import("./popover.js").Entry[]} */
export function roleEntries(store) {
  return [...store.roles.values()].map((role) => ({
    value: role.id, name: role.name, icon: icon("shield"),
  }));
}

/** @returns {import("./popover.js").Entry[]} */
export function channelEntries(store, types) {
  return [...store.channels.values()]
    .filter(({ type }) => type !== 1 && (!types?.length || types.includes(type)))
    .map((channel) => ({
      value: channel.id, name: channel.name, icon: icon(channelIcon(channel)),
    }));
}

/** @param {"user" | "role" | "mentionable" | "channel"} kind */
export function targetsFor(kind, store, channelTypes) {
  if (kind === "user") return memberEntries(store);
  if (kind === "role") return roleEntries(store);
  if (kind === "mentionable") return [...memberEntries(store), ...roleEntries(store)];
  return channelEntries(store, channelTypes);
}

/** The display name of a channel: "#gallery", but threads and direct messages without "#". */
export function placeName(channel) {
  return channelIcon(channel) === "hash" ? `#${channel.name}` : channel.name;
}

/** The icon's name for a channel, thread or direct message. */
export function channelIcon(channel) {
  if (channel.type === 1) return "at";
  return channel.type >= 10 && channel.type <= 12 ? "thread" : "hash";
}
