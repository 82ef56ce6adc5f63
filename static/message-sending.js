// Messages being sent. Each is shown at once with a clock until the server's bubble appears. A key makes it idempotent. The
// messages of a chat are sent in the order of writing: one without a connection holds up the later ones, and is sent when
// the connection is back.
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const REQUEST_TIMEOUT = 60_000; // milliseconds for one request
  const RETRY_TIME = 15 * 60e3; // milliseconds after writing: later, only the operator sends a message again
  const MAX_PAUSE = 60e3; // milliseconds between two tries
  const OTHER_TAB_TIMEOUT = 90_000; // milliseconds that another tab may still be posting a message
  const byId = (id) => document.getElementById(id);
  const currentChat = () => byId("chat").dataset.chat;
  const posting = new Map(); // key → {record, onRefusal, before, finish, retryAt, tries} of messages that this tab is posting
  const done = new Set(); // keys of messages that this tab has sent
  const running = new Set(); // chats whose messages are being posted

  // --- records that survive a reload: [{key, chat, address, values, text, files, at, failed}] ------------------------
  const storedRecords = (chat) => okno.localCopies.read("sending", chat) || [];
  const store = (record) => {
    const others = storedRecords(record.chat).filter((one) => one.key !== record.key);
    okno.localCopies.write("sending", record.chat, [...others, record].sort((a, b) => a.at - b.at));
  };
  const isStored = ({ chat, key }) => storedRecords(chat).some((one) => one.key === key);
  const discard = ({ chat, key }) => {
    const rest = storedRecords(chat).filter((one) => one.key !== key);
    if (rest.length) okno.localCopies.write("sending", chat, rest);
    else okno.localCopies.remove("sending", chat);
  };

  // --- bubbles ------------------------------------------------------------------------------------------------------
  const container = () => byId("sending");
  const bubbleOf = (key) => container()?.querySelector(`[data-sending="${CSS.escape(key)}"]`);
  const isInThread = (key) => Boolean(byId("messages")?.querySelector(`[data-draft-key="${CSS.escape(key)}"]`));

  const timeOf = (at) =>
    new Date(at).toLocaleTimeString("ru", { hour: "2-digit", minute: "2-digit", timeZone: container().dataset.timeZone });

  const draw = (record) => {
    if (record.chat !== currentChat() || !container()) return;
    let bubble = bubbleOf(record.key);
    if (!bubble) {
      bubble = byId("sending-bubble").content.firstElementChild.cloneNode(true);
      bubble.dataset.sending = record.key;
      bubble.querySelector(".text").textContent = record.text;
      bubble.querySelector(".text").hidden = !record.text;
      bubble.querySelector("time").textContent = timeOf(record.at);
      for (const name of record.files) {
        const file = bubble.querySelector("template").content.firstElementChild.cloneNode(true);
        file.querySelector("b").textContent = name;
        bubble.querySelector(".attached").append(file);
      }
      container().append(bubble);
      okno.scrollToEnd();
    }
    bubble.querySelector("[data-edit]").hidden = !record.box;
    bubble.querySelector("[data-discard]").hidden = Boolean(record.box);
    bubble.querySelector(".bubble").classList.toggle("failed", Boolean(record.failed));
    bubble.querySelector(".ticks").hidden = Boolean(record.failed);
    bubble.querySelector(".trouble").hidden = !record.failed;
    bubble.querySelector(".trouble span").textContent = record.failed || "";
  };

  // Redraw this chat's bubbles from the stored records: when it opens, and when another tab has sent or failed.
  const show = () => {
    if (!container()) return;
    const records = storedRecords(currentChat());
    for (const [name, id] of records.flatMap((record) => record.values)) { // these files are in the bubble
      if (name === "upload") byId("uploads").querySelector(`[data-upload="${CSS.escape(id)}"]`)?.remove();
    }
    for (const bubble of [...container().children]) {
      const { sending: key } = bubble.dataset;
      if (!posting.has(key) && !records.some((record) => record.key === key) && !("sent" in bubble.dataset)) bubble.remove();
    }
    for (const record of records) {
      if (isInThread(record.key)) discard(record);
      else draw(posting.get(record.key)?.record ?? { ...record, failed: failureOf(record) });
    }
  };
  const failureOf = (record) => {
    if (record.failed || Date.now() - record.at > OTHER_TAB_TIMEOUT) return record.failed || container().dataset.unsure;
    setTimeout(show, OTHER_TAB_TIMEOUT);
    return "";
  };

  // The message was sent, although its response may be lost.
  const settle = (key) => {
    const record = posting.get(key)?.record;
    if (record && !record.failed) return; // its own response settles it
    discard({ chat: currentChat(), key });
    posting.delete(key);
    done.add(key);
  };

  // Replace this tab's bubbles with the server's.
  const replaceDrawn = () => {
    for (const bubble of [...(container()?.children || [])]) {
      if (!isInThread(bubble.dataset.sending)) continue;
      byId("messages").querySelector(`[data-draft-key="${CSS.escape(bubble.dataset.sending)}"]`).classList.remove("appears");
      settle(bubble.dataset.sending);
      bubble.remove();
    }
  };

  // --- posting -------------------------------------------------------------------------------------------------------
  const post = async (record) => {
    const isRetry = Boolean(record.failed); // its bubble stays as it is until the result
    record.failed = "";
    store(record);
    if (!isRetry) draw(record);
    try {
      const answer = await okno.postAsUser(record.address, record.values, { signal: AbortSignal.timeout(REQUEST_TIMEOUT) });
      if (answer.redirected) throw Object.assign(new Error("signed out"), { isSignedOut: true });
      const result = answer.ok || answer.status === 409 || answer.status === 410 ? await answer.json() : null;
      if (result?.reason === "other_user") throw Object.assign(new Error("other user"), { isOtherUser: true });
      if (!result) throw new Error(String(answer.status));
      if (result.sent) onSent(record);
      else onRefused(record, result);
      return result;
    } catch (problem) {
      if (isInThread(record.key)) { onSent(record); return { sent: true }; }
      if (!isStored(record)) { // edited or discarded meanwhile, perhaps in another tab
        posting.delete(record.key);
        bubbleOf(record.key)?.remove();
        return { sent: false };
      }
      record.isSignedOut = Boolean(problem.isSignedOut || problem.isOtherUser); // only its author sends it again
      if (problem.isSignedOut) dispatchEvent(new Event("okno:signed-out"));
      record.failed = record.isSignedOut ? desk.dataset.signedOut : desk.dataset.notSent;
      store(record);
      draw(record);
      if (record.chat !== currentChat()) okno.chatOpening.showError("notSentInChat", okno.chatOpening.clientName(record.chat));
      return { sent: false };
    } finally {
      dispatchEvent(new Event("okno:poll"));
    }
  };
  const onSent = (record) => {
    discard(record);
    posting.delete(record.key);
    done.add(record.key);
    const bubble = bubbleOf(record.key);
    if (bubble) bubble.dataset.sent = ""; // until the thread shows it
    replaceDrawn();
    const isOldPage = record.chat === currentChat() && "notNewest" in (byId("messages")?.dataset ?? {});
    if (isOldPage && !firstOf(record.chat)) okno.chatOpening.open(`/chats/${record.chat}/`, { chat: record.chat, name: okno.chatOpening.clientName(record.chat) });
  };
  const onRefused = (record, result) => {
    const onRefusal = posting.get(record.key)?.onRefusal;
    discard(record);
    posting.delete(record.key);
    bubbleOf(record.key)?.remove();
    okno.composer.restoreText(record, result);
    if (record.chat === currentChat()) onRefusal?.(result);
    dispatchEvent(new CustomEvent("okno:refused", { detail: { record, result } }));
  };

  // A lock per message tells other tabs that this tab takes care of it. It ends with the page.
  const releases = new Map();
  const claim = (name) =>
    new Promise((answer) => {
      if (!navigator.locks) { answer(false); return; }
      navigator.locks.request(`okno.sending.${name}`, { ifAvailable: true }, (lock) => {
        answer(Boolean(lock));
        return lock ? new Promise((release) => { releases.set(name, release); }) : undefined;
      });
    });
  // Messages of a page that was closed or reloaded before they were sent.
  const adopt = async () => {
    for (const chat of okno.localCopies.chats("sending")) {
      for (const record of storedRecords(chat)) {
        if (posting.has(record.key) || done.has(record.key) || !record.failed || record.isSignedOut || !isRecent(record) || !(await claim(record.key))) continue;
        posting.set(record.key, { record, finish() {}, tries: 0, retryAt: 0 });
      }
      run(chat);
    }
  };

  // Post the messages of a chat one after the other, until one fails.
  const run = async (chat) => {
    if (running.has(chat)) return;
    running.add(chat);
    try {
      for (let entry; (entry = firstOf(chat)); ) {
        await entry.before;
        if (!posting.has(entry.record.key)) continue; // edited or discarded meanwhile
        const result = await post(entry.record);
        entry.finish(result);
        if (!posting.has(entry.record.key)) releases.get(entry.record.key)?.();
        if (!entry.record.failed) continue;
        entry.tries += 1;
        entry.retryAt = performance.now() + Math.min(1000 * 2 ** entry.tries, MAX_PAUSE);
        break;
      }
    } finally {
      running.delete(chat);
    }
  };
  const isRecent = (record) => okno.now() - record.at < RETRY_TIME;
  const firstOf = (chat) =>
    [...posting.values()]
      .filter(({ record }) => record.chat === chat && (!record.failed || isRecent(record)))
      .sort((a, b) => a.record.at - b.record.at)[0];
  // Another tab may have edited, discarded or sent a message that failed here: it is no longer stored.
  const dropHandled = () => {
    for (const [key, { record, finish }] of [...posting]) {
      if (!record.failed || isStored(record)) continue;
      posting.delete(key);
      releases.get(key)?.();
      finish({ sent: false });
    }
  };
  const retry = () => {
    dropHandled();
    for (const chat of new Set([...posting.values()].map(({ record }) => record.chat))) {
      const first = firstOf(chat);
      if (first && !(first.record.failed && (first.record.isSignedOut || first.retryAt > performance.now()))) run(chat);
    }
  };
  addEventListener("okno:connected", retry);

  // `onRefusal` is called if the server refuses the message while its chat is still open. Returns the first result.
  const send = (record, { onRefusal, before } = {}) =>
    new Promise((finish) => {
      claim(record.key);
      posting.set(record.key, { record, onRefusal, before, finish, tries: 0, retryAt: 0 });
      store(record);
      draw(record);
      run(record.chat);
    });

  // --- actions on a failed message --------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const bubble = event.target.closest?.("[data-sending]");
    const record = bubble && (posting.get(bubble.dataset.sending)?.record ?? storedRecords(currentChat()).find((one) => one.key === bubble.dataset.sending));
    if (!record) return;
    if (event.target.closest("[data-try-again]")) send({ ...record, failed: "" }, posting.get(record.key));
    if (event.target.closest("[data-edit], [data-discard]")) {
      discard(record);
      posting.delete(record.key);
      bubble.remove();
      okno.composer.restoreText(record, {});
      run(record.chat);
    }
  });

  // A closed page never learns the outcome of its requests.
  addEventListener("pagehide", () => {
    for (const { record } of posting.values()) store({ ...record, failed: record.failed || container()?.dataset.unsure || desk.dataset.notSent });
  });
  addEventListener("storage", (event) => { dropHandled(); if (event.key === okno.localCopies.storageKey("sending", currentChat())) show(); });
  addEventListener("okno:chat-opened", show);
  addEventListener("okno:thread-drawn", replaceDrawn);
  const has = (key) => posting.has(key) || done.has(key);
  window.okno = Object.assign(window.okno || {}, { sending: { send, has } });
  show();
  addEventListener("DOMContentLoaded", adopt);
})();
