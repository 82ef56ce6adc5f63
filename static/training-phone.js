// Training phone: posts the client's messages and shows the messages sent to the client.
(() => {
  const phone = document.getElementById("phone");
  if (!phone) return;
  const POLL_INTERVAL = 800, POLL_INTERVAL_HIDDEN = 4000; // milliseconds
  const byId = (id) => document.getElementById(id);
  const words = JSON.parse(byId("phone-words").textContent);
  const icons = byId("write").querySelector("use").getAttribute("href").split("#")[0];

  // --- clients, stored in this browser -------------------------------------------------------------------
  const KEY = `okno-phone-${phone.dataset.key}`;
  const random = (digits) => {
    const bytes = crypto.getRandomValues(new Uint32Array(4));
    return [...bytes].map((number) => number.toString(16).padStart(8, "0")).join("").slice(0, digits);
  };
  const newClient = (number) => ({
    id: `phone-${random(12)}`,
    name: words.names[number] || words.new_client.replace("%(number)s", number + 1),
    phone: `7900000${String(Number.parseInt(random(6), 16) % 10000).padStart(4, "0")}`,
  });
  const load = () => {
    try {
      const stored = JSON.parse(localStorage.getItem(KEY));
      if (stored?.clients?.length) return stored;
    } catch { /* not readable: start with a new client */ }
    return { clients: [newClient(0)], current: 0 };
  };
  const state = load();
  const client = () => state.clients[state.current] || state.clients[0];
  const save = () => { try { localStorage.setItem(KEY, JSON.stringify(state)); } catch { /* for this page only */ } };

  const drawPeople = () => {
    byId("people").replaceChildren(...state.clients.map((person, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = person.name;
      button.setAttribute("aria-pressed", String(person === client()));
      button.addEventListener("click", () => choose(index));
      return button;
    }));
    byId("client-name").value = client().name;
  };
  const choose = (index) => {
    state.current = index;
    save();
    drawPeople();
    unsent.length = 0;
    drawn = "";
    draw([]);
    poll();
    byId("words").focus();
  };

  // --- sending: stored like a webhook of the provider ----------------------------------------------------------------
  const COOKIES = ["__Host-csrftoken=", "csrftoken="]; // with https, a cookie without the prefix is a leftover
  const csrfToken = () => {
    const found = document.cookie.split("; ");
    const tokens = COOKIES.map((name) => found.find((one) => one.startsWith(name))?.slice(name.length));
    return tokens.find(Boolean) || document.querySelector("[name=csrfmiddlewaretoken]").value;
  };
  const post = async (events) => {
    const answer = await fetch(phone.dataset.eventsUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
      body: JSON.stringify({ events }),
    });
    if (!answer.ok) throw new Error(String(answer.status));
  };
  const from = () => ({ id: client().id, name: client().name, phone: client().phone });
  const showProblem = (sentence) => { byId("problem").textContent = sentence; byId("problem").hidden = !sentence; };

  const unsent = []; // posted, not yet returned by the server
  const write = async (text) => {
    const message = { id: `${random(8)}-${random(8)}-${random(8)}`, text, time: clockNow(), posted: false };
    unsent.push(message);
    draw(shown);
    try {
      await post([{ type: "message", id: message.id, from: from(), text, timestamp: Math.floor(okno.now() / 1000) }]);
      message.posted = true;
      showProblem("");
    } catch {
      unsent.splice(unsent.indexOf(message), 1);
      byId("words").value = text;
      showProblem(words.not_posted);
    }
    draw(shown);
    poll();
    setTimeout(poll, 250);
  };
  const clockNow = () => new Date(okno.now()).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

  // --- receiving ----------------------------------------------------------------------------------------------
  let timer, busy = false, drawn = "", shown = [];
  const posted = new Set(); // statuses this page has already posted

  const poll = async () => {
    if (busy) return;
    clearTimeout(timer);
    busy = true;
    const clientId = client().id;
    try {
      const answer = await fetch(`${phone.dataset.messagesUrl}?from=${encodeURIComponent(clientId)}`);
      const { messages, window: clientWindow, now } = await answer.json();
      okno.setNow(now);
      if (clientId === client().id) {
        drawWindow(clientWindow);
        draw(messages);
        reportStatuses(messages);
      }
    } catch { /* the next poll may succeed */ }
    busy = false;
    timer = setTimeout(poll, document.hidden ? POLL_INTERVAL_HIDDEN : POLL_INTERVAL);
  };

  // Report a displayed message as delivered, and as read if the window has the focus.
  const reportStatuses = async (messages) => {
    const isRead = !document.hidden && document.hasFocus();
    const events = [];
    for (const { id, mine, status } of messages) {
      const next = mine ? "" : status === "sent" ? "delivered" : status === "delivered" && isRead ? "read" : "";
      if (!next || posted.has(`${id} ${next}`)) continue;
      posted.add(`${id} ${next}`);
      events.push({ type: "status", message_id: id, status: next, timestamp: Math.floor(okno.now() / 1000) });
    }
    if (!events.length) return;
    try { await post(events); } catch { for (const { message_id, status } of events) posted.delete(`${message_id} ${status}`); }
    setTimeout(poll, 200);
  };

  // --- drawing --------------------------------------------------------------------------------------------------------
  const element = (tag, css, text) => {
    const node = document.createElement(tag);
    if (css) node.className = css;
    if (text) node.textContent = text;
    return node;
  };
  const icon = (name, css) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", `icon ${css}`);
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${icons}#${name}`);
    svg.append(use);
    return svg;
  };

  // The client's own reaction, set and removed with one button.
  const reactButton = (message) => {
    const own = (message.reactions || []).some(({ mine }) => mine), button = element("button", "phone-react", "👍");
    button.type = "button";
    button.setAttribute("aria-label", words.react);
    button.setAttribute("aria-pressed", String(own));
    button.title = words.react;
    button.addEventListener("click", async () => {
      const event = { type: "reaction", id: `${random(8)}-${random(8)}`, of: message.external_id, from: from(), emoji: own ? "" : "👍", timestamp: Math.floor(okno.now() / 1000) };
      try { await post([event]); } catch { showProblem(words.not_posted); }
      setTimeout(poll, 250);
    });
    return button;
  };

  const bubble = (message) => {
    const item = element("div", `bub ${message.mine ? "mine" : "theirs"}`);
    for (const file of message.files || []) {
      const link = element(file.url ? "a" : "span", "", `📎 ${file.name || words.file}`);
      if (/^https?:/i.test(file.url)) Object.assign(link, { href: file.url, target: "_blank", rel: "noopener noreferrer" });
      item.append(link);
    }
    if (message.quoted) item.append(element("span", "quote", message.quoted));
    const text = element("div", "text");
    if (message.html) text.innerHTML = message.html; // escaped and marked up by the server
    else text.textContent = message.text || "";
    const meta = element("span", "meta");
    meta.append(element("time", "", message.time));
    if (message.mine) {
      const ticks = element("span", "ticks");
      const tick = message.posted === false ? "clock" : message.posted ? "tick" : "ticks";
      ticks.append(icon(tick, tick === "clock" ? "round" : ""));
      meta.append(ticks);
    }
    item.append(text, meta);
    if (!message.mine && message.external_id) item.append(reactButton(message));
    for (const { emoji, mine } of message.reactions || []) item.append(element("span", `reaction${mine ? " mine" : ""}`, emoji));
    return item;
  };

  const draw = (messages) => {
    const received = new Set(messages.map((message) => message.external_id));
    for (const message of [...unsent]) if (received.has(message.id)) unsent.splice(unsent.indexOf(message), 1);
    const now = JSON.stringify([messages, unsent]);
    if (now === drawn) return;
    const isMore = messages.length + unsent.length > shown.length;
    drawn = now;
    shown = messages;
    const log = byId("log");
    const items = [];
    let day = "";
    for (const message of messages) {
      if (message.day !== day) items.push(element("div", "day", (day = message.day)));
      items.push(bubble(message));
    }
    if (unsent.length && day !== words.today) items.push(element("div", "day", words.today));
    items.push(...unsent.map((message) => bubble({ ...message, mine: true })));
    const hint = byId("hint") || log.firstElementChild;
    const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    log.replaceChildren(...(items.length ? items : [emptyHint ||= hint]));
    if (wasAtEnd || isMore) log.scrollTop = log.scrollHeight;
    byId("skip-time").disabled = !messages.length;
  };
  let emptyHint = byId("hint");

  let drawnWindow = "";
  const drawWindow = (clientWindow) => {
    const now = JSON.stringify([clientWindow, client().id]);
    if (now === drawnWindow) return;
    drawnWindow = now;
    const sentence = { open: words.may_write, closed: words.only_template, none: words.not_open, unrestricted: words.no_limit }[clientWindow.state];
    const line = byId("window");
    line.replaceChildren(document.createTextNode(`${sentence} `));
    if (clientWindow.state !== "open") return;
    const left = element("span", "chip ok");
    left.dataset.expiresAt = clientWindow.expires_at;
    left.dataset.format = "clock";
    const time = element("span", "number");
    time.dataset.words = "";
    left.append(time);
    line.append(left);
    okno.tick();
  };

  // --- user actions --------------------------------------------------------------------------------------------------
  byId("write").addEventListener("submit", (event) => {
    event.preventDefault();
    const box = byId("words"), text = box.value.trim();
    box.value = "";
    box.focus();
    if (text) write(text);
  });
  byId("words").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("write").requestSubmit();
    }
  });
  byId("rename").addEventListener("submit", (event) => {
    event.preventDefault();
    client().name = byId("client-name").value.trim() || client().name;
    save();
    drawPeople();
  });
  byId("new-client").addEventListener("click", () => {
    state.clients.push(newClient(state.clients.length));
    choose(state.clients.length - 1);
  });
  byId("skip-time").addEventListener("click", async () => {
    try {
      await post([{ type: "clock", from: { id: client().id }, hours: 25 }]);
      showProblem("");
    } catch { showProblem(words.not_posted); }
    setTimeout(poll, 200);
  });
  addEventListener("okno:window-closed", poll);
  addEventListener("focus", poll);
  addEventListener("visibilitychange", poll);
  drawPeople();
  save();
  draw([]);
  poll();
})();
