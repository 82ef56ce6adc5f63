{% load static %}// Push messages, clicks on notifications, and a page for the time without a connection. No chat data is cached.
const CACHE = "okno-offline-1";
const OFFLINE = "{% url 'offline' %}";
const CHATS = "{% url 'chats' %}";
const ICON = "{% static 'app-icon-192.png' %}";
const ASSETS = [OFFLINE, "{% static 'okno.css' %}"];
const shown = new Set(); // keys of what a page has shown

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(ASSETS)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate" && request.method === "GET") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  } else if (request.method === "GET" && ASSETS.includes(new URL(request.url).pathname)) {
    event.respondWith(fetch(request).catch(() => caches.match(request)));
  }
});

const listPages = () => self.clients.matchAll({ type: "window", includeUncontrolled: true });

self.addEventListener("message", ({ data }) => {
  if (data?.type === "shown") for (const key of data.keys) shown.add(key);
});

const showPush = async (item) => {
  const pages = await listPages();
  if (item.kind !== "test" && pages.some((page) => page.focused && page.visibilityState === "visible")) return;
  const same = await self.registration.getNotifications({ tag: item.tag });
  if (same.some((one) => one.data?.key === item.key)) return;
  if (shown.has(item.key) && same.length) return;
  await self.registration.showNotification(item.title, {
    body: item.text, tag: item.tag, renotify: true, icon: ICON, badge: ICON, silent: shown.has(item.key), data: { url: item.url, key: item.key },
  });
  for (const page of pages) page.postMessage({ type: "shown", keys: [item.key] });
};
self.addEventListener("push", (event) => {
  if (event.data) event.waitUntil(showPush(event.data.json()));
});

const openChat = async (address) => {
  const url = new URL(address || CHATS, self.location.origin);
  const pages = (await listPages()).filter((page) => new URL(page.url).origin === url.origin);
  const path = (page) => new URL(page.url).pathname;
  const page = pages.find((one) => path(one) === url.pathname) || pages.find((one) => path(one).startsWith(CHATS)) || pages[0];
  if (!page) return self.clients.openWindow(url);
  if (path(page) !== url.pathname) page.postMessage({ type: "open", url: url.pathname });
  return page.focus();
};
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openChat(event.notification.data?.url));
});
self.addEventListener("pushsubscriptionchange", (event) => {
  // The next page that is opened subscribes again.
  event.waitUntil(listPages().then((pages) => pages.forEach((page) => page.postMessage({ type: "subscription-changed" }))));
});
