// Reactions to the client's messages. A reaction is shown at once; the server's thread replaces it.
(() => {
  const byId = (id) => document.getElementById(id);
  const picker = byId("reaction-picker");
  if (!picker || !picker.showPopover) return;
  const GAP = 6; // pixels between the button and the picker
  let message = null; // ID of the message that the picker is about
  const queues = new Map(); // message ID → its last request: one at a time, in the order of the clicks

  const messageNode = () => byId(message);
  const buttonOf = (id) => byId(id)?.querySelector("[data-react]");
  const ownOf = (node) => node?.querySelector(".reactions .ours");
  const ownSign = (node) => ownOf(node)?.firstChild.textContent.trim() || "";
  const all = () => byId("reaction-all");
  const more = () => picker.querySelector("[data-all-emoji]");
  const quick = () => [...picker.querySelectorAll(".reaction-quick button")];

  const place = (button) => {
    const near = button.getBoundingClientRect(), { offsetWidth: width, offsetHeight: height } = picker;
    const left = Math.min(Math.max(GAP, near.left - width / 2), innerWidth - width - GAP);
    const above = near.top - height - GAP;
    picker.style.left = `${left}px`;
    picker.style.top = `${above >= GAP ? above : Math.max(GAP, Math.min(near.bottom + GAP, innerHeight - height - GAP))}px`;
  };
  const open = (button) => {
    message = button.closest(".msg").id;
    const sign = ownSign(messageNode());
    all().hidden = true;
    more().setAttribute("aria-expanded", "false");
    for (const one of quick()) if (one.dataset.sign) one.setAttribute("aria-pressed", String(one.dataset.sign === sign));
    picker.querySelector("[data-remove]").hidden = !sign;
    picker.showPopover();
    place(button);
    (quick().find((one) => one.dataset.sign === sign) || quick()[0]).focus({ preventScroll: true });
  };
  const close = () => { if (picker.matches(":popover-open")) picker.hidePopover(); };

  // Show the reaction before the server has it. Returns a function that shows the earlier one again.
  const paint = (node, sign) => {
    const list = node.querySelector(".reactions"), before = list?.cloneNode(true);
    const own = ownOf(node) || document.createElement("li");
    own.className = "ours pending";
    own.textContent = sign;
    if (!sign) own.remove();
    else if (list) list.append(own);
    else {
      const fresh = document.createElement("ul");
      fresh.className = "reactions";
      fresh.append(own);
      node.querySelector(".bubble").append(fresh);
    }
    if (list && !list.children.length) list.remove();
    const drawn = node.querySelector(".reactions");
    return () => {
      const shown = byId(node.id)?.querySelector(".reactions");
      if (shown !== drawn && shown) return; // redrawn meanwhile
      shown?.remove();
      if (before) byId(node.id)?.querySelector(".bubble").append(before);
    };
  };

  const react = (sign) => {
    const id = message, node = messageNode(), button = buttonOf(id);
    close();
    if (!button) return;
    button.focus({ preventScroll: true });
    if (sign) okno.emoji.remember(sign);
    const [address, chat] = [button.dataset.react, byId("chat").dataset.chat], restore = paint(node, sign);
    const request = (queues.get(id) || Promise.resolve()).then(async () => {
      let refusal = { sentence: byId("composer")?.dataset.failed || "" };
      try {
        const answer = await okno.postAsUser(address, { emoji: sign, for_chat: chat });
        if (answer.ok && !answer.redirected) {
          dispatchEvent(new Event("okno:action-done"));
          return;
        }
        if (answer.redirected) dispatchEvent(new Event("okno:signed-out"));
        else if (answer.status === 422) refusal = await answer.json();
      } catch { /* no connection */ }
      if (byId("chat").dataset.chat !== chat) return;
      restore();
      dispatchEvent(new CustomEvent("okno:action-refused", { detail: refusal }));
    }).finally(() => dispatchEvent(new Event("okno:poll")));
    queues.set(id, request);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-react]") || buttonOf(event.target.closest?.(".reactions .ours")?.closest(".msg").id);
    if (button) { open(button); return; }
    if (!picker.contains(event.target)) return;
    const sign = event.target.closest(".reaction-quick [data-sign]")?.dataset.sign;
    if (sign) react(sign === ownSign(messageNode()) ? "" : sign);
    else if (event.target.closest("[data-remove]")) react("");
    else if (event.target.closest("[data-all-emoji]")) {
      all().hidden = !all().hidden;
      more().setAttribute("aria-expanded", String(!all().hidden));
      if (!all().hidden) okno.emoji.open(picker);
      if (buttonOf(message)) place(buttonOf(message));
    }
  });
  picker.addEventListener("okno:emoji-chosen", (event) => react(event.detail));
  picker.addEventListener("keydown", (event) => {
    const buttons = quick(), at = buttons.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    buttons[(at + step + buttons.length) % buttons.length].focus();
  });
  // The keyboard of a phone, which the search for an emoji opens, also resizes the page and scrolls the thread.
  const onMove = () => {
    if (picker.contains(document.activeElement) && document.activeElement.matches("input") && buttonOf(message)) place(buttonOf(message));
    else close();
  };
  addEventListener("scroll", (event) => { if (!picker.contains(event.target)) onMove(); }, true);
  addEventListener("resize", onMove);
  addEventListener("okno:chat-opened", close);
})();
