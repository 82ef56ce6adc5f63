// Notifications on every page: sound, toasts, browser notifications, and the number of new ones in the title.
//
// All pages of a browser poll, and the first one that hears of something claims it, so that it is shown once. What the
// operator is reading at the moment, in any tab, is not shown.
(() => {
  const place = document.getElementById("notifications");
  if (!place) return;
  const byId = (id) => document.getElementById(id);
  const MAX_TOASTS = 4, MAX_NOTICES = 3, MAX_KEYS = 300, CURSOR_AGE = 120_000, ATTENTION_AGE = 3_000, SEEN_INTERVAL = 40_000;
  const CLAIM_TIME = 10_000; // milliseconds: by then, all tabs have the stored keys
  const toasts = byId("toasts"), settings = place.dataset;
  const channel = "BroadcastChannel" in window ? new BroadcastChannel(`okno-${okno.user}`) : null;

  // --- what the tabs share -------------------------------------------------------------------------------------
  const name = (what) => `okno-${what}-${okno.user}`;
  const read = (what, empty) => {
    try { return JSON.parse(localStorage.getItem(name(what))) ?? empty; } catch { return empty; }
  };
  const write = (what, value) => {
    try { localStorage.setItem(name(what), JSON.stringify(value)); } catch { /* private mode: for this page only */ }
  };
  let ownKeys = []; // where nothing can be stored
  const claimNow = (items) => {
    const keys = new Set([...read("notified", []), ...ownKeys]);
    const fresh = items.filter(({ key }) => !keys.has(key));
    for (const { key } of fresh) keys.add(key);
    ownKeys = [...keys].slice(-MAX_KEYS);
    write("notified", ownKeys);
    return fresh;
  };
  // localStorage reaches other tabs with a delay. Until then, a lock for each key decides which tab was first.
  const isFirst = (key) => new Promise((resolve) => {
    const hold = (lock) => {
      resolve(Boolean(lock));
      return lock && new Promise((release) => { setTimeout(release, CLAIM_TIME); });
    };
    navigator.locks.request(name(`claim-${key}`), { ifAvailable: true }, hold).catch(() => resolve(true));
  });
  // Returns those that no other tab has shown.
  const claim = async (items) => {
    const fresh = claimNow(items);
    if (!navigator.locks) return fresh;
    const first = await Promise.all(fresh.map(({ key }) => isFirst(key)));
    return fresh.filter((_item, index) => first[index]);
  };

  // Where the operator looks now: the focused page and its chat.
  const isFocused = () => !document.hidden && document.hasFocus();
  const noteAttention = () => {
    if (isFocused()) write("attention", { chat: Number(byId("chat")?.dataset.chat) || 0, at: Date.now() });
  };
  const attention = () => {
    noteAttention();
    const last = read("attention", null);
    return last && Date.now() - last.at < ATTENTION_AGE ? last : null;
  };
  addEventListener("focus", () => { noteAttention(); setUnseen(0); });
  addEventListener("blur", () => write("attention", null));
  setInterval(noteAttention, 1000);

  // --- poll ------------------------------------------------------------------------------------------------------
  const stored = read("cursor", null);
  let cursor = stored && Date.now() - stored.at < CURSOR_AGE ? stored.cursor : "";
  let lastWarning = settings.lastWarning;

  // Input counts as presence, in any tab.
  const noteInput = () => {
    if (Date.now() - read("input", 0) > 5000) write("input", Date.now());
  };
  for (const event of ["pointerdown", "pointermove", "keydown"]) addEventListener(event, noteInput, { capture: true, passive: true });
  noteInput();
  const isPresent = () => {
    const minutes = Number(settings.awayAfter);
    return !minutes || Date.now() - read("input", 0) < minutes * 60_000;
  };
  const seen = () => {
    if (!isPresent() || Date.now() - read("seen", 0) < SEEN_INTERVAL) return undefined;
    write("seen", Date.now());
    return "1";
  };
  okno.pollParameters.push(() => ({ notified: cursor, seen: seen(), last_warning: lastWarning || undefined }));

  addEventListener("okno:updates", async ({ detail: { notifications, warnings, counters } }) => {
    if (!lastWarning && counters) lastWarning = String(counters.last_warning);
    if (notifications) {
      cursor = notifications.cursor;
      write("cursor", { cursor, at: Date.now() });
    }
    if (warnings) showWarnings(warnings);
    const items = [...(notifications?.items || []), ...(warnings ? closingItems(warnings) : [])];
    const reading = attention();
    const unread = items.filter(({ kind, chat }) => !(reading && kind === "message" && reading.chat === chat));
    countUnseen(unread);
    const fresh = await claim(items);
    present(fresh.filter((item) => unread.includes(item)), { isWatching: Boolean(reading) });
  });

  const closingItems = ({ items, is_quiet: isQuiet, shows_text: showsText }) =>
    isQuiet ? [] : items.map((item) => ({ ...item, text: showsText ? item.text : "", kind: "closing", tag: `okno-window-${item.chat}` }));

  const present = (items, { isWatching }) => {
    if (!items.length) return;
    const isSilent = settings.sound === "off" || (settings.soundWhenHidden && isWatching);
    const isPlayed = isSilent || playSound();
    if (isWatching) announce({ toasts: items.filter(({ kind }) => kind !== "closing") });
    else showNotices(items, { isSilent: isPlayed });
  };

  // --- sound: if this tab may not play it, another one may -----------------------------------------------------------
  const playSound = () => {
    if (okno.sounds.play(settings.sound, Number(settings.volume))) return true;
    channel?.postMessage({ sound: true });
    if (isFocused() && !read("blocked", false)) {
      write("blocked", true);
      showSentence("blocked", settings.blocked);
    }
    return false;
  };
  const playOnce = () => navigator.locks?.request(name("sound"), { ifAvailable: true }, async (lock) => {
    if (!lock || okno.sounds.isBlocked()) return;
    okno.sounds.play(settings.sound, Number(settings.volume));
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  });

  // --- browser notifications -----------------------------------------------------------------------------------------
  const worker = async () => (navigator.serviceWorker ? navigator.serviceWorker.getRegistration("/") : undefined);
  const showNotices = async (items, { isSilent }) => {
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    const registration = await worker();
    const shown = items.slice(0, MAX_NOTICES), more = items.length - shown.length;
    if (more > 0) {
      const body = settings.moreText.replace("{number}", more);
      shown.push({ key: "more", tag: "okno-more", title: "Okno", text: body, url: "/chats/" });
    }
    for (const item of shown) {
      const options = { body: item.text, tag: item.tag, icon: settings.icon, silent: isSilent, renotify: true, data: { url: item.url, key: item.key } };
      if (registration?.active) {
        const same = await registration.getNotifications({ tag: item.tag });
        if (same.some((one) => one.data?.key === item.key)) continue; // the push was faster
        registration.active.postMessage({ type: "shown", keys: [item.key] });
        await registration.showNotification(item.title, options);
      } else {
        const notice = new Notification(item.title, options);
        notice.addEventListener("click", () => { window.focus(); notice.close(); openChat(item.url); });
      }
    }
  };
  const openChat = (url) => {
    const row = document.querySelector(`#rows a[href^="${url}"]`);
    if (row) row.click();
    else location.assign(url);
  };
  navigator.serviceWorker?.addEventListener("message", ({ data }) => {
    if (data?.type === "open") openChat(data.url);
    if (data?.type === "shown") claimNow(data.keys.map((key) => ({ key })));
    if (data?.type === "subscription-changed") renewSubscription(true);
  });
  // An open chat needs no notification anymore.
  addEventListener("okno:chat-opened", async () => {
    noteAttention();
    const chat = byId("chat")?.dataset.chat;
    for (const one of (chat && (await (await worker())?.getNotifications({ tag: `okno-${chat}` }))) || []) one.close();
  });

  // --- toasts --------------------------------------------------------------------------------------------------------
  const showToast = ({ key, title, text, url, level }) => {
    byId(`toast-${key}`)?.remove();
    const box = byId("toast").content.firstElementChild.cloneNode(true), link = box.querySelector("a");
    box.id = `toast-${key}`;
    box.classList.add(level);
    if (url) link.href = url;
    else link.removeAttribute("href");
    link.querySelector("b").textContent = title;
    link.querySelector("span").textContent = text;
    toasts.prepend(box);
    while (toasts.children.length > MAX_TOASTS) toasts.lastElementChild.remove();
  };
  const showSentence = (key, title) => showToast({ key, title, text: "", url: "", level: "info" });
  const showWarnings = (warnings) => {
    lastWarning = String(warnings.last);
    for (const item of [...warnings.items].reverse()) showToast({ ...item, key: item.chat });
    byId("toasts-rest").textContent = warnings.rest;
    byId("toasts-rest").hidden = !warnings.rest;
  };
  // On the desk, the list shows new messages.
  const showToasts = (items) => {
    if (document.hidden) return;
    for (const item of items) if (item.kind !== "message" || !byId("desk")) showToast({ ...item, key: `n${item.chat}`, level: "info" });
  };
  document.addEventListener("click", (event) => {
    const box = event.target.closest(".toast");
    if (event.target.closest("[data-dismiss-toast]")) {
      box.remove();
      if (!toasts.children.length) byId("toasts-rest").hidden = true;
    } else if (box && event.target.closest("a[href]")) box.remove();
  });

  const announce = (message) => {
    showToasts(message.toasts);
    channel?.postMessage(message);
  };
  channel?.addEventListener("message", ({ data }) => {
    if (data.toasts) showToasts(data.toasts);
    if (data.sound) playOnce();
  });

  // --- number of new ones since the operator last looked, in the title and the icon -------------------------------------
  let unseen = 0;
  const counted = new Set();
  const countUnseen = (items) => {
    const fresh = items.filter(({ key }) => !counted.has(key));
    for (const { key } of fresh) counted.add(key);
    if (fresh.length && !isFocused()) setUnseen(unseen + fresh.length);
  };
  const setUnseen = (number) => {
    if (number === unseen) return;
    unseen = number;
    const words = number ? settings.unseen.replace("{number}", number > 99 ? "99+" : number) : "";
    dispatchEvent(new CustomEvent("okno:unseen", { detail: words }));
    drawIcon(number);
  };
  const icon = document.querySelector("link[rel=icon]"), plainIcon = icon?.href;
  const drawIcon = (number) => {
    if (!icon) return;
    const digits = number > 9 ? "9+" : String(number);
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 34 34"><rect x="3" y="3" width="28" height="28" rx="8" fill="#0b7a5c"/><circle cx="22" cy="12" r="12" fill="#c8321f"/><text x="22" y="18" font-family="sans-serif" font-size="17" font-weight="700" fill="#fff" text-anchor="middle">${digits}</text></svg>`;
    icon.href = number ? `data:image/svg+xml,${encodeURIComponent(svg)}` : plainIcon;
    if (number) navigator.setAppBadge?.(number).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
  };

  // --- service worker and push ------------------------------------------------------------------------------------------
  const postSubscription = async (subscription) => {
    const { endpoint, keys } = subscription.toJSON();
    const answer = await okno.postAsUser(settings.subscribeUrl, { endpoint, public_key: keys.p256dh, auth: keys.auth });
    if (answer.ok) write("push", settings.session);
    return answer;
  };
  // A subscription belongs to a session. In a new session of the same user, the browser subscribes again.
  const renewSubscription = async (isForced = false) => {
    const last = read("push", null);
    if (!last || (last === settings.session && !isForced) || Notification.permission !== "granted") return;
    const subscription = await (await worker())?.pushManager?.getSubscription();
    if (subscription) await postSubscription(subscription);
    else write("push", null);
  };
  const start = async () => {
    if (!navigator.serviceWorker) return;
    try {
      await navigator.serviceWorker.register(settings.worker, { scope: "/" });
      await renewSubscription();
    } catch { /* no notifications while Okno is closed */ }
  };
  addEventListener("load", start);
  const showLink = () => {
    const link = byId("allow-notices");
    if (link) link.hidden = !("Notification" in window) || Notification.permission !== "default";
  };
  document.addEventListener("htmx:afterSwap", showLink);
  showLink();

  Object.assign(okno, { notifications: { postSubscription, forgetSubscription: () => write("push", null), showNotices, showSentence } });
})();
