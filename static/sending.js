// Messages being sent: shown at once with a clock until the server's bubble appears. A key makes each message
// idempotent; failed ones stay with "Try again".
(() => {
  const desk = document.getElementById("desk");
  if (!desk) return;
  const PATIENCE = 60_000; // milliseconds for one request
  const OF_ANOTHER_TAB = 90_000; // milliseconds: for so long another tab may still be posting it
  const byId = (id) => document.getElementById(id);
  const here = () => byId("chat").dataset.chat;
  const posting = new Map(); // key → what this tab posts: {record, returns}
  const done = new Set(); // keys of what this tab has sent
  const lines = new Map(); // chat → the end of its line, for messages leave in the order they were written in

  // --- what is kept over a reload: [{key, chat, address, values, text, files, at, failed}] ------------------------
  const kept = (chat) => okno.kept.read("sending", chat) || [];
  const keep = (record) => {
    const others = kept(record.chat).filter((one) => one.key !== record.key);
    okno.kept.write("sending", record.chat, [...others, record].sort((a, b) => a.at - b.at));
  };
  const forget = ({ chat, key }) => {
    const rest = kept(chat).filter((one) => one.key !== key);
    if (rest.length) okno.kept.write("sending", chat, rest);
    else okno.kept.remove("sending", chat);
  };

  // --- bubbles ------------------------------------------------------------------------------------------------------
  const place = () => byId("sending");
  const bubbleOf = (key) => place()?.querySelector(`[data-sending="${CSS.escape(key)}"]`);
  const isShownByServer = (key) => Boolean(byId("messages")?.querySelector(`[data-form="${CSS.escape(key)}"]`));

  const timeOf = (at) =>
    new Date(at).toLocaleTimeString("ru", { hour: "2-digit", minute: "2-digit", timeZone: place().dataset.zone });

  const draw = (record) => {
    if (record.chat !== here() || !place()) return;
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
      place().append(bubble);
      okno.toEnd();
    }
    bubble.querySelector("[data-edit]").hidden = !record.box;
    bubble.querySelector("[data-discard]").hidden = Boolean(record.box);
    bubble.querySelector(".bubble").classList.toggle("failed", Boolean(record.failed));
    bubble.querySelector(".ticks").hidden = Boolean(record.failed);
    bubble.querySelector(".trouble").hidden = !record.failed;
    bubble.querySelector(".trouble span").textContent = record.failed || "";
  };

  // Bring the bubbles of this chat to what is kept: at opening, and when another tab has sent or failed.
  const show = () => {
    if (!place()) return;
    const records = kept(here());
    for (const [name, id] of records.flatMap((record) => record.values)) { // they stand in the bubble
      if (name === "upload") byId("uploads").querySelector(`[data-upload="${CSS.escape(id)}"]`)?.remove();
    }
    for (const bubble of [...place().children]) {
      const { sending: key } = bubble.dataset;
      if (!posting.has(key) && !records.some((record) => record.key === key) && !("sent" in bubble.dataset)) bubble.remove();
    }
    for (const record of records) {
      if (isShownByServer(record.key)) forget(record);
      else draw(posting.get(record.key)?.record ?? { ...record, failed: failureOf(record) });
    }
  };
  const failureOf = (record) => {
    if (record.failed || Date.now() - record.at > OF_ANOTHER_TAB) return record.failed || place().dataset.unsure;
    setTimeout(show, OF_ANOTHER_TAB);
    return "";
  };

  // It has been sent, though we may not have heard it.
  const settle = (key) => {
    const record = posting.get(key)?.record;
    if (record && !record.failed) return; // its own answer settles it
    forget({ chat: here(), key });
    posting.delete(key);
    done.add(key);
  };

  // The server's bubble takes the place of ours.
  const drawn = () => {
    for (const bubble of [...(place()?.children || [])]) {
      if (!isShownByServer(bubble.dataset.sending)) continue;
      byId("messages").querySelector(`[data-form="${CSS.escape(bubble.dataset.sending)}"]`).classList.remove("appears");
      settle(bubble.dataset.sending);
      bubble.remove();
    }
  };

  // --- posting -------------------------------------------------------------------------------------------------------
  const post = async (record) => {
    record.failed = "";
    keep(record);
    draw(record);
    try {
      const answer = await okno.tell(record.address, record.values, { signal: AbortSignal.timeout(PATIENCE) });
      if (answer.redirected) throw Object.assign(new Error("signed out"), { isSignedOut: true });
      const told = answer.ok || answer.status === 409 ? await answer.json() : null;
      if (!told || told.reason === "other_user") throw new Error(String(answer.status));
      if (told.sent) sent(record);
      else refused(record, told);
      return told;
    } catch (problem) {
      if (isShownByServer(record.key)) { sent(record); return { sent: true }; }
      if (problem.isSignedOut) dispatchEvent(new Event("okno:signed-out"));
      record.failed = problem.isSignedOut ? desk.dataset.signedOut : desk.dataset.unreached;
      keep(record);
      draw(record);
      if (record.chat !== here()) okno.opening.say("unsent", nameOf(record.chat));
      return { sent: false };
    } finally {
      dispatchEvent(new Event("okno:ask"));
    }
  };
  const nameOf = (chat) => document.querySelector(`.row[data-chat="${CSS.escape(chat)}"] b`)?.textContent || `№ ${chat}`;
  const sent = (record) => {
    forget(record);
    posting.delete(record.key);
    done.add(record.key);
    const bubble = bubbleOf(record.key);
    if (bubble) bubble.dataset.sent = ""; // until the thread shows it
    drawn();
  };
  const refused = (record, told) => {
    const returns = posting.get(record.key)?.returns;
    forget(record);
    posting.delete(record.key);
    bubbleOf(record.key)?.remove();
    okno.composer.takeBack(record, told);
    if (record.chat === here()) returns?.(told);
  };

  // `returns` is called where the server refused it and the chat is still open.
  const send = (record, { returns, before } = {}) => {
    posting.set(record.key, { record, returns });
    keep(record);
    draw(record);
    const line = (lines.get(record.chat) || Promise.resolve()).then(() => before).then(() => post(record));
    lines.set(record.chat, line);
    return line;
  };

  // --- what one does about a failure --------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const bubble = event.target.closest?.("[data-sending]");
    const record = bubble && (posting.get(bubble.dataset.sending)?.record ?? kept(here()).find((one) => one.key === bubble.dataset.sending));
    if (!record) return;
    if (event.target.closest("[data-try-again]")) send({ ...record, failed: "" }, posting.get(record.key));
    if (event.target.closest("[data-edit], [data-discard]")) {
      forget(record);
      posting.delete(record.key);
      bubble.remove();
      okno.composer.takeBack(record, {});
    }
  });

  // A page that goes away leaves its requests without an answer.
  addEventListener("pagehide", () => {
    for (const { record } of posting.values()) keep({ ...record, failed: record.failed || place()?.dataset.unsure || desk.dataset.unreached });
  });
  addEventListener("storage", (event) => { if (event.key === okno.kept.nameOf("sending", here())) show(); });
  addEventListener("okno:opened", show);
  addEventListener("okno:drawn", drawn);
  const has = (key) => posting.has(key) || done.has(key);
  window.okno = Object.assign(window.okno || {}, { sending: { send, has } });
  show();
})();
