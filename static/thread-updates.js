// The open chat: redrawn from updates.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const byId = (id) => document.getElementById(id);
  const { parseElements, patch, redraw } = okno.drawing;
  let asked = null; // the chat element that the running poll asks for

  okno.pollParameters.push(() => {
    asked = byId("chat");
    if (!asked.dataset.chat) return {};
    const writes = !document.hidden && okno.composer?.isWriting() ? "1" : undefined;
    return { chat: asked.dataset.chat, thread: asked.dataset.version, others: byId("presence").dataset.version, writes };
  });
  addEventListener("okno:updates", ({ detail: updates }) => {
    const chat = byId("chat");
    // Another chat may have been opened meanwhile: ignore answers about a replaced element.
    if (asked === chat) {
      if (updates.thread && !okno.isPressed()) drawThread(chat, updates.thread);
      if (updates.unread && !okno.isPressed() && !chat.inert && !document.hidden) markSeen(chat);
      if (updates.others) drawPresence(updates.others);
    }
    okno.tick();
  });
  // The operator lost access to this chat: the page that says so replaces what is shown.
  addEventListener("okno:chat-not-found", () => { if (asked === byId("chat")) location.reload(); });

  const drawThread = (chat, updates) => {
    chat.dataset.version = updates.version;
    redraw("chat_header", updates.chat_header);
    redraw("client", updates.client);
    redraw("composer_notices", updates.composer_notices);
    const counted = () => Boolean(byId("composer_time").querySelector("[data-expires-at]"));
    const wasOpen = counted();
    redraw("composer_time", updates.composer_time);
    if (wasOpen && !counted()) okno.announce("is_closed");
    const messages = byId("messages");
    const isNewest = !("notNewest" in messages.dataset);
    const hasOwn = isNewest && drawMessages(messages, parseElements(updates.messages), updates.earlier);
    dispatchEvent(new CustomEvent("okno:thread-drawn", { detail: { hasOwn } }));
    dispatchEvent(new CustomEvent("okno:draft-received", { detail: updates }));
  };

  // Presence of others. The text changes only if the people change, so screen readers do not repeat it.
  const drawPresence = ({ version, sentence, writing }) => {
    const place = byId("presence"), words = place.querySelector("span");
    place.dataset.version = version;
    if (words.textContent !== sentence) words.textContent = sentence;
    if (sentence && place.hidden) byId("announcer").textContent = sentence; // not each time they begin or stop to write
    place.classList.toggle("writing", writing);
    place.hidden = !sentence;
  };

  const drawMessages = (messages, fresh, earlier) => {
    const scroll = byId("scroll");
    const wasAtEnd = okno.threadScroll.isAtEnd(scroll);
    // Earlier messages may have been loaded above the newest page, possibly of the same day.
    const isMessage = (node) => node.dataset.key.startsWith("m");
    const oldest = fresh.find(isMessage), first = [...messages.children].find(isMessage);
    const isAll = !first || oldest?.dataset.key === first.dataset.key || !hasItem(messages, oldest?.dataset.key);
    if (isAll) setEarlierLink(earlier);
    else fresh = fresh.slice(fresh.indexOf(oldest));
    for (const node of fresh) okno.threadDetails.applyFold(node);
    const added = patch(messages, fresh, { isAll, onReplace: okno.threadDetails.keepTrail }).filter((node) => node.dataset.side);
    const ours = added.some((node) => node.dataset.side === "outbound");
    if (wasAtEnd || ours) okno.scrollToEnd();
    else if (added.some((node) => node.dataset.side === "inbound")) byId("newer").hidden = false;
    return ours;
  };

  const setEarlierLink = (earlier) => {
    byId("earlier").setAttribute("href", earlier);
    byId("earlier").hidden = !earlier;
  };
  const hasItem = (container, key) => Boolean(key && container.querySelector(`:scope > [data-key="${CSS.escape(key)}"]`));

  const markSeen = (chat) => okno.postAsUser(chat.dataset.seenUrl, { for_chat: chat.dataset.chat }).catch(() => {});

  const startChat = ({ mayFocus = true } = {}) => {
    const chat = byId("chat");
    okno.drawing.forgetPostponed();
    desk.classList.toggle("has-chat", Boolean(chat.dataset.chat));
    dispatchEvent(new Event("okno:chat-opened"));
    okno.threadScroll.start();
    if (mayFocus && matchMedia("(min-width: 47.5625em)").matches) byId("text")?.focus({ preventScroll: true });
    if (Number(chat.dataset.unread) && !document.hidden) markSeen(chat);
    okno.tick();
    dispatchEvent(new Event("okno:poll"));
  };

  window.okno = Object.assign(window.okno || {}, { startChat, setEarlierLink });
  // The other scripts of the desk listen first.
  addEventListener("DOMContentLoaded", () => startChat());
})();
